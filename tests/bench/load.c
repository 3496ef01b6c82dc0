/*
 * The clients of the benchmark: one epoll loop, kept-alive connections, every answer read to its end and
 * checked.
 *
 *   load json -p PORT -c 64 -d 2            closed loop: each connection asks again when it was answered
 *   load json -p PORT -c 64 -d 2 -r 5000    open loop: asks at fixed times; latency counts from those times
 *   load sse  -p PORT -c 500 -e 50 -d 2     500 streams of 50 events a second; every event is timestamped
 *   load sse  -p PORT -c 1 -k 3 -e 500 -d 1 short streams one after the other: time to first event
 *   load hold -p PORT -c 5000 -e 1 -d 2     open streams and weigh the process given by -P
 *   load json -p PORT -c 64 -d 2 -s -q 1000 ask 1,000 different seeded questions in turn; -q new: none twice
 *
 * Other options: -w warm-up seconds, -P the process whose CPU time is charged, -n stop after exactly so many
 * requests (no warm-up), -k events in each stream, -b bytes of the body, -a the API key to show, -u the upstream's port,
 * to ask it how many requests came through. One line of key=value goes to stdout.
 */
#include <getopt.h>
#include <sys/epoll.h>

#include "answer.h"
#include "bench.h"
#include "histogram.h"
#include "process.h"
#include "question.h"

enum { BATCH = 256, READ_BYTES = 64 * 1024, RAMP_AT_ONCE = 64, ERRORS_TOO_MANY = 50, STUCK_SECONDS = 20 };
enum phase { PHASE_RAMP, PHASE_WARM, PHASE_MEASURE, PHASE_OVER };

static struct {
    bool sse, hold;
    int pid, upstream_port;
    uint32_t connections, rate;
    double seconds, warm;
    uint64_t requests;
    struct question_plan question;
} options = {
    .connections = 1, .seconds = 1, .warm = 0.3,
    .question = {
        .key = "sk-bench-0123456789abcdef0123456789abcdef01234567",
        .event_rate = 50, .events = 99999999, .body_bytes = 250,
    },
};

struct conn {
    int fd;
    bool busy, asked_once;
    size_t sent;
    uint64_t asked, intended;           /* when; intended: open loop, the time it should have been */
    uint64_t nonce, stamps;             /* of the question; the sum of the events' stamps */
    uint32_t reads, sequence;           /* sequence: the next event's */
    uint32_t events_in_read;
    struct answer answer;
};

/* What was seen; emptied when measuring begins. */
static struct {
    uint64_t answers, events, reads, merged, split, late, lost;
    uint64_t wrong, changed;            /* answers: not to this question; otherwise than when it was last asked */
    struct histogram latency;           /* of whole answers, or to the first event of a stream */
    struct histogram delay;             /* of single events, from the upstream's write() */
} seen;

static struct conn *conns;
static int epoll;
static enum phase phase;
static uint64_t phase_until, measure_began, last_progress, memory_before;
static uint64_t issued, finished, first_events;
static uint32_t opened, errors, cursor;
static uint64_t next_intended;
static uint64_t asked_before;                   /* the upstream's count */
static struct process_cpu cpu_before;
static size_t request_length;

/* --- one connection --- */

static void conn_open(struct conn *conn)
{
    struct sockaddr_in address = loopback(options.question.port);
    struct epoll_event wish = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = conn };

    conn->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    set_nodelay(conn->fd);
    conn->busy = false;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, conn->fd, &wish) < 0)
        die("epoll_ctl");
}

static void conn_failed(struct conn *conn, const char *why)
{
    if (++errors > ERRORS_TOO_MANY) {
        fprintf(stderr, "load: too many errors; the last: %s (status %u)\n", why, conn->answer.status);
        exit(1);
    }
    close(conn->fd);
    conn_open(conn);
}

static void conn_write(struct conn *conn)
{
    const char *request = question_text(conn->nonce, &request_length);
    ssize_t sent = send(conn->fd, request + conn->sent, request_length - conn->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent > 0)
        conn->sent += (size_t)sent;
}

