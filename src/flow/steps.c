/*
 * The walk of one request, top to bottom. Reading this list tells the product.
 *
 *   room      is there room in the log for what becomes of it?
 *   authenticate  who asks?
 *   page      is it a page, or a path we do not serve?
 *   body      wait for the whole question
 *   recognise a question heard before, word for word, may be answered from memory at once
 *   understand  the client's language -> chat_request
 *   choose    model -> backends that can do what is asked, steering included
 *   explain   a dry run ends here: what would be done is told
 *   look      heard before? then nobody need be asked, and that is cheaper
 *   limit     may this one ask so much?
 *   claim     heard before? hit and join go straight on to deliver
 *   ask       a flight sets off, filling a transcript
 *   deliver   transcript -> client
 *   settle    whatever was taken is given back; a client that left jumps to here
 *   record    one line
 */
#include "flow/admission.h"


static enum verdict body_step(struct exchange *x)
{
    const struct config_limits *limits = &x->flow->config->limits;

    if (x->body_failed)
        return exchange_refuse_text(x, x->body_failure, x->body_message);
    if (!x->body_wanted) {
        x->body_wanted = true;
        if (x->content_length > limits->body_bytes)
            return exchange_refuse_text(x, FAIL_TOO_LARGE,
                                        "The request body is larger than this gateway accepts.");
        x->question = question_new();
        conn_read_body(x->conn);
    }
    if (x->body_failed)
        return exchange_refuse_text(x, x->body_failure, x->body_message);
    return x->body_complete ? STEP_NEXT : STEP_WAIT;
}

static enum verdict refuse_json(struct exchange *x, int error)
{
    struct failure failure = failure_make(
        &x->arena, FAIL_BAD_JSON,
        "We could not parse the JSON body of your request. (Reason: %s, at byte %u.) Send a JSON object.",
        json_error_text(error), (unsigned)x->question->doc.error_at);

    return exchange_refuse(x, &failure);
}

/* A long body was read while it came, or is finished here; a short one is read at once. */
static int read_json(struct flow *flow, struct question *question)
{
    struct json_doc *doc = &question->doc;
    struct bytes body = buffer_bytes(&question->body);

    if (doc->complete)
        return 0;
    return body.size > RECOGNISED_BYTES ? json_doc_finish(doc, body) : json_doc_read(doc, &flow->reader, body);
}

static enum verdict understand_step(struct exchange *x)
{
    struct question *question = x->question;
    struct failure failure;
    int r;

    if (x->endpoint->kind == ENDPOINT_PASS && x->verb == HTTP_GET_)
        return STEP_NEXT;
    r = read_json(x->flow, question);
    if (r > 0)
        return refuse_json(x, r);
    if (x->endpoint->kind == ENDPOINT_PASS)
        return STEP_NEXT;
    if (x->endpoint->kind == ENDPOINT_EXPLAIN && explain_door(x) != STEP_NEXT)
        return STEP_REPLY;
    r = x->dialect->understand(&question->request, &question->doc, x->endpoint->operation, &question->arena,
                               &failure);
    return r < 0 ? exchange_refuse(x, &failure) : STEP_NEXT;
}

/* Of an answer that was remembered or joined; one that was made settles with its flight. */
static void settle_admission(struct exchange *x)
{
    struct transcript_facts facts = {.prompt_tokens = -1, .completion_tokens = -1};

    if (!x->admission)
        return;
    if (x->transcript)
        facts = transcript_facts(x->transcript);
    /* Whoever leaves an answer that is being made has had what it read. */
    if (!facts.whole && facts.chunks < x->reader.taken)
        facts.chunks = x->reader.taken;
    admission_settle(x->admission, &facts);
    x->admission = NULL;
}

static enum verdict settle_step(struct exchange *x)
{
    if (x->conn && x->written)
        conn_set_owner(x->conn, NULL);
    memory_hear(x);
    settle_admission(x);
    if (x->written)
        audits_consider(x->flow->audits, x);
    reader_deinit(&x->reader);
    return STEP_NEXT;
}

enum {
    ROOM,
    AUTHENTICATE,
    PAGE,
    BODY,
    RECOGNISE,
    UNDERSTAND,
    CHOOSE,
    EXPLAIN,
    LOOK,
    LIMIT,
    CLAIM,
    ASK,
    DELIVER,
    SETTLE,
    RECORD,
    STEPS,
};

static const struct {
    const char *name;
    enum verdict (*run)(struct exchange *x);
    enum phase phase;           /* whose part of the time it takes */
} steps[STEPS] = {
    [ROOM] = {"room", log_room_step, PHASE_AUTH},
    [AUTHENTICATE] = {"authenticate", authenticate_step, PHASE_AUTH},
    [PAGE] = {"page", page_step, PHASE_AUTH},
    [BODY] = {"body", body_step, PHASE_BODY},
    [RECOGNISE] = {"recognise", recognise_step, PHASE_CLAIM},
    [UNDERSTAND] = {"understand", understand_step, PHASE_PARSE},
    [CHOOSE] = {"choose", choose_step, PHASE_PARSE},
    [EXPLAIN] = {"explain", explain_step, PHASE_PARSE},
    [LOOK] = {"look", look_step, PHASE_CLAIM},
    [LIMIT] = {"limit", limit_step, PHASE_LIMIT},
    [CLAIM] = {"claim", claim_step, PHASE_CLAIM},
    [ASK] = {"ask", ask_step, PHASE_CLAIM},
    [DELIVER] = {"deliver", deliver_step, PHASE_ANSWER},
    [SETTLE] = {"settle", settle_step, PHASE_ANSWER},
    [RECORD] = {"record", record_step, PHASE_ANSWER},
};

const unsigned steps_count = STEPS, steps_body = BODY, steps_understand = UNDERSTAND, steps_limit = LIMIT,
               steps_deliver = DELIVER, steps_settle = SETTLE;

const char *steps_name(unsigned at)
{
    return steps[at].name;
}

enum phase steps_phase(unsigned at)
{
    return steps[at].phase;
}

enum verdict steps_run(struct exchange *x)
{
    return steps[x->at].run(x);
}
