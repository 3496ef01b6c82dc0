/*
 * Mailboxes: order, once each, withdrawing, letters that post themselves, closing, many threads at once.
 */
#include "link/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define NOTES 8

struct note {
    struct letter letter;
    struct desk *desk;
    char sign;
    unsigned again;             /* how often it posts itself */
};

struct desk {
    uv_loop_t loop;
    uv_timer_t life;            /* keeps the loop alive */
    struct mailbox mailbox;
    struct note notes[NOTES];
    char opened[64];
    size_t count;
    struct note *withdraw;      /* by the next note opened */
    bool close, gone;
};

static void on_gone(void *data)
{
    ((struct desk *)data)->gone = true;
}

static void open_note(struct letter *letter)
{
    struct note *note = LIST_ENTRY(letter, struct note, letter);
    struct desk *desk = note->desk;

    assert_true(list_empty(&letter->link));
    desk->opened[desk->count++] = note->sign;
    if (desk->withdraw)
        mailbox_withdraw(&desk->mailbox, &desk->withdraw->letter);
    desk->withdraw = NULL;
    if (desk->close)
        mailbox_close(&desk->mailbox, on_gone, desk);
    if (note->again > 0) {
        note->again--;
        mailbox_post(&desk->mailbox, letter);
    }
}

static void never(uv_timer_t *timer)
{
    fail();
}

static void desk_init(struct desk *desk)
{
    memset(desk, 0, sizeof(*desk));
    uv_loop_init(&desk->loop);
    uv_timer_init(&desk->loop, &desk->life);
    uv_timer_start(&desk->life, never, 3600000, 0);
    mailbox_init(&desk->mailbox, &desk->loop);
    for (int i = 0; i < NOTES; i++) {
        desk->notes[i] = (struct note){.desk = desk, .sign = (char)('a' + i)};
        letter_init(&desk->notes[i].letter, open_note);
    }
}

static void desk_deinit(struct desk *desk)
{
    uv_close((uv_handle_t *)&desk->life, NULL);
    if (!uv_is_closing((uv_handle_t *)&desk->mailbox.bell))
        mailbox_close(&desk->mailbox, on_gone, desk);
    uv_run(&desk->loop, UV_RUN_DEFAULT);
    assert_true(desk->gone);
    mailbox_deinit(&desk->mailbox);
    assert_int_equal(uv_loop_close(&desk->loop), 0);
}

static void post(struct desk *desk, const char *signs)
{
    for (; *signs; signs++)
        mailbox_post(&desk->mailbox, &desk->notes[*signs - 'a'].letter);
}

static void letters_are_opened_in_order_and_once(void **state)
{
    struct desk desk;

    desk_init(&desk);
    post(&desk, "cabcca");
    assert_int_equal(desk.count, 0);
    uv_run(&desk.loop, UV_RUN_NOWAIT);
    assert_string_equal(desk.opened, "cab");
    post(&desk, "c");
    uv_run(&desk.loop, UV_RUN_NOWAIT);
    assert_string_equal(desk.opened, "cabc");
    desk_deinit(&desk);
}

static void a_withdrawn_letter_stays_shut(void **state)
{
    struct desk desk;

    desk_init(&desk);
    post(&desk, "abcd");
    mailbox_withdraw(&desk.mailbox, &desk.notes[1].letter);
    mailbox_withdraw(&desk.mailbox, &desk.notes[1].letter);
    desk.withdraw = &desk.notes[2]; /* while the mail is being opened */
    uv_run(&desk.loop, UV_RUN_NOWAIT);
    assert_string_equal(desk.opened, "ad");
    post(&desk, "cb");
    uv_run(&desk.loop, UV_RUN_NOWAIT);
    assert_string_equal(desk.opened, "adcb");
    desk_deinit(&desk);
}

static void a_letter_may_post_itself(void **state)
{
    struct desk desk;

    desk_init(&desk);
    desk.notes[0].again = 3;
    post(&desk, "ab");
    uv_run(&desk.loop, UV_RUN_NOWAIT);
    assert_string_equal(desk.opened, "ab"); /* the loop has its turn between */
    for (int i = 0; i < 5; i++)
        uv_run(&desk.loop, UV_RUN_NOWAIT);
    assert_string_equal(desk.opened, "abaaa");
    desk_deinit(&desk);
}

