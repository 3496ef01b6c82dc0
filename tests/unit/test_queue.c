/*
 * The queue on one thread: whose turn it is, by time, weight and cost; leaving at any moment; offers that must not be
 * lost; the bound.
 */
#include "admit/queue.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define PEOPLE 1100
#define LONGEST_MS 30000

struct hall;

struct person {
    struct waiter waiter;
    struct hall *hall;
    char sign;
    uint32_t cost;
};

struct hall {
    uv_loop_t loop;
    struct mailbox homes[2];
    struct queue *queue;
    struct person people[PEOPLE];
    unsigned count;
    struct person *turn;        /* told so, and has not answered */
    unsigned turns;
};

static void on_turn(void *data)
{
    struct person *person = data;

    assert_null(person->hall->turn);
    person->hall->turn = person;
    person->hall->turns++;
}

static void hall_init(struct hall *hall, uint32_t length)
{
    memset(hall, 0, sizeof(*hall));
    uv_loop_init(&hall->loop);
    mailbox_init(&hall->homes[0], &hall->loop);
    mailbox_init(&hall->homes[1], &hall->loop);
    uv_ref((uv_handle_t *)&hall->homes[0].bell); /* a loop that has nothing to live for does not look */
    hall->queue = queue_new(length, LONGEST_MS);
}

static void hall_deinit(struct hall *hall)
{
    for (unsigned i = 0; i < hall->count; i++)
        queue_leave(&hall->people[i].waiter);
    assert_int_equal(queue_length(hall->queue), 0);
    hall->queue = queue_free(hall->queue);
    mailbox_close(&hall->homes[0], NULL, NULL);
    mailbox_close(&hall->homes[1], NULL, NULL);
    uv_run(&hall->loop, UV_RUN_DEFAULT);
    mailbox_deinit(&hall->homes[0]);
    mailbox_deinit(&hall->homes[1]);
    assert_int_equal(uv_loop_close(&hall->loop), 0);
}

/* SIGN is the team's name. */
static int try_to_join(struct hall *hall, char sign, uint32_t weight, uint32_t cost)
{
    struct person *person = &hall->people[hall->count++];

    assert_true(hall->count <= PEOPLE);
    *person = (struct person){.hall = hall, .sign = sign, .cost = cost};
    waiter_init(&person->waiter, &hall->homes[hall->count % 2], on_turn, person);
    return queue_join(hall->queue, &person->waiter, (struct bytes){&sign, 1}, weight, cost, 1000);
}

static struct person *join(struct hall *hall, char sign, uint32_t weight, uint32_t cost)
{
    assert_int_equal(try_to_join(hall, sign, weight, cost), 0);
    return &hall->people[hall->count - 1];
}

static void join_all(struct hall *hall, const char *signs)
{
    for (; *signs; signs++)
        join(hall, *signs, 1, 1);
}

/* Letters are delivered: who has the turn now? */
static struct person *turn(struct hall *hall)
{
    uv_run(&hall->loop, UV_RUN_NOWAIT);
    return hall->turn;
}

static void take(struct hall *hall)
{
    struct person *person = hall->turn;

    hall->turn = NULL;
    queue_take(&person->waiter);
    assert_null(person->waiter.queue);
}

static void stay(struct hall *hall)
{
    struct person *person = hall->turn;

    hall->turn = NULL;
    queue_stay(&person->waiter);
}

/* All tries that joining brought were in vain. */
static void be_idle(struct hall *hall)
{
    while (turn(hall))
        stay(hall);
}

/* One place after the other becomes free; the teams in the order of their turns. */
static const char *serve(struct hall *hall, unsigned count)
{
    static char signs[PEOPLE + 1];

    be_idle(hall);
    for (unsigned i = 0; i < count; i++) {
        queue_offer(hall->queue);
        assert_non_null(turn(hall));
        signs[i] = hall->turn->sign;
        take(hall);
    }
    signs[count] = 0;
    assert_null(turn(hall));
    return signs;
}

static unsigned count_of(const char *signs, size_t size, char sign)
{
    unsigned count = 0;

    for (size_t i = 0; i < size; i++)
        count += signs[i] == sign;
    return count;
}

/* --- whose turn --- */

