/*
 * The memo on one thread, with real shared transcripts: each verdict, what stays and what does not, voiding, purging,
 * bytes, counters. An answer's age is set by telling when it was made, so that nothing here waits for time to pass.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "memo/memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define MEMORY (16 * 64 * 1024)     /* 64 kB in each shard */

struct world {
    uv_loop_t loop;
    struct mailbox mailbox;
    struct memo *memo;
    struct memo_model *model;
    unsigned wakes, kept;
    char last_kept;
};

struct asker {
    struct reader reader;
    struct transcript *transcript;
    enum memo_verdict verdict;
};

static const struct transcript_facts whole = {
    .backend = {"b", 1},
    .model = {"m", 1},
    .prompt_tokens = -1,
    .completion_tokens = -1,
    .whole = true,
};

static void on_wake(void *data)
{
    ((struct world *)data)->wakes++;
}

static void on_kept(void *data, const struct memo_claim *claim, struct transcript *transcript,
                    struct memo_ticket ticket)
{
    struct world *world = data;

    assert_int_equal(transcript_status(transcript), TRANSCRIPT_FINISHED);
    assert_int_equal(claim->tenant[0], 't');
    world->kept++;
    world->last_kept = (char)claim->key[1];
}

/* Letters are opened. */
static void turn(struct world *world)
{
    uv_ref((uv_handle_t *)&world->mailbox.bell);
    uv_run(&world->loop, UV_RUN_NOWAIT);
    uv_unref((uv_handle_t *)&world->mailbox.bell);
}

static void world_init(struct world *world, uint64_t memory, uint32_t entry)
{
    memset(world, 0, sizeof(*world));
    uv_loop_init(&world->loop);
    mailbox_init(&world->mailbox, &world->loop);
    world->memo = memo_new(&(struct memo_limits){memory, entry});
    world->model = memo_model(world->memo, BYTES("m"));
}

static int setup(void **ret)
{
    struct world *world = alloc_bytes(sizeof(*world));

    world_init(world, MEMORY, 16 * 1024);
    *ret = world;
    return 0;
}

static int setup_without_memory(void **ret)
{
    struct world *world = alloc_bytes(sizeof(*world));

    world_init(world, 0, 16 * 1024);
    *ret = world;
    return 0;
}