static void it_keeps_no_loop_alive(void **state)
{
    struct desk desk;

    desk_init(&desk);
    uv_unref((uv_handle_t *)&desk.life);
    assert_int_equal(uv_run(&desk.loop, UV_RUN_DEFAULT), 0);
    desk_deinit(&desk);
}

static void closed_it_drops_what_comes(void **state)
{
    struct desk desk;

    desk_init(&desk);
    post(&desk, "ab");
    mailbox_close(&desk.mailbox, on_gone, &desk);
    post(&desk, "abc");
    uv_run(&desk.loop, UV_RUN_NOWAIT);
    post(&desk, "abc");
    assert_int_equal(desk.count, 0);
    mailbox_withdraw(&desk.mailbox, &desk.notes[0].letter);
    desk_deinit(&desk);
}

static void a_letter_may_close_it(void **state)
{
    struct desk desk;

    desk_init(&desk);
    desk.close = true;
    desk.notes[0].again = 1;
    post(&desk, "abc");
    uv_run(&desk.loop, UV_RUN_NOWAIT);
    assert_string_equal(desk.opened, "a");
    desk_deinit(&desk);
}

/* --- threads --- */

#define THREADS 4
#define LETTERS 2000

struct count {
    struct letter letter;
    struct office *office;
    unsigned thread, number;
};

struct office {
    uv_loop_t loop;
    struct mailbox mailbox;
    uv_timer_t patience;
    struct count letters[THREADS][LETTERS];
    unsigned next[THREADS], opened;
    bool in_order;
};

struct postman {
    struct office *office;
    unsigned thread;
    uv_thread_t id;
};

static void open_count(struct letter *letter)
{
    struct count *count = LIST_ENTRY(letter, struct count, letter);
    struct office *office = count->office;

    office->in_order = office->in_order && office->next[count->thread]++ == count->number;
    if (++office->opened == THREADS * LETTERS)
        uv_close((uv_handle_t *)&office->patience, NULL);
}

static void walk_round(void *data)
{
    struct postman *postman = data;

    for (unsigned i = 0; i < LETTERS; i++)
        mailbox_post(&postman->office->mailbox, &postman->office->letters[postman->thread][i].letter);
}

static void out_of_patience(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

static void letters_of_many_threads_all_arrive(void **state)
{
    static struct office office;
    struct postman postmen[THREADS];

    office.in_order = true;
    uv_loop_init(&office.loop);
    mailbox_init(&office.mailbox, &office.loop);
    uv_timer_init(&office.loop, &office.patience);
    uv_timer_start(&office.patience, out_of_patience, 20000, 0);
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned i = 0; i < LETTERS; i++) {
            office.letters[t][i] = (struct count){.office = &office, .thread = t, .number = i};
            letter_init(&office.letters[t][i].letter, open_count);
        }
    }
    for (unsigned t = 0; t < THREADS; t++) {
        postmen[t] = (struct postman){&office, t, 0};
        uv_thread_create(&postmen[t].id, walk_round, &postmen[t]);
    }
    uv_run(&office.loop, UV_RUN_DEFAULT);
    for (unsigned t = 0; t < THREADS; t++)
        uv_thread_join(&postmen[t].id);
    assert_int_equal(office.opened, THREADS * LETTERS);
    assert_true(office.in_order);
    mailbox_close(&office.mailbox, NULL, NULL);
    uv_run(&office.loop, UV_RUN_DEFAULT);
    mailbox_deinit(&office.mailbox);
    assert_int_equal(uv_loop_close(&office.loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_are_opened_in_order_and_once),
        cmocka_unit_test(a_withdrawn_letter_stays_shut),
        cmocka_unit_test(a_letter_may_post_itself),
        cmocka_unit_test(it_keeps_no_loop_alive),
        cmocka_unit_test(closed_it_drops_what_comes),
        cmocka_unit_test(a_letter_may_close_it),
        cmocka_unit_test(letters_of_many_threads_all_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
