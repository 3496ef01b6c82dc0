/*
 * Lines from many workers to where they are kept, by a thread of its own. No worker ever waits for a disk.
 *
 *   worker:  source_line() ... source_end_line()      into a block of its own, no lock
 *   worker:  source_hand_over()                        soon: the block goes to the thread, one lock
 *   thread:  numbers the lines, gives them to each sink; a sink that cannot take them now keeps them, within a bound,
 *            and beyond it drops whole lines, counts them, and says so in a line of its own once it can
 *
 * Numbers: every line accepted has the next one, whether it is written or not; so a gap in the numbers of a file is
 * exactly what was dropped. Beside it stands the run, which is another one in each process: several may write to one
 * place, each with numbers of its own. accepted = written + dropped + waiting, for each sink, at all times.
 *
 * Under log.when_full: block no line of a request that was let in is dropped for want of room: the bound is at the door
 * then (journal_is_crowded()), and what waits is at most the bound and what was inside already. Only lines that
 * source_line_if_room() is asked for are dropped, and those that no sink can ever take.
 *
 * A second kind of line, spans, goes the same way to the span sink and has no numbers; of them any may be dropped.
 */
#pragma once

#include "base/buffer.h"
#include "config/config.h"

struct journal;
struct journal_source;

enum journal_kind { JOURNAL_LINES, JOURNAL_SPANS, JOURNAL_KINDS };

/* The sinks of LOG and the exporter of TRACING are opened now, so that a path that cannot be opened is said before
 * anything is served: 0, or a negative errno with a line in ERRORS. The configuration outlives the journal. With no
 * sinks and no tracing *RET is NULL; every function below takes that. */
int journal_new(const struct config_log *log, const struct config_tracing *tracing, struct buffer *errors,
                struct journal **ret);
/* Start its thread (with all signals blocked by the caller). */
int journal_start(struct journal *journal);
/* From any thread: files are closed and opened again, at once between two lines (SIGUSR1, SIGHUP). */
void journal_reopen(struct journal *journal);
/* After the last source handed over: everything that waits is written, for at most WITHIN_MS; then the thread ends.
 * What could not be written is counted as dropped, and the operator hears of it, by sink. */
void journal_finish(struct journal *journal, uint32_t within_ms);
/* After journal_finish(), or when it was never started. */
struct journal *journal_free(struct journal *journal);

/* So much waits that a request whose line must not be lost should wait as well (log.when_full: block); or a sink is
 * gone for good, and would lose it. Any thread, one relaxed load. */
bool journal_is_crowded(const struct journal *journal);
/* There are sinks for lines; there is an exporter for spans. */
bool journal_takes(const struct journal *journal, enum journal_kind kind);

/* --- a worker's side: each function on that worker's thread --- */

struct journal_source *journal_source_new(struct journal *journal);
/* Hands over what it holds. */
struct journal_source *journal_source_free(struct journal_source *source);

/* Where to append one line, which ends with a newline and holds no other. NULL: there is no room, which is never so
 * for LINES under log.when_full: block; the line counts as accepted and dropped. LINES begin behind their number and
 * their run (see record_write()). */
struct buffer *source_line(struct journal_source *source, enum journal_kind kind);
/* The same for a line that may be dropped whatever log.when_full says: of a request that nobody let in. */
struct buffer *source_line_if_room(struct journal_source *source, enum journal_kind kind);
void source_end_line(struct journal_source *source, enum journal_kind kind);

/* Bytes that were not handed over yet; hand over when many, or after a while. */
size_t source_waiting(const struct journal_source *source);
void source_hand_over(struct journal_source *source);

/* --- for the metrics: any thread --- */

struct journal_counts {
    uint64_t accepted;
    uint64_t waiting_bytes;     /* handed over, and not in all sinks yet */
};

struct journal_sink_counts {
    const char *name;           /* "file", "stdout", "syslog", "redis", "otlp"; unique: "file-2" ... */
    enum journal_kind kind;     /* of what it takes */
    uint64_t accepted, written, dropped, waiting, bytes, errors, rotations; /* accepted: of its kind, at that moment */
    bool good;                  /* its last write went well */
};

struct journal_counts journal_counts(const struct journal *journal, enum journal_kind kind);
unsigned journal_sink_count(const struct journal *journal);
struct journal_sink_counts journal_sink_counts(const struct journal *journal, unsigned index);
/* All of one moment: of each kind, and of journal_sink_count() sinks. */
void journal_all_counts(const struct journal *journal, struct journal_counts ret_kinds[JOURNAL_KINDS],
                        struct journal_sink_counts *ret_sinks);
