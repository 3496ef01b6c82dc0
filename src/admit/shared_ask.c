/*
 * A script is run by its name (EVALSHA), which Redis says itself when it is told the text (SCRIPT LOAD, once per
 * connection, ahead of all else). Until its name is known, and for who was told NOSCRIPT, the text goes along.
 */
#include "admit/shared_private.h"

#include <stdio.h>

#define SHA_SIZE 40

/* --- keys --- */

void shared_words_init(struct shared *shared, struct shared_words *words)
{
    words->count = 0;
    buffer_clear(&shared->keys, 1 << 16);
}

static void word_ends(struct shared *shared, struct shared_words *words)
{
    words->ends[words->count++] = shared->keys.size;
}

void shared_words_take(struct shared *shared, struct shared_words *words, const char id[SHARED_ID_SIZE])
{
    buffer_append(&shared->keys, shared->config.prefix);
    buffer_append(&shared->keys, BYTES(":{q}t:"));
    buffer_append(&shared->keys, (struct bytes){id, SHARED_ID_SIZE});
    word_ends(shared, words);
}

static void add_scope(struct shared *shared, struct shared_words *words, struct bytes mark, const struct scope *scope)
{
    buffer_append(&shared->keys, shared->config.prefix);
    buffer_append(&shared->keys, mark);
    buffer_append_text(&shared->keys, scope_kind_name(scope_kind(scope)));
    buffer_append_char(&shared->keys, ':');
    buffer_append(&shared->keys, scope_name(scope));
    word_ends(shared, words);
}

void shared_words_leases(struct shared *shared, struct shared_words *words, const struct scope *scope)
{
    add_scope(shared, words, BYTES(":{q}c:"), scope);
}

void shared_words_scope(struct shared *shared, struct shared_words *words, const struct scope *scope)
{
    add_scope(shared, words, BYTES(":{q}:"), scope);
    shared_words_leases(shared, words, scope);
}

/* --- what is wanted --- */

static void pack_rate(struct buffer *out, uint64_t rate, uint64_t burst, uint64_t amount)
{
    struct span cost = {0, 0}, most = {0, 0};

    if (rate) {
        cost = span_of(amount, rate);
        most = span_of(burst, rate);
    }
    pack_number(out, (int64_t)span_rate(rate));
    pack_number(out, (int64_t)cost.whole_us);
    pack_number(out, (int64_t)cost.rest);
    pack_number(out, (int64_t)most.whole_us);
    pack_number(out, (int64_t)most.rest);
}

static void pack_amount(struct buffer *out, uint64_t amount)
{
    pack_number(out, (int64_t)(amount < SHARED_MOST ? amount : SHARED_MOST));
}

void shared_pack_take(struct buffer *out, const struct shared_take *take)
{
    buffer_clear(out, SIZE_MAX);
    pack_number(out, (int64_t)take->shared->config.lease_ms * 1000);
    pack_amount(out, take->taken.tokens);
    pack_amount(out, take->taken.money);
    for (unsigned i = 0; i < take->count; i++) {
        struct config_quota quota = scope_quota(take->parts[i].scope);

        pack_rate(out, quota.requests_per_minute, quota.requests_burst, take->taken.requests);
        pack_rate(out, quota.tokens_per_minute, quota.tokens_burst, take->taken.tokens);
        pack_amount(out, take->taken.placeless ? 0 : quota.concurrent);
        pack_amount(out, quota.tokens_per_day);
        pack_amount(out, quota.tokens_per_month);
        pack_amount(out, quota.money_per_day);
        pack_amount(out, quota.money_per_month);
    }
}

/* --- running --- */

