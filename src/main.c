/*
 * The process: arguments, configuration, one worker per core, signals, the orderly end.
 *
 * The main thread runs the administration's worker (health, metrics, signals); the others run the gateway. SIGTERM or
 * SIGINT: readiness off, listeners closed, open answers finish; after `drain` what is left is ended with an error;
 * a second signal ends at once.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/standard.h"
#include "base/trim.h"
#include "command/cache_command.h"
#include "config/address.h"
#include "config/arguments.h"
#include "gateway_keys.h"
#include "gateway_shared.h"
#include "command/key_command.h"
#include "link/transfer.h"
#include "command/log_command.h"
#include "record/journal.h"
#include "record/redact.h"
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Descriptors kept from the clients: loops, listeners, logs, the administration. */
#define SPARE_DESCRIPTORS 64
/* After the drain time: for the error events to leave. */
#define LAST_MS 1000
/* For the workers to end what was cut off, and for the log to be written. */
#define CUT_MS 300
#define LOG_MS 5000

struct gateway {
    struct config *config;
    struct flow_shared shared;
    struct worker *admin;
    struct worker **workers;
    unsigned count;
    _Atomic unsigned running;
    bool draining;
    struct gateway_keys *keys;      /* NULL: none are asked for */
    uv_signal_t terminate, interrupt, hangup, reopen;
    uv_timer_t drain_timer;
    uv_async_t worker_ended;
};

/* --- the end --- */

/* A stream that ends with its connection must not look complete because the process ends: every socket that is still
 * open is to be reset by the kernel, not closed in order. */
static void reset_sockets(void)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct rlimit limit = {.rlim_cur = 1024};

    getrlimit(RLIMIT_NOFILE, &limit);
    for (int descriptor = STDERR_FILENO + 1; descriptor < (int)limit.rlim_cur; descriptor++)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* With workers still running: their sockets are reset, what they recorded is written. */
static void leave(struct gateway *gateway, int status)
{
    reset_sockets();
    journal_finish(gateway->shared.journal, LOG_MS);
    _exit(status);
}

static void on_cut_over(uv_timer_t *timer)
{
    leave(timer->data, 0);
}

static void on_last_moment(uv_timer_t *timer)
{
    struct gateway *gateway = timer->data;

    log_line("embergate: some connections did not end in time; cutting them");
    for (unsigned i = 0; i < gateway->count; i++)
        worker_cut(gateway->workers[i]);
    uv_timer_start(timer, on_cut_over, CUT_MS, 0);
}

/* Before there is anything to open again, and when there is no more. */
static void ignore_reopening(void)
{
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
}

static void close_admin(struct gateway *gateway)
{
    uv_close((uv_handle_t *)&gateway->terminate, NULL);
    uv_close((uv_handle_t *)&gateway->interrupt, NULL);
    uv_close((uv_handle_t *)&gateway->hangup, NULL);
    uv_close((uv_handle_t *)&gateway->reopen, NULL);
    ignore_reopening(); /* libuv gave them back their default, which is to die; the log is not written yet */
    gateway_keys_close(gateway->keys);
    uv_close((uv_handle_t *)&gateway->worker_ended, NULL);
    uv_timer_start(&gateway->drain_timer, on_last_moment, LAST_MS, 0);
    uv_unref((uv_handle_t *)&gateway->drain_timer);
    worker_drain(gateway->admin);
    worker_abort(gateway->admin);
}

static void on_worker_ended(uv_async_t *async)
{
    struct gateway *gateway = async->data;

    if (atomic_load(&gateway->running) == 0)
        close_admin(gateway);
}

/* From the worker's own thread. */
static void worker_has_ended(void *data)
{
    struct gateway *gateway = data;

    atomic_fetch_sub(&gateway->running, 1);
    uv_async_send(&gateway->worker_ended);
}

