/*
 * What is over is told to Redis behind the request's back: settlements wait in one list and are sent a window at a
 * time, so that those of a long absence do not keep decisions waiting when Redis is back. One whose reply did not come
 * is sent again; the script knows those it has seen.
 *
 *   waiting --> sent --> told
 *      ^         |--> Redis takes nothing for the moment (OOM, READONLY ...): all of them rest, and then one goes ahead
 *      |         `--> aside: Redis cannot take this one (a foreign value under our key), while others go on;
 *      `----------------'    after its tries it is dropped
 */
#include "admit/shared_private.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define SETTLEMENTS_MOST 4096
#define WINDOW 32
#define TRIES 4             /* of one that Redis cannot take */
#define ASIDE_MS 2000       /* between them */
#define REST_SHORTEST_MS 100
#define REST_LONGEST_MS 5000
#define REFUSALS_AWAITED 4
#define SECOND_US 1000000
#define DAY_S 86400

struct settlement {
    struct list link;
    struct redis_call call;
    struct shared *shared;
    enum shared_settling kind;
    char id[SHARED_ID_SIZE], lease[SHARED_ID_SIZE];     /* the same where a whole take is settled */
    struct shared_part parts[SCOPE_KINDS];
    unsigned count, tries;
    uint64_t due_ms;                                    /* aside until then */
    bool is_sent, told_script;
    int64_t taken_us;
    struct charge taken, actual;
};

static struct settlement *settlement_free(struct settlement *settlement)
{
    struct shared *shared = settlement->shared;

    if (settlement->is_sent)
        shared->in_flight--;
    shared->unsettled--;
    redis_forget(shared->redis, &settlement->call);
    list_remove(&settlement->link);
    return alloc_free(settlement);
}

/* --- as the script wants it --- */

static int64_t month_end_s(int64_t at_s)
{
    time_t seconds = (time_t)at_s;
    struct tm date;

    gmtime_r(&seconds, &date);
    date = (struct tm){.tm_year = date.tm_year, .tm_mon = date.tm_mon + 1, .tm_mday = 1};
    return timegm(&date);
}

static int64_t difference(uint64_t actual, uint64_t taken)
{
    if (actual >= taken)
        return (int64_t)(actual - taken < SHARED_MOST ? actual - taken : SHARED_MOST);
    return -(int64_t)(taken - actual < SHARED_MOST ? taken - actual : SHARED_MOST);
}

static void pack_move(struct buffer *out, uint64_t rate, uint64_t taken, uint64_t actual, int64_t behind_us)
{
    int64_t sign = actual < taken ? -1 : 1;
    struct span span = {0, 0};

    if (rate)
        span = span_of(actual < taken ? taken - actual : actual - taken, rate);
    pack_number(out, (int64_t)span_rate(rate));
    pack_number(out, sign * (int64_t)span.whole_us);
    pack_number(out, sign * (int64_t)span.rest);
    pack_number(out, behind_us);
}

static void pack_part(struct buffer *out, const struct settlement *settlement, const struct shared_part *part)
{
    struct config_quota quota = scope_quota(part->scope);
    const struct charge *taken = &settlement->taken, *actual = &settlement->actual;
    bool is_taken = settlement->kind != SETTLE_OWED;

    pack_move(out, is_taken ? quota.requests_per_minute : 0, taken->requests, actual->requests, part->behind_us[0]);
    pack_move(out, is_taken ? quota.tokens_per_minute : 0, taken->tokens, actual->tokens, part->behind_us[1]);
    pack_number(out, is_taken && !taken->placeless && quota.concurrent);
    pack_number(out, quota.tokens_per_day != 0);
    pack_number(out, quota.tokens_per_month != 0);
    pack_number(out, quota.money_per_day != 0);
    pack_number(out, quota.money_per_month != 0);
}

static void pack(struct buffer *out, const struct settlement *settlement)
{
    int64_t taken_s = settlement->taken_us / SECOND_US;

    buffer_clear(out, SIZE_MAX);
    pack_number(out, settlement->kind);
    pack_number(out, (taken_s / DAY_S + 1) * DAY_S * SECOND_US);
    pack_number(out, month_end_s(taken_s) * SECOND_US);
    pack_number(out, difference(settlement->actual.tokens, settlement->taken.tokens));
    pack_number(out, difference(settlement->actual.money, settlement->taken.money));
    for (unsigned i = 0; i < settlement->count; i++)
        pack_part(out, settlement, &settlement->parts[i]);
}

