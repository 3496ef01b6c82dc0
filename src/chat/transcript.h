/*
 * An answer: an append-only list of events with a status, one writer, and readers with their own cursors.
 *
 * Being filled by a flight it is a live answer; finished, it is one that can be read again. A refusal is a transcript
 * that failed before its first event. Deliver reads them all the same way.
 *
 * A private transcript has one reader, on the writer's own thread, and lets go of what it has taken. The undelivered
 * part is counted, so that the writer can be told to pause (above HIGH water) and to go on (below LOW water).
 *
 * A shared one has any number of readers on any threads and keeps everything, for those who come later; its writer is
 * never paused. When its keeper will not hold more of it, it lets go of what its slowest reader has taken, and nobody
 * can join any more. The water marks count for its fastest reader then. The others may lag behind it by four times
 * HIGH water, by a megabyte, or by as much as was kept, whichever is most; for one that lags more the writer is paused,
 * unless somebody waits to read on: then the laggard is lost. What it did not read goes, and the others go on. An only
 * reader is never lost. Once finished and kept a transcript never changes again, and reading it takes no lock.
 *
 * The writer's functions are called on one thread, the one that made it (its home); a shared transcript's reader
 * functions on the reader's own; references may be given and taken on any.
 */
#pragma once

#include "base/list.h"
#include "chat/failure.h"
#include "chat/finish.h"
#include "json/json_doc.h"
#include "link/mailbox.h"

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
    uint32_t at_ms;       /* when it came, since the transcript was made. Appended with 0: now. Private ones: 0 */
    struct bytes payload; /* a chunk's is one line. Valid until the reader's next call, or its end */
};

/* For the JSON of answers: bounded in bytes by their receivers; with log-probabilities they are nearly all nodes. */
#define ANSWER_JSON_LIMITS ((struct json_limits){.depth = 64, .nodes = 2000000})

enum transcript_status { TRANSCRIPT_GROWING, TRANSCRIPT_FINISHED, TRANSCRIPT_FAILED };

struct transcript;

/* How the writer hears of its readers, on its own thread. Each may be NULL. */
struct transcript_writer {
    void (*drained)(void *data);   /* below LOW water after having been above HIGH */
    void (*abandoned)(void *data); /* the last reader left while it was growing */
    void *data;
};

/* Who keeps a shared transcript. Called on the writer's thread, no lock held. */
struct transcript_keeper {
    /* It wants to hold BYTES more. False: not beyond what it has; never asked again. */
    bool (*grow)(void *data, size_t bytes);
    /* It finished, failed, or was abandoned (its status is still TRANSCRIPT_GROWING then): once, before any reader
     * hears of it. The last call. */
    void (*ended)(void *data, struct transcript *transcript, enum transcript_status status);
    void *data;
};

struct reader {
    struct transcript *transcript;
    struct list link;               /* among the transcript's readers */
    struct list waiting;            /* among those to be woken */
    struct transcript_block *block; /* where the cursor stands */
    size_t offset;
    uint64_t taken, bytes;          /* events read, their payload */
    bool joined;                    /* came while it was growing */
    bool lost;                      /* lagged too far behind */
    struct mailbox *home;           /* the reader's thread; NULL: the writer's */
    struct letter letter;           /* says wake() from another thread */
    void (*wake)(void *data);       /* there is more, or the end came. It may not call the transcript back */
    void *data;
};

enum { READER_E_EMPTY = 1, READER_E_END, READER_E_FAILED, READER_E_LOST };

/* How many of the backends that were asked are told apart. */
#define TRANSCRIPT_TRIES 4

/* A backend was asked, and this came of it. */
struct transcript_try {
    uint32_t us;                    /* from asking to the answer's end, or the failure */
    uint16_t backend, status;       /* its index in the configuration; 0: it did not answer */
    bool failed;
    uint8_t failure;                /* enum failure_kind */
};

