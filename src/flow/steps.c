/*
 * The walk of one request, top to bottom. Reading this list tells the product.
 *
 *   authenticate  who asks?
 *   page      is it a page, or a path we do not serve?
 *   body      wait for the whole question
 *   recognise a question heard before, word for word, may be answered from memory at once
 *   understand  the client's language -> chat_request
 *   choose    model -> backends that can do what is asked, steering included
 *   look      heard before? then nobody need be asked, and that is cheaper
 *   limit     may this one ask so much?
 *   claim     heard before? hit and join go straight on to deliver
 *   ask       a flight sets off, filling a transcript
 *   deliver   transcript -> client
 *   settle    whatever was taken is given back; a client that left jumps to here
 *   record    one line
 */
#include "flow/admission.h"

#include "base/clock.h"

#include <ctype.h>

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

static enum verdict understand_step(struct exchange *x)
{
    struct question *question = x->question;
    struct failure failure;
    int r;

    if (x->endpoint->kind == ENDPOINT_PASS && x->verb == HTTP_GET_)
        return STEP_NEXT;
    r = question->doc.complete ? 0 : json_doc_finish(&question->doc, buffer_bytes(&question->body));
    if (r > 0)
        return refuse_json(x, r);
    if (x->endpoint->kind == ENDPOINT_PASS)
        return STEP_NEXT;
    r = x->dialect->understand(&question->request, &question->doc, x->endpoint->operation, &question->arena,
                               &failure);
    return r < 0 ? exchange_refuse(x, &failure) : STEP_NEXT;
}

/* Of an answer that was remembered or joined; one that was made settles with its flight. */
static void settle_admission(struct exchange *x)
{
    struct transcript_facts facts = {.prompt_tokens = -1, .completion_tokens = -1};

    if (x->transcript)
        facts = transcript_facts(x->transcript);
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

/* What a client may have put into a path, a name or an id, fit for a line. */
static void append_safe(struct buffer *out, struct bytes text)
{
    size_t size = text.size < 200 ? text.size : 200;
    char *to = buffer_reserve(out, size);

    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        to[i] = byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\' ? (char)byte : '?';
    }
    out->size += size;
}

static void append_field(struct buffer *out, const char *name, struct bytes text)
{
    buffer_append_text(out, name);
    append_safe(out, text.size ? text : BYTES("-"));
}

/* A name of our own, in lower case. */
static void append_word(struct buffer *out, const char *name, const char *word)
{
    buffer_append_text(out, name);
    for (; *word; word++)
        buffer_append_char(out, (char)tolower((unsigned char)*word));
}

static void append_number(struct buffer *out, const char *name, uint64_t value)
{
    buffer_append_text(out, name);
    buffer_append_u64(out, value);
}

/* Microseconds as milliseconds, three digits behind the point. */
static void append_ms(struct buffer *out, const char *name, uint64_t us)
{
    char thousandths[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10), (char)('0' + us % 10)};

    append_number(out, name, us / 1000);
    buffer_append(out, (struct bytes){thousandths, sizeof(thousandths)});
}

static enum verdict record_step(struct exchange *x)
{
    struct buffer *out = &x->flow->lines.text;
    struct transcript_facts facts = x->transcript ? transcript_facts(x->transcript) : (struct transcript_facts){0};
    uint64_t now = clock_us();

    if (x->quiet)
        return STEP_NEXT;
    buffer_append_text(out, "request id=");
    buffer_append(out, (struct bytes){x->id, sizeof(x->id)});
    append_field(out, " client=", x->peer);
    append_field(out, " client_id=", x->client_id);
    append_field(out, " dialect=", bytes_of(x->dialect->name));
    append_field(out, " method=", x->method);
    append_field(out, " path=", x->path);
    append_field(out, " model=", x->question ? x->question->request.model : BYTES_NONE);
    append_field(out, " backend=", facts.backend);
    append_number(out, " status=", x->status);
    append_word(out, " outcome=", x->outcome);
    append_word(out, " reason=", x->reason ? x->reason : "-");
    append_number(out, " bytes_in=", x->body_counted);
    append_number(out, " bytes_out=", x->bytes_out);
    append_number(out, " events=", x->reader.taken);
    append_ms(out, " ttft_ms=", x->first_us ? x->first_us - x->began_us : 0);
    append_ms(out, " total_ms=", now - x->began_us);
    append_number(out, " attempts=", x->memory.outcome == MEMORY_HIT ? 0 : facts.attempts);
    append_word(out, " cache=", memory_outcome_name(x));
    buffer_append_char(out, '\n');
    return STEP_NEXT;
}

enum { UNDERSTAND = 4, LIMIT = 7, DELIVER = 10, SETTLE = 11 };

static enum verdict (*const steps[])(struct exchange *x) = {
    authenticate_step,
    page_step,
    body_step,
    recognise_step,
    [UNDERSTAND] = understand_step,
    choose_step,
    look_step,
    [LIMIT] = limit_step,
    claim_step,
    ask_step,
    [DELIVER] = deliver_step,
    [SETTLE] = settle_step,
    record_step,
};

const unsigned steps_count = ARRAY_SIZE(steps), steps_understand = UNDERSTAND, steps_limit = LIMIT,
               steps_deliver = DELIVER, steps_settle = SETTLE;

enum verdict steps_run(struct exchange *x)
{
    return steps[x->at](x);
}