static int teardown(void **given)
{
    struct world *world = *given;

    mailbox_close(&world->mailbox, NULL, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    mailbox_deinit(&world->mailbox);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    memo_free(world->memo);
    alloc_free(world);
    return 0;
}

/* --- what the tests say --- */

/* Keys of one shard: they begin alike. */
static void key_of(char name, uint8_t ret[DIGEST_SIZE])
{
    memset(ret, 0, DIGEST_SIZE);
    ret[1] = (uint8_t)name;
    ret[8] = (uint8_t)name;
}

/* HOW: what of the claim is unusual; NULL: nothing. */
static enum memo_verdict ask_as(struct world *world, char name, const struct memo_claim *how, struct asker *ret)
{
    static const uint8_t tenant[DIGEST_SIZE] = "t";
    uint8_t key[DIGEST_SIZE];
    struct memo_claim claim = how ? *how : (struct memo_claim){.max_age_ms = UINT32_MAX};

    key_of(name, key);
    claim.key = key;
    claim.tenant = tenant;
    claim.model = claim.model ? claim.model : world->model;
    claim.ttl_ms = claim.ttl_ms ? claim.ttl_ms : 60000;
    claim.home = &world->mailbox;
    claim.high_water = 4096;
    claim.low_water = 1024;
    claim.kept = on_kept;
    claim.data = world;
    ret->transcript = NULL;
    ret->reader.transcript = NULL;
    return ret->verdict = memo_claim(world->memo, &claim, &ret->reader, on_wake, world, &ret->transcript);
}

static enum memo_verdict ask(struct world *world, char name, struct asker *ret)
{
    return ask_as(world, name, NULL, ret);
}

static void leave(struct asker *asker)
{
    reader_deinit(&asker->reader);
    asker->transcript = transcript_unref(asker->transcript);
}

/* Asks and leaves. */
static enum memo_verdict peek(struct world *world, char name)
{
    struct memo_claim only = {.only = true, .max_age_ms = UINT32_MAX};
    struct asker asker;
    enum memo_verdict verdict = ask_as(world, name, &only, &asker);

    leave(&asker);
    return verdict;
}

static bool say(struct transcript *transcript, size_t size)
{
    char *text = alloc_zeroed(size + 1);
    struct chat_event event = {.kind = EVENT_BODY, .payload = {text, size}};
    bool good = transcript_append(transcript, &event);

    alloc_free(text);
    return good;
}

static void end(struct transcript *transcript, const struct transcript_facts *facts)
{
    transcript_tell(transcript, facts);
    transcript_finish(transcript);
}

/* NAME is led, answered with SIZE bytes, and left. */
static void answer(struct world *world, char name, size_t size, const struct transcript_facts *facts)
{
    struct asker leader;

    assert_int_equal(ask(world, name, &leader), MEMO_LEAD);
    say(leader.transcript, size);
    end(leader.transcript, facts);
    leave(&leader);
}

static struct memo_stats stats_of(struct world *world)
{
    struct memo_stats stats;

    memo_stats(world->memo, &stats);
    assert_true(stats.bytes + stats.growing_bytes <= stats.memory || stats.memory == 0);
    return stats;
}

/* --- verdicts --- */

static void lead_join_hit(void **given)
{
    struct world *world = *given;
    struct asker leader, joiner, late;
    struct chat_event event;
    struct memo_stats stats;

    assert_int_equal(ask(world, 'a', &leader), MEMO_LEAD);
    assert_int_equal(peek(world, 'b'), MEMO_NONE);
    say(leader.transcript, 10);
    assert_int_equal(ask(world, 'a', &joiner), MEMO_JOIN);
    assert_ptr_equal(joiner.transcript, leader.transcript);
    assert_int_equal(reader_next(&joiner.reader, &event), 0);
    stats = stats_of(world);
    assert_int_equal(stats.growing, 1);
    assert_true(stats.growing_bytes >= 10);
    leave(&leader);
    say(joiner.transcript, 20);
    end(joiner.transcript, &whole);
    assert_int_equal(reader_next(&joiner.reader, &event), 0);
    assert_int_equal(event.payload.size, 20);
    assert_int_equal(reader_next(&joiner.reader, &event), READER_E_END);

    assert_int_equal(ask(world, 'a', &late), MEMO_HIT);
    assert_ptr_equal(late.transcript, joiner.transcript);
    assert_int_equal(reader_next(&late.reader, &event), 0);
    leave(&joiner);
    leave(&late);
    stats = stats_of(world);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.growing + stats.growing_bytes, 0);
    assert_int_equal(stats.counts.hits, 1);
    assert_int_equal(stats.counts.joins, 1);
    assert_int_equal(stats.counts.misses, 1);
    assert_int_equal(stats.counts.stored, 1);
    assert_int_equal(stats.models, 1);
}

static void kept_is_told_by_letter(void **given)
{
    struct world *world = *given;

    answer(world, 'a', 10, &whole);
    turn(world);
    assert_int_equal(world->kept, 1);
    assert_int_equal(world->last_kept, 'a');
    answer(world, 'b', 10, &whole);     /* its letter is never opened */
}

static void what_is_not_whole_goes(void **given)
{
    struct world *world = *given;
    struct transcript_facts facts = whole;
    struct failure failure = {.kind = FAIL_NO_MODEL, .message = BYTES("no")};
    struct asker leader, joiner;

    facts.whole = false;
    answer(world, 'a', 10, &facts);
    assert_int_equal(peek(world, 'a'), MEMO_NONE);

    assert_int_equal(ask(world, 'b', &leader), MEMO_LEAD);
    assert_int_equal(ask(world, 'b', &joiner), MEMO_JOIN);
    transcript_fail(leader.transcript, &failure);
    assert_int_equal(peek(world, 'b'), MEMO_NONE);
    leave(&leader);
    leave(&joiner);
    turn(world);
    assert_int_equal(world->kept, 0);
    assert_int_equal(stats_of(world).entries, 0);
}

