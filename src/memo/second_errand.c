/*
 * Whatever is written is an errand: a command whose reply decides what is known. A new stamp of ours counts once Redis
 * has taken it; a model without a stamp learns it (SET NX, then GET: ours, or that of whoever was faster), and an
 * answer that is to be stored waits for that.
 */
#include "memo/second_private.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"

#include <errno.h>
#include <stdio.h>

/* A stamp outlives every answer (whose time to live is below 2^32 ms), and stores put its end off. */
#define STAMP_MS "5184000000"
#define STAMP_RENEW_MS (3600u * 1000)

#define KEEP_BYTES (256u << 10) /* of the buffer that answers are written into */

enum errand_kind { ERRAND_ANSWER, ERRAND_VOID, ERRAND_LEARN, ERRAND_KINDS };

struct errand {
    struct list link;
    struct redis_call call;
    struct second *second;
    enum errand_kind kind;
    struct memo_model *model;
    uint64_t stamp;             /* VOID: the new one; LEARN: the one known when it began */

    /* ANSWER, and LEARN that has one to write afterwards. */
    uint8_t key[DIGEST_SIZE];
    struct memo_ticket ticket;

    /* LEARN: the answer to be written afterwards, or none. */
    struct transcript *transcript;
    uint8_t tenant[DIGEST_SIZE];
    uint32_t ttl_ms;
};

/* An answer on its way to be written. */
struct parcel {
    const uint8_t *key, *tenant;
    struct memo_model *model;
    struct transcript *transcript;
    uint32_t ttl_ms;
    struct memo_ticket ticket;
};

static uint64_t new_stamp(void)
{
    uint64_t stamp;

    do
        stamp = random_u64();
    while (stamp == 0);
    return stamp;
}

static struct bytes stamp_text(uint64_t stamp, char text[STAMP_DIGITS + 1])
{
    snprintf(text, STAMP_DIGITS + 1, "%016llx", (unsigned long long)stamp);
    return (struct bytes){text, STAMP_DIGITS};
}

static void on_errand(struct redis_call *call, int result, const struct redis_reply *reply);

static struct errand *errand_new(struct second *second, enum errand_kind kind, struct memo_model *model, uint64_t stamp)
{
    struct errand *errand = ALLOC_NEW(struct errand);

    errand->second = second;
    errand->kind = kind;
    errand->model = model;
    errand->stamp = stamp;
    errand->call.done = on_errand;
    list_init(&errand->call.link);
    list_append(&second->errands, &errand->link);
    return errand;
}

static struct errand *errand_free(struct errand *errand)
{
    list_remove(&errand->link);
    transcript_unref(errand->transcript);
    return alloc_free(errand);
}

/* The last one of KIND for MODEL whose reply is not there yet. */
static struct errand *errand_under_way(struct second *second, enum errand_kind kind, struct memo_model *model)
{
    struct errand *found = NULL;

    LIST_EACH(&second->errands, node) {
        struct errand *errand = LIST_ENTRY(node, struct errand, link);

        if (errand->kind == kind && errand->model == model)
            found = errand;
    }
    return found;
}

static void tell_store_failed(struct second *second, int result, const struct redis_reply *reply)
{
    struct bytes text = result == REDIS_E_AWAY      ? BYTES("the link is away")
                        : result == REDIS_E_FULL    ? BYTES("too much is waiting")
                        : result == REDIS_E_LOST    ? BYTES("the connection was lost")
                        : result == REDIS_E_TIMEOUT ? BYTES("the deadline passed")
                                                    : BYTES("an unexpected reply");

    second_tell(second, SECOND_STORE_FAILED, reply && reply->kind == REDIS_ERROR ? reply->text : text);
}

uint64_t second_void_again(struct second *second, struct memo_model *model)
{
    struct errand *errand = errand_under_way(second, ERRAND_VOID, model);

    if (!errand) {
        second_void(second, model);
        errand = errand_under_way(second, ERRAND_VOID, model);
    }
    return errand ? errand->stamp : 0;
}

