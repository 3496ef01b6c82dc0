/*
 * What an operator is told of Redis: each state once, by each worker, whatever the number of requests.
 *
 *   UP <--> DOWN                 the connection
 *   UP --> FAILING --> SERVING   it answers, but with errors; it is well when there was none for a while. A link that
 *                                is given up for such an error (READONLY) is no other story.
 *
 * What was dropped is told as a number when no more was for a while, or a minute after the first.
 */
#include "admit/shared_private.h"

#include <stdio.h>

#define TICK_MS 2500
#define TICKS_MOST 24

static void tell(struct shared *shared, enum shared_told told, enum shared_news news, struct bytes text)
{
    char room[REDIS_WORDS_MOST];

    shared->story.told = told;
    shared_tell(shared, news, redis_words(&shared->config.redis, text, room));
}

/* --- what was dropped --- */

static void tell_dropped(struct shared *shared)
{
    struct shared_story *story = &shared->story;
    char room[sizeof(story->why) + 32];
    int size = snprintf(room, sizeof(room), "%u: %.*s", story->dropped, (int)story->why_size, story->why);

    shared_tell(shared, SHARED_GAVE_UP, (struct bytes){room, (size_t)size});
    story->dropped = story->ticks = 0;
}

void shared_story_dropped(struct shared *shared, uint32_t count, struct bytes why)
{
    struct shared_story *story = &shared->story;

    for (uint32_t i = 0; i < count; i++)
        shared_tell(shared, SHARED_DROPPED, BYTES_NONE);
    story->dropped += count;
    story->is_dropping = true;
    story->why_size = redis_words(&shared->config.redis, why, story->why).size;
    if (!uv_is_active((uv_handle_t *)&story->tick))
        uv_timer_start(&story->tick, shared_story_tick, TICK_MS, TICK_MS);
}

/* --- whether it is well --- */

void shared_story_failed(struct shared *shared, struct bytes text)
{
    struct shared_story *story = &shared->story;

    story->has_failed = true;
    story->has_served = false;
    if (story->told == TOLD_FAILING)
        return;
    tell(shared, TOLD_FAILING, SHARED_FAILING, text);
    if (!uv_is_active((uv_handle_t *)&story->tick))
        uv_timer_start(&story->tick, shared_story_tick, TICK_MS, TICK_MS);
}

void shared_story_redis(struct shared *shared, enum redis_news news, struct bytes text)
{
    enum shared_told told = shared->story.told;

    if (news == REDIS_READY && told != TOLD_FAILING)
        tell(shared, TOLD_UP, SHARED_UP, text);
    else if (news == REDIS_REFUSED && told != TOLD_REFUSED)
        tell(shared, TOLD_REFUSED, SHARED_DOWN, text);
    else if ((news == REDIS_LOST || news == REDIS_TIMED_OUT) && (told == TOLD_UP || told == TOLD_FAILING) &&
             shared_is_momentary(text))
        shared_story_failed(shared, text);
    else if ((news == REDIS_LOST || news == REDIS_TIMED_OUT) && told != TOLD_DOWN && told != TOLD_REFUSED)
        tell(shared, TOLD_DOWN, SHARED_DOWN, text);
}

void shared_story_tick(uv_timer_t *tick)
{
    struct shared *shared = tick->data;
    struct shared_story *story = &shared->story;

    if (story->dropped && (!story->is_dropping || ++story->ticks == TICKS_MOST))
        tell_dropped(shared);
    if (story->told == TOLD_FAILING && story->has_served && !story->has_failed)
        tell(shared, TOLD_UP, SHARED_SERVING, BYTES_NONE);
    story->is_dropping = story->has_failed = false;
    if (story->dropped == 0 && story->told != TOLD_FAILING)
        uv_timer_stop(tick);
}

void shared_story_end(struct shared *shared)
{
    if (shared->story.dropped)
        tell_dropped(shared);
}