static void abandoned_is_not_there(void **given)
{
    struct world *world = *given;
    struct asker leader, second;

    assert_int_equal(ask(world, 'a', &leader), MEMO_LEAD);
    reader_deinit(&leader.reader);
    assert_int_equal(ask(world, 'a', &second), MEMO_LEAD);
    assert_ptr_not_equal(leader.transcript, second.transcript);
    leave(&leader);
    say(second.transcript, 10);
    end(second.transcript, &whole);
    leave(&second);
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
    assert_int_equal(stats_of(world).growing, 0);
}

/* The last reader is on another thread: until the letter was opened the transcript is abandoned, and still there. */
static void abandoned_by_letter_is_not_there(void **given)
{
    struct world *world = *given;
    struct asker leader, second;
    uv_loop_t loop;
    struct mailbox far;

    uv_loop_init(&loop);
    mailbox_init(&far, &loop);
    assert_int_equal(ask(world, 'a', &leader), MEMO_LEAD);
    assert_true(reader_init(&second.reader, leader.transcript, &far, on_wake, world));
    reader_deinit(&leader.reader);
    reader_deinit(&second.reader);
    assert_int_equal(stats_of(world).growing, 1);
    assert_int_equal(ask(world, 'a', &second), MEMO_LEAD);
    assert_int_equal(stats_of(world).growing, 2);
    turn(world);
    assert_int_equal(stats_of(world).growing, 1);
    leave(&leader);
    leave(&second);
    mailbox_close(&far, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    mailbox_deinit(&far);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void fresh_replaces(void **given)
{
    struct world *world = *given;
    struct memo_claim fresh = {.fresh = true, .max_age_ms = UINT32_MAX};
    struct memo_claim fresh_only = {.fresh = true, .only = true, .max_age_ms = UINT32_MAX};
    struct asker first, second, third;

    answer(world, 'a', 10, &whole);
    assert_int_equal(ask_as(world, 'a', &fresh_only, &first), MEMO_NONE);
    assert_int_equal(peek(world, 'a'), MEMO_HIT);

    assert_int_equal(ask_as(world, 'a', &fresh, &first), MEMO_LEAD);
    assert_int_equal(ask(world, 'a', &second), MEMO_JOIN);
    assert_int_equal(ask_as(world, 'a', &fresh, &third), MEMO_LEAD);
    assert_ptr_not_equal(third.transcript, first.transcript);
    end(third.transcript, &whole);
    end(first.transcript, &whole);      /* goes on for its readers, and is not kept */
    assert_int_equal(stats_of(world).entries, 1);
    leave(&first);
    assert_int_equal(ask(world, 'a', &first), MEMO_HIT);
    assert_ptr_equal(first.transcript, third.transcript);
    leave(&first);
    leave(&second);
    leave(&third);
}

/* --- time --- */

static void expired_is_not_there(void **given)
{
    struct world *world = *given;
    struct transcript_facts facts = whole;
    struct asker leader;

    facts.made_ms = clock_ms() - 59000;
    answer(world, 'a', 10, &facts);     /* good for a second more */
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
    facts.made_ms = clock_ms() - 60000;
    answer(world, 'b', 10, &facts);
    assert_int_equal(peek(world, 'b'), MEMO_NONE);

    assert_int_equal(ask_as(world, 'c', &(struct memo_claim){.ttl_ms = 20, .max_age_ms = UINT32_MAX}, &leader),
                     MEMO_LEAD);
    end(leader.transcript, &whole);
    leave(&leader);
    assert_int_equal(stats_of(world).entries, 2);
    for (uint64_t start = clock_ms(); clock_ms() <= start + 20;)
        uv_sleep(1);
    assert_int_equal(peek(world, 'c'), MEMO_NONE);
    assert_int_equal(stats_of(world).entries, 1);
    assert_int_equal(stats_of(world).counts.expired, 1);
}

static void too_old_is_not_there(void **given)
{
    struct world *world = *given;
    struct transcript_facts facts = whole;
    struct asker asker, other;

    facts.made_ms = clock_ms() - 5000;
    answer(world, 'a', 10, &facts);
    assert_int_equal(ask_as(world, 'a', &(struct memo_claim){.max_age_ms = 10000}, &asker), MEMO_HIT);
    leave(&asker);
    assert_int_equal(ask_as(world, 'a', &(struct memo_claim){.max_age_ms = 4000, .only = true}, &asker), MEMO_NONE);
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
    assert_int_equal(ask_as(world, 'a', &(struct memo_claim){.max_age_ms = 4000}, &asker), MEMO_LEAD);
    assert_int_equal(ask_as(world, 'a', &(struct memo_claim){.max_age_ms = 0}, &other), MEMO_JOIN);
    end(asker.transcript, &whole);
    leave(&asker);
    leave(&other);
    assert_int_equal(ask_as(world, 'a', &(struct memo_claim){.max_age_ms = 4000}, &asker), MEMO_HIT);
    leave(&asker);
}

/* An answer older than this machine's clock. */
static void time_wraps(void **given)
{
    struct world *world = *given;
    struct memo_claim claim = {.ttl_ms = UINT32_MAX, .max_age_ms = UINT32_MAX};
    struct transcript_facts facts = whole;
    struct asker asker;

    facts.recalled = true;
    facts.made_ms = clock_ms() - UINT32_MAX + 60000;
    assert_int_equal(ask_as(world, 'a', &claim, &asker), MEMO_LEAD);
    end(asker.transcript, &facts);
    leave(&asker);
    claim.only = true;
    assert_int_equal(ask_as(world, 'a', &claim, &asker), MEMO_HIT);
    leave(&asker);
    assert_int_equal(peek(world, 'a'), MEMO_NONE);      /* too old for who thinks less of time */
    claim.max_age_ms = 1000000;
    assert_int_equal(ask_as(world, 'a', &claim, &asker), MEMO_NONE);
    turn(world);
    assert_int_equal(world->kept, 0);   /* it comes from another shelf */
}

/* --- voiding --- */

static void purged_model_is_void(void **given)
{
    struct world *world = *given;
    struct memo_model *other = memo_model(world->memo, BYTES("other"));
    struct memo_claim of_other = {.model = other, .max_age_ms = UINT32_MAX};
    struct asker leader, growing;

    answer(world, 'a', 10, &whole);
    answer(world, 'b', 10, &whole);
    assert_int_equal(ask_as(world, 'c', &of_other, &leader), MEMO_LEAD);
    end(leader.transcript, &whole);
    leave(&leader);
    assert_int_equal(ask(world, 'd', &growing), MEMO_LEAD);

    assert_int_equal(memo_purge_model(world->memo, world->model), 3);
    assert_true(memo_model_stamp_is_old(world->model));
    assert_false(memo_model_stamp_is_old(other));
    end(growing.transcript, &whole);
    leave(&growing);
    assert_int_equal(peek(world, 'a'), MEMO_NONE);
    assert_int_equal(peek(world, 'd'), MEMO_NONE);
    assert_int_equal(peek(world, 'c'), MEMO_HIT);
    assert_int_equal(memo_purge_model(world->memo, NULL), 1);
    assert_int_equal(peek(world, 'c'), MEMO_NONE);
    assert_int_equal(stats_of(world).counts.purged, 4);
    assert_int_equal(stats_of(world).entries, 0);
    answer(world, 'a', 10, &whole);
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
}

static void purged_key_is_gone(void **given)
{
    struct world *world = *given;
    uint8_t key[DIGEST_SIZE];
    struct asker growing;

    answer(world, 'a', 10, &whole);
    answer(world, 'b', 10, &whole);
    key_of('a', key);
    assert_true(memo_purge_key(world->memo, key));
    assert_false(memo_purge_key(world->memo, key));
    assert_int_equal(peek(world, 'a'), MEMO_NONE);
    assert_int_equal(peek(world, 'b'), MEMO_HIT);
    assert_int_equal(ask(world, 'a', &growing), MEMO_LEAD);
    assert_true(memo_purge_key(world->memo, key));
    end(growing.transcript, &whole);
    leave(&growing);
    assert_int_equal(peek(world, 'a'), MEMO_NONE);
    assert_int_equal(stats_of(world).counts.purged, 2);
}

static void stamps(void **given)
{
    struct world *world = *given;
    struct memo_model *model = world->model;

    assert_int_equal(memo_model_stamp(model), 0);
    assert_false(memo_model_stamp_is_old(model));
    answer(world, 'a', 10, &whole);
    memo_model_set_stamp(world->memo, model, 7);        /* the first one known */
    memo_model_set_stamp(world->memo, model, 7);
    assert_int_equal(memo_model_stamp(model), 7);
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
    memo_model_set_stamp(world->memo, model, 8);        /* somebody else moved it */
    assert_false(memo_model_stamp_is_old(model));
    assert_int_equal(peek(world, 'a'), MEMO_NONE);
    assert_int_equal(stats_of(world).counts.voided, 1);

    memo_purge_model(world->memo, model);
    assert_true(memo_model_stamp_is_old(model));
    memo_model_set_stamp(world->memo, model, 8);        /* heard late: says nothing new */
    assert_true(memo_model_stamp_is_old(model));
    answer(world, 'a', 10, &whole);
    memo_model_set_stamp(world->memo, model, 9);        /* of the epoch that began with the purge */
    assert_false(memo_model_stamp_is_old(model));
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
}

static struct transcript_facts facts_of(const char *backend, const char *fingerprint)
{
    struct transcript_facts facts = whole;

    facts.backend = bytes_of(backend);
    facts.fingerprint = bytes_of(fingerprint);
    return facts;
}

static void a_new_fingerprint_voids(void **given)
{
    struct world *world = *given;
    struct transcript_facts one = facts_of("b", "fp_1"), two = facts_of("b", "fp_2"), other = facts_of("c", "fp_3");
    struct asker growing;

    answer(world, 'a', 10, &one);
    answer(world, 'b', 10, &one);
    answer(world, 'c', 10, &other);
    answer(world, 'd', 10, &whole);     /* tells nothing */
    assert_int_equal(stats_of(world).counts.fingerprints, 0);
    assert_int_equal(ask(world, 'e', &growing), MEMO_LEAD);
    answer(world, 'f', 10, &two);
    assert_int_equal(stats_of(world).counts.fingerprints, 1);
    assert_true(memo_model_stamp_is_old(world->model));
    end(growing.transcript, &one);      /* asked before the change: neither stays nor changes anything */
    leave(&growing);
    assert_int_equal(peek(world, 'a'), MEMO_NONE);
    assert_int_equal(peek(world, 'c'), MEMO_NONE);
    assert_int_equal(peek(world, 'e'), MEMO_NONE);
    assert_int_equal(peek(world, 'f'), MEMO_HIT);
    assert_int_equal(stats_of(world).counts.fingerprints, 1);
    assert_false(memo_fingerprint(world->memo, world->model, BYTES("b"), BYTES("m"), BYTES("fp_2")));
    assert_true(memo_fingerprint(world->memo, world->model, BYTES("b"), BYTES("m"), BYTES("fp_4")));
    assert_false(memo_fingerprint(world->memo, world->model, BYTES("b"), BYTES("m"), BYTES_NONE));
    assert_int_equal(peek(world, 'f'), MEMO_NONE);
}

static void a_recalled_fingerprint_changes_nothing(void **given)
{
    struct world *world = *given;
    struct transcript_facts now = facts_of("b", "fp_2"), recalled = facts_of("b", "fp_1");

    recalled.recalled = true;
    answer(world, 'a', 10, &now);
    answer(world, 'b', 10, &recalled);
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
    assert_int_equal(peek(world, 'b'), MEMO_NONE);
    assert_int_equal(stats_of(world).counts.fingerprints, 0);

    recalled = facts_of("other", "fp_1");
    recalled.recalled = true;
    now = facts_of("other", "fp_2");
    answer(world, 'b', 10, &recalled);
    assert_int_equal(peek(world, 'b'), MEMO_HIT);
    answer(world, 'c', 10, &now);
    assert_int_equal(peek(world, 'b'), MEMO_NONE);
    assert_int_equal(stats_of(world).counts.fingerprints, 1);
}

static void sources_are_bounded(void **given)
{
    struct world *world = *given;
    char name[16];

    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_false(memo_fingerprint(world->memo, world->model, bytes_of(name), BYTES("m"), BYTES("1")));
    }
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(memo_fingerprint(world->memo, world->model, bytes_of(name), BYTES("m"), bytes_of(name)),
                         i < 256 && i != 1);
    }
}

