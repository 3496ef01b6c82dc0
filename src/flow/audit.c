/*
 * How repeatable are the seeds, really? One hit in so many is asked again behind the answer's back, and what comes is
 * compared with what was remembered. Nobody waits for it; a few at a time, and none while the gateway drains.
 */
#include "flow/exchange.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "chat/answer_text.h"
#include "json/json_write.h"
#include "record/journal.h"
#include "record/record.h"

#define AUDITS_AT_ONCE 4

struct audits {
    struct flow *flow;
    struct list open;
    unsigned count;
    bool closed;
};

struct audit {
    struct audits *audits;
    struct list link;
    struct question *question;
    struct memo_model *model;
    uint8_t key[DIGEST_SIZE];
    struct transcript *remembered;
    struct reader reader;           /* of the new answer */
    struct answer_text text;
};

struct audits *audits_new(struct flow *flow)
{
    struct audits *audits = ALLOC_NEW(struct audits);

    audits->flow = flow;
    list_init(&audits->open);
    return audits;
}

static struct audit *audit_free(struct audit *audit)
{
    audit->audits->count--;
    list_remove(&audit->link);
    reader_deinit(&audit->reader);
    transcript_unref(audit->remembered);
    question_unref(audit->question);
    answer_text_deinit(&audit->text);
    return alloc_free(audit);
}

/* --- the comparison --- */

/* An event among the request lines. AT is where the answers begin to differ, in CHOICE; negative: they were not
 * compared. */
static void say(struct audit *audit, const char *result, int64_t choice, int64_t at)
{
    struct journal_source *source = audit->audits->flow->source;
    struct buffer *out = source_line(source, JOURNAL_LINES);
    struct transcript_facts facts = transcript_facts(audit->remembered);
    char hex[2 * DIGEST_SIZE];

    if (!out)
        return;
    digest_hex(audit->key, hex);
    record_write_time(out, (int64_t)clock_wall_us());
    json_write_member_string(out, "event", BYTES("audit"));
    json_write_member_string(out, "model", memo_model_name(audit->model));
    json_write_member_string(out, "backend", facts.backend);
    json_write_member_string(out, "cache_key", (struct bytes){hex, sizeof(hex)});
    json_write_member_string(out, "result", bytes_of(result));
    if (at >= 0) {
        json_write_member_i64(out, "choice", choice);
        json_write_member_i64(out, "at", at);
    }
    buffer_append_text(out, "}\n");
    source_end_line(source, JOURNAL_LINES);
}

static void say_failed(struct audit *audit)
{
    memo_count(audit->model, MEMO_COUNT_audit_failed);
    say(audit, "failed", -1, -1);
}

/* False: what was remembered is not there any more as a whole. */
static bool read_remembered(struct audit *audit, struct answer_text *text)
{
    struct flow *flow = audit->audits->flow;
    struct reader reader;
    struct chat_event event;
    int r;

    if (!reader_init(&reader, audit->remembered, &flow->mailbox, exchange_wake_nobody, NULL))
        return false;
    while ((r = reader_next(&reader, &event)) == 0)
        answer_text_add(text, &event, &flow->doc);
    reader_deinit(&reader);
    return r == READER_E_END;
}

static void compare(struct audit *audit)
{
    struct flow *flow = audit->audits->flow;
    struct transcript_facts facts = transcript_facts(audit->reader.transcript);
    struct answer_text before;
    uint32_t choice;
    size_t at;

    memo_fingerprint(flow->memo, audit->model, facts.backend, facts.model, facts.fingerprint);
    answer_text_init(&before);
    if (!read_remembered(audit, &before)) {
        say_failed(audit);
    } else if (answer_text_differ(&before, &audit->text, &choice, &at)) {
        memo_count(audit->model, MEMO_COUNT_audit_different);
        say(audit, "different", choice, (int64_t)at);
    } else {
        memo_count(audit->model, MEMO_COUNT_audit_same);
    }
    answer_text_deinit(&before);
}

/* The new answer has grown. */
static void audit_read(struct audit *audit)
{
    struct chat_event event;
    int r;

    while ((r = reader_next(&audit->reader, &event)) == 0)
        answer_text_add(&audit->text, &event, &audit->audits->flow->doc);
    if (r == READER_E_EMPTY)
        return;
    if (r == READER_E_END)
        compare(audit);
    else
        say_failed(audit);
    audit_free(audit);
}

void audits_run(struct audits *audits)
{
    LIST_EACH(&audits->open, node) {
        struct audit *audit = LIST_ENTRY(node, struct audit, link);

        if (reader_ready(&audit->reader))
            audit_read(audit);
    }
}

/* --- asking again --- */

static bool chance(uint32_t ppm)
{
    return ppm >= 1000000 || random_u64() % 1000000 < ppm;
}

static void wake(void *data)
{
    struct audit *audit = data;

    exchange_awake(audit->audits->flow);
}

static void ask_again(struct audits *audits, struct exchange *x, const struct flight_candidate *healthy,
                      uint32_t count)
{
    struct flow *flow = audits->flow;
    const struct config_limits *limits = &flow->config->limits;
    struct audit *audit = ALLOC_NEW(struct audit);
    struct flight_plan plan = {
        .question = x->question, .client = x->dialect->shape, .candidates = healthy, .count = count,
        .key = lead_key(x)};

    audit->audits = audits;
    audits->count++;
    list_append(&audits->open, &audit->link);
    audit->question = question_ref(x->question);
    audit->model = x->memory.model;
    memcpy(audit->key, x->memory.key, sizeof(audit->key));
    audit->remembered = transcript_ref(x->transcript);
    answer_text_init(&audit->text);
    plan.transcript = transcript_new(limits->high_water, limits->low_water);
    reader_init(&audit->reader, plan.transcript, NULL, wake, audit);
    flight_start(&flow->flights, &plan);
    transcript_unref(plan.transcript);
}

/* The backend that answered then: another one's answer would say nothing of its seeds. */
static uint32_t same_backend(const struct exchange *x, struct flight_candidate *candidates, uint32_t count)
{
    struct bytes name = transcript_facts(x->transcript).backend;

    for (uint32_t i = 0; i < count; i++) {
        if (!bytes_equal(candidates[i].backend->name, name))
            continue;
        candidates[0] = candidates[i];
        return 1;
    }
    return 0;
}

/* Here, or on the second shelf: of those who waited for it together, whoever looked. */
static bool was_remembered(const struct exchange *x)
{
    return x->memory.outcome == MEMORY_HIT ||
           (x->memory.outcome == MEMORY_MISS && transcript_facts(x->transcript).recalled);
}

void audits_consider(struct audits *audits, struct exchange *x)
{
    struct flight_candidate *healthy;
    uint32_t count;

    if (!was_remembered(x) || !x->memory.policy->audit_ppm || audits->closed ||
        !chance(x->memory.policy->audit_ppm))
        return;
    healthy = arena_alloc(&x->arena, x->candidate_count * sizeof(*healthy));
    count = choose_healthy(x->flow, x->candidates, x->candidate_count, healthy);
    count = same_backend(x, healthy, count);
    if (count == 0 || audits->count >= AUDITS_AT_ONCE)
        memo_count(x->memory.model, MEMO_COUNT_audit_skipped);
    else
        ask_again(audits, x, healthy, count);
}

void audits_cancel_all(struct audits *audits)
{
    audits->closed = true;
    LIST_EACH(&audits->open, node)
        audit_free(LIST_ENTRY(node, struct audit, link));
}

struct audits *audits_free(struct audits *audits)
{
    return alloc_free(audits);
}
