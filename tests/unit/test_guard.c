/*
 * Whoever tries many keys has to wait, and nobody else.
 */
#include "admit/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static void waits_after_the_most(void **given)
{
    struct guard *guard = guard_new(3, 1000);
    struct bytes peer = BYTES("192.0.2.1:4711");

    assert_int_equal(guard_wait_ms(guard, peer, 5000), 0);
    guard_failed(guard, peer, 5000);
    guard_failed(guard, peer, 5000);
    assert_int_equal(guard_wait_ms(guard, peer, 5000), 0);
    guard_failed(guard, peer, 5000);
    assert_int_equal(guard_wait_ms(guard, peer, 5000), 1000);
    assert_int_equal(guard_wait_ms(guard, BYTES("192.0.2.2:4711"), 5000), 0);
    assert_int_equal(guard_wait_ms(guard, peer, 5999), 1);
    assert_int_equal(guard_wait_ms(guard, peer, 6000), 0);
    guard_failed(guard, peer, 6000);
    assert_int_equal(guard_wait_ms(guard, peer, 6000), 1000);
    assert_int_equal(guard_wait_ms(guard, peer, 9000), 0);
    guard_free(guard);
}

static void more_failures_do_not_wait_longer(void **given)
{
    struct guard *guard = guard_new(3, 1000);

    for (int i = 0; i < 1000; i++)
        guard_failed(guard, BYTES("192.0.2.1:1"), 5000);
    assert_int_equal(guard_wait_ms(guard, BYTES("192.0.2.1:2"), 5000), 1000);
    guard_free(guard);
}

static void who_is_the_same(void **given)
{
    static const struct {
        const char *one, *other;
        bool same;
    } cases[] = {
        {"127.0.0.1:1", "127.0.0.1:65535", true},
        {"127.0.0.1:1", "127.0.0.2:1", false},
        {"127.0.0.1", "127.0.0.1:7", true},
        {"[::1]:80", "[::1]:81", true},
        {"[2001:db8:1:2::1]:80", "[2001:db8:1:2:ffff::9]:80", true},
        {"[2001:db8:1:2::1]:80", "[2001:db8:1:3::1]:80", false},
        {"2001:db8:1:2::1", "[2001:db8:1:2::5]:80", true},
        {"[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:80", false},
        {"[::ffff:10.0.0.1]:80", "10.0.0.1:80", true},
        {"[fe80::1%eth0]:80", "[fe80::2%eth1]:80", true},
        {"unix", "unix", true},
        {"unix", "127.0.0.1:1", false},
        {"[", "127.0.0.1:1", false},
        {":", "127.0.0.1:1", false},
        {"", "127.0.0.1:1", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct guard *guard = guard_new(1, 1000);

        guard_failed(guard, bytes_of(cases[i].one), 5000);
        assert_int_equal(guard_wait_ms(guard, bytes_of(cases[i].one), 5000), 1000);
        if ((guard_wait_ms(guard, bytes_of(cases[i].other), 5000) > 0) != cases[i].same)
            fail_msg("%s and %s", cases[i].one, cases[i].other);
        guard_free(guard);
    }
}

static void the_table_has_one_size(void **given)
{
    struct guard *guard = guard_new(1, 1000000);
    unsigned waiting = 0;
    char peer[32];

    for (int i = 0; i < 100000; i++) {
        snprintf(peer, sizeof(peer), "10.%d.%d.%d:1", i >> 16, i >> 8 & 255, i & 255);
        guard_failed(guard, bytes_of(peer), 5000 + (uint64_t)i);
        assert_true(guard_wait_ms(guard, bytes_of(peer), 5000 + (uint64_t)i) > 0);
    }
    for (int i = 0; i < 100000; i++) {
        snprintf(peer, sizeof(peer), "10.%d.%d.%d:1", i >> 16, i >> 8 & 255, i & 255);
        waiting += guard_wait_ms(guard, bytes_of(peer), 200000) > 0;
        if (i >= 99900)     /* the last ones are there */
            assert_true(guard_wait_ms(guard, bytes_of(peer), 200000) > 0);
    }
    assert_in_range(waiting, 1000, 8192);
    guard_free(guard);
    guard_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_after_the_most),
        cmocka_unit_test(more_failures_do_not_wait_longer),
        cmocka_unit_test(who_is_the_same),
        cmocka_unit_test(the_table_has_one_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
