/*
 * An answer: an append-only list of events with a status, one writer, and readers with their own cursors.
 *
 * Being filled by a flight it is a live answer; finished, it is one that can be read again. A refusal is a transcript
 * that failed before its first event. Deliver reads them all the same way.
 *
 * A private transcript lets go of what its reader has taken. The undelivered part is counted, so that the writer can
 * be told to pause (above HIGH water) and to go on (below LOW water).
 */
#pragma once

#include "base/list.h"
#include "chat/failure.h"
#include "json/json_doc.h"

/* Whose words a payload is in. */
enum chat_shape { SHAPE_OPENAI, SHAPE_GOODFIRE };

enum chat_event_kind {
    EVENT_CHUNK,  /* one event of a stream, JSON */
    EVENT_USAGE,  /* the stream's usage chunk: choices empty, kept from those who did not ask */
    EVENT_BODY,   /* a whole answer, JSON */
    EVENT_LOGITS, /* the house's own logits answer, JSON; or a Goodfire server's */
    EVENT_RAW,    /* a passed-through answer, sent on as it is */
};

struct chat_event {
    enum chat_event_kind kind;
    enum chat_shape shape;
    bool usage;           /* of a chunk: it has a member `usage` that is not null */
    struct bytes payload; /* valid until the reader's next call, or its end */
};

/* For the JSON of answers: bounded in bytes by their receivers; with log-probabilities they are nearly all nodes. */
#define ANSWER_JSON_LIMITS ((struct json_limits){.depth = 64, .nodes = 2000000})

enum transcript_status { TRANSCRIPT_GROWING, TRANSCRIPT_FINISHED, TRANSCRIPT_FAILED };

struct transcript;

/* How the writer hears of its readers. Each may be NULL. */
struct transcript_writer {
    void (*drained)(void *data);   /* below LOW water after having been above HIGH */
    void (*abandoned)(void *data); /* the last reader left while it was growing */
    void *data;
};

struct reader {
    struct transcript *transcript;
    struct list link;
    struct transcript_block *block; /* where the cursor stands */
    size_t offset;
    uint64_t taken;                 /* events read */
    void (*wake)(void *data);       /* there is more, or the end came. Called from the writer's calls */
    void *data;
};

enum { READER_E_EMPTY = 1, READER_E_END, READER_E_FAILED };

/* What the writer knows about the making of the answer, for the log. Filled in as it becomes known. */
struct transcript_facts {
    struct bytes backend;           /* its name in the configuration */
    unsigned attempts;              /* calls started */
    int64_t prompt_tokens, completion_tokens;   /* -1: the upstream did not tell */
    unsigned raw_status;            /* of an EVENT_RAW answer */
};

struct transcript *transcript_new(size_t high_water, size_t low_water);
struct transcript *transcript_ref(struct transcript *transcript);
struct transcript *transcript_unref(struct transcript *transcript);

/* --- the writer --- */

void transcript_set_writer(struct transcript *transcript, const struct transcript_writer *writer);
/* EVENT's payload is copied. False: the undelivered part is above high water, please pause. */
bool transcript_append(struct transcript *transcript, const struct chat_event *event);
/* The answer ends, well or not; exactly one of the two comes, once. The writer hears nothing more. */
void transcript_finish(struct transcript *transcript);
void transcript_fail(struct transcript *transcript, const struct failure *failure);
/* The upstream took the question: its answer has begun, though no event is there yet. From now on an error is one
 * inside the answer only if a keepalive had to be sent. */
void transcript_begin(struct transcript *transcript);
bool transcript_begun(const struct transcript *transcript);
struct transcript_facts *transcript_facts(struct transcript *transcript);
enum transcript_status transcript_status(const struct transcript *transcript);
uint64_t transcript_events(const struct transcript *transcript);
size_t transcript_undelivered(const struct transcript *transcript);
/* Only after READER_E_FAILED or transcript_fail(). Lives as long as the transcript. */
const struct failure *transcript_failure(const struct transcript *transcript);

/* --- readers --- */

/* READER starts at the first event and holds a reference until reader_deinit(). */
void reader_init(struct reader *reader, struct transcript *transcript, void (*wake)(void *data), void *data);
/* Leaves. The last reader to leave a growing transcript makes its writer hear `abandoned`. Twice is fine. */
void reader_deinit(struct reader *reader);
/* The next event. READER_E_EMPTY: none yet, wake() will come. READER_E_END, READER_E_FAILED: no more will come. */
int reader_next(struct reader *reader, struct chat_event *ret);
/* An event waits to be read (or the end does). */
bool reader_ready(const struct reader *reader);
