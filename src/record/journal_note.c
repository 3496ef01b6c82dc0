/*
 * A line about a gap has the number of the last line in it, so that a reader who goes from number to number finds no
 * hole: `first` follows the line before, and the line after follows `seq`.
 */
#include "record/journal_note.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define SAID_AGAIN_MS 60000

enum { SAID_TROUBLE, SAID_RELIEF };

static const char *const subjects[JOURNAL_KINDS] = {
    [JOURNAL_LINES] = "request log",
    [JOURNAL_SPANS] = "tracing",
};

void note_write(const struct gap *gap, struct buffer *out)
{
    uint64_t now = clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm parts;
    char stamp[32];

    gmtime_r(&seconds, &parts);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
    buffer_printf(out,
                  "{\"seq\":%" PRIu64 ",\"event\":\"dropped\",\"time\":\"%s.%03uZ\",\"dropped\":%" PRIu64
                  ",\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}\n",
                  gap->last, stamp, (unsigned)(now % 1000), gap->lines, gap->first, gap->last);
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
    if (outlet->gone)
        return "nobody is there to take them any more";
    return outlet->error ? strerror(-outlet->error) : "they come faster than they are taken";
}

void note_trouble(struct outlet *outlet, uint64_t lines)
{
    outlet->trouble_dropped += lines;
    if (outlet->trouble)
        return;
    outlet->trouble = true;
    if (may_say(outlet, SAID_TROUBLE))
        log_line("%s: %s: lines are dropped: %s", subjects[outlet->takes], outlet->name,
                 reason_of(outlet));
}

void note_relief(struct outlet *outlet)
{
    if (outlet->trouble && may_say(outlet, SAID_RELIEF))
        log_line("%s: %s: takes lines again; %" PRIu64 " were dropped", subjects[outlet->takes], outlet->name,
                 outlet->trouble_dropped);
    outlet->trouble = false;
    outlet->trouble_dropped = 0;
    outlet->error = 0;
}