static void in_a_team_the_first_come_is_the_first(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "aaaaa");
    be_idle(&hall);
    for (unsigned i = 0; i < 5; i++) {
        queue_offer(hall.queue);
        assert_ptr_equal(turn(&hall), &hall.people[i]);
        take(&hall);
    }
    hall_deinit(&hall);
}

static void teams_take_turns(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "aaaabbcaaac");
    assert_string_equal(serve(&hall, 11), "abcabcaaaaa");
    hall_deinit(&hall);
}

static void one_is_served_second_at_the_latest(void **state)
{
    static struct hall hall;

    hall_init(&hall, PEOPLE);
    for (unsigned i = 0; i < 1000; i++)
        join(&hall, 'a', 1, 1);
    join(&hall, 'b', 1, 1);
    assert_string_equal(serve(&hall, 4), "abaa");
    join(&hall, 'b', 1, 1); /* now with the sweep under way */
    assert_non_null(memchr(serve(&hall, 2), 'b', 2));
    queue_offer(hall.queue);
    assert_non_null(turn(&hall));
    join(&hall, 'b', 1, 1); /* and with a turn that is being tried */
    take(&hall);
    turn(&hall);
    assert_int_equal(hall.turn->sign, 'b');
    take(&hall);
    hall_deinit(&hall);
}

static void one_with_a_dear_turn_too(void **state)
{
    static struct hall hall;

    hall_init(&hall, PEOPLE);
    for (unsigned i = 0; i < 100; i++)
        join(&hall, 'a', 1, 16);
    join(&hall, 'b', 1, 4096);
    join(&hall, 'b', 1, 4096);
    serve(&hall, 1);
    assert_string_equal(serve(&hall, 60), "baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    hall_deinit(&hall);
}

static void weights_hold_within_one_round(void **state)
{
    static struct hall hall;
    const char *signs;

    hall_init(&hall, PEOPLE);
    for (unsigned i = 0; i < 120; i++) {
        join(&hall, 'a', 3, 1);
        join(&hall, 'b', 1, 1);
    }
    signs = serve(&hall, 160);
    for (unsigned i = 0; i + 4 <= 160; i++)
        assert_int_equal(count_of(signs + i, 4, 'a'), 3);
    assert_string_equal(serve(&hall, 4), "bbbb"); /* a has none left */
    hall_deinit(&hall);
}

static void a_weight_may_change(void **state)
{
    static struct hall hall;
    const char *signs;

    hall_init(&hall, PEOPLE);
    for (unsigned i = 0; i < 100; i++) {
        join(&hall, 'a', i < 99 ? 3 : 1, 1);
        join(&hall, 'b', i < 99 ? 1 : 3, 1);
    }
    signs = serve(&hall, 80);
    assert_in_range(count_of(signs, 80, 'b'), 58, 62);
    hall_deinit(&hall);
}

static void teams_share_by_cost(void **state)
{
    static const struct {
        uint32_t weight[2], cost[2], turns[2]; /* of 200 turns, at least 3 either way */
    } cases[] = {
        {{1, 1}, {100, 300}, {150, 50}},
        {{1, 1}, {7, 7}, {100, 100}},
        {{3, 1}, {1000, 1000}, {150, 50}},
        {{3, 1}, {300, 100}, {100, 100}},
        {{1, 1}, {1, 4000000000}, {199, 1}},
        {{1, 1}, {4000000000, 4000000000}, {100, 100}}, /* no round of billions is walked */
        {{1000, 1}, {4000000000, 4000000}, {100, 100}},
        {{0, 5000}, {0, 1000}, {100, 100}}, /* as 1 and 1000, as 1 */
    };
    static struct hall hall;

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned count;

        hall_init(&hall, PEOPLE);
        for (unsigned k = 0; k < 200; k++) {
            join(&hall, 'a', cases[i].weight[0], cases[i].cost[0]);
            join(&hall, 'b', cases[i].weight[1], cases[i].cost[1]);
        }
        count = count_of(serve(&hall, 200), 200, 'a');
        assert_in_range(count, cases[i].turns[0] - 3, cases[i].turns[0] + 3);
        hall_deinit(&hall);
    }
}

