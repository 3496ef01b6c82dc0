/*
 * Which answers stay? The hit ratio of the memo's shelf (S3-FIFO) against plain LRU of the same bytes, on the same
 * trace: a Zipf of things asked for again and again, things asked for once, and scans over things asked for rarely.
 *
 *     cc -O2 -std=c11 -D_GNU_SOURCE -I src tests/bench/eviction.c src/memo/shelf.c src/memo/ghost.c \
 *        src/base/alloc.c -lm
 *     ./a.out [REQUESTS [SEED]]
 *
 * Sizes vary from 1 to 200 kilobytes, most of them small. A cache's size is a share of the footprint: the bytes of all
 * different things in the trace. The same seed gives the same table everywhere.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "memo/shelf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define POPULAR 100000      /* different things behind the Zipf */
#define SCANNED 50000       /* different things that scans go over */
#define SCAN_LENGTH 2500

struct mix {
    const char *name;
    double alpha;
    double once;            /* share of requests for things never asked for again */
    double scans;           /* share of requests that belong to scans */
};

static const struct mix mixes[] = {
    {"Zipf 0.8", 0.8, 0, 0},
    {"Zipf 0.8, 20 % once", 0.8, 0.2, 0},
    {"Zipf 0.8, 40 % once", 0.8, 0.4, 0},
    {"Zipf 0.8, 20 % once, 20 % scans", 0.8, 0.2, 0.2},
    {"Zipf 1.0", 1.0, 0, 0},
    {"Zipf 1.0, 20 % once", 1.0, 0.2, 0},
    {"Zipf 1.0, 40 % once", 1.0, 0.4, 0},
    {"Zipf 1.0, 20 % once, 20 % scans", 1.0, 0.2, 0.2},
};

static const double shares[] = {0.01, 0.05, 0.10};

struct trace {
    uint32_t *things;
    uint32_t *sizes;        /* of each thing */
    uint32_t requests, different;
    uint64_t footprint;
};

static uint64_t state;

static uint64_t next_random(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static double next_share(void)
{
    return (double)(next_random() >> 11) / 9007199254740992.0;
}

/* --- the trace --- */

static double *zipf_table(double alpha)
{
    double *sums = alloc_bytes(POPULAR * sizeof(*sums)), sum = 0;

    for (int i = 0; i < POPULAR; i++)
        sums[i] = sum += pow(i + 1, -alpha);
    for (int i = 0; i < POPULAR; i++)
        sums[i] /= sum;
    return sums;
}

static uint32_t zipf_next(const double *sums)
{
    double share = next_share();
    uint32_t low = 0, high = POPULAR - 1;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (sums[middle] < share)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Scans come whole: of those things none is asked for between, and each begins where the last one ended. */
static void fill(struct trace *trace, const struct mix *mix)
{
    double *sums = zipf_table(mix->alpha);
    double scan_begins = mix->scans / SCAN_LENGTH / (1 - mix->scans);
    uint32_t scan_left = 0, scan_at = 0;

    for (uint32_t i = 0; i < trace->requests; i++) {
        if (!scan_left && next_share() < scan_begins)
            scan_left = SCAN_LENGTH;
        if (scan_left) {
            scan_left--;
            trace->things[i] = POPULAR + scan_at++ % SCANNED;
        } else if (next_share() < mix->once / (1 - mix->scans)) {
            trace->things[i] = trace->different++;
        } else {
            trace->things[i] = zipf_next(sums);
        }
    }
    alloc_free(sums);
}

static void trace_init(struct trace *trace, const struct mix *mix, uint32_t requests)
{
    char *seen;

    *trace = (struct trace){.requests = requests, .different = POPULAR + SCANNED};
    trace->things = alloc_bytes(requests * sizeof(*trace->things));
    fill(trace, mix);
    trace->sizes = alloc_bytes(trace->different * sizeof(*trace->sizes));
    for (uint32_t i = 0; i < trace->different; i++)
        trace->sizes[i] = (uint32_t)(1024 * pow(200, pow(next_share(), 3)));
    seen = alloc_zeroed(trace->different);
    for (uint32_t i = 0; i < requests; i++) {
        if (!seen[trace->things[i]])
            trace->footprint += trace->sizes[trace->things[i]];
        seen[trace->things[i]] = 1;
    }
    alloc_free(seen);
}

static void trace_deinit(struct trace *trace)
{
    alloc_free(trace->things);
    alloc_free(trace->sizes);
}

/* --- the caches: items by thing; `queue` is 0 for what is not there --- */

static uint64_t shelf_run(const struct trace *trace, struct shelf_item *items, uint64_t bytes)
{
    struct shelf *shelf = shelf_new(bytes);
    struct shelf_item *gone;
    uint64_t hits = 0;

    for (uint32_t i = 0; i < trace->requests; i++) {
        struct shelf_item *item = &items[trace->things[i]];

        if (item->queue) {
            shelf_hit(item);
            hits++;
            continue;
        }
        item->name = (trace->things[i] + 1) * UINT64_C(0x9e3779b97f4a7c15);
        item->size = trace->sizes[trace->things[i]];
        while ((gone = shelf_evict(shelf, item->size)))
            ;
        shelf_put(shelf, item);
    }
    shelf_free(shelf);
    return hits;
}

static uint64_t lru_run(const struct trace *trace, struct shelf_item *items, uint64_t bytes)
{
    struct list list;
    uint64_t hits = 0, held = 0;

    list_init(&list);
    for (uint32_t i = 0; i < trace->requests; i++) {
        struct shelf_item *item = &items[trace->things[i]];

        if (item->queue) {
            list_remove(&item->link);
            list_append(&list, &item->link);
            hits++;
            continue;
        }
        item->queue = 1;
        item->size = trace->sizes[trace->things[i]];
        list_append(&list, &item->link);
        held += item->size;
        while (held > bytes) {
            struct shelf_item *gone = LIST_ENTRY(list_first(&list), struct shelf_item, link);

            list_remove(&gone->link);
            gone->queue = 0;
            held -= gone->size;
        }
    }
    return hits;
}

static double ratio(uint64_t (*run)(const struct trace *, struct shelf_item *, uint64_t), const struct trace *trace,
                    uint64_t bytes)
{
    struct shelf_item *items = alloc_zeroed(trace->different * sizeof(*items));
    uint64_t hits = run(trace, items, bytes);

    alloc_free(items);
    return 100.0 * (double)hits / trace->requests;
}

int main(int argc, char **argv)
{
    uint32_t requests = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 2000000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    printf("Hit ratio in %% of %u requests: S3-FIFO / LRU (misses of S3-FIFO for each of LRU)\n\n", requests);
    printf("%-33s", "trace");
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++)
        printf("     cache %2.0f %%        ", shares[i] * 100);
    printf("\n");
    for (size_t m = 0; m < ARRAY_SIZE(mixes); m++) {
        struct trace trace;

        state = seed;
        trace_init(&trace, &mixes[m], requests);
        printf("%-33s", mixes[m].name);
        for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
            uint64_t bytes = (uint64_t)((double)trace.footprint * shares[i]);
            double shelf = ratio(shelf_run, &trace, bytes), lru = ratio(lru_run, &trace, bytes);

            printf("  %5.2f / %5.2f (%.2f) ", shelf, lru, (100 - shelf) / (100 - lru));
        }
        printf("\n");
        trace_deinit(&trace);
    }
    return 0;
}