static void conn_ask(struct conn *conn, uint64_t now)
{
    if (options.requests && issued == options.requests)
        return;
    issued++;
    answer_reset(&conn->answer);
    conn->busy = true;
    conn->sent = 0;
    conn->sequence = 0;
    conn->stamps = 0;
    conn->nonce = question_next();
    conn->asked = conn->asked_once && options.rate ? conn->intended : now;
    conn_write(conn);
}

/* When is this connection's next turn? Closed loop: at once. */
static void conn_again(struct conn *conn, uint64_t now)
{
    if (options.rate) {
        conn->intended += NANO * options.connections / options.rate;
        if (conn->intended > now)
            return;                             /* the schedule finds it idle and asks */
        conn->asked_once = true;
    }
    conn_ask(conn, now);
}

static void on_event(void *data, const char *event, size_t length, uint32_t first_read)
{
    struct conn *conn = data;
    const char *stamp = memchr(event, '@', length);
    uint64_t now = clock_ns(), sent;

    if (!stamp || (size_t)(event + length - stamp) < STAMP_LENGTH)
        return;                                 /* the finish event and [DONE] carry none */
    sent = strtoull(stamp + STAMP_SEQUENCE_DIGITS + 2, NULL, 10);
    if (strtoul(stamp + 1, NULL, 10) != conn->sequence)
        seen.lost++;
    seen.wrong += !question_is_event(conn->nonce, event, length);
    conn->stamps += sent * (conn->sequence + 1);
    if (conn->sequence++ == 0) {
        histogram_add(&seen.latency, now - conn->asked);
        first_events++;
    }
    seen.events++;
    conn->events_in_read++;
    seen.split += first_read != conn->reads;
    histogram_add(&seen.delay, now - sent);
    seen.late += options.question.event_rate && now - sent > NANO / options.question.event_rate;
}

static void conn_answered(struct conn *conn, uint64_t now)
{
    conn->busy = false;
    finished++;
    seen.answers++;
    if (!options.sse) {
        histogram_add(&seen.latency, now - conn->asked);
        seen.wrong += !question_is_whole(conn->nonce, conn->answer.text, conn->answer.text_length);
    } else {
        seen.lost += conn->sequence != options.question.events;
        seen.changed += question_is_changed(conn->nonce, conn->stamps);
    }
    conn_again(conn, now);
}