/* --- sending --- */

static void move_to(struct settlement *settlement, struct list *list)
{
    struct shared *shared = settlement->shared;
    bool is_sent = list == &shared->sent;

    list_remove(&settlement->link);
    list_append(list, &settlement->link);
    shared->in_flight += is_sent;
    shared->in_flight -= settlement->is_sent;
    settlement->is_sent = is_sent;
}

static int send_settlement(struct shared *shared, struct settlement *settlement)
{
    struct shared_words words;

    shared_words_init(shared, &words);
    shared_words_take(shared, &words, settlement->id);
    for (unsigned i = 0; i < settlement->count; i++)
        shared_words_scope(shared, &words, settlement->parts[i].scope);
    pack(&shared->numbers, settlement);
    return shared_run(shared, SCRIPT_SETTLE, &words,
                      (struct bytes[]){{settlement->lease, SHARED_ID_SIZE}, buffer_bytes(&shared->numbers)}, 2,
                      settlement->told_script, &settlement->call);
}

/* For the end of the rest, or of the first one's time aside. */
static void set_alarm(struct shared *shared)
{
    struct list *first = list_first(&shared->aside);
    uint64_t now_ms = clock_ms(), due_ms = shared->rest_until_ms;

    if (first && (due_ms == 0 || LIST_ENTRY(first, struct settlement, link)->due_ms < due_ms))
        due_ms = LIST_ENTRY(first, struct settlement, link)->due_ms;
    if (due_ms)
        uv_timer_start(&shared->alarm, shared_settle_alarm, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

static void rest(struct shared *shared)
{
    uint64_t pause_ms = (uint64_t)REST_SHORTEST_MS << (shared->refusals < 8 ? shared->refusals : 8);

    if (shared->rest_until_ms)
        return; /* sent before the rest began */
    shared->refusals++;
    shared->rest_until_ms = clock_ms() + (pause_ms < REST_LONGEST_MS ? pause_ms : REST_LONGEST_MS);
    set_alarm(shared);
}

static void put_aside(struct settlement *settlement, struct bytes why)
{
    struct shared *shared = settlement->shared;

    if (++settlement->tries == TRIES) {
        settlement_free(settlement);
        shared_story_dropped(shared, 1, why);
        return;
    }
    settlement->due_ms = clock_ms() + ASIDE_MS;
    move_to(settlement, &shared->aside);
    set_alarm(shared);
}

static void on_settled(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct settlement *settlement = LIST_ENTRY(call, struct settlement, call);
    struct shared *shared = settlement->shared;
    bool is_error = result == 0 && reply->kind == REDIS_ERROR;

    if (result) {
        move_to(settlement, &shared->waiting);
    } else if (is_error && shared_is_noscript(reply->text) && !settlement->told_script) {
        settlement->told_script = true;
        if (send_settlement(shared, settlement))
            move_to(settlement, &shared->waiting);
    } else if (is_error && shared_is_momentary(reply->text)) {
        move_to(settlement, &shared->waiting);
        rest(shared);
        shared_story_failed(shared, reply->text);
    } else if (reply->kind == REDIS_INTEGER) {
        settlement_free(settlement);
        shared_story_served(shared);
        if (shared->rest_until_ms == 0)
            shared_settle_resume(shared);
    } else {
        put_aside(settlement, is_error ? reply->text : BYTES("an unexpected reply"));
        shared_settle_go_on(shared);
    }
}

void shared_settle_go_on(struct shared *shared)
{
    struct list *first;
    unsigned most = shared->refusals ? 1 : WINDOW;

    while (shared->rest_until_ms == 0 && shared->in_flight < most && redis_is_ready(shared->redis) &&
           (first = list_first(&shared->waiting))) {
        struct settlement *settlement = LIST_ENTRY(first, struct settlement, link);

        if (send_settlement(shared, settlement))
            break;
        move_to(settlement, &shared->sent);
    }
}

void shared_settle_resume(struct shared *shared)
{
    shared->refusals = 0;
    shared->rest_until_ms = 0;
    shared_settle_go_on(shared);
}

void shared_settle_reconnect(struct shared *shared)
{
    shared->rest_until_ms = 0;
    shared_settle_go_on(shared);
}

void shared_settle_alarm(uv_timer_t *alarm)
{
    struct shared *shared = alarm->data;
    uint64_t now_ms = clock_ms();

    if (shared->rest_until_ms <= now_ms)
        shared->rest_until_ms = 0;
    LIST_EACH(&shared->aside, node) {
        struct settlement *settlement = LIST_ENTRY(node, struct settlement, link);

        if (settlement->due_ms > now_ms)
            break;
        move_to(settlement, &shared->waiting);
    }
    set_alarm(shared);
    shared_settle_go_on(shared);
}

bool shared_is_up(const struct shared *shared)
{
    return redis_is_ready(shared->redis) && shared->refusals < REFUSALS_AWAITED &&
           !(list_empty(&shared->waiting) && list_empty(&shared->sent));
}

uint32_t shared_unsettled(const struct shared *shared)
{
    return shared->unsettled;
}

/* --- keeping --- */

static void drop_oldest(struct shared *shared)
{
    struct list *first = list_first(&shared->aside);

    if (!first)
        first = list_first(&shared->waiting);
    if (!first)
        first = list_first(&shared->sent);
    settlement_free(LIST_ENTRY(first, struct settlement, link));
    shared_story_dropped(shared, 1, BYTES("too many were waiting"));
}

void shared_settle_add(struct shared *shared, enum shared_settling kind, const struct shared_take *take,
                       const struct charge *actual)
{
    struct settlement *settlement = ALLOC_NEW(struct settlement);

    if (shared->unsettled >= SETTLEMENTS_MOST)
        drop_oldest(shared);
    settlement->shared = shared;
    settlement->kind = kind;
    settlement->call.done = on_settled;
    list_init(&settlement->call.link);
    memcpy(settlement->id, take->id, SHARED_ID_SIZE);
    memcpy(settlement->lease, take->id, SHARED_ID_SIZE);
    if (kind == SETTLE_OWED || kind == SETTLE_LEFT)
        shared_new_id(shared, settlement->id);
    memcpy(settlement->parts, take->parts, sizeof(settlement->parts));
    settlement->count = take->count;
    settlement->taken_us = take->redis_us;
    settlement->actual = *actual;
    if (kind != SETTLE_OWED)
        settlement->taken = take->taken;
    if (kind == SETTLE_TAKEN)
        settlement->actual.requests = take->taken.requests;
    list_append(&shared->waiting, &settlement->link);
    shared->unsettled++;
    shared_settle_go_on(shared);
}

void shared_settle_drop_all(struct shared *shared)
{
    struct list *const lists[] = {&shared->waiting, &shared->sent, &shared->aside};

    if (shared->unsettled)
        shared_story_dropped(shared, shared->unsettled, BYTES("the gateway ends"));
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        LIST_EACH(lists[i], node) {
            settlement_free(LIST_ENTRY(node, struct settlement, link));
        }
}

/* --- renewals --- */

struct renewal {
    struct shared_words words;
    struct bytes arguments[1 + SHARED_KEYS_MAX];
};

static void renewal_send(struct shared *shared, struct renewal *renewal)
{
    if (renewal->words.count)
        shared_run(shared, SCRIPT_RENEW, &renewal->words, renewal->arguments, 1 + renewal->words.count, false, NULL);
    shared_words_init(shared, &renewal->words);
}

static void renewal_add(struct shared *shared, struct renewal *renewal, const struct shared_take *take)
{
    for (unsigned i = 0; i < take->count; i++) {
        if (scope_quota(take->parts[i].scope).concurrent == 0)
            continue;
        if (renewal->words.count == SHARED_KEYS_MAX)
            renewal_send(shared, renewal);
        renewal->arguments[1 + renewal->words.count] = (struct bytes){take->id, SHARED_ID_SIZE};
        shared_words_leases(shared, &renewal->words, take->parts[i].scope);
    }
}

void shared_renew(struct shared *shared)
{
    struct renewal renewal;
    char lease[16];

    if (list_empty(&shared->holding) || !redis_is_ready(shared->redis))
        return;
    snprintf(lease, sizeof(lease), "%u000", shared->config.lease_ms);
    renewal.arguments[0] = bytes_of(lease);
    shared_words_init(shared, &renewal.words);
    LIST_EACH(&shared->holding, node) {
        struct shared_take *take = LIST_ENTRY(node, struct shared_take, link);

        if (take->leased && !take->taken.placeless)
            renewal_add(shared, &renewal, take);
    }
    renewal_send(shared, &renewal);
}
