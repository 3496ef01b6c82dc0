/*
 * What the tests of transfers share: an owner that notes what it is told and has habits, and a world with a loop, a
 * server and a target. What can be asked of both carriers is.
 */
#pragma once

#include "link/transfer_private.h"

#include "base/alloc.h"
#include "link/resolve.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#include "script_server.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define OK OK_HEAD "Content-Length: 2\r\n\r\nhi"
#define SAY(text, then) {{(text), sizeof(text) - 1}, (then)}

/* What an owner does besides noting. */
enum habit {
    CANCEL_IN_HEAD = 1,
    CANCEL_IN_BODY = 2,
    PAUSE_IN_BODY = 4,
    START_IN_BODY = 8,
    CANCEL_OTHER = 16,
};

struct owner {
    struct transfer *transfer;
    struct transfer_target *target;
    struct owner *other;
    int habits;
    bool done;
    int result;
    char reason[300];
    unsigned heads, status, pieces;
    char content_type[128], content_encoding[64], retry_after[64];
    struct buffer body;
};

struct world {
    uv_loop_t loop;
    struct transfer_loop *transfers;
    struct server server;
    struct transfer_target *target;
    bool closed;
};

/* Who carries the targets of this round's tests. */
static const struct transfer_carrier *carrier;

static const struct transfer_request ask = {.path = {"/v1/chat/completions", 20}, .body = {"{\"a\":1}", 7}};

static inline void begin(struct owner *owner, struct transfer_target *target,
                         const struct transfer_request *request);

static inline void copy(char *place, struct bytes value)
{
    memcpy(place, value.data, value.size);
    place[value.size] = '\0';
}

static inline void on_head(void *data, const struct transfer_head *head)
{
    struct owner *owner = data;

    owner->heads++;
    owner->status = head->status;
    copy(owner->content_type, head->content_type);
    copy(owner->content_encoding, head->content_encoding);
    copy(owner->retry_after, head->retry_after);
    if (owner->habits & CANCEL_IN_HEAD)
        owner->transfer = transfer_cancel(owner->transfer);
}

static inline void on_body(void *data, struct bytes piece)
{
    struct owner *owner = data;

    owner->pieces++;
    buffer_append(&owner->body, piece);
    if (owner->habits & PAUSE_IN_BODY)
        transfer_pause(owner->transfer);
    if (owner->habits & START_IN_BODY && owner->pieces == 1)
        begin(owner->other, owner->target, &ask);
    if (owner->habits & CANCEL_OTHER)
        owner->other->transfer = transfer_cancel(owner->other->transfer);
    if (owner->habits & CANCEL_IN_BODY)
        owner->transfer = transfer_cancel(owner->transfer);
}

static inline void on_done(void *data, int result, const char *reason)
{
    struct owner *owner = data;

    assert_false(owner->done);
    owner->transfer = NULL;
    owner->done = true;
    owner->result = result;
    snprintf(owner->reason, sizeof(owner->reason), "%s", reason);
    if (owner->habits & CANCEL_OTHER && owner->other->transfer)
        owner->other->transfer = transfer_cancel(owner->other->transfer);
}

static const struct transfer_events events = {on_head, on_body, on_done};

static inline void begin(struct owner *owner, struct transfer_target *target, const struct transfer_request *request)
{
    owner->target = target;
    owner->transfer = transfer_start(target, request, &events, owner);
}

static inline void owner_deinit(struct owner *owner)
{
    transfer_cancel(owner->transfer);
    buffer_deinit(&owner->body);
}

/* One request from begin to end. */
static inline void ask_once(struct world *world, struct owner *owner, const struct transfer_request *request)
{
    owner_deinit(owner);
    *owner = (struct owner){.habits = owner->habits};
    begin(owner, world->target, request);
    assert_false(owner->done);
    assert_true(run_until(&world->loop, &owner->done, 5000));
}

/* --- the world ------------------------------------------------------------------------------------------------- */

static inline struct transfer_target_spec spec_of(const struct world *world)
{
    return (struct transfer_target_spec){
        .host = BYTES("127.0.0.1"), .port = world->server.port, .api_key = BYTES("key"), .connect_ms = 2000};
}

/* Connections that a request opens which is cancelled right after its start: libcurl hears of it in the loop's turn. */
static inline unsigned opened_at_once(void)
{
    return carrier == &transfer_by_curl ? 0 : 1;
}

/* In place of the one there is. */
static inline void use_target(struct world *world, const struct transfer_target_spec *spec)
{
    transfer_target_free(world->target);
    world->target = transfer_target_new_by(carrier, world->transfers, spec);
    assert_non_null(world->target);
}

static inline void world_init(struct world *world, const struct server_reply *replies, size_t count)
{
    struct transfer_target_spec spec;

    memset(world, 0, sizeof(*world));
    uv_loop_init(&world->loop);
    server_init(&world->server, &world->loop, replies, count);
    world->transfers = transfer_loop_new(&world->loop, 64);
    spec = spec_of(world);
    use_target(world, &spec);
}

static inline void on_closed(void *data)
{
    bool *closed = data;

    *closed = true;
}

static inline void world_deinit(struct world *world)
{
    transfer_target_free(world->target);
    transfer_loop_close(world->transfers, on_closed, &world->closed);
    server_deinit(&world->server);
    assert_int_equal(uv_run(&world->loop, UV_RUN_DEFAULT), 0);
    assert_true(world->closed);
    assert_int_equal(uv_loop_close(&world->loop), 0);
}

static inline void wait_for(struct world *world, const unsigned *counter, unsigned value)
{
    for (int ms = 0; *counter < value && ms < 2000; ms++)
        run_for(&world->loop, 1);
    assert_int_equal(*counter, value);
}

static inline int listen_without_accepting(uint16_t *ret_port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_return_code(bind(fd, (struct sockaddr *)&address, size), 0);
    if (backlog >= 0)
        assert_return_code(listen(fd, backlog), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static inline void use_port(struct world *world, uint16_t port, const char *host)
{
    struct transfer_target_spec spec = {.host = bytes_of(host), .port = port, .connect_ms = 300};

    use_target(world, &spec);
}

static inline void prepare_transfer_tests(const char *filter)
{
    if (filter)
        cmocka_set_test_filter(filter);
    signal(SIGPIPE, SIG_IGN);
    transfer_global_init();
}

/* Over each carrier. How many failed. */
static inline int run_transfer_tests(const struct CMUnitTest *tests, size_t count)
{
    static const struct {
        const char *name;
        const struct transfer_carrier *carrier;
    } rounds[] = {{"transfer, libcurl", &transfer_by_curl}, {"transfer, http1", &transfer_by_http1}};
    int failed = 0;

    for (size_t i = 0; i < ARRAY_SIZE(rounds); i++) {
        carrier = rounds[i].carrier;
        failed += _cmocka_run_group_tests(rounds[i].name, tests, count, NULL, NULL);
    }
    return failed;
}
