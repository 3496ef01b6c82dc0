/*
 * One loop: requests that are due go out, up to as many at once as may be; between them the loop turns. All is decided
 * in the turn, nothing in the callbacks, which only note what came.
 *
 * A timer may end before the loop waits for the sockets, in the same turn: then nothing would wake it. So whatever a
 * turn waits for says uv_stop(), and the loop does not wait any more.
 */
#include "command/log_replay.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "config/address.h"
#include "config/file.h"
#include "link/resolve.h"
#include "command/log_replay_job.h"
#include "command/text_table.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* What is read ahead, so that requests go out in the order in which they began. */
#define AHEAD 4096
#define AHEAD_BYTES (64u << 20)
/* Lines read between two turns of the loop. */
#define LINES_A_TURN 1000
#define CONNECT_MS 10000
#define LOOK_MS 1000

struct replay {
    struct log_files *files;
    const struct log_query *query;
    const struct log_replay_spec *spec;
    struct log_out *out;

    /* What is to be sent */
    struct log_line line;
    struct json_doc scratch;
    struct log_jobs jobs;
    bool read_all;
    int64_t first_us;           /* when the first one began, in the log */

    /* How it goes out */
    uv_loop_t loop;
    uv_timer_t timer;
    uv_signal_t interrupt;
    struct transfer_loop *transfers;
    struct transfer_target *target;
    struct bytes root;          /* the URL's own path */
    struct list open;
    unsigned open_count;
    bool begun, stopped;
    uint64_t begun_us, late_us;

    uint64_t same, different, failed, skipped[LOG_SKIP_COUNT];
};

/* --- what came of one --- */

static void fail(struct replay *replay, const struct log_job *job, struct bytes why)
{
    replay->failed++;
    log_job_write_name(job, "failed", &replay->out->text);
    buffer_append(&replay->out->text, why);
    buffer_append_char(&replay->out->text, '\n');
}

static void compare(struct replay *replay, struct log_job *job)
{
    uint32_t choice;
    size_t at;

    if (answer_text_differ(&job->recorded, &job->reply.text, &choice, &at)) {
        replay->different++;
        log_job_write_difference(job, choice, at, &replay->out->text);
    } else {
        replay->same++;
    }
}

static void end(struct log_job *job)
{
    struct replay *replay = job->replay;

    replay->open_count--;
    log_reply_deinit(&job->reply);
    log_job_free(job);
}

/* --- sending --- */

static void on_head(void *data, const struct transfer_head *head)
{
    struct log_job *job = data;

    log_reply_head(&job->reply, head->status, head->content_type);
}

static void on_body(void *data, struct bytes piece)
{
    struct log_job *job = data;

    log_reply_body(&job->reply, piece);
}

static void go_out(struct log_job *job, bool fresh);

static void on_done(void *data, int result, const char *reason)
{
    struct log_job *job = data;
    struct replay *replay = job->replay;
    struct buffer why;

    uv_stop(&replay->loop);
    job->transfer = NULL;
    if (result == TRANSFER_E_STALE && !job->again) {
        job->again = true;
        log_reply_deinit(&job->reply);
        go_out(job, true);
        return;
    }
    buffer_init(&why);
    if (result != 0)
        buffer_append_text(&why, reason[0] ? reason : "the connection was cut");
    else
        log_reply_end(&job->reply, &why);
    if (why.size)
        fail(replay, job, buffer_bytes(&why));
    else
        compare(replay, job);
    buffer_deinit(&why);
    end(job);
}

static void go_out(struct log_job *job, bool fresh)
{
    static const struct transfer_events events = {on_head, on_body, on_done};
    struct replay *replay = job->replay;
    struct transfer_request request = {.path = job->path, .body = job->body, .event_stream = job->stream,
                                       .fresh = fresh};

    log_reply_init(&job->reply, &replay->scratch);
    job->sent_ms = clock_ms();
    job->transfer = transfer_start(replay->target, &request, &events, job);
}

static void begin(struct replay *replay, struct log_job *job)
{
    job->replay = replay;
    if (replay->root.size)
        job->path = arena_printf(&job->arena, "%.*s%.*s", BYTES_ARG(replay->root), BYTES_ARG(job->path));
    list_append(&replay->open, &job->link);
    replay->open_count++;
    go_out(job, false);
}

/* Those that have no end, or all of them. */
static void cut(struct replay *replay, uint64_t longer_than_ms, struct bytes why)
{
    uint64_t now = clock_ms();

    LIST_EACH(&replay->open, node) {
        struct log_job *job = LIST_ENTRY(node, struct log_job, link);

        if (now - job->sent_ms < longer_than_ms)
            continue;
        job->transfer = transfer_cancel(job->transfer);
        fail(replay, job, why);
        end(job);
    }
}

/* --- the turn --- */

