/*
 * Each candidate's draft is settled as if it were to be sent, so that the key sees what the backend would see: the
 * configuration's parameters, the seed in its range, the limit under one name. Then goes in, per candidate, who it is,
 * and, once per distinct draft, what it would be asked. Candidates go in by name: one that rests for a while, and so is
 * asked last, does not make the question another one.
 */
#include "dialect/backend_key_private.h"

#include "chat/steering.h"

/* To be raised with any change of what goes in, and how. */
#define KEY_VERSION "embergate key 1"

/* Candidates that are asked the same in the same words. */
struct draft_group {
    const struct backend_ask *ask;
    bool refused;
    bool seedless;                  /* repeatable without a seed */
    enum repeat_reason seeded;      /* what its seed would be good for */
    uint32_t number;                /* among those that went in */
};

struct key {
    struct digest *digest;
    bool always;                    /* repeatable or not */
    struct draft_group *groups;
    uint32_t group_count;
    uint32_t candidates, questions; /* that went in */
    struct key_parts *parts;        /* where it is told; or NULL */
};

/* --- who --- */

static void add_identity(struct key *key, const struct backend_draft *draft)
{
    const struct backend_ask *ask = draft->ask;
    const struct config_backend *backend = ask->backend;
    struct bytes model = backend_draft_model(draft);

    digest_add_text(key->digest, bytes_of(config_kind_name(ask->kind)));
    digest_add_text(key->digest, backend->name);
    digest_add_text(key->digest, backend->host);
    digest_add_text(key->digest, backend->unix_path);
    digest_add_text(key->digest, backend->root);
    digest_add_u64(key->digest, (uint64_t)backend->port << 2 | (uint64_t)backend->tls << 1 | backend->versionless);
    digest_add_text(key->digest, model.size ? model : ask->request->model);
}

/* --- how it is steered --- */

static void add_canonical(struct digest *digest, const struct json_doc *doc, const struct json_node *controller,
                          struct arena *arena)
{
    struct buffer text;

    if (steering_controller_empty(doc, controller))
        return;
    buffer_init(&text);
    steering_controller_canonical(doc, controller, arena, &text);
    digest_add_byte(digest, 'c');
    digest_add_text(digest, buffer_bytes(&text));
    buffer_deinit(&text);
}

/* The client's own controller is parsed already; a variant's is not. */
static enum repeat_reason add_controller(struct digest *digest, const struct backend_ask *ask, struct bytes controller)
{
    const struct json_node *own = chat_field(ask->request, FIELD_CONTROLLER);
    enum repeat_reason reason = REPEAT_YES;
    struct json_doc doc;

    if (own && json_raw(ask->request->doc, own).data == controller.data) {
        add_canonical(digest, ask->request->doc, own, ask->arena);
        return REPEAT_YES;
    }
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(&doc, controller) != 0) {
        digest_add_byte(digest, 'x');
        digest_add_text(digest, controller);
    } else if (repeat_event_named(&doc, json_root(&doc))) {
        reason = REPEAT_EVENT_NAME;
    } else {
        add_canonical(digest, &doc, json_root(&doc), ask->arena);
    }
    json_doc_deinit(&doc);
    return reason;
}

enum repeat_reason key_add_steering(struct digest *digest, const struct backend_draft *draft)
{
    const struct chat_steering *steering = draft->ask->steering;
    bool shown = draft->quirks->steering == STEER_SHOWN;

    if (!steering)
        return REPEAT_YES;
    if (shown && steering->lora.size) {
        digest_add_byte(digest, 'l');
        json_digest_json(digest, steering->lora, draft->ask->arena);
    }
    if (shown && steering->adapter.size) {
        digest_add_byte(digest, 'a');
        digest_add_text(digest, steering->adapter);
    }
    if (steering->controller.size && (shown || draft->quirks->steering == STEER_CONTROLLER))
        return add_controller(digest, draft->ask, steering->controller);
    return REPEAT_YES;
}

/* --- what --- */

/* Of a Goodfire server's logits each door gets what it is used to. */
static void add_door(struct key *key, const struct backend_draft *draft)
{
    if (draft->request->operation == CHAT_LOGITS && draft->quirks->goodfire_shape)
        digest_add_u64(key->digest, draft->ask->client);
}

static enum repeat_reason add_question(struct key *key, const struct backend_draft *draft)
{
    enum repeat_reason reason;

    digest_add_byte(key->digest, 'Q');
    add_door(key, draft);
    key_add_messages(key->digest, draft);
    reason = key_add_steering(key->digest, draft);
    if (reason == REPEAT_YES)
        key_add_fields(key->digest, draft);
    if (reason == REPEAT_YES && key->parts)
        key_parts_question(key->parts, draft);
    return reason;
}

/* --- the candidates --- */

static bool same_params(const struct config_params *a, const struct config_params *b)
{
    return a == b || ((!a || a->count == 0) && (!b || b->count == 0));
}

static bool same_steering(const struct chat_steering *a, const struct chat_steering *b)
{
    static const struct chat_steering none;

    a = a ? a : &none;
    b = b ? b : &none;
    return bytes_equal(a->controller, b->controller) && bytes_equal(a->lora, b->lora) &&
           bytes_equal(a->adapter, b->adapter);
}