static void a_debt_is_not_forgiven_for_being_away(void **state)
{
    static struct hall hall;

    hall_init(&hall, PEOPLE);
    for (unsigned i = 0; i < 100; i++)
        join(&hall, 'a', 1, 1);
    join(&hall, 'b', 1, 20);
    assert_string_equal(serve(&hall, 2), "ab");
    join(&hall, 'b', 1, 20);
    assert_string_equal(serve(&hall, 21), "aaaaaaaaaaaaaaaaaaaab");
    assert_string_equal(serve(&hall, 40), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    join(&hall, 'b', 1, 20); /* worked off meanwhile */
    assert_non_null(memchr(serve(&hall, 2), 'b', 2));
    hall_deinit(&hall);
}

/* --- leaving --- */

static void leaving_keeps_the_order(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "aaaabbbc"); /* 0 to 3, 4 to 6, 7 */
    be_idle(&hall);
    queue_leave(&hall.people[1].waiter);
    queue_leave(&hall.people[1].waiter);
    queue_leave(&hall.people[4].waiter);
    assert_int_equal(queue_length(hall.queue), 6);
    queue_offer(hall.queue);
    assert_ptr_equal(turn(&hall), &hall.people[0]);
    take(&hall);
    queue_offer(hall.queue);
    assert_ptr_equal(turn(&hall), &hall.people[5]);
    take(&hall);
    queue_leave(&hall.people[7].waiter);
    queue_offer(hall.queue);
    assert_ptr_equal(turn(&hall), &hall.people[2]);
    take(&hall);
    assert_string_equal(serve(&hall, 2), "ba");
    hall_deinit(&hall);
}

static void who_leaves_passes_the_offer_on(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "aba");
    be_idle(&hall);
    queue_offer(hall.queue);
    queue_leave(&hall.people[0].waiter); /* with the letter unopened */
    assert_ptr_equal(turn(&hall), &hall.people[2]); /* still its team's visit */
    hall.turn = NULL;
    queue_leave(&hall.people[2].waiter); /* with it opened */
    assert_ptr_equal(turn(&hall), &hall.people[1]);
    take(&hall);
    assert_null(turn(&hall));
    hall_deinit(&hall);
}

static void the_last_to_leave_takes_the_offer_along(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "a");
    queue_offer(hall.queue);
    queue_leave(&hall.people[0].waiter);
    assert_null(turn(&hall));
    queue_leave(&(struct waiter){0});
    join_all(&hall, "b");
    assert_ptr_equal(turn(&hall), &hall.people[1]);
    stay(&hall);
    assert_null(turn(&hall));
    hall_deinit(&hall);
}

/* --- offers --- */

static void a_vain_try_stays_at_the_head(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "ab");
    be_idle(&hall);
    for (unsigned i = 0; i < 3; i++) {
        queue_offer(hall.queue);
        assert_ptr_equal(turn(&hall), &hall.people[0]);
        stay(&hall);
        assert_null(turn(&hall));
    }
    hall_deinit(&hall);
}

static void an_offer_during_a_try_is_another_try(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "ab");
    be_idle(&hall);
    queue_offer(hall.queue);
    turn(&hall);
    queue_offer(hall.queue);
    stay(&hall);
    assert_ptr_equal(turn(&hall), &hall.people[0]);
    queue_offer(hall.queue);
    queue_offer(hall.queue);
    stay(&hall); /* two places became free since this try began */
    assert_ptr_equal(turn(&hall), &hall.people[0]);
    take(&hall);
    assert_ptr_equal(turn(&hall), &hall.people[1]);
    take(&hall);
    hall_deinit(&hall);
}

static void each_offer_is_one_turn(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "aaaaa");
    be_idle(&hall);
    for (unsigned i = 0; i < 3; i++)
        queue_offer(hall.queue);
    hall.turns = 0;
    while (turn(&hall))
        take(&hall);
    assert_int_equal(hall.turns, 3);
    for (unsigned i = 0; i < 1000; i++)
        queue_offer(hall.queue); /* more than wait: no use */
    hall.turns = 0;
    while (turn(&hall))
        stay(&hall);
    assert_in_range(hall.turns, 1, 3);
    hall_deinit(&hall);
}

