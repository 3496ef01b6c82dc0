/*
 * The shelf: who goes first, who stays through a scan, what a large one may push out, and that the bytes are never more
 * than they may be. The ghost: the same as a plain list of names.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "memo/ghost.h"
#include "memo/shelf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define ITEMS 1000

static struct shelf_item items[ITEMS];

static uint64_t name_of(uint64_t number)
{
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t state;

static uint32_t random_below(uint32_t bound)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % bound;
}

/* Room is made first, as the memo does it. Returns how many went. */
static unsigned put(struct shelf *shelf, unsigned number, uint32_t size)
{
    unsigned gone = 0;

    while (shelf_evict(shelf, size))
        gone++;
    items[number].name = name_of(number);
    items[number].size = size;
    shelf_put(shelf, &items[number]);
    return gone;
}

static bool is_there(unsigned number)
{
    return items[number].queue != 0;
}

static int setup(void **ret)
{
    memset(items, 0, sizeof(items));
    state = 1;
    *ret = shelf_new(1000);
    return 0;
}

static int teardown(void **given)
{
    *given = shelf_free(*given);
    return 0;
}

static void newcomers_leave_in_order(void **given)
{
    struct shelf *shelf = *given;

    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(put(shelf, i, 10), 0);
    assert_int_equal(shelf_bytes(shelf), 1000);
    assert_int_equal(shelf_count(shelf), 100);
    assert_null(shelf_evict(shelf, 0));
    for (unsigned i = 100; i < 110; i++) {
        assert_int_equal(put(shelf, i, 10), 1);
        assert_false(is_there(i - 100));
        assert_true(is_there(i - 99));
    }
}

static void who_was_asked_for_again_stays_through_a_scan(void **given)
{
    struct shelf *shelf = *given;

    for (unsigned i = 0; i < 50; i++)
        put(shelf, i, 10);
    for (unsigned i = 0; i < 50; i++)
        shelf_hit(&items[i]);
    for (unsigned i = 100; i < ITEMS; i++)
        put(shelf, i, 10);
    for (unsigned i = 0; i < 50; i++)
        assert_true(is_there(i));
}

static void who_comes_back_soon_stays(void **given)
{
    struct shelf *shelf = *given;

    for (unsigned i = 0; i < 101; i++)
        put(shelf, i, 10);
    assert_false(is_there(0));
    put(shelf, 0, 10);
    for (unsigned i = 200; i < ITEMS; i++)
        put(shelf, i, 10);
    assert_true(is_there(0));
}

static void main_queue_goes_round(void **given)
{
    struct shelf *shelf = *given;

    for (unsigned i = 0; i < 90; i++) {
        put(shelf, i, 10);
        shelf_hit(&items[i]);
    }
    for (unsigned i = 100; i < 120; i++)    /* moves all of those to the main queue */
        put(shelf, i, 10);
    shelf_hit(&items[50]);
    shelf_hit(&items[50]);
    while (shelf_evict(shelf, 800))
        ;
    assert_true(is_there(50));
    assert_int_equal(items[50].hits, 1);
    assert_false(is_there(49));
    assert_false(is_there(51));
}

/* 100 bytes are for newcomers; one that is larger than that waits beside them. */
static void a_large_one_pushes_out_no_more_than_it_needs(void **given)
{
    struct shelf *shelf = *given;

    for (unsigned i = 0; i < 80; i++) {
        put(shelf, i, 10);
        shelf_hit(&items[i]);
    }
    for (unsigned i = 100; i < 120; i++)
        put(shelf, i, 10);
    assert_int_equal(put(shelf, 500, 300), 30);
    for (unsigned i = 110; i < 120; i++)
        assert_true(is_there(i));
    assert_true(is_there(500));
    assert_int_equal(put(shelf, 501, 300), 11);     /* ten, and then the other large one has waited for long enough */
    assert_false(is_there(500));
    for (unsigned i = 110; i < 120; i++)
        assert_true(is_there(i));
    for (unsigned i = 600; i < 700; i++)            /* a scan of large ones leaves the others alone */
        put(shelf, i, 300);
    for (unsigned i = 110; i < 120; i++)
        assert_true(is_there(i));
    assert_true(is_there(79));
}