/* --- bytes --- */

static void bytes_are_bounded(void **given)
{
    struct world *world = *given;
    struct memo_stats stats;

    for (int i = 1; i < 200; i++) {
        answer(world, (char)i, 1000 + (size_t)i * 10, &whole);
        stats_of(world);
    }
    stats = stats_of(world);
    assert_true(stats.bytes <= MEMORY / 16);        /* they are all in one shard */
    assert_true(stats.bytes > MEMORY / 16 - 4000);
    assert_int_equal(stats.entries + stats.counts.evicted, 199);
    assert_int_equal(peek(world, (char)199), MEMO_HIT);
    assert_int_equal(peek(world, 1), MEMO_NONE);
}

static void a_hit_stays_on_the_shelf(void **given)
{
    struct world *world = *given;

    for (int i = 1; i < 200; i++) {
        answer(world, (char)i, 1000, &whole);
        if (i < 10)
            peek(world, (char)i);
    }
    for (int i = 1; i < 10; i++)
        assert_int_equal(peek(world, (char)i), MEMO_HIT);
    assert_int_equal(peek(world, 10), MEMO_NONE);
}

static void what_is_too_large_goes_on_unkept(void **given)
{
    struct world *world = *given;
    struct asker leader, other;
    struct chat_event event;
    bool good = true;

    answer(world, 'a', 10, &whole);
    assert_int_equal(ask(world, 'b', &leader), MEMO_LEAD);
    for (int i = 0; i < 30; i++)
        good &= say(leader.transcript, 1000);
    assert_false(good);                             /* the writer hears that it is too fast */
    assert_int_equal(ask(world, 'b', &other), MEMO_LEAD);
    leave(&other);
    for (int i = 0; i < 30; i++)
        assert_int_equal(reader_next(&leader.reader, &event), 0);
    end(leader.transcript, &whole);
    leave(&leader);
    assert_int_equal(peek(world, 'b'), MEMO_NONE);
    assert_int_equal(peek(world, 'a'), MEMO_HIT);
    assert_int_equal(stats_of(world).counts.too_large, 1);
    assert_int_equal(stats_of(world).growing_bytes, 0);
}

