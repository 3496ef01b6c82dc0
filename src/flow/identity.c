/*
 * Is it still the same model that answers there? What a backend runs can change behind its address while its answers
 * say nothing of it. So while its answers are remembered it is asked now and then, behind the questions' backs, what it
 * runs; a digest of that is one more fingerprint, and another one voids what the model's memory holds.
 *
 * Asked are only backends with questions: at the first one for a model, then once a minute, and at once when it could
 * not be reached meanwhile and when it can be again. An answer that cannot be read says nothing.
 */
#include "flow/exchange.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "dialect/backend.h"

#define CHECK_MS 60000
/* Not sooner after the last one, whichever models are new. */
#define GAP_MS 1000
/* An answer that takes longer, or is larger, is as good as none. */
#define ANSWER_MS 5000
#define ANSWER_BYTES (1 << 20)
/* Of one backend; beyond, the one known for longest is let go. */
#define MODELS 64
#define MEMBERS 4

/* How a kind says what it runs. */
struct manner {
    const char *path;           /* NULL: it does not */
    const char *list, *name;    /* one object per model stands in LIST, called NAME; NULL: one object for all */
    const char *members[MEMBERS];
};

static const struct manner manners[KIND_COUNT] = {
    [KIND_LLAMA_SERVER] = {"/props", NULL, NULL,
                           {"model_path", "build_info", "chat_template", "default_generation_settings.n_ctx"}},
    [KIND_VLLM] = {"/v1/models", "data", "id", {"id", "root", "parent", "max_model_len"}},
    [KIND_SGLANG] = {"/v1/models", "data", "id", {"id", "root", "parent", "max_model_len"}},
    [KIND_OLLAMA] = {"/api/tags", "models", "name", {"name", "digest"}},
};

/* A model of ours that a backend answers for, and "/identity/" with its name there. */
struct known {
    struct memo_model *model;
    struct buffer name;
};

#define NAME_PREFIX BYTES("/identity/")

struct identity {
    struct identities *identities;
    uint32_t backend;
    enum config_kind kind;
    struct known known[MODELS];
    uint32_t count, oldest;
    uint64_t due_ms, asked_ms;
    bool away;                  /* it could not be reached, and has not answered since */

    struct call *call;
    struct arena arena;         /* of the call */
    struct buffer body;
    unsigned status;
};

struct identities {
    struct flow *flow;
    bool closed;
    struct identity all[];
};

struct identities *identities_new(struct flow *flow)
{
    uint32_t count = flow->config->backend_count;
    struct identities *identities = alloc_zeroed(sizeof(*identities) + count * sizeof(struct identity));

    identities->flow = flow;
    for (uint32_t i = 0; i < count; i++) {
        identities->all[i].identities = identities;
        identities->all[i].backend = i;
    }
    return identities;
}

/* --- reading what it said --- */

/* OBJECT's members join the digest. False: it has none of them. */
static bool add_members(struct digest *digest, const struct manner *manner, const struct json_doc *doc,
                        const struct json_node *object)
{
    bool some = false;

    for (size_t i = 0; i < MEMBERS && manner->members[i]; i++) {
        const struct json_node *member = json_at(doc, object, manner->members[i]);

        digest_add_text(digest, member ? json_raw(doc, member) : BYTES_NONE);
        some |= member != NULL;
    }
    return some;
}

static const struct json_node *find_called(const struct manner *manner, const struct json_doc *doc,
                                           const struct json_node *list, struct bytes name)
{
    const struct json_node *item = json_first(doc, list);

    while (item && !json_text_is(doc, json_at(doc, item, manner->name), name))
        item = json_after(doc, list, item);
    return item;
}

/* The model's own entry and, for an adapter, that of the model beneath; a name that is not listed may be any of
 * them. */
static bool add_listed(struct digest *digest, const struct manner *manner, const struct json_doc *doc,
                       struct bytes name, struct arena *arena)
{
    const struct json_node *list = json_at(doc, json_root(doc), manner->list), *own, *parent;
    bool some = false;

    if (!json_is(list, JSON_ARRAY))
        return false;
    own = find_called(manner, doc, list, name);
    if (!own)
        own = find_called(manner, doc, list, arena_printf(arena, "%.*s:latest", BYTES_ARG(name)));
    if (own) {
        parent = json_at(doc, own, "parent");
        if (json_is(parent, JSON_STRING))
            parent = find_called(manner, doc, list, json_text(doc, parent, arena));
        some = add_members(digest, manner, doc, own);
        return (parent && add_members(digest, manner, doc, parent)) || some;
    }
    for (const struct json_node *item = json_first(doc, list); item; item = json_after(doc, list, item))
        some |= add_members(digest, manner, doc, item);
    return some;
}

static void tell(struct identity *identity, const struct known *known, const struct json_doc *doc)
{
    struct flow *flow = identity->identities->flow;
    const struct manner *manner = &manners[identity->kind];
    struct bytes name = buffer_bytes(&known->name);
    uint8_t print[DIGEST_SIZE];
    bool some;

    digest_begin(flow->digest);
    if (manner->list)
        some = add_listed(flow->digest, manner, doc, bytes_skip(name, NAME_PREFIX.size), &identity->arena);
    else
        some = add_members(flow->digest, manner, doc, json_root(doc));
    digest_end(flow->digest, print);
    if (some)
        memo_fingerprint(flow->memo, known->model, flow->config->backends[identity->backend].name, name,
                         (struct bytes){(const char *)print, sizeof(print)});
}