static void a_large_one_that_nobody_wants_goes_with_its_time(void **given)
{
    struct shelf *shelf = *given;

    for (unsigned i = 0; i < 60; i++) {
        put(shelf, i, 10);
        shelf_hit(&items[i]);
    }
    put(shelf, 500, 300);
    for (unsigned i = 100; i < 125; i++)
        put(shelf, i, 10);
    assert_false(is_there(500));
    for (unsigned i = 10; i < 60; i++)
        assert_true(is_there(i));
}

static void large_ones_that_are_asked_for_stay(void **given)
{
    struct shelf *shelf = *given;

    put(shelf, 500, 300);
    shelf_hit(&items[500]);
    for (unsigned i = 100; i < ITEMS; i++)
        if (i != 500)
            put(shelf, i, 10);
    assert_true(is_there(500));
}

static void nothing_fits_on_an_empty_shelf(void **given)
{
    struct shelf *shelf = *given;

    assert_null(shelf_evict(shelf, 5000));
    put(shelf, 1, 900);
    assert_ptr_equal(shelf_evict(shelf, 5000), &items[1]);
    assert_null(shelf_evict(shelf, 5000));
    assert_int_equal(shelf_bytes(shelf), 0);
}

/* Whatever is put, hit and taken: the bytes are those of the items there, and never too many. */
static void bytes_are_bounded(void **given)
{
    struct shelf *shelf = *given;

    for (int round = 0; round < 200000; round++) {
        unsigned number = random_below(ITEMS);
        uint32_t size = random_below(20) ? 1 + random_below(30) : 1 + random_below(700);

        if (!is_there(number))
            put(shelf, number, size);
        else if (random_below(10))
            shelf_hit(&items[number]);
        else
            shelf_take(shelf, &items[number]);
        assert_true(shelf_bytes(shelf) <= 1000);
        if (round % 1000 == 0) {
            uint64_t bytes = 0, count = 0;

            for (unsigned i = 0; i < ITEMS; i++) {
                bytes += is_there(i) ? items[i].size : 0;
                count += is_there(i);
            }
            assert_int_equal(bytes, shelf_bytes(shelf));
            assert_int_equal(count, shelf_count(shelf));
        }
    }
}

/* --- the ghost --- */

static void ghost_is_a_list_of_names(void **given)
{
    enum { MOST = 5000, ROUNDS = 60000 };
    uint64_t *left = alloc_zeroed(ROUNDS * sizeof(*left));
    uint64_t oldest = 0, newest = 0, bound = 1;
    struct ghost ghost;

    state = 7;
    ghost_init(&ghost);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t name = name_of(random_below(9000));
        uint64_t at = newest;

        if (round % 100 == 0)
            bound = random_below(round / 10 + 2) % MOST;
        while (at > oldest && left[at - 1] != name)
            at--;
        assert_int_equal(ghost_take(&ghost, name), at > oldest);
        assert_false(at > oldest && ghost_take(&ghost, name));
        if (at > oldest)
            left[at - 1] = 0;
        ghost_add(&ghost, name, bound);
        while (newest > oldest && newest - oldest >= bound)
            oldest++;
        if (bound)
            left[newest++] = name;
        assert_int_equal(ghost_count(&ghost), newest - oldest);
    }
    ghost_deinit(&ghost);
    alloc_free(left);
}

#define ON_SHELF(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SHELF(newcomers_leave_in_order),
        ON_SHELF(who_was_asked_for_again_stays_through_a_scan),
        ON_SHELF(who_comes_back_soon_stays),
        ON_SHELF(main_queue_goes_round),
        ON_SHELF(a_large_one_pushes_out_no_more_than_it_needs),
        ON_SHELF(a_large_one_that_nobody_wants_goes_with_its_time),
        ON_SHELF(large_ones_that_are_asked_for_stay),
        ON_SHELF(nothing_fits_on_an_empty_shelf),
        ON_SHELF(bytes_are_bounded),
        cmocka_unit_test(ghost_is_a_list_of_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
