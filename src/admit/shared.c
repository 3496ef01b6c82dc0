/*
 * A take asks Redis once, unless the answer is known here: it limits nothing, it wants more than is ever possible, or
 * one of its scopes was refused a moment ago and still is. Whatever else comes than an answer, or nothing in time, is
 * decided here (shared_alone.c), and the take that may have reached Redis after all is undone there.
 *
 *   shared_take --> known? --> ask Redis --> decided --> done: holds, or refused
 *                                 |  away, late, lost, an error
 *                                 v
 *                              degrade: closed > local > open --> done
 */
#include "admit/shared_private.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"

#define REPLY_BYTES (64u << 10)
#define QUEUE_BYTES (4u << 20)
#define SECOND_US 1000000

enum { REPLY_ALLOWED, REPLY_SCOPE, REPLY_LIMIT, REPLY_WAIT, REPLY_NOW, REPLY_PARTS };

void shared_tell(struct shared *shared, enum shared_news news, struct bytes text)
{
    if (shared->news)
        shared->news(shared->data, news, text);
}

static void hex_of(uint64_t number, char text[16])
{
    for (int i = 15; i >= 0; i--, number >>= 4)
        text[i] = "0123456789abcdef"[number & 15];
}

void shared_new_id(struct shared *shared, char id[SHARED_ID_SIZE])
{
    memcpy(id, shared->name, 16);
    hex_of(++shared->last_id, id + 16);
}

/* --- how a take goes on --- */

/* It asks no longer. */
static void stop_asking(struct shared_take *take)
{
    take->asking = false;
    list_remove(&take->link);
}

void shared_hold(struct shared_take *take)
{
    list_append(&take->shared->holding, &take->link);
    take->done(take->data, 0, NULL);
}

void shared_refuse(struct shared_take *take, const struct refusal *refusal)
{
    take->shared = NULL;
    take->done(take->data, ADMIT_E_REFUSED, refusal);
}

/* As near to Redis' clock as is known. */
static int64_t redis_now_us(const struct shared *shared, struct admit_time now)
{
    return shared->has_ahead ? (int64_t)now.us + shared->ahead_us : now.wall_s * SECOND_US;
}

/* --- what Redis said --- */

/* False: that is none of the script's answers. */
static bool read_reply(struct shared_take *take, const struct redis_reply *reply, int64_t *numbers)
{
    unsigned count = REPLY_PARTS + SHARED_RATES * take->count;

    if (reply->kind != REDIS_TEXT || unpack_numbers(reply->text, numbers, count) != count)
        return false;
    for (unsigned i = REPLY_WAIT; i < count; i++)
        if (numbers[i] < 0)
            return false;
    if (numbers[REPLY_ALLOWED] == 1)
        return true;
    return numbers[REPLY_ALLOWED] == 0 && numbers[REPLY_SCOPE] >= 1 && numbers[REPLY_SCOPE] <= take->count &&
           numbers[REPLY_LIMIT] >= 0 && numbers[REPLY_LIMIT] < QUOTA_LIMITS;
}

static void decided(struct shared_take *take, const int64_t *numbers)
{
    struct shared *shared = take->shared;
    uint64_t now_us = clock_us(), wait_us = (uint64_t)numbers[REPLY_WAIT];
    struct refusal refusal;

    take->redis_us = numbers[REPLY_NOW];
    shared->ahead_us = take->redis_us - (int64_t)now_us;
    shared->has_ahead = true;
    shared_heard(take, &numbers[REPLY_PARTS], now_us);
    shared_tell(shared, SHARED_ASKED, BYTES_NONE);
    shared_story_served(shared);
    if (numbers[REPLY_ALLOWED] == 1) {
        if (shared->refusals)
            shared_settle_resume(shared);
        take->leased = true;
        shared_hold(take);
        return;
    }
    refusal = (struct refusal){
        .scope = take->parts[numbers[REPLY_SCOPE] - 1].scope,
        .limit = (enum quota_limit)numbers[REPLY_LIMIT],
        .retry_after_ms = (wait_us + 999) / 1000,
    };
    shared_know(shared, refusal.scope, refusal.limit, &take->taken, now_us + wait_us);
    shared_refuse(take, &refusal);
}

/* --- asking --- */

static int ask(struct shared_take *take, bool in_full)
{
    struct shared *shared = take->shared;
    struct shared_words words;
    int r;

    shared_words_init(shared, &words);
    shared_words_take(shared, &words, take->id);
    for (unsigned i = 0; i < take->count; i++)
        shared_words_scope(shared, &words, take->parts[i].scope);
    shared_pack_take(&shared->numbers, take);
    r = shared_run(shared, SCRIPT_TAKE, &words,
                   (struct bytes[]){{take->id, SHARED_ID_SIZE}, buffer_bytes(&shared->numbers)}, 2, in_full,
                   &take->call);
    if (r == 0) {
        take->asking = true;
        list_append(&shared->asking, &take->link);
    }
    return r;
}

