/*
 * The table walked once per scrape.
 */
#include "record/metrics.h"

#include "record/prometheus.h"

#include <stddef.h>

struct row {
    const char *name, *kind, *help;
    size_t offset;
};

static const struct row rows[] = {
#define METRICS_ROW(name, kind, help) {"embergate_" #name, kind, help, offsetof(struct metrics, name)},
    METRICS_TABLE(METRICS_ROW)
#undef METRICS_ROW
};

void metrics_write(struct metrics *const *sets, unsigned count, struct buffer *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t sum = 0;

        for (unsigned set = 0; set < count; set++) {
            const char *base = (const char *)sets[set];

            sum += metrics_read((const _Atomic int64_t *)(const void *)(base + rows[i].offset));
        }
        prometheus_single(out, rows[i].name, rows[i].kind, rows[i].help, sum);
    }
}