/* What the writer knows about the making of the answer. Filled in as it becomes known. */
struct transcript_facts {
    struct bytes backend;           /* its name in the configuration */
    struct bytes model;             /* the model's name there */
    struct bytes fingerprint;       /* what the answer tells of the system behind it; or none */
    unsigned attempts;              /* calls started */
    int64_t prompt_tokens, completion_tokens;   /* -1: the upstream did not tell */
    uint64_t chunks;                /* events of a stream that came */
    enum chat_finish finish;
    unsigned try_count;
    struct transcript_try tries[TRANSCRIPT_TRIES];
    /* When the last backend began to be asked, and when its last call had its connection, on the monotonic clock; 0:
     * never. */
    uint64_t asked_us, connected_us;
    uint64_t queued_us;             /* waited for a place at a backend after another one had failed */
    unsigned raw_status;            /* of an EVENT_RAW answer */
    bool whole;                     /* every choice ended with a reason of its own accord: it may be remembered */
    bool recalled;                  /* it was made earlier, and read from the second shelf */
    uint64_t made_ms;               /* when it was complete, on the monotonic clock (base/clock.h); 0: not yet */
};

struct transcript *transcript_new(size_t high_water, size_t low_water);
/* Shared, its writer on HOME's thread. The water marks count once the keeper has refused to hold more. */
struct transcript *transcript_new_shared(struct mailbox *home, const struct transcript_keeper *keeper,
                                         size_t high_water, size_t low_water);
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
/* Nobody makes it now: it waits for a place somewhere. Who reads a stream may be told meanwhile that it is alive. */
void transcript_set_queued(struct transcript *transcript, bool queued);
bool transcript_queued(const struct transcript *transcript);
/* Bytes of the answer came in, at US on the monotonic clock. */
void transcript_hear(struct transcript *transcript, uint64_t us);
/* What is known now. The views are copied. After the end it is passed over. */
void transcript_tell(struct transcript *transcript, const struct transcript_facts *facts);

/* --- anybody --- */

/* What was told last. The views live as long as the transcript. */
struct transcript_facts transcript_facts(struct transcript *transcript);
enum transcript_status transcript_status(struct transcript *transcript);
uint64_t transcript_events(struct transcript *transcript);
/* When the first event came, on the monotonic clock, in microseconds; 0: none came yet. */
uint64_t transcript_first_us(struct transcript *transcript);
/* What transcript_hear() said last; 0: nothing yet. */
uint64_t transcript_heard_us(struct transcript *transcript);
/* Bytes of payload it holds that some reader may still want. */
size_t transcript_undelivered(struct transcript *transcript);
/* Bytes of memory it takes. */
size_t transcript_size(struct transcript *transcript);
/* Only after READER_E_FAILED or transcript_fail(). Lives as long as the transcript. */
const struct failure *transcript_failure(struct transcript *transcript);

/* --- readers --- */

/* READER, on HOME's thread (NULL: the writer's), starts at the first event and holds a reference until reader_deinit().
 * False, and nothing is held: the transcript was abandoned, or has let go of its beginning. */
bool reader_init(struct reader *reader, struct transcript *transcript, struct mailbox *home, void (*wake)(void *data),
                 void *data);
/* Leaves; wake() does not come any more. The last reader to leave a growing transcript makes its writer hear
 * `abandoned`: at once when both are on one thread, else by letter. Twice is fine. */
void reader_deinit(struct reader *reader);
/* The next event. READER_E_EMPTY: none yet, wake() will come. READER_E_END, READER_E_FAILED: no more will come.
 * READER_E_LOST: no more for this reader, which lagged behind others that waited; wake() came for that. */
int reader_next(struct reader *reader, struct chat_event *ret);
/* The next event's at_ms without taking it; same codes. */
int reader_peek(struct reader *reader, uint32_t *ret_at_ms);
/* An event waits to be read (or the end does). */
bool reader_ready(struct reader *reader);
