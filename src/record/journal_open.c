/*
 * From the configuration to the kinds of sinks: one row each.
 */
#include "record/journal_private.h"

#include "base/alloc.h"

static const struct sink_kind *const kinds[] = {
    [CONFIG_SINK_STDOUT] = &sink_stdout,
    [CONFIG_SINK_FILE] = &sink_file,
    [CONFIG_SINK_SYSLOG] = &sink_syslog,
    [CONFIG_SINK_REDIS] = &sink_redis,
};

int journal_new(const struct config_log *log, const struct config_tracing *tracing, struct buffer *errors,
                struct journal **ret)
{
    struct journal_sink_setup *setups = alloc_zeroed((log->sink_count + 1) * sizeof(*setups));
    unsigned count = 0;
    int r = 0;

    for (; count < log->sink_count; count++)
        setups[count] = (struct journal_sink_setup){kinds[log->sinks[count].kind], &log->sinks[count], JOURNAL_LINES};
    if (tracing->used)
        setups[count++] = (struct journal_sink_setup){&sink_otlp, tracing, JOURNAL_SPANS};
    if (count)
        r = journal_new_with(setups, count, log->buffer, errors, ret);
    else
        *ret = NULL;
    if (r == 0 && *ret && log->when_full == WHEN_FULL_BLOCK)
        journal_keep_lines(*ret);
    alloc_free(setups);
    return r;
}