/* Growing answers have half of a shard between them, and push out what is kept. */
static void growing_has_half(void **given)
{
    struct world *world = *given;
    struct asker growing[5];
    struct memo_stats stats;

    for (int i = 1; i < 100; i++)
        answer(world, (char)i, 1000, &whole);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(world, (char)(100 + i), &growing[i]), MEMO_LEAD);
        for (int k = 0; k < 8; k++)
            say(growing[i].transcript, 1000);
        stats = stats_of(world);
        assert_true(stats.bytes + stats.growing_bytes <= MEMORY / 16);
        assert_true(stats.growing_bytes <= MEMORY / 32);
    }
    assert_true(stats.growing_bytes >= 3 * 8 * 1000); /* what was refused is not counted */
    for (int i = 0; i < 5; i++) {
        end(growing[i].transcript, &whole);
        leave(&growing[i]);
        assert_int_equal(peek(world, (char)(100 + i)), i < 3 ? MEMO_HIT : MEMO_NONE);
    }
    assert_int_equal(stats_of(world).counts.too_large, 2);
}

static void without_memory_answers_are_shared(void **given)
{
    struct world *world = *given;
    struct asker leader, joiner;

    assert_int_equal(ask(world, 'a', &leader), MEMO_LEAD);
    say(leader.transcript, 15 * 1024);
    assert_int_equal(ask(world, 'a', &joiner), MEMO_JOIN);
    end(leader.transcript, &whole);
    leave(&leader);
    leave(&joiner);
    assert_int_equal(peek(world, 'a'), MEMO_NONE);
    assert_int_equal(stats_of(world).counts.stored, 0);
    assert_int_equal(stats_of(world).counts.too_large, 0);
}