int shared_run(struct shared *shared, enum shared_script script, const struct shared_words *words,
               const struct bytes *arguments, unsigned count, bool in_full, struct redis_call *call)
{
    struct bytes all[3 + SHARED_KEYS_MAX + SHARED_KEYS_MAX + 1];
    bool by_name = shared->has_sha[script] && !in_full;
    unsigned at = 3;
    size_t begin = 0;
    char number[8];

    all[0] = by_name ? BYTES("EVALSHA") : BYTES("EVAL");
    all[1] = by_name ? (struct bytes){shared->sha[script], SHA_SIZE} : shared_script_text(script);
    all[2] = (struct bytes){number, (size_t)snprintf(number, sizeof(number), "%u", words->count)};
    for (unsigned i = 0; i < words->count; i++) {
        all[at++] = (struct bytes){shared->keys.data + begin, words->ends[i] - begin};
        begin = words->ends[i];
    }
    for (unsigned i = 0; i < count; i++)
        all[at++] = arguments[i];
    return redis_ask(shared->redis, all, at, call);
}

bool shared_is_noscript(struct bytes error)
{
    return bytes_start_with(error, BYTES("NOSCRIPT"));
}

static bool has(struct bytes text, struct bytes words)
{
    return bytes_find(text, words) < text.size;
}

static bool is_capital(struct bytes text, size_t at)
{
    return at < text.size && text.data[at] >= 'A' && text.data[at] <= 'Z';
}

/* Errors of scripts begin with ERR, and before Redis 7 those of their commands too, with the code further on. A code
 * that is none of these is not the script's own: a server's state. */
bool shared_is_momentary(struct bytes error)
{
    static const char *const codes[] = {
        "OOM ", "NOREPLICAS ", "MISCONF ", "READONLY ", "LOADING ", "BUSY ", "MASTERDOWN ", "CLUSTERDOWN ",
        "TRYAGAIN ", "NOAUTH ", "NOPERM ", "max number of clients", "executing the script can't",
        "ACL failure in script",
    };

    if (!bytes_start_with(error, BYTES("ERR")))
        return is_capital(error, 0) && is_capital(error, 1) && !shared_is_wrong_type(error);
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (has(error, bytes_of(codes[i])))
            return true;
    return false;
}

bool shared_is_wrong_type(struct bytes error)
{
    return has(error, BYTES("WRONGTYPE "));
}

/* --- loading --- */

static void on_loaded(struct shared *shared, enum shared_script script, int result, const struct redis_reply *reply)
{
    if (result || reply->kind != REDIS_TEXT || reply->text.size != SHA_SIZE)
        return;
    memcpy(shared->sha[script], reply->text.data, SHA_SIZE);
    shared->has_sha[script] = true;
}

static void on_take_loaded(struct redis_call *call, int result, const struct redis_reply *reply)
{
    on_loaded(LIST_ENTRY(call, struct shared, load[SCRIPT_TAKE]), SCRIPT_TAKE, result, reply);
}

static void on_settle_loaded(struct redis_call *call, int result, const struct redis_reply *reply)
{
    on_loaded(LIST_ENTRY(call, struct shared, load[SCRIPT_SETTLE]), SCRIPT_SETTLE, result, reply);
}

static void on_renew_loaded(struct redis_call *call, int result, const struct redis_reply *reply)
{
    on_loaded(LIST_ENTRY(call, struct shared, load[SCRIPT_RENEW]), SCRIPT_RENEW, result, reply);
}

static void on_peek_loaded(struct redis_call *call, int result, const struct redis_reply *reply)
{
    on_loaded(LIST_ENTRY(call, struct shared, load[SCRIPT_PEEK]), SCRIPT_PEEK, result, reply);
}

void shared_load(struct shared *shared)
{
    static void (*const loaded[SCRIPTS])(struct redis_call *, int, const struct redis_reply *) = {
        [SCRIPT_TAKE] = on_take_loaded,
        [SCRIPT_SETTLE] = on_settle_loaded,
        [SCRIPT_RENEW] = on_renew_loaded,
        [SCRIPT_PEEK] = on_peek_loaded,
    };

    for (int i = 0; i < SCRIPTS; i++) {
        struct redis_call *call = &shared->load[i];

        if (call->link.next && !list_empty(&call->link))
            continue;
        *call = (struct redis_call){.done = loaded[i]};
        list_init(&call->link);
        redis_ask(shared->redis,
                  (struct bytes[]){BYTES("SCRIPT"), BYTES("LOAD"), shared_script_text((enum shared_script)i)}, 3, call);
    }
}