static bool conn_read_once(struct conn *conn, bool *ret_more)
{
    static char bytes[READ_BYTES];
    ssize_t got = recv(conn->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    *ret_more = got == (ssize_t)sizeof bytes;
    if (got < 0 && errno == EAGAIN)
        return true;
    if (got <= 0 || !conn->busy)
        return false;
    conn->reads++;
    conn->events_in_read = 0;
    if (!answer_take(&conn->answer, bytes, (size_t)got, conn->reads, on_event, conn))
        return false;
    seen.reads += conn->events_in_read > 0;
    seen.merged += conn->events_in_read > 1 ? conn->events_in_read - 1 : 0;
    return true;
}

static void conn_ready(struct conn *conn, uint32_t ready)
{
    bool more = true;
    uint64_t now;

    if ((ready & EPOLLOUT) && conn->busy && conn->sent < request_length)
        conn_write(conn);
    if (!(ready & ~(uint32_t)EPOLLOUT))
        return;
    while (more) {
        if (!conn_read_once(conn, &more)) {
            conn_failed(conn, "the connection was cut or gave no HTTP");
            if (options.rate)
                conn_again(conn, clock_ns());
            else
                conn_ask(conn, clock_ns());
            return;
        }
    }
    now = last_progress = clock_ns();
    if (conn->busy && conn->answer.state == ANSWER_DONE) {
        if (conn->answer.status != 200)
            conn_failed(conn, "status");
        conn_answered(conn, now);
    }
}

/* --- the upstream's own count of requests; 0 without its port --- */

static uint64_t upstream_count(int port)
{
    static const char ask[] = "GET /count HTTP/1.1\r\nHost: bench\r\n\r\n";
    struct sockaddr_in address = loopback(port);
    char text[512] = "";
    const char *body;
    ssize_t got;
    int fd;

    if (!port)
        return 0;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect to the upstream");
    if (write(fd, ask, sizeof ask - 1) < 0)
        die("ask the upstream");
    got = read(fd, text, sizeof text - 1);
    close(fd);
    body = got > 0 ? strstr(text, "\r\n\r\n") : NULL;
    return body ? strtoull(body + 4, NULL, 10) : 0;
}

/* --- the run: ramp, warm-up, measuring --- */

static void ramp(uint64_t now)
{
    uint32_t most = options.sse ? (uint32_t)first_events + RAMP_AT_ONCE : options.connections;

    while (opened < options.connections && opened < most) {
        struct conn *conn = &conns[opened];

        conn_open(conn);
        conn->intended = now + (options.rate ? NANO * opened / options.rate : 0);
        if (!options.rate)
            conn_ask(conn, now);
        opened++;
    }
    next_intended = now;
}

static void begin_measuring(uint64_t now)
{
    memset(&seen, 0, sizeof seen);
    asked_before = upstream_count(options.upstream_port);
    cpu_before = process_cpu(options.pid);
    measure_began = now;
    phase = PHASE_MEASURE;
    phase_until = now + (uint64_t)(options.seconds * (double)NANO);
}

static void step_phase(uint64_t now)
{
    bool all_there = opened == options.connections && (!options.sse || first_events >= options.connections);

    if (phase == PHASE_RAMP && opened < options.connections)
        ramp(now);
    if (options.requests) {
        if (finished >= options.requests)
            phase = PHASE_OVER;
    } else if (phase == PHASE_RAMP && all_there) {
        phase = PHASE_WARM;
        phase_until = now + (uint64_t)(options.warm * (double)NANO);
    } else if (phase == PHASE_WARM && now >= phase_until) {
        begin_measuring(now);
    } else if (phase == PHASE_MEASURE && now >= phase_until) {
        phase = PHASE_OVER;
    }
    if (now > last_progress + STUCK_SECONDS * NANO) {
        fprintf(stderr, "load: stuck: %u of %u connections, %llu first events, %u errors\n", opened,
                options.connections, (unsigned long long)first_events, errors);
        exit(1);
    }
}

/* Open loop: ask on every connection whose time has come. A busy one asks when it is answered, late, and its
 * latency counts from the time meant. Returns the next time. */
static uint64_t run_schedule(uint64_t now)
{
    while (next_intended <= now) {
        struct conn *conn = &conns[cursor];

        if (!conn->busy && conn->intended <= now) {
            conn->asked_once = true;
            conn_ask(conn, now);
        }
        cursor = (cursor + 1) % options.connections;
        next_intended += NANO / options.rate;
    }
    return next_intended;
}

static void run(void)
{
    struct epoll_event ready[BATCH];

    if (options.requests)
        begin_measuring(clock_ns());
    if (options.requests)
        phase = PHASE_RAMP;
    while (phase != PHASE_OVER) {
        uint64_t now = clock_ns(), wake = now + NANO / 50;
        struct timespec wait = { 0 };
        int count;

        step_phase(now);
        if (options.rate && opened == options.connections) {
            uint64_t next = run_schedule(now);

            wake = next < wake ? next : wake;
        }
        wait.tv_nsec = wake > now ? (long)(wake - now) : 0;
        count = epoll_pwait2(epoll, ready, BATCH, &wait, NULL);
        for (int i = 0; i < count; i++)
            conn_ready(ready[i].data.ptr, ready[i].events);
    }
}

/* --- the result --- */

static void print_quantiles(const char *name, const struct histogram *histogram)
{
    printf(" %s_p50_us=%.1f %s_p90_us=%.1f %s_p99_us=%.1f %s_p999_us=%.1f %s_max_us=%.1f",
           name, (double)histogram_quantile(histogram, 0.5) / 1e3, name,
           (double)histogram_quantile(histogram, 0.9) / 1e3, name,
           (double)histogram_quantile(histogram, 0.99) / 1e3, name,
           (double)histogram_quantile(histogram, 0.999) / 1e3, name, (double)histogram->max / 1e3);
}

/* False when answers were not what was asked. A stream may differ from before where the upstream made it anew. */
static bool print_result(void)
{
    struct process_cpu cpu = process_cpu(options.pid);
    double seconds = (double)(clock_ns() - measure_began) / 1e9;
    double spent = (double)(cpu.ns - cpu_before.ns) / 1e3;
    uint64_t asked = upstream_count(options.upstream_port);
    double ticks = (double)(cpu.user + cpu.system - cpu_before.user - cpu_before.system);

    printf("answers=%llu errors=%u wrong=%llu changed=%llu asked_upstream=%llu", (unsigned long long)seen.answers,
           errors, (unsigned long long)seen.wrong, (unsigned long long)seen.changed,
           (unsigned long long)(asked - asked_before));
    printf(" seconds=%.3f per_second=%.1f cpu_us=%.0f user_share=%.2f", seconds, (double)seen.answers / seconds,
           spent, ticks > 0 ? (double)(cpu.user - cpu_before.user) / ticks : 0);
    if (options.pid && seen.answers)
        printf(" cpu_us_per_answer=%.2f worker_us_per_answer=%.2f", spent / (double)seen.answers,
               (double)(cpu.busiest_ns - cpu_before.busiest_ns) / 1e3 / (double)seen.answers);
    print_quantiles("latency", &seen.latency);
    if (options.sse) {
        printf(" events=%llu events_per_second=%.0f reads=%llu merged=%llu split=%llu late=%llu lost=%llu",
               (unsigned long long)seen.events, (double)seen.events / seconds, (unsigned long long)seen.reads,
               (unsigned long long)seen.merged, (unsigned long long)seen.split, (unsigned long long)seen.late,
               (unsigned long long)seen.lost);
        if (options.pid && seen.events)
            printf(" cpu_us_per_event=%.2f", spent / (double)seen.events);
        print_quantiles("delay", &seen.delay);
    }
    if (options.hold) {
        uint64_t now = process_memory(options.pid, "RssAnon:");

        printf(" streams=%u memory_before=%llu memory_open=%llu bytes_per_stream=%.0f", options.connections,
               (unsigned long long)memory_before, (unsigned long long)now,
               ((double)now - (double)memory_before) / options.connections);
    }
    printf("\n");
    return !errors && !seen.wrong && !(seen.changed && options.upstream_port && asked == asked_before);
}

static void read_options(int argc, char **argv)
{
    struct question_plan *question = &options.question;
    int letter;

    if (argc < 2)
        exit(2);
    options.hold = strcmp(argv[1], "hold") == 0;
    options.sse = question->stream = options.hold || strcmp(argv[1], "sse") == 0;
    while ((letter = getopt(argc - 1, argv + 1, "p:c:d:w:n:r:e:k:b:a:P:q:su:")) != -1) {
        switch (letter) {
        case 'p': question->port = (int)strtol(optarg, NULL, 10); break;
        case 'c': options.connections = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'd': options.seconds = strtod(optarg, NULL); break;
        case 'w': options.warm = strtod(optarg, NULL); break;
        case 'n': options.requests = strtoull(optarg, NULL, 10); break;
        case 'r': options.rate = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'e': question->event_rate = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'k': question->events = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'b': question->body_bytes = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'a': question->key = optarg; break;
        case 's': question->seeded = true; break;
        case 'u': options.upstream_port = (int)strtol(optarg, NULL, 10); break;
        case 'q':
            question->always_new = strcmp(optarg, "new") == 0;
            question->different = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'P': options.pid = (int)strtol(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    raise_descriptor_limit();
    question_init(&options.question);
    epoll = epoll_create1(0);
    conns = must_alloc(options.connections * sizeof *conns);
    last_progress = clock_ns();
    memory_before = process_memory(options.pid, "RssAnon:");
    run();
    return print_result() ? 0 : 1;
}
