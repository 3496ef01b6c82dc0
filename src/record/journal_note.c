/*
 * A line about a gap has the number of the last line in it, so that a reader who goes from number to number finds no
 * hole: `first` follows the line before, and the line after follows `seq`.
 */
#include "record/journal_note.h"

#include "base/clock.h"
#include "base/log.h"
#include "record/record.h"

#include <inttypes.h>
#include <string.h>

#define SAID_AGAIN_MS 60000

enum { SAID_TROUBLE, SAID_RELIEF };

static const char *const subjects[JOURNAL_KINDS] = {
    [JOURNAL_LINES] = "lines",
    [JOURNAL_SPANS] = "spans",
};

void note_write(const struct gap *gap, const char *run, struct buffer *out)
{
    buffer_printf(out, "{\"seq\":%" PRIu64 ",%.*s\"event\":\"dropped\",", gap->last, RUN_SIZE, run);
    record_write_time(out, (int64_t)clock_wall_us());
    buffer_printf(out, ",\"dropped\":%" PRIu64 ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}\n", gap->lines, gap->first,
                  gap->last);
}

static bool may_say(struct outlet *outlet, unsigned what)
{
    uint64_t now = clock_ms();

    if (outlet->said_ms[what] && now - outlet->said_ms[what] < SAID_AGAIN_MS)
        return false;
    outlet->said_ms[what] = now;
    return true;
}

static const char *reason_of(const struct outlet *outlet)
{
    const char *words = outlet->kind->trouble ? outlet->kind->trouble(outlet->sink) : NULL;

    if (outlet->gone)
        return "nobody is there to take them any more";
    if (words)
        return words;
    if (outlet->error)
        return strerror(-outlet->error);
    return outlet->refused ? "they were refused" : "they come faster than they are taken";
}

void note_trouble(struct outlet *outlet, uint64_t lines)
{
    outlet->trouble_dropped += lines;
    outlet->kept = false;
    if (outlet->trouble)
        return;
    outlet->trouble = true;
    if (may_say(outlet, SAID_TROUBLE))
        log_line("%s: %s are dropped: %s", outlet->head, subjects[outlet->takes], reason_of(outlet));
}

void note_relief(struct outlet *outlet)
{
    if (may_say(outlet, SAID_RELIEF))
        log_line("%s: takes %s again; %" PRIu64 " were dropped", outlet->head, subjects[outlet->takes],
                 outlet->trouble_dropped);
    outlet->trouble = false;
    outlet->trouble_dropped = 0;
    outlet->error = 0;
    outlet->refused = false;
}

void note_end(const struct outlet *outlet, uint64_t lines)
{
    if (lines)
        log_line("%s: %" PRIu64 " %s could not be written before the end", outlet->head, lines,
                 subjects[outlet->takes]);
}
