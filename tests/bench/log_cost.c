/*
 * What the log costs by itself: a typical record to a line (the worker's part), and lines of 700 bytes through the
 * journal to a file sink (its own thread's part). See log.sh, which compiles and runs it.
 *
 *     log_cost PATH [LINES]
 *
 * One line of key=value goes to stdout: nanoseconds of CPU for one line. The thread's CPU is what the process used
 * without this thread. Under callgrind PART=record or PART=journal in the environment runs only that.
 */
#include "base/alloc.h"
#include "record/journal.h"
#include "record/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 700
#define BLOCK_LINES 46          /* what a worker hands over at once: 32 KB */
#define BUFFER_BYTES (64 << 20)
#define FINISH_MS 60000

static double cpu_us(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- a record to a line --- */

static struct record typical_record(void)
{
    return (struct record){
        .wall_us = INT64_C(1764000000123456),
        .id = BYTES("req_0123456789abcdef0123456789abcdef"),
        .client = BYTES("127.0.0.1:40000"),
        .key = BYTES("alice"), .team = BYTES("interpretability"),
        .dialect = "openai", .operation = "chat", .method = BYTES("POST"), .path = BYTES("/v1/chat/completions"),
        .model = BYTES("llama-3.3-70b-instruct"), .upstream_model = BYTES("meta-llama/Llama-3.3-70B-Instruct"),
        .backend = BYTES("node-1"), .attempts = 1,
        .cache = "miss", .cache_key = BYTES("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        .status = 200, .outcome = "ok", .finish_reason = BYTES("stop"),
        .prompt_tokens = 1234, .completion_tokens = 456, .cost = 1234, .has_cost = true,
        .bytes_in = 5678, .bytes_out = 98765, .events = 456, .stream = true,
        .total_us = 12345678, .auth_us = 12, .body_us = 34, .parse_us = 56, .limit_us = 7, .claim_us = 8,
        .connect_us = 345, .first_byte_us = 234567, .answer_us = 89, .first_token_us = 235000,
        .gap_p50_us = 20000, .gap_p99_us = 40000, .gap_max_us = 123456, .lag_us = 456,
    };
}

static void measure_record(uint64_t lines)
{
    struct record record = typical_record();
    struct buffer out;
    double start, size = 0;

    buffer_init(&out);
    start = cpu_us(RUSAGE_THREAD);
    for (uint64_t i = 0; i < lines; i++) {
        record.wall_us += 1000;
        out.size = 0;
        record_write(&record, &out);
        size += (double)out.size;
    }
    printf("case=record target=record round=1 ns_per_line=%.0f bytes_per_line=%.0f\n",
           (cpu_us(RUSAGE_THREAD) - start) * 1e3 / (double)lines, size / (double)lines);
    buffer_deinit(&out);
}

/* --- lines through the journal --- */

static void add_line(struct journal_source *source)
{
    static const char text[] = "\"time\":\"2026-11-23T08:00:00.000Z\",\"id\":\"req_0123456789abcdef0123456789abcdef\"";
    struct buffer *out = source_line(source, JOURNAL_LINES);
    size_t size = sizeof(text) - 1;

    if (!out)
        return;
    buffer_append(out, (struct bytes){text, size});
    for (; size + 20 < LINE_BYTES; size += 16)
        buffer_append(out, BYTES(",\"field\":\"value\""));
    buffer_append(out, BYTES("}\n"));
    source_end_line(source, JOURNAL_LINES);
}

/* As workers do, but for waiting where the buffer is half full: nothing may be dropped. */
static void fill(struct journal *journal, struct journal_source *source, uint64_t lines)
{
    for (uint64_t i = 0; i < lines; i++) {
        add_line(source);
        if ((i + 1) % BLOCK_LINES)
            continue;
        source_hand_over(source);
        while (journal_is_crowded(journal))
            usleep(200);
    }
    source_hand_over(source);
}

static int measure_journal(const char *path, uint64_t lines)
{
    struct config_sink sink = {.kind = CONFIG_SINK_FILE, .path = bytes_of(path)};
    struct config_log log = {.sinks = &sink, .sink_count = 1, .buffer = BUFFER_BYTES, .flush_ms = 200};
    struct config_tracing tracing = {0};
    struct journal_sink_counts counts;
    struct journal_source *source;
    struct journal *journal;
    struct buffer errors;
    double start, mine, seconds, spent;

    buffer_init(&errors);
    if (journal_new(&log, &tracing, &errors, &journal) < 0 || journal_start(journal) < 0) {
        fprintf(stderr, "%.*s", (int)errors.size, errors.data);
        return 1;
    }
    source = journal_source_new(journal);
    seconds = now_s();
    start = cpu_us(RUSAGE_SELF);
    mine = cpu_us(RUSAGE_THREAD);
    fill(journal, source, lines);
    journal_source_free(source);
    journal_finish(journal, FINISH_MS);
    spent = cpu_us(RUSAGE_SELF) - start - (cpu_us(RUSAGE_THREAD) - mine);
    seconds = now_s() - seconds;
    counts = journal_sink_counts(journal, 0);
    printf("case=journal target=%s round=1 ns_per_line=%.0f lines_per_cpu_second=%.0f lines_per_second=%.0f "
           "written=%llu dropped=%llu\n", path, spent * 1e3 / (double)lines, (double)lines / spent * 1e6,
           (double)lines / seconds, (unsigned long long)counts.written, (unsigned long long)counts.dropped);
    journal_free(journal);
    buffer_deinit(&errors);
    return counts.written == lines ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t lines = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
    const char *only = getenv("PART");
    int r = 0;

    if (argc < 2 || lines == 0)
        return 2;
    if (!only || strcmp(only, "record") == 0)
        measure_record(lines);
    if (!only || strcmp(only, "journal") == 0)
        r = measure_journal(argv[1], lines);
    return r;
}