static void on_drain_over(uv_timer_t *timer)
{
    struct gateway *gateway = timer->data;

    log_line("embergate: drain time is over, ending what is still open");
    for (unsigned i = 0; i < gateway->count; i++)
        worker_abort(gateway->workers[i]);
    uv_timer_start(timer, on_last_moment, LAST_MS, 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct gateway *gateway = handle->data;

    if (gateway->draining) {
        log_line("embergate: second signal, leaving at once");
        for (unsigned i = 0; i < gateway->count; i++)
            worker_cut(gateway->workers[i]);
        usleep(CUT_MS * 1000);
        leave(gateway, 1);
    }
    gateway->draining = true;
    log_line("embergate: signal %d, draining for at most %u ms", number, gateway->config->drain_ms);
    atomic_store(&gateway->shared.ready, false);
    for (unsigned i = 0; i < gateway->count; i++)
        worker_drain(gateway->workers[i]);
    uv_timer_start(&gateway->drain_timer, on_drain_over, gateway->config->drain_ms, 0);
}

/* --- the start --- */

/* The descriptor limit raised as far as it goes; how many clients fit, each with one upstream. */
static uint32_t most_connections(const struct config *config)
{
    struct rlimit limit = {1024, 1024};
    uint64_t spare, fit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max > 1 << 20 ? 1 << 20 : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    spare = SPARE_DESCRIPTORS + 16 * config->workers;
    if (spare > limit.rlim_cur / 2)
        spare = limit.rlim_cur / 2;
    fit = (limit.rlim_cur - spare) / 2;
    if (config->limits.connections && config->limits.connections < fit)
        return config->limits.connections;
    return fit > UINT32_MAX ? UINT32_MAX : (uint32_t)fit;
}

static int cannot_listen(const struct config_address *address, int error)
{
    if (address->unix_path.size)
        log_line("embergate: cannot listen on unix:%.*s: %s", BYTES_ARG(address->unix_path), uv_strerror(error));
    else
        log_line("embergate: cannot listen on %.*s port %u: %s", BYTES_ARG(address->host), address->port,
                 uv_strerror(error));
    return error;
}

/* The first worker decides on ports; the others share its addresses. */
static int start_workers(struct gateway *gateway)
{
    struct config *config = gateway->config;
    struct config_address *addresses = alloc_zeroed(config->listen_count * sizeof(*addresses));
    unsigned bad = 0;
    int r = 0;

    for (uint32_t i = 0; i < config->listen_count; i++)
        addresses[i] = config->listen[i];
    while (gateway->count < config->workers) {
        r = worker_new(&gateway->shared, gateway->count, false, addresses, config->listen_count, gateway->workers[0],
                       worker_has_ended, gateway, &gateway->workers[gateway->count], &bad);
        if (r < 0) {
            cannot_listen(&addresses[bad], r);
            break;
        }
        for (uint32_t i = 0; i < config->listen_count && gateway->count == 0; i++)
            addresses[i].port = worker_port(gateway->workers[0], i);
        gateway->count++;
    }
    alloc_free(addresses);
    return r;
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct gateway *gateway = handle->data;

    (void)number;
    journal_reopen(gateway->shared.journal);
    gateway_keys_reload(gateway->keys);
}

static void on_reopen(uv_signal_t *handle, int number)
{
    struct gateway *gateway = handle->data;

    (void)number;
    journal_reopen(gateway->shared.journal);
}

static void watch_signals(struct gateway *gateway)
{
    uv_loop_t *loop = worker_loop(gateway->admin);

    uv_signal_init(loop, &gateway->terminate);
    uv_signal_init(loop, &gateway->interrupt);
    uv_signal_init(loop, &gateway->hangup);
    uv_signal_init(loop, &gateway->reopen);
    uv_timer_init(loop, &gateway->drain_timer);
    uv_async_init(loop, &gateway->worker_ended, on_worker_ended);
    gateway->terminate.data = gateway->interrupt.data = gateway->hangup.data = gateway->reopen.data = gateway;
    gateway->drain_timer.data = gateway->worker_ended.data = gateway;
    uv_signal_start(&gateway->terminate, on_signal, SIGTERM);
    uv_signal_start(&gateway->interrupt, on_signal, SIGINT);
    uv_signal_start(&gateway->hangup, on_hangup, SIGHUP);
    uv_signal_start(&gateway->reopen, on_reopen, SIGUSR1);
    gateway_keys_watch(gateway->keys, loop);
}

static void announce(struct gateway *gateway)
{
    const struct config *config = gateway->config;

    log_line("embergate %s: %u workers, at most %u connections", EMBERGATE_VERSION, gateway->count,
             gateway->shared.most_connections);
    for (uint32_t i = 0; i < config->listen_count; i++) {
        log_line("embergate: listening on %s", worker_listens(gateway->workers[0], i));
        if (!address_is_local(&config->listen[i]) && !gateway->keys)
            log_line("embergate: WARNING: this address is reachable from other machines, and no client has to show "
                     "a key");
    }
    if (config->has_admin)
        log_line("embergate: admin on %s", worker_listens(gateway->admin, 0));
}

/* One thread takes the signals. */
static int run_threads(struct gateway *gateway)
{
    sigset_t all, before;
    int r = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    if (gateway->shared.journal)
        r = journal_start(gateway->shared.journal);
    for (unsigned i = 0; i < gateway->count && r == 0; i++) {
        atomic_fetch_add(&gateway->running, 1);
        r = worker_start(gateway->workers[i]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0) {
        log_line("embergate: cannot start a thread: %s", uv_strerror(r));
        _exit(1);
    }
    atomic_store(&gateway->shared.ready, true);
    trim_memory();
    announce(gateway);
    worker_run(gateway->admin);
    uv_close((uv_handle_t *)&gateway->drain_timer, NULL);
    uv_run(worker_loop(gateway->admin), UV_RUN_DEFAULT);
    return 0;
}

/* What is found out when it is begun: false, and it was said. */
static bool open_log(struct gateway *gateway)
{
    struct buffer errors;
    int r;

    buffer_init(&errors);
    r = journal_new(&gateway->config->log, &gateway->config->tracing, &errors, &gateway->shared.journal);
    if (r < 0)
        log_line("embergate: %.*s", BYTES_ARG(bytes_trim(buffer_bytes(&errors))));
    buffer_deinit(&errors);
    return r == 0;
}

static int serve(struct config *config)
{
    struct gateway gateway = {.config = config};
    unsigned bad;
    int r;

    standard_occupy();
    log_never_wait();
    gateway_shared_init(&gateway.shared, config, most_connections(config));
    if (!open_log(&gateway) || gateway_keys_new(&gateway.shared, &gateway.keys) != 0)
        _exit(1);
    gateway.workers = alloc_zeroed(config->workers * sizeof(struct worker *));

    r = worker_new(&gateway.shared, config->workers, true, &config->admin, config->has_admin, NULL,
                   NULL, NULL, &gateway.admin, &bad);
    if (r < 0)
        cannot_listen(&config->admin, r);
    else
        r = start_workers(&gateway);
    if (r < 0)
        _exit(1);
    watch_signals(&gateway);
    run_threads(&gateway);

    for (unsigned i = 0; i < gateway.count; i++)
        worker_free(gateway.workers[i]);
    worker_free(gateway.admin);
    journal_finish(gateway.shared.journal, LOG_MS);
    journal_free(gateway.shared.journal);
    gateway_keys_free(gateway.keys);
    gateway_shared_deinit(&gateway.shared);
    alloc_free(gateway.workers);
    log_line("embergate: done");
    return 0;
}

/* The configuration is good; are the keys in their own file? */
static int check_keys(const struct config *config, const char *name)
{
    struct config_keys *keys = NULL;
    struct buffer errors;
    int r = 0;

    buffer_init(&errors);
    if (config->keys_file.size) {
        struct buffer path;

        buffer_init(&path);
        buffer_append(&path, config->keys_file);
        buffer_append_char(&path, '\0');
        r = config_read_keys(path.data, config, &errors, &keys);
        buffer_deinit(&path);
    }
    if (r == -ENOENT)
        fprintf(stderr, "%.*s%s: ok, once that is there\n", BYTES_ARG(buffer_bytes(&errors)), name);
    else if (r == 0)
        fprintf(stderr, "%s: ok\n", name);
    else
        fprintf(stderr, "%.*s", BYTES_ARG(buffer_bytes(&errors)));
    config_keys_unref(keys);
    buffer_deinit(&errors);
    return r == -ENOENT ? 0 : r;
}

/* Patterns are compiled by who uses them, which is not the configuration. */
static int check_patterns(const struct config *config, const char *name)
{
    struct buffer error;
    int r = 0;

    buffer_init(&error);
    for (uint32_t i = 0; i < config->log.redact_pattern_count; i++) {
        error.size = 0;
        if (redact_check(config->log.redact_patterns[i], &error) == 0)
            continue;
        fprintf(stderr, "%s: log.redact.patterns[%u]: %.*s\n", name, i, BYTES_ARG(buffer_bytes(&error)));
        r = 1;
    }
    buffer_deinit(&error);
    return r;
}

static int configure_and_serve(const struct arguments *arguments)
{
    const char *name = arguments->file ? arguments->file : "command line";
    struct config *config;
    struct buffer errors;
    int r;

    buffer_init(&errors);
    r = config_read(arguments->file, &arguments->overrides, &errors, &config);
    if (r != 0) {
        fprintf(stderr, "%.*s", BYTES_ARG(buffer_bytes(&errors)));
        buffer_deinit(&errors);
        return 1;
    }
    buffer_deinit(&errors);
    if (check_patterns(config, name) != 0)
        r = 1;
    else if (arguments->check)
        r = check_keys(config, name);
    else
        r = serve(config);
    config_unref(config);
    return r;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    struct buffer errors;
    int r;

    signal(SIGPIPE, SIG_IGN);
    ignore_reopening();
    if (argc > 1 && bytes_equal(bytes_of(argv[1]), BYTES("cache")))
        return cache_command(argc - 1, argv + 1);
    if (argc > 1 && bytes_equal(bytes_of(argv[1]), BYTES("key")))
        return key_command(argc - 1, argv + 1);
    if (argc > 1 && bytes_equal(bytes_of(argv[1]), BYTES("log")))
        return log_command(argc - 1, argv + 1);
    buffer_init(&errors);
    r = arguments_init(&arguments, argc, argv, &errors);
    if (r != 0)
        fprintf(stderr, "%.*s", BYTES_ARG(buffer_bytes(&errors)));
    buffer_deinit(&errors);
    if (r == 0 && arguments.help) {
        fputs(arguments_help, stdout);
    } else if (r == 0 && arguments.version) {
        puts("embergate " EMBERGATE_VERSION);
    } else if (r == 0) {
        transfer_global_init();
        r = configure_and_serve(&arguments);
    }
    arguments_deinit(&arguments);
    return r ? 1 : 0;
}