/* Nobody knows whether Redis took it: it is undone there. Of the rates what is given back until BEHIND_US. */
static void undo_unknown(struct shared_take *take, int64_t behind_us)
{
    for (unsigned i = 0; i < take->count; i++)
        take->parts[i].behind_us[0] = take->parts[i].behind_us[1] = behind_us;
    shared_settle_add(take->shared, SETTLE_UNDONE, take, &(struct charge){0});
}

static void answered_badly(struct shared_take *take, struct bytes text)
{
    shared_story_failed(take->shared, text);
    if (!shared_is_momentary(text) && !shared_is_wrong_type(text))
        undo_unknown(take, 0);
    shared_degrade(take, SHARED_ERROR, text);
}

static void on_reply(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct shared_take *take = LIST_ENTRY(call, struct shared_take, call);
    int64_t numbers[REPLY_PARTS + SHARED_RATES * SCOPE_KINDS];

    stop_asking(take);
    if (result) {
        undo_unknown(take, 0); /* its rates stay charged, for the request may well run */
        shared_degrade(take, result == REDIS_E_TIMEOUT ? SHARED_TIMEOUT : SHARED_AWAY, BYTES_NONE);
    } else if (read_reply(take, reply, numbers)) {
        decided(take, numbers);
    } else if (reply->kind == REDIS_ERROR && shared_is_noscript(reply->text) && !take->told_script) {
        take->told_script = true;
        if (ask(take, true))
            shared_degrade(take, SHARED_AWAY, BYTES_NONE);
    } else {
        answered_badly(take, reply->kind == REDIS_ERROR ? reply->text : BYTES("an unexpected reply"));
    }
}

/* --- taking --- */

/* Each scope once, in the order of their kinds, so that of equal refusals the first is the nearest. */
static void gather(struct shared_take *take, struct scope *const *scopes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned place = take->count;

        while (scopes[i] && place > 0 && scope_kind(take->parts[place - 1].scope) > scope_kind(scopes[i]))
            place--;
        if (!scopes[i] || (place > 0 && take->parts[place - 1].scope == scopes[i]))
            continue;
        for (unsigned at = take->count++; at > place; at--)
            take->parts[at] = take->parts[at - 1];
        take->parts[place] = (struct shared_part){.scope = scopes[i]};
    }
}

static void begin(struct shared *shared, struct shared_take *take, struct scope *const *scopes, unsigned count,
                  const struct charge *want, struct admit_time now)
{
    *take = (struct shared_take){.call.done = on_reply, .shared = shared, .taken = *want,
                                 .redis_us = redis_now_us(shared, now)};
    list_init(&take->call.link);
    list_init(&take->link);
    shared_new_id(shared, take->id);
    gather(take, scopes, count);
}

void shared_take(struct shared *shared, struct shared_take *take, struct scope *const *scopes, unsigned count,
                 const struct charge *want, struct admit_time now,
                 void (*done)(void *data, int result, const struct refusal *refusal), void *data)
{
    struct refusal refusal;

    begin(shared, take, scopes, count, want, now);
    take->done = done;
    take->data = data;
    if (take->count == 0) {
        shared_hold(take);
    } else if (shared_is_never(take, &refusal)) {
        shared_recall(take, now.us);
        shared_refuse(take, &refusal);
    } else if (!redis_is_ready(shared->redis)) {
        shared_degrade(take, SHARED_AWAY, BYTES_NONE);
    } else if (shared_is_known(shared, take, now.us, &refusal)) {
        shared_recall(take, now.us);
        shared_tell(shared, SHARED_KNOWN, BYTES_NONE);
        shared_refuse(take, &refusal);
    } else if (ask(take, false)) {
        shared_degrade(take, SHARED_AWAY, BYTES_NONE);
    }
}

void shared_last_heard(struct shared *shared, struct scope *const *scopes, unsigned count, struct admit_time now,
                       struct shared_take *ret)
{
    *ret = (struct shared_take){.shared = shared};
    gather(ret, scopes, count);
    shared_recall(ret, now.us);
}

void shared_forget(struct shared_take *take)
{
    if (!take->asking)
        return;
    redis_forget(take->shared->redis, &take->call);
    stop_asking(take);
    undo_unknown(take, (int64_t)SHARED_MOST * 4); /* it comes right behind the take */
    take->shared = NULL;
}

/* --- giving back --- */

static void drop_take(struct shared_take *take)
{
    list_remove(&take->link);
    take->shared = NULL;
    take->asking = take->leased = take->owed = false;
}

static void give_back(struct shared_take *take, enum shared_settling kind, const struct charge *actual)
{
    struct shared *shared = take->shared;

    if (!shared)
        return;
    if (take->leased)
        shared_settle_add(shared, kind, take, actual);
    else if (take->owed && kind == SETTLE_TAKEN)
        shared_settle_add(shared, SETTLE_OWED, take, actual);
    if (kind == SETTLE_UNDONE || actual->tokens < take->taken.tokens)
        for (unsigned i = 0; i < take->count; i++)
            shared_unknow(shared, take->parts[i].scope);
    drop_take(take);
}