static struct draft_group *find_group(const struct key *key, const struct backend_ask *ask)
{
    for (uint32_t i = 0; i < key->group_count; i++) {
        const struct backend_ask *first = key->groups[i].ask;

        if (first->kind == ask->kind && same_steering(first->steering, ask->steering) &&
            same_params(first->defaults, ask->defaults) && same_params(first->fixed, ask->fixed))
            return &key->groups[i];
    }
    return NULL;
}

/* 0, or -EINVAL when this backend cannot be asked this. Logits are asked in requests that hold the prompt alone. */
static int settle(struct backend_draft *draft)
{
    return draft->request->operation == CHAT_LOGITS ? backend_draft_prompt(draft) : backend_draft_settle(draft);
}

/* A server whose kind was found out by asking has no word in the configuration about its seeds. */
static bool honours_seeds(const struct backend_ask *ask)
{
    return ask->backend->seeds && !(ask->backend->kind == KIND_AUTO && ask->kind == KIND_SGLANG);
}

static enum repeat_reason allowed(const struct key *key, const struct draft_group *group, bool seeds)
{
    if (group->refused)
        return REPEAT_UNASKABLE;
    if (key->always || group->seedless)
        return REPEAT_YES;
    return seeds || group->seeded != REPEAT_YES ? group->seeded : REPEAT_SEED_UNUSABLE;
}

static struct draft_group *add_group(struct key *key, struct backend_draft *draft)
{
    struct draft_group *group = &key->groups[key->group_count++];

    *group = (struct draft_group){.ask = draft->ask, .refused = settle(draft) < 0, .number = key->questions};
    if (!group->refused) {
        group->seedless = draft->request->operation == CHAT_LOGITS || repeat_greedy(draft) || repeat_cold(draft);
        group->seeded = repeat_seeded(draft);
    }
    return group;
}

/* REPEAT_YES: it went in. REPEAT_UNASKABLE: it stays out. Anything else ends the matter. */
static enum repeat_reason add_candidate(struct key *key, const struct backend_ask *ask)
{
    struct draft_group *group = find_group(key, ask);
    bool new = group == NULL;
    enum repeat_reason reason;
    struct backend_draft draft;
    struct failure failure;

    backend_draft_init(&draft, ask, &failure);
    if (new)
        group = add_group(key, &draft);
    reason = allowed(key, group, honours_seeds(ask));
    if (reason != REPEAT_YES)
        return reason;
    digest_add_byte(key->digest, 'C');
    add_identity(key, &draft);
    digest_add_u64(key->digest, group->number);
    if (key->parts)
        key_parts_candidate(key->parts, &draft, group->number);
    key->candidates++;
    if (!new)
        return REPEAT_YES;
    key->questions++;
    return add_question(key, &draft);
}

/* The candidates in the order of their names. */
static const struct backend_ask **by_name(const struct backend_ask *asks, uint32_t count)
{
    const struct backend_ask **sorted = arena_alloc(asks->arena, count * sizeof(*sorted));

    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;

        for (; at > 0 && key_order(sorted[at - 1]->backend->name, asks[i].backend->name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = &asks[i];
    }
    return sorted;
}

static enum repeat_reason add_candidates(struct key *key, const struct backend_ask *asks, uint32_t count)
{
    const struct backend_ask **sorted = by_name(asks, count);
    enum repeat_reason reason;

    for (uint32_t i = 0; i < count; i++) {
        reason = add_candidate(key, sorted[i]);
        if (reason != REPEAT_YES && reason != REPEAT_UNASKABLE)
            return reason;
    }
    return key->candidates ? REPEAT_YES : REPEAT_UNASKABLE;
}

static enum repeat_reason make(struct key *key, const struct backend_ask *asks, uint32_t count,
                               const uint8_t scope[DIGEST_SIZE], uint8_t ret_key[DIGEST_SIZE])
{
    enum repeat_reason reason;

    key->groups = arena_alloc(asks->arena, count * sizeof(*key->groups));
    digest_begin(key->digest);
    digest_add_text(key->digest, BYTES(KEY_VERSION));
    digest_add_byte(key->digest, asks->request->operation == CHAT_LOGITS ? 'L' : 'A');
    digest_add(key->digest, (struct bytes){(const char *)scope, DIGEST_SIZE});
    if (key->parts)
        key_parts_begin(key->parts, KEY_VERSION, asks->request->operation, scope);
    reason = add_candidates(key, asks, count);
    if (key->parts)
        key_parts_end(key->parts);
    if (reason == REPEAT_YES)
        digest_end(key->digest, ret_key);
    return reason;
}

enum repeat_reason backend_key_told(const struct backend_ask *asks, uint32_t count, enum config_cache_when when,
                                    const uint8_t scope[DIGEST_SIZE], struct digest *digest, struct key_parts *parts,
                                    uint8_t ret_key[DIGEST_SIZE])
{
    struct key key = {.digest = digest, .always = when == CACHE_ALWAYS, .parts = parts};
    enum repeat_reason reason;

    if (when == CACHE_NEVER)
        return REPEAT_POLICY;
    if (count == 0)
        return REPEAT_UNASKABLE;
    reason = repeat_influence(asks->request);
    if (reason != REPEAT_YES)
        return reason;
    return make(&key, asks, count, scope, ret_key);
}

enum repeat_reason backend_key(const struct backend_ask *asks, uint32_t count, enum config_cache_when when,
                               const uint8_t scope[DIGEST_SIZE], struct digest *digest, uint8_t ret_key[DIGEST_SIZE])
{
    return backend_key_told(asks, count, when, scope, digest, NULL, ret_key);
}
