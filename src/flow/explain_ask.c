/*
 * A dry run's candidates: what each would be sent, and why it is or is not asked.
 */
#include "flow/explain.h"

#include "base/clock.h"
#include "dialect/logits.h"
#include "json/json_write.h"

/* Of an explanation, beyond which bodies are told by their size. */
#define BODIES_MOST (256 << 10)

/* --- what is said of one --- */

static const char *steering_of(const struct chat_steering *steering)
{
    return steering->controller.size ? "controller" : steering->lora.size ? "lora" : steering->adapter.size ? "adapter"
                                                                                                             : "none";
}

static const char *health_of(const struct exchange *x, const struct config_backend *backend)
{
    static const char *const names[] = {
        [HEALTH_GOOD] = "good", [HEALTH_RESTING] = "resting", [HEALTH_DOWN] = "down"};

    return names[health_look(x->flow->health, backend->index, clock_ms())];
}

/* Which key goes there, never the key. */
static const char *key_of(const struct config_backend *backend)
{
    return backend->pass_through_key ? "the client's" : backend->api_key.size ? "the configuration's" : "none";
}

/* Its adapters are looked at first; see flight.c. */
static bool asks_adapters(const struct exchange *x, const struct flight_candidate *candidate)
{
    const struct json_doc *doc = x->question->request.doc;
    const struct json_node *own = json_member(doc, json_root(doc), BYTES("lora"));

    return candidate->kind == KIND_LLAMA_SERVER &&
           (candidate->steering.lora.size || (json_is(own, JSON_ARRAY) && json_length(doc, own) > 0));
}

static void write_server(const struct exchange *x, const struct config_backend *backend, enum config_kind kind,
                         struct bytes model, struct buffer *out)
{
    json_write_member_string(out, "backend", backend->name);
    json_write_member_string(out, "kind", bytes_of(config_kind_name(kind)));
    json_write_member_string(out, "upstream_model", model.size ? model : x->question->request.model);
    json_write_member_string(out, "health", bytes_of(health_of(x, backend)));
    json_write_member_string(out, "api_key", bytes_of(key_of(backend)));
}

/* --- what would be sent --- */

/* The request's first bytes on the wire: all of a completion, the first call of a question for logits. */
struct call {
    struct backend_request request;
    struct logits_talk *talk;
    struct failure failure;
    struct arena arena;
};

/* False: this backend cannot be asked this, and FAILURE says why. */
static bool call_make(struct call *call, const struct exchange *x, const struct flight_candidate *candidate)
{
    const struct chat_request *request = &x->question->request;
    struct backend_ask ask = flight_ask_of(candidate, request, x->dialect->shape, &call->arena);
    struct bytes none;

    if (request->operation != CHAT_LOGITS || candidate->kind == KIND_ECHO)
        return backend_write_request(&ask, &call->request, &call->failure) == 0;
    call->talk = logits_start(&ask, &call->failure);
    return call->talk &&
           logits_next(call->talk, 0, BYTES_NONE, &call->request, &none, &call->failure) != LOGITS_FAILED;
}

static void call_init(struct call *call)
{
    *call = (struct call){0};
    arena_init(&call->arena);
}

static void call_deinit(struct call *call)
{
    logits_free(call->talk);
    arena_deinit(&call->arena);
}

/* The first is told whole, the others while there is room: a question for twelve backends is not told twelve times. */
static void write_body(struct bytes body, bool first, struct buffer *out)
{
    if (body.size == 0)
        return;
    if (first || out->size + body.size <= BODIES_MOST)
        json_write_member_raw(out, "body", body);
    else
        json_write_member_i64(out, "body_bytes", (int64_t)body.size);
}

static void write_calls(const struct exchange *x, const struct flight_candidate *candidate, struct buffer *out)
{
    bool logits = x->question->request.operation == CHAT_LOGITS;

    if (asks_adapters(x, candidate))
        json_write_member_string(out, "before", BYTES("GET /lora-adapters: are the adapters loaded that this needs?"));
    if (candidate->kind == KIND_ECHO)
        json_write_member_string(out, "calls", BYTES("none: the gateway answers this itself"));
    else if (logits && candidate->kind != KIND_GOODFIRE)
        json_write_member_string(out, "calls", BYTES("the first one; more may follow, made of what it answers"));
    else
        json_write_member_string(out, "calls", BYTES("one"));
}

/* --- one of them --- */

/* AT: its place among those that would be asked. */
static void write_candidate(const struct explanation *explanation, uint32_t at, bool *first, struct buffer *out)
{
    const struct flight_candidate *candidate = &explanation->order[at];
    const struct exchange *x = explanation->x;
    bool adapter = candidate->steering.adapter.size > 0, asked = at < explanation->asked, good;
    struct call call;

    call_init(&call);
    good = call_make(&call, x, candidate);
    write_server(x, candidate->backend, candidate->kind,
                 adapter ? candidate->steering.adapter : candidate->upstream_model, out);
    json_write_member_string(out, "steering", bytes_of(steering_of(&candidate->steering)));
    if (good) {
        write_calls(x, candidate, out);
        json_write_member_string(out, "method", call.request.get ? BYTES("GET") : BYTES("POST"));
        json_write_member_string(out, "path", call.request.path);
        write_body(call.request.body, *first, out);
    }
    json_write_member_raw(out, "asked", asked && good ? BYTES("true") : BYTES("false"));
    json_write_member_string(out, "why",
                             !good    ? call.failure.message
                             : !asked ? BYTES("It could not be reached lately: it is left alone for a while.")
                             : *first ? BYTES("It is the first that can do this.")
                                      : BYTES("Only if those before it cannot be reached, or say that they cannot."));
    *first = *first && !(asked && good);
    call_deinit(&call);
}

/* Those of the route that are no candidates cannot do the steering. */
static bool is_candidate(const struct explanation *explanation, const struct config_backend *backend)
{
    for (uint32_t i = 0; i < explanation->count; i++)
        if (explanation->order[i].backend == backend)
            return true;
    return false;
}

void explain_write_candidates(const struct explanation *explanation, struct buffer *out)
{
    const struct exchange *x = explanation->x;
    bool first = true;

    buffer_append_char(out, '[');
    for (uint32_t i = 0; i < explanation->count; i++) {
        buffer_append_text(out, i ? ",{" : "{");
        write_candidate(explanation, i, &first, out);
        buffer_append_char(out, '}');
    }
    for (uint32_t i = 0; i < x->route.count; i++) {
        const struct route_target *target = &x->route.targets[i];

        if (is_candidate(explanation, target->backend))
            continue;
        buffer_append_text(out, out->data[out->size - 1] == '[' ? "{" : ",{");
        write_server(x, target->backend, target->kind, target->upstream_model, out);
        json_write_member_raw(out, "asked", BYTES("false"));
        json_write_member_string(out, "why", BYTES("A backend of this kind cannot do this steering."));
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}