void shared_settle(struct shared_take *take, const struct charge *actual, struct admit_time now)
{
    shared_forget(take);
    reservation_settle(&take->reservation, actual, now);
    give_back(take, SETTLE_TAKEN, actual);
}

void shared_undo(struct shared_take *take, struct admit_time now)
{
    shared_forget(take);
    reservation_undo(&take->reservation, now);
    give_back(take, SETTLE_UNDONE, &(struct charge){0});
}

void shared_leave(struct shared_take *take, struct scope *scope, struct admit_time now)
{
    struct shared *shared = take->shared;
    struct config_quota quota;
    struct shared_take part;
    unsigned place = 0;

    while (place < take->count && take->parts[place].scope != scope)
        place++;
    if (!shared || take->asking || place == take->count)
        return;
    if (take->leased) {
        part = (struct shared_take){.parts = {take->parts[place]}, .count = 1, .taken = take->taken,
                                    .redis_us = take->redis_us};
        memcpy(part.id, take->id, sizeof(part.id));
        shared_settle_add(shared, SETTLE_LEFT, &part, &(struct charge){0});
        shared_unknow(shared, scope);
    } else if (take->reservation.held) {
        quota = scope_quota(scope);
        reservation_leave(&take->reservation, shared_share(shared, scope, &quota), now);
    }
    take->count--;
    memmove(&take->parts[place], &take->parts[place + 1], (take->count - place) * sizeof(take->parts[0]));
}

/* --- its life --- */

static void on_redis(void *data, enum redis_news news, struct bytes text)
{
    struct shared *shared = data;

    if (news == REDIS_READY) {
        shared_load(shared);
        shared_renew(shared);
        shared_settle_reconnect(shared);
    } else if (news == REDIS_ERRED && shared_is_noscript(text)) {
        shared_load(shared);
    }
    shared_story_redis(shared, news, text);
}

static void on_timer(uv_timer_t *timer)
{
    struct shared *shared = timer->data;

    shared_renew(shared);
    shared_settle_go_on(shared);
}

struct shared *shared_new(uv_loop_t *loop, const struct shared_config *config,
                          void (*news)(void *data, enum shared_news news, struct bytes text), void *data)
{
    struct shared *shared = ALLOC_NEW(struct shared);
    uint32_t renew_ms = config->lease_ms / 3 ? config->lease_ms / 3 : 1;

    shared->config = *config;
    if (shared->config.redis.reply_bytes == 0)
        shared->config.redis.reply_bytes = REPLY_BYTES;
    if (shared->config.redis.queue_bytes == 0)
        shared->config.redis.queue_bytes = QUEUE_BYTES;
    if (shared->config.gateways == 0)
        shared->config.gateways = 1;
    shared->news = news;
    shared->data = data;
    hex_of(random_u64(), shared->name);
    list_init(&shared->asking);
    list_init(&shared->peeking);
    list_init(&shared->holding);
    list_init(&shared->waiting);
    list_init(&shared->sent);
    list_init(&shared->aside);
    buffer_init(&shared->keys);
    buffer_init(&shared->numbers);
    shared_books_init(shared);
    uv_timer_init(loop, &shared->timer);
    uv_timer_init(loop, &shared->alarm);
    uv_timer_init(loop, &shared->story.tick);
    shared->timer.data = shared->alarm.data = shared->story.tick.data = shared;
    uv_timer_start(&shared->timer, on_timer, renew_ms, renew_ms);
    shared->redis = redis_new(loop, &shared->config.redis, on_redis, shared);
    shared->handles = 4;
    return shared;
}

static void release(struct shared *shared)
{
    if (--shared->handles > 0)
        return;
    shared_books_deinit(shared);
    buffer_deinit(&shared->keys);
    buffer_deinit(&shared->numbers);
    if (shared->closed)
        shared->closed(shared->closed_data);
    alloc_free(shared);
}

static void on_redis_closed(void *data)
{
    release(data);
}

static void on_timer_closed(uv_handle_t *timer)
{
    release(timer->data);
}

static void drop_takes(struct shared *shared, struct list *takes)
{
    LIST_EACH(takes, node) {
        struct shared_take *take = LIST_ENTRY(node, struct shared_take, link);

        if (take->asking)
            redis_forget(shared->redis, &take->call);
        if (shared->own_shares)
            take->reservation = (struct reservation){0};
        drop_take(take);
    }
}

void shared_close(struct shared *shared, void (*closed)(void *data), void *data)
{
    shared->closed = closed;
    shared->closed_data = data;
    drop_takes(shared, &shared->asking);
    drop_takes(shared, &shared->holding);
    shared_peek_drop_all(shared);
    shared_settle_drop_all(shared);
    shared_story_end(shared);
    shared->news = NULL;
    for (int i = 0; i < SCRIPTS; i++)
        redis_forget(shared->redis, &shared->load[i]);
    uv_close((uv_handle_t *)&shared->timer, on_timer_closed);
    uv_close((uv_handle_t *)&shared->alarm, on_timer_closed);
    uv_close((uv_handle_t *)&shared->story.tick, on_timer_closed);
    redis_close(shared->redis, on_redis_closed, shared);
}