/* --- models --- */

static void models_by_name(void **given)
{
    struct world *world = *given;
    uint64_t entries, bytes;
    char name[16];
    struct memo_model *last, *models[1024];

    assert_ptr_equal(memo_model(world->memo, BYTES("m")), world->model);
    assert_ptr_equal(memo_find_model(world->memo, BYTES("m")), world->model);
    assert_null(memo_find_model(world->memo, BYTES("n")));
    assert_true(bytes_equal(memo_model_name(world->model), BYTES("m")));
    answer(world, 'a', 1000, &whole);
    assert_int_equal(memo_model_counts(world->model, &entries, &bytes).stored, 1);
    assert_int_equal(entries, 1);
    assert_int_equal(bytes, stats_of(world).bytes);

    models[0] = world->model;
    for (int i = 1; i < 1024; i++) {
        snprintf(name, sizeof(name), "model %d", i);
        models[i] = memo_model(world->memo, bytes_of(name));
    }
    last = memo_model(world->memo, BYTES("one"));
    assert_ptr_equal(memo_model(world->memo, BYTES("another")), last);
    assert_ptr_equal(memo_find_model(world->memo, BYTES("a third")), last);
    for (uint32_t i = 0; i < 1024; i++) {
        assert_ptr_equal(memo_model_at(world->memo, i), models[i]);
        assert_ptr_equal(memo_model(world->memo, memo_model_name(models[i])), models[i]);
    }
    assert_ptr_equal(memo_model_at(world->memo, 1024), last);
    assert_null(memo_model_at(world->memo, 1025));
    memo_count(last, MEMO_COUNT_bypasses);
    assert_int_equal(stats_of(world).counts.bypasses, 1);
    assert_int_equal(stats_of(world).models, 1025);
}