static void joining_is_an_offer_while_others_have_not_tried(void **state)
{
    static struct hall hall;

    hall_init(&hall, 100);
    queue_offer(hall.queue); /* nobody hears it */
    join_all(&hall, "aaa"); /* three places may have become free before they stood in the queue */
    while (turn(&hall))
        take(&hall);
    assert_int_equal(hall.turns, 3);
    join_all(&hall, "a");
    be_idle(&hall);
    join_all(&hall, "a"); /* the head has tried, and every place since would have been offered */
    assert_null(turn(&hall));
    hall_deinit(&hall);
}

/* --- bounds, times, positions --- */

static void it_is_bounded_over_all_teams(void **state)
{
    static struct hall hall;

    hall_init(&hall, 3);
    join_all(&hall, "abc");
    assert_int_equal(try_to_join(&hall, 'd', 1, 1), QUEUE_E_FULL);
    assert_null(hall.people[3].waiter.queue);
    assert_int_equal(try_to_join(&hall, 'a', 1, 1), QUEUE_E_FULL);
    queue_leave(&hall.people[1].waiter);
    join_all(&hall, "a");
    assert_int_equal(queue_length(hall.queue), 3);
    assert_string_equal(serve(&hall, 3), "aca");
    hall_deinit(&hall);
    hall_init(&hall, 0);
    assert_int_equal(try_to_join(&hall, 'a', 1, 1), QUEUE_E_FULL);
    hall_deinit(&hall);
}

static void the_longest_wait_is_told(void **state)
{
    static struct hall hall;

    hall_init(&hall, 3);
    join_all(&hall, "a");
    assert_int_equal(hall.people[0].waiter.since_ms, 1000);
    assert_int_equal(hall.people[0].waiter.until_ms, 1000 + LONGEST_MS);
    hall_deinit(&hall);
}

static void a_position_is_kept(void **state)
{
    static const struct {
        unsigned who, turns;
    } cases[] = {{0, 0}, {5, 1}, {7, 2}, {1, 3}, {6, 4}, {2, 5}, {4, 7}, {9, 9}};
    static struct hall hall;

    hall_init(&hall, 100);
    join_all(&hall, "aaaaabbcaa");
    be_idle(&hall);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(queue_position(&hall.people[cases[i].who].waiter), cases[i].turns);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(queue_position(&hall.people[9].waiter), 9 - i);
        serve(&hall, 1);
    }
    hall_deinit(&hall);
}

static void teams_give_their_memory_back(void **state)
{
    static struct hall hall;
    struct person *person;
    size_t before;
    char name[256];

    hall_init(&hall, 10);
    join_all(&hall, "ab"); /* the queue is never empty */
    person = join(&hall, 'c', 1, 1);
    be_idle(&hall);
    queue_leave(&person->waiter);
    before = mallinfo2().uordblks;
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "%0200u", i);
        queue_join(hall.queue, &person->waiter, bytes_of(name), 1, i % 2 ? 1 : 100, 0);
        queue_leave(&person->waiter);
    }
    assert_in_range(mallinfo2().uordblks, 0, before + 4096);
    hall_deinit(&hall);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_team_the_first_come_is_the_first),
        cmocka_unit_test(teams_take_turns),
        cmocka_unit_test(one_is_served_second_at_the_latest),
        cmocka_unit_test(one_with_a_dear_turn_too),
        cmocka_unit_test(weights_hold_within_one_round),
        cmocka_unit_test(a_weight_may_change),
        cmocka_unit_test(teams_share_by_cost),
        cmocka_unit_test(a_debt_is_not_forgiven_for_being_away),
        cmocka_unit_test(leaving_keeps_the_order),
        cmocka_unit_test(who_leaves_passes_the_offer_on),
        cmocka_unit_test(the_last_to_leave_takes_the_offer_along),
        cmocka_unit_test(a_vain_try_stays_at_the_head),
        cmocka_unit_test(an_offer_during_a_try_is_another_try),
        cmocka_unit_test(each_offer_is_one_turn),
        cmocka_unit_test(joining_is_an_offer_while_others_have_not_tried),
        cmocka_unit_test(it_is_bounded_over_all_teams),
        cmocka_unit_test(the_longest_wait_is_told),
        cmocka_unit_test(a_position_is_kept),
        cmocka_unit_test(teams_give_their_memory_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