bool second_adopt(struct second *second, struct memo_model *model, uint64_t there, uint64_t known)
{
    uint64_t now;

    if (memo_model_stamp_is_old(model)) {
        second_void_again(second, model);
        return false;
    }
    now = memo_model_stamp(model);
    if (now == there)
        return true;
    if (now != known)   /* It moved meanwhile, and which of the two is younger cannot be said. */
        return false;
    memo_model_set_stamp(second->memo, model, there);
    return true;
}

/* Make a stamp unless there is one, and learn which it is. */
static int learn(struct second *second, struct errand *errand)
{
    struct bytes name = second_model(second, errand->model)->key;
    char text[STAMP_DIGITS + 1];
    const struct bytes make[] = {
        BYTES("SET"), name, stamp_text(new_stamp(), text), BYTES("PX"), BYTES(STAMP_MS), BYTES("NX"),
    };
    int r = redis_ask(second->redis, make, ARRAY_SIZE(make), NULL);

    return r ? r : second_get(second, name, &errand->call);
}

void second_learn(struct second *second, struct memo_model *model)
{
    struct errand *errand;

    if (errand_under_way(second, ERRAND_LEARN, model))
        return;
    errand = errand_new(second, ERRAND_LEARN, model, memo_model_stamp(model));
    if (learn(second, errand))
        errand_free(errand);
}

static void write_answer(struct second *second, const struct stored_label *label, const struct parcel *parcel)
{
    struct errand *errand;
    char ttl[16];
    int r;

    buffer_clear(&second->value, KEEP_BYTES);
    r = stored_write(second->digest, label, parcel->transcript, second->config.value_bytes, &second->value);
    if (r == -E2BIG)
        return;
    if (r < 0) {
        second_tell(second, SECOND_STORE_FAILED, BYTES("not an answer that can be written"));
        return;
    }
    snprintf(ttl, sizeof(ttl), "%u", parcel->ttl_ms);
    errand = errand_new(second, ERRAND_ANSWER, parcel->model, label->stamp);
    memcpy(errand->key, parcel->key, DIGEST_SIZE);
    errand->ticket = parcel->ticket;
    r = redis_ask(second->redis, (struct bytes[]){BYTES("SET"), second_answer_name(second, label->key),
                                                  buffer_bytes(&second->value), BYTES("PX"), bytes_of(ttl)},
                  5, &errand->call);
    if (r) {
        errand_free(errand);
        tell_store_failed(second, r, NULL);
    }
}

static void store_under(struct second *second, uint64_t stamp, const struct parcel *parcel)
{
    uint64_t made_ms = transcript_facts(parcel->transcript).made_ms;
    uint64_t age_ms = made_ms ? clock_ms() - made_ms : 0;
    struct stored_label label = {parcel->key, parcel->tenant, stamp, clock_wall_ms() - age_ms};

    if (memo_ticket_holds(second->memo, parcel->model, parcel->key, parcel->ticket))
        write_answer(second, &label, parcel);
}

/* --- what comes of errands --- */

/* What was purged while it was on its way is taken away again. */
static void answer_written(struct errand *errand, int result, const struct redis_reply *reply)
{
    struct second *second = errand->second;

    if (!memo_ticket_holds(second->memo, errand->model, errand->key, errand->ticket))
        second_purge_key(second, errand->key);
    if (result == 0 && reply->kind == REDIS_STATUS)
        second_tell(second, SECOND_STORED, BYTES_NONE);
    else
        tell_store_failed(second, result, reply);
}

/* Ours holds now, unless a younger one is on its way. */
static void stamp_written(struct errand *errand, int result, const struct redis_reply *reply)
{
    struct second *second = errand->second;
    struct errand *last = errand_under_way(second, ERRAND_VOID, errand->model);

    if (result || reply->kind != REDIS_STATUS)
        tell_store_failed(second, result, reply);
    else if (last == errand)
        memo_model_set_stamp(second->memo, errand->model, errand->stamp);
}

static void stamp_learned(struct errand *errand, int result, const struct redis_reply *reply)
{
    struct second *second = errand->second;
    uint64_t there = result == 0 && reply->kind == REDIS_TEXT ? second_stamp_of(reply->text) : 0;

    if (there && second_adopt(second, errand->model, there, errand->stamp)) {
        if (errand->transcript)
            store_under(second, there, &(struct parcel){errand->key, errand->tenant, errand->model,
                                                        errand->transcript, errand->ttl_ms, errand->ticket});
    } else if (errand->transcript) {
        tell_store_failed(second, result, reply);
    }
}