static void the_table_grows(void **given)
{
    struct world *world = *given;
    static struct asker askers[5000];
    static uint8_t keys[5000][DIGEST_SIZE];
    struct memo_claim claim = {
        .model = world->model, .ttl_ms = 1000, .max_age_ms = UINT32_MAX, .home = &world->mailbox,
        .high_water = 100, .low_water = 10,
    };

    for (int i = 0; i < 5000; i++) {
        memcpy(keys[i] + 8, &i, sizeof(i));
        claim.key = keys[i];
        assert_int_equal(memo_claim(world->memo, &claim, &askers[i].reader, on_wake, world, &askers[i].transcript),
                         MEMO_LEAD);
    }
    assert_int_equal(stats_of(world).growing, 5000);
    for (int i = 0; i < 5000; i++) {
        struct asker joiner;

        claim.key = keys[i];
        assert_int_equal(memo_claim(world->memo, &claim, &joiner.reader, on_wake, world, &joiner.transcript),
                         MEMO_JOIN);
        assert_ptr_equal(joiner.transcript, askers[i].transcript);
        leave(&joiner);
    }
    for (int i = 0; i < 5000; i++)
        leave(&askers[i]);
    assert_int_equal(stats_of(world).growing, 0);
}

#define IN_WORLD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(lead_join_hit),
        IN_WORLD(kept_is_told_by_letter),
        IN_WORLD(what_is_not_whole_goes),
        IN_WORLD(abandoned_is_not_there),
        IN_WORLD(abandoned_by_letter_is_not_there),
        IN_WORLD(fresh_replaces),
        IN_WORLD(expired_is_not_there),
        IN_WORLD(too_old_is_not_there),
        IN_WORLD(time_wraps),
        IN_WORLD(purged_model_is_void),
        IN_WORLD(purged_key_is_gone),
        IN_WORLD(stamps),
        IN_WORLD(a_new_fingerprint_voids),
        IN_WORLD(a_recalled_fingerprint_changes_nothing),
        IN_WORLD(sources_are_bounded),
        IN_WORLD(bytes_are_bounded),
        IN_WORLD(a_hit_stays_on_the_shelf),
        IN_WORLD(what_is_too_large_goes_on_unkept),
        IN_WORLD(growing_has_half),
        cmocka_unit_test_setup_teardown(without_memory_answers_are_shared, setup_without_memory, teardown),
        IN_WORLD(models_by_name),
        IN_WORLD(the_table_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
