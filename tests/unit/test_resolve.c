/*
 * Names to addresses, and who is told of them when.
 */
#include "link/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#include "script_server.h"

/* Too long for a label: fails without asking a name server. */
#define BAD_NAME "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.invalid"

struct waiter {
    struct resolve_wait wait;
    struct resolver *resolver;
    struct waiter *other;
    bool told, again, frees;
    unsigned times;
    int status;
};

static void on_done(void *data, int status)
{
    struct waiter *waiter = data;

    waiter->told = true;
    waiter->times++;
    waiter->status = status;
    if (waiter->other)
        resolver_cancel(waiter->resolver, &waiter->other->wait);
    if (waiter->again && waiter->times < 3)
        resolver_wait(waiter->resolver, &waiter->wait);
    if (waiter->frees)
        waiter->resolver = resolver_free(waiter->resolver);
}

static void begin(struct waiter *waiter, struct resolver *resolver)
{
    waiter->resolver = resolver;
    waiter->wait = (struct resolve_wait){.done = on_done, .data = waiter};
    resolver_wait(resolver, &waiter->wait);
}

static void finish(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void a_name_is_found_and_remembered(void **state)
{
    struct waiter first = {0}, second = {0}, third = {0};
    struct resolver *resolver;
    uv_loop_t loop;

    uv_loop_init(&loop);
    resolver = resolver_new(&loop, BYTES("localhost"), 50);
    assert_null(resolver_address(resolver));
    begin(&first, resolver);
    begin(&second, resolver);
    assert_false(first.told);
    assert_true(run_until(&loop, &second.told, 5000));
    assert_true(first.told);
    assert_int_equal(first.status, 0);
    assert_string_equal(resolver_address(resolver), "127.0.0.1");
    begin(&third, resolver); /* known: told soon, but not at once */
    assert_false(third.told);
    assert_true(run_until(&loop, &third.told, 1000));
    run_for(&loop, 60);
    assert_string_equal(resolver_address(resolver), "127.0.0.1"); /* old, and looked up again meanwhile */
    run_for(&loop, 20);
    assert_int_equal(first.times + second.times + third.times, 3);
    resolver_free(resolver);
    finish(&loop);
}

static void a_failure_is_told_and_remembered(void **state)
{
    struct waiter first = {.again = true}, second = {0};
    struct resolver *resolver;
    uv_loop_t loop;

    uv_loop_init(&loop);
    resolver = resolver_new(&loop, BYTES(BAD_NAME), 1000);
    begin(&first, resolver);
    begin(&second, resolver);
    assert_false(first.told);
    assert_true(run_until(&loop, &second.told, 5000));
    assert_true(first.status < 0);
    assert_true(second.status < 0);
    run_for(&loop, 20);
    assert_int_equal(first.times, 3); /* it asked again from inside, and was told in a later turn */
    assert_int_equal(second.times, 1);
    assert_null(resolver_address(resolver));
    resolver_free(resolver);
    finish(&loop);
}

static void cancelled_waiters_are_not_told(void **state)
{
    struct waiter waiters[5] = {0};
    struct resolver *resolver;
    uv_loop_t loop;

    uv_loop_init(&loop);
    resolver = resolver_new(&loop, BYTES("localhost"), 1000);
    waiters[1].other = &waiters[3];
    for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
        begin(&waiters[i], resolver);
    resolver_cancel(resolver, &waiters[0].wait);
    resolver_cancel(resolver, &waiters[4].wait);
    resolver_cancel(resolver, &waiters[4].wait);
    begin(&waiters[0], resolver);
    assert_true(run_until(&loop, &waiters[0].told, 5000));
    for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
        assert_int_equal(waiters[i].times, i < 3 ? 1 : 0);
    resolver_free(resolver);
    finish(&loop);
}

static void freed_while_in_use(void **state)
{
    struct waiter first = {.frees = true}, second = {0};
    struct resolver *resolver;
    uv_loop_t loop;

    uv_loop_init(&loop);
    resolver = resolver_new(&loop, BYTES("localhost"), 1000);
    begin(&first, resolver);
    begin(&second, resolver);
    assert_true(run_until(&loop, &first.told, 5000)); /* frees the resolver */
    resolver = resolver_new(&loop, BYTES("localhost"), 1000);
    begin(&first, resolver);
    resolver_free(resolver); /* during the lookup */
    assert_null(resolver_free(NULL));
    finish(&loop);
    assert_int_equal(first.times, 1);
    assert_int_equal(second.times, 0);
}

static void literals_are_known(void **state)
{
    static const struct {
        const char *host;
        bool is_literal;
    } cases[] = {
        {"127.0.0.1", true}, {"::1", true},       {"2001:db8::1", true}, {"localhost", false},
        {"", false},         {"1.2.3", false},    {"1.2.3.4.5", false},  {"[::1]", false},
        {"a.b.c.d", false},  {"::ffff:1.2.3.4", true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(resolve_is_literal(bytes_of(cases[i].host)), cases[i].is_literal);
}

static void the_first_of_ipv4_is_chosen(void **state)
{
    static const struct {
        int families[3];
        int chosen; /* -1: none */
    } cases[] = {
        {{AF_INET6, AF_INET, AF_INET}, 1}, {{AF_INET, AF_INET6, AF_INET}, 0}, {{AF_UNIX, AF_INET6, AF_INET6}, 1},
        {{AF_UNIX, AF_INET6, AF_INET}, 2}, {{AF_UNIX, AF_UNIX, AF_UNIX}, -1},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct addrinfo found[3] = {{.ai_next = &found[1]}, {.ai_next = &found[2]}, {0}};

        for (size_t j = 0; j < ARRAY_SIZE(found); j++)
            found[j].ai_family = cases[i].families[j];
        assert_ptr_equal(resolve_choose(found), cases[i].chosen < 0 ? NULL : &found[cases[i].chosen]);
    }
    assert_null(resolve_choose(NULL));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_found_and_remembered),
        cmocka_unit_test(a_failure_is_told_and_remembered),
        cmocka_unit_test(cancelled_waiters_are_not_told),
        cmocka_unit_test(freed_while_in_use),
        cmocka_unit_test(literals_are_known),
        cmocka_unit_test(the_first_of_ipv4_is_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