static void on_errand(struct redis_call *call, int result, const struct redis_reply *reply)
{
    static void (*const ends[ERRAND_KINDS])(struct errand *, int, const struct redis_reply *) = {
        [ERRAND_ANSWER] = answer_written,
        [ERRAND_VOID] = stamp_written,
        [ERRAND_LEARN] = stamp_learned,
    };
    struct errand *errand = LIST_ENTRY(call, struct errand, call);

    ends[errand->kind](errand, result, reply);
    errand_free(errand);
}

/* --- storing and voiding --- */

static void renew_stamp(struct second *second, struct known_model *known)
{
    uint64_t now = clock_ms();

    if (known->renewed_ms && now - known->renewed_ms < STAMP_RENEW_MS)
        return;
    if (redis_ask(second->redis, (struct bytes[]){BYTES("PEXPIRE"), known->key, BYTES(STAMP_MS)}, 3, NULL) == 0)
        known->renewed_ms = now;
}

/* No stamp is known, or it was lost there: the answer is written once one is. */
static void store_later(struct second *second, const struct parcel *parcel)
{
    struct errand *errand = errand_new(second, ERRAND_LEARN, parcel->model, memo_model_stamp(parcel->model));
    int r;

    errand->transcript = transcript_ref(parcel->transcript);
    memcpy(errand->key, parcel->key, DIGEST_SIZE);
    memcpy(errand->tenant, parcel->tenant, DIGEST_SIZE);
    errand->ttl_ms = parcel->ttl_ms;
    errand->ticket = parcel->ticket;
    r = learn(second, errand);
    if (r) {
        errand_free(errand);
        tell_store_failed(second, r, NULL);
    }
}

void second_store(struct second *second, const uint8_t key[DIGEST_SIZE], const uint8_t tenant[DIGEST_SIZE],
                  struct memo_model *model, struct transcript *transcript, uint32_t ttl_ms, struct memo_ticket ticket)
{
    const struct parcel parcel = {key, tenant, model, transcript, ttl_ms, ticket};
    uint64_t stamp = memo_model_stamp(model);

    if (transcript_facts(transcript).recalled || ttl_ms == 0)
        return;
    if (!redis_is_ready(second->redis)) {
        tell_store_failed(second, REDIS_E_AWAY, NULL);
        return;
    }
    if (memo_model_stamp_is_old(model) || errand_under_way(second, ERRAND_VOID, model)) {
        stamp = second_void_again(second, model);
        if (stamp == 0)
            return;
    } else if (stamp == 0 || errand_under_way(second, ERRAND_LEARN, model)) {
        store_later(second, &parcel);
        return;
    }
    renew_stamp(second, second_model(second, model));
    store_under(second, stamp, &parcel);
}

void second_void(struct second *second, struct memo_model *model)
{
    struct known_model *known = second_model(second, model);
    struct errand *errand = errand_new(second, ERRAND_VOID, model, memo_model_next_stamp(model, new_stamp()));
    char text[STAMP_DIGITS + 1];
    const struct bytes set[] = {
        BYTES("SET"), known->key, stamp_text(errand->stamp, text), BYTES("PX"), BYTES(STAMP_MS),
    };
    int r = redis_ask(second->redis, set, ARRAY_SIZE(set), &errand->call);

    if (r) {
        errand_free(errand);
        tell_store_failed(second, r, NULL);
        return;
    }
    known->renewed_ms = clock_ms();
}

void second_purge_key(struct second *second, const uint8_t key[DIGEST_SIZE])
{
    redis_ask(second->redis, (struct bytes[]){BYTES("DEL"), second_answer_name(second, key)}, 2, NULL);
}

void second_drop_errands(struct second *second)
{
    LIST_EACH(&second->errands, node) {
        struct errand *errand = LIST_ENTRY(node, struct errand, link);

        redis_forget(second->redis, &errand->call);
        errand_free(errand);
    }
}