/* --- asking --- */

/* The call is over; GOOD: its body is all there. */
static void asked(struct identity *identity, bool good)
{
    struct json_doc doc;

    identity->call = NULL;
    METRICS_COUNT(identity->identities->flow->metrics, identity_checks_total);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    good = good && identity->status == 200 && json_doc_parse(&doc, buffer_bytes(&identity->body)) == 0;
    for (uint32_t i = 0; good && i < identity->count; i++)
        tell(identity, &identity->known[i], &doc);
    if (!good)
        identity->due_ms = clock_ms() + CHECK_MS;
    json_doc_deinit(&doc);
    buffer_deinit(&identity->body);
    arena_deinit(&identity->arena);
}

static void on_head(void *data, const struct transfer_head *head)
{
    struct identity *identity = data;

    identity->status = head->status;
}

static void on_body(void *data, struct bytes piece)
{
    struct identity *identity = data;

    if (identity->body.size + piece.size <= ANSWER_BYTES) {
        buffer_append(&identity->body, piece);
    } else {
        call_cancel(identity->call);
        asked(identity, false);
    }
}

static void on_done(void *data, int result, const char *reason)
{
    asked(data, result == 0);
}

static void ask(struct identity *identity, uint64_t now)
{
    static const struct transfer_events events = {on_head, on_body, on_done};
    struct flow *flow = identity->identities->flow;
    struct call_request request = {
        .get = true,
        .fresh = true,
        .timeouts = {.connect = ANSWER_MS, .first_byte = ANSWER_MS, .between_bytes = ANSWER_MS, .total = ANSWER_MS},
    };

    identity->due_ms = now + CHECK_MS;
    identity->asked_ms = now;
    identity->status = 0;
    buffer_init(&identity->body);
    arena_init(&identity->arena);
    request.path = backend_path(&flow->config->backends[identity->backend], &identity->arena,
                                manners[identity->kind].path);
    identity->call = call_start(flow->upstreams[identity->backend], &request, &events, identity);
}

/* --- who is to be asked --- */

/* Known as NAME there, or as whatever where NAME is NULL. */
static bool knows(const struct identity *identity, const struct memo_model *model, const struct bytes *name)
{
    for (uint32_t i = 0; i < identity->count; i++)
        if (identity->known[i].model == model &&
            (!name || bytes_equal(bytes_skip(buffer_bytes(&identity->known[i].name), NAME_PREFIX.size), *name)))
            return true;
    return false;
}

static void know(struct identity *identity, struct memo_model *model, const struct flight_candidate *candidate)
{
    struct bytes name = candidate->steering.adapter.size ? candidate->steering.adapter : candidate->upstream_model;
    uint64_t soon = identity->asked_ms ? identity->asked_ms + GAP_MS : 0;
    struct known *known;

    identity->kind = candidate->kind;
    if (!manners[candidate->kind].path || knows(identity, model, &name))
        return;
    if (identity->count < MODELS) {
        known = &identity->known[identity->count++];
        buffer_init(&known->name);
    } else {
        known = &identity->known[identity->oldest];
        identity->oldest = (identity->oldest + 1) % MODELS;
        buffer_clear(&known->name, 0);
    }
    known->model = model;
    buffer_append(&known->name, NAME_PREFIX);
    buffer_append(&known->name, name);
    if (soon < identity->due_ms)
        identity->due_ms = soon;
}

/* A question that was recognised by its words has no candidates yet: then all who ever answered for its model. */
void identities_refresh(struct identities *identities, const struct exchange *x)
{
    struct memo_model *model = x->memory.model;
    uint64_t now = clock_ms();

    if (identities->closed)
        return;
    for (uint32_t i = 0; i < x->candidate_count; i++)
        know(&identities->all[x->candidates[i].backend->index], model, &x->candidates[i]);
    for (uint32_t i = 0; i < identities->flow->config->backend_count; i++) {
        struct identity *identity = &identities->all[i];

        if (identity->count && !identity->call && now >= identity->due_ms && manners[identity->kind].path &&
            knows(identity, model, NULL))
            ask(identity, now);
    }
}

void identities_lost(struct identities *identities, uint32_t backend)
{
    identities->all[backend].away = true;
    identities->all[backend].due_ms = 0;
}

void identities_reached(struct identities *identities, uint32_t backend)
{
    if (identities->all[backend].away)
        identities->all[backend].due_ms = 0;
    identities->all[backend].away = false;
}

/* --- the end --- */

void identities_cancel_all(struct identities *identities)
{
    identities->closed = true;
    for (uint32_t i = 0; i < identities->flow->config->backend_count; i++) {
        struct identity *identity = &identities->all[i];

        if (!identity->call)
            continue;
        identity->call = call_cancel(identity->call);
        buffer_deinit(&identity->body);
        arena_deinit(&identity->arena);
    }
}

struct identities *identities_free(struct identities *identities)
{
    if (!identities)
        return NULL;
    identities_cancel_all(identities);
    for (uint32_t i = 0; i < identities->flow->config->backend_count; i++)
        for (uint32_t k = 0; k < identities->all[i].count; k++)
            buffer_deinit(&identities->all[i].known[k].name);
    return alloc_free(identities);
}