static void read_ahead(struct replay *replay)
{
    struct log_jobs *jobs = &replay->jobs;
    struct log_job *job;
    enum log_skip skip;

    for (int i = 0; i < LINES_A_TURN && !replay->read_all; i++) {
        if (jobs->count >= AHEAD || jobs->size >= AHEAD_BYTES)
            return;
        if (!log_files_next(replay->files, &replay->line)) {
            replay->read_all = true;
            return;
        }
        if (replay->line.kind != LOG_REQUEST || !log_query_takes(replay->query, &replay->line))
            continue;
        skip = log_job_new(&replay->line, &replay->scratch, &job);
        if (skip == LOG_SKIP_NONE)
            log_jobs_put(jobs, job);
        else
            replay->skipped[skip]++;
    }
}

/* Microseconds from the beginning to when JOB is to go out. */
static uint64_t due_us(const struct replay *replay, const struct log_job *job)
{
    double after = (double)(job->time_us - replay->first_us);

    if (replay->spec->speed == 0 || after <= 0)
        return 0;
    return (uint64_t)(after / replay->spec->speed);
}

static void on_timer(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* What is due goes out. Returns the milliseconds until there is more to do. */
static uint64_t send_due(struct replay *replay)
{
    const struct log_job *first;

    if (!replay->begun && log_jobs_first(&replay->jobs)) {
        replay->begun = true;
        replay->begun_us = clock_us();
        replay->first_us = log_jobs_first(&replay->jobs)->time_us;
    }
    while ((first = log_jobs_first(&replay->jobs)) && replay->open_count < replay->spec->concurrency) {
        uint64_t passed = clock_us() - replay->begun_us, due = due_us(replay, first);

        if (due > passed)
            return (due - passed) / 1000 + 1 < LOOK_MS ? (due - passed) / 1000 + 1 : LOOK_MS;
        if (replay->spec->speed > 0 && passed - due > replay->late_us)
            replay->late_us = passed - due;
        begin(replay, log_jobs_take(&replay->jobs));
    }
    return LOOK_MS;
}

/* False: all is done. */
static bool turn(struct replay *replay)
{
    uint64_t wait_ms = 0;
    bool full;

    read_ahead(replay);
    full = replay->read_all || replay->jobs.count >= AHEAD || replay->jobs.size >= AHEAD_BYTES;
    if (full || replay->begun)
        wait_ms = send_due(replay);
    if (!log_out_flush(replay->out) || replay->stopped)
        return false;
    if (replay->read_all && replay->jobs.count == 0 && replay->open_count == 0)
        return false;
    if (!full)
        wait_ms = 0;
    uv_update_time(&replay->loop);
    uv_timer_start(&replay->timer, on_timer, wait_ms, 0);
    uv_run(&replay->loop, UV_RUN_ONCE);
    cut(replay, LOG_REPLAY_LIMIT_MS, BYTES("no end within ten minutes"));
    return true;
}

/* --- the summary --- */

static void write_summary(const struct replay *replay, struct buffer *out)
{
    uint64_t sent = replay->same + replay->different + replay->failed, skipped = 0;
    bool comma = false;

    table_count(out, sent);
    buffer_printf(out, " sent in %.1f s: ", replay->begun ? (double)(clock_us() - replay->begun_us) / 1e6 : 0.0);
    table_count(out, replay->same);
    buffer_append_text(out, " same, ");
    table_count(out, replay->different);
    buffer_append_text(out, " different, ");
    table_count(out, replay->failed);
    buffer_append_text(out, " failed\n");
    if (replay->late_us >= 1000)
        buffer_printf(out, "the latest went out %.0f ms after its time\n", (double)replay->late_us / 1e3);
    if (replay->stopped && replay->jobs.count)
        buffer_append_text(out, "stopped before all were sent\n");
    for (unsigned i = 0; i < LOG_SKIP_COUNT; i++)
        skipped += replay->skipped[i];
    if (!skipped)
        return;
    table_count(out, skipped);
    buffer_append_text(out, " skipped: ");
    for (unsigned i = 0; i < LOG_SKIP_COUNT; i++) {
        if (!replay->skipped[i])
            continue;
        buffer_append_text(out, comma ? ", " : "");
        table_count(out, replay->skipped[i]);
        buffer_printf(out, " %s", log_skip_texts[i]);
        comma = true;
    }
    buffer_append_char(out, '\n');
}

/* --- where to --- */

/* Once, before anything is sent: a command may wait. */
static bool resolve(struct replay *replay, struct bytes host, struct buffer *errors)
{
    struct arena arena = {0};
    uv_getaddrinfo_t lookup;
    const struct addrinfo *chosen;
    char address[64];
    int r;

    r = uv_getaddrinfo(&replay->loop, &lookup, NULL, arena_copy(&arena, host).data, NULL, NULL);
    arena_deinit(&arena);
    chosen = r == 0 ? resolve_choose(lookup.addrinfo) : NULL;
    if (r == 0)
        r = chosen ? uv_ip_name(chosen->ai_addr, address, sizeof(address)) : UV_EAI_ADDRFAMILY;
    if (r == 0)
        transfer_target_resolved(replay->target, address);
    else
        buffer_printf(errors, "%.*s: %s\n", BYTES_ARG(host), uv_strerror(r));
    if (lookup.addrinfo)
        uv_freeaddrinfo(lookup.addrinfo);
    return r == 0;
}

/* Else each request would fail for it. */
static bool look_at_authorities(const char *path, struct buffer *errors)
{
    struct buffer text = {0};
    int r = file_read(path, true, FILE_KEYS_SIZE_MAX, &text);
    bool good = r == 0 && bytes_find(buffer_bytes(&text), BYTES("-----BEGIN ")) < text.size;

    if (r == -EINVAL || r == -EFBIG)
        buffer_printf(errors, "--ca-file: %s %s\n", path, file_error_text(r, FILE_KEYS_SIZE_MAX));
    else if (r != 0)
        buffer_printf(errors, "--ca-file: %s cannot be read: %s\n", path, file_error_text(r, FILE_KEYS_SIZE_MAX));
    else if (!good)
        buffer_printf(errors, "--ca-file: %s holds no PEM certificate\n", path);
    buffer_deinit(&text);
    return good;
}

static bool aim(struct replay *replay, struct arena *arena, struct buffer *errors)
{
    struct config_backend place = {.kind = KIND_OPENAI};
    struct transfer_target_spec spec;
    const char *wrong = address_read_url(arena, bytes_of(replay->spec->url), &place);

    if (wrong) {
        buffer_printf(errors, "--to: %s\n", wrong);
        return false;
    }
    if (replay->spec->ca_file && !place.tls) {
        buffer_append_text(errors, "--ca-file is only for a URL with https\n");
        return false;
    }
    if (replay->spec->ca_file && !look_at_authorities(replay->spec->ca_file, errors))
        return false;
    spec = (struct transfer_target_spec){.tls = place.tls, .host = place.host, .port = place.port,
                                         .unix_path = place.unix_path, .api_key = bytes_of(replay->spec->key),
                                         .ca_file = bytes_of(replay->spec->ca_file), .connect_ms = CONNECT_MS};
    replay->root = place.root;
    replay->target = transfer_target_new(replay->transfers, &spec);
    if (!replay->target) {
        buffer_append_text(errors, "--to or the key holds characters that cannot be sent\n");
        return false;
    }
    return place.unix_path.size || resolve_is_literal(place.host) || resolve(replay, place.host, errors);
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct replay *replay = handle->data;

    replay->stopped = true;
}

static void on_closed(void *data)
{
}

static void replay_init(struct replay *replay)
{
    uv_loop_init(&replay->loop);
    uv_timer_init(&replay->loop, &replay->timer);
    uv_signal_init(&replay->loop, &replay->interrupt);
    replay->interrupt.data = replay;
    transfer_global_init();
    replay->transfers = transfer_loop_new(&replay->loop, replay->spec->concurrency);
    list_init(&replay->open);
    log_line_init(&replay->line);
    json_doc_init(&replay->scratch, ANSWER_JSON_LIMITS);
}

static void replay_deinit(struct replay *replay)
{
    while (replay->jobs.count)
        log_job_free(log_jobs_take(&replay->jobs));
    alloc_free(replay->jobs.heap);
    transfer_target_free(replay->target);
    transfer_loop_close(replay->transfers, on_closed, replay);
    uv_close((uv_handle_t *)&replay->timer, NULL);
    uv_close((uv_handle_t *)&replay->interrupt, NULL);
    uv_run(&replay->loop, UV_RUN_DEFAULT);
    uv_loop_close(&replay->loop);
    json_doc_deinit(&replay->scratch);
    log_line_deinit(&replay->line);
}

bool log_replay(struct log_files *files, const struct log_query *query, const struct log_replay_spec *spec,
                struct log_out *out, struct buffer *errors)
{
    struct replay replay = {.files = files, .query = query, .spec = spec, .out = out};
    struct arena arena = {0};
    bool good;

    replay_init(&replay);
    good = aim(&replay, &arena, errors);
    if (good) {
        uv_signal_start(&replay.interrupt, on_interrupt, SIGINT);
        while (turn(&replay))
            ;
        cut(&replay, 0, BYTES("stopped"));
        write_summary(&replay, &out->text);
        log_out_flush(out);
        good = replay.same && !replay.different && !replay.failed && !replay.stopped;
    }
    replay_deinit(&replay);
    arena_deinit(&arena);
    return good;
}
