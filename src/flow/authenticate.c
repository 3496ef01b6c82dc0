/*
 * Who asks? A key is looked up by its digest; missing, unknown, wrong and expired ones get one answer. With no keys
 * configured everybody may ask (the configuration has seen to it that only this machine can). Health is never asked
 * for a key, and the administration's listener is not either.
 */
#include "flow/exchange.h"

#include "admit/guard.h"
#include "base/clock.h"

/* The present keyring: workers look at its number on each request, and take the lock when it has changed. */
static void refresh_keyring(struct flow *flow)
{
    struct flow_shared *shared = flow->shared;
    unsigned number = atomic_load_explicit(&shared->keyring_number, memory_order_acquire);

    if (number == flow->keyring_number)
        return;
    uv_mutex_lock(&shared->keyring_lock);
    keyring_unref(flow->keyring);
    flow->keyring = shared->keyring ? keyring_ref(shared->keyring) : NULL;
    flow->keyring_number = number;
    uv_mutex_unlock(&shared->keyring_lock);
}

static enum verdict refuse_key(struct exchange *x, bool shown)
{
    return exchange_refuse_text(x, FAIL_NO_KEY,
                                shown ? "Incorrect API key provided. Check it, or ask whoever runs this gateway."
                                      : "You didn't provide an API key. Send 'Authorization: Bearer YOUR_KEY'.");
}

static enum verdict refuse_guess(struct exchange *x, uint32_t wait_ms)
{
    struct failure failure = {
        .kind = FAIL_RATE_LIMITED,
        .message = BYTES("Too many wrong API keys came from your address. Please wait, and check the key."),
        .retry_after_ms = wait_ms,
    };

    return exchange_refuse(x, &failure);
}

static bool is_open(const struct exchange *x)
{
    return x->flow->admin || x->body_failed ||
           (x->endpoint && (x->endpoint->kind == ENDPOINT_HEALTH || x->endpoint->kind == ENDPOINT_READY));
}

static bool is_good(const struct config_key *key)
{
    return key && (!key->expires_s || clock_wall_s() < key->expires_s);
}

bool authenticate_again(struct flow *flow, const uint8_t digest[DIGEST_SIZE])
{
    refresh_keyring(flow);
    return is_good(keyring_find(flow->keyring, digest));
}

enum verdict authenticate_step(struct exchange *x)
{
    struct flow *flow = x->flow;
    uint64_t now = clock_ms();
    uint8_t digest[DIGEST_SIZE];
    const struct config_key *key;
    uint32_t wait_ms;

    refresh_keyring(flow);
    if (!flow->keyring || is_open(x))
        return STEP_NEXT;
    if (x->credential.size == 0)
        return refuse_key(x, false);
    digest_begin(flow->plain);
    digest_add(flow->plain, x->credential);
    digest_end(flow->plain, digest);
    key = keyring_find(flow->keyring, digest);
    /* Whoever guesses waits; a good key is not held back by who guessed from the same address. */
    wait_ms = guard_wait_ms(flow->shared->guard, x->peer, now);
    if (!key && wait_ms)
        return refuse_guess(x, wait_ms);
    if (!key)
        guard_failed(flow->shared->guard, x->peer, now);
    if (!is_good(key))
        return refuse_key(x, true);
    x->keyring = keyring_ref(flow->keyring);
    x->keyring_number = flow->keyring_number;
    x->key = key;
    return STEP_NEXT;
}

static bool is_listed(const struct config_key *key, struct bytes name)
{
    for (uint32_t i = 0; i < key->model_count; i++)
        if (bytes_equal(key->models[i], name))
            return true;
    return false;
}

/* Named by the model itself, by the name that was asked, or by its variant. A key for a base model may not steer it
 * by a variant that is not listed. */
bool may_ask_model(const struct exchange *x, struct bytes asked, struct bytes model, struct bytes variant)
{
    if (!x->key || x->key->model_count == 0 || is_listed(x->key, asked))
        return true;
    return is_listed(x->key, variant.size ? variant : model);
}

uint32_t keep_allowed(const struct exchange *x, struct route_name *names, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct bytes name = names[i].name, model = names[i].parent.size ? names[i].parent : name;
        bool variant = config_find_variant(x->flow->config, name) != NULL;

        if (may_ask_model(x, name, model, variant ? name : BYTES_NONE))
            names[kept++] = names[i];
    }
    return kept;
}
