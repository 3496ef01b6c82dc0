/*
 * A storm: threads with loops and mailboxes claim a few keys, lead, join, read, leave, purge, and void, all at random,
 * on a memo so small that it evicts all the time. Every answer carries its key, a number of its own, and the number of
 * each event, so that whoever reads can tell that it is one answer, whole, in order, and to what was asked.
 *
 * STORM_MS in the environment says for how long; build with -fsanitize=thread to see the most of it.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "memo/memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define THREADS 4
#define CLIENTS 48
#define LEADS 256
#define KEYS 250
#define MEMORY (16 * 40 * 1024)

struct word {
    uint32_t key, number, event;
};

struct shared {
    struct memo *memo;
    struct memo_model *models[2];
    uint64_t until;
    _Atomic uint32_t answers;
    _Atomic unsigned away;          /* threads whose clients and leads are over */
    _Atomic uint64_t verdicts[4], events, ends, failures, abandoned, kept, drains;
};

struct lead {
    struct storm *storm;
    struct transcript *transcript;  /* NULL: free */
    struct word word;
    uint32_t left;
    bool paused;
};

struct client {
    struct reader reader;
    struct transcript *transcript;  /* NULL: free */
    uint32_t key, number, taken, wakes;
};

struct storm {
    struct shared *shared;
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox mailbox;
    uint64_t state;
    struct client clients[CLIENTS];
    struct lead leads[LEADS];
};

static uint32_t below(struct storm *storm, uint32_t bound)
{
    storm->state = storm->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(storm->state >> 33) % bound;
}

/* No cmocka on other threads. */
static void must(bool good, const char *text)
{
    if (good)
        return;
    fprintf(stderr, "storm: %s\n", text);
    abort();
}

static void on_wake(void *data)
{
    ((struct client *)data)->wakes++;
}

static void on_kept(void *data, const struct memo_claim *claim, struct transcript *transcript,
                    struct memo_ticket ticket)
{
    struct storm *storm = data;
    struct reader reader;
    struct chat_event event;
    struct word word;

    must(transcript_status(transcript) == TRANSCRIPT_FINISHED, "kept before its end");
    must(reader_init(&reader, transcript, NULL, on_wake, &storm->clients[0]), "kept and not readable");
    while (reader_next(&reader, &event) == 0) {
        memcpy(&word, event.payload.data, sizeof(word));
        must(claim->key[0] == (uint8_t)word.key, "kept under another key");
    }
    reader_deinit(&reader);
    atomic_fetch_add(&storm->shared->kept, 1);
}

/* --- leading --- */

static void lead_over(struct lead *lead)
{
    lead->transcript = transcript_unref(lead->transcript);
}

static void on_abandoned(void *data)
{
    struct lead *lead = data;

    atomic_fetch_add(&lead->storm->shared->abandoned, 1);
    lead_over(lead);
}

static void on_drained(void *data)
{
    struct lead *lead = data;

    atomic_fetch_add(&lead->storm->shared->drains, 1);
    lead->paused = false;
}

/* False: no room for another. */
static bool lead_start(struct storm *storm, struct transcript *transcript, uint32_t key)
{
    struct lead *lead = storm->leads;

    while (lead < storm->leads + LEADS && lead->transcript)
        lead++;
    if (lead == storm->leads + LEADS)
        return false;
    *lead = (struct lead){
        .storm = storm,
        .transcript = transcript_ref(transcript),
        .word = {.key = key, .number = atomic_fetch_add(&storm->shared->answers, 1) + 1},
        .left = below(storm, 10) ? below(storm, 12) : 40,
    };
    transcript_set_writer(transcript, &(struct transcript_writer){on_drained, on_abandoned, lead});
    return true;
}

static void lead_end(struct lead *lead)
{
    struct storm *storm = lead->storm;
    struct failure failure = {.kind = FAIL_NO_MODEL, .message = BYTES("it failed")};
    char fingerprint[2] = {(char)('a' + below(storm, 400) / 399), 0};
    struct transcript_facts facts = {
        .backend = BYTES("b"),
        .model = BYTES("m"),
        .fingerprint = {fingerprint, below(storm, 3) ? 1 : 0},
        .whole = below(storm, 20) != 0,
        .recalled = below(storm, 10) == 0,
    };

    transcript_tell(lead->transcript, &facts);
    if (below(storm, 15))
        transcript_finish(lead->transcript);
    else
        transcript_fail(lead->transcript, &failure);
    lead_over(lead);
}

static void lead_go_on(struct lead *lead)
{
    char text[900] = {0};
    struct chat_event event = {.kind = EVENT_BODY, .payload.data = text};

    if (!lead->transcript || lead->paused)
        return;
    if (lead->left == 0) {
        lead_end(lead);
        return;
    }
    memcpy(text, &lead->word, sizeof(lead->word));
    event.payload.size = sizeof(lead->word) + below(lead->storm, 800);
    lead->word.event++;
    lead->left--;
    lead->paused = !transcript_append(lead->transcript, &event);
}

/* --- asking --- */

static void client_leave(struct client *client)
{
    reader_deinit(&client->reader);
    client->transcript = transcript_unref(client->transcript);
}

static void client_ask(struct storm *storm, struct client *client)
{
    static const uint8_t tenant[DIGEST_SIZE];
    uint32_t number = below(storm, KEYS) * below(storm, KEYS) / KEYS;
    uint8_t key[DIGEST_SIZE] = {(uint8_t)number, [8] = (uint8_t)number};
    struct memo_claim claim = {
        .key = key,
        .tenant = tenant,
        .model = storm->shared->models[number % 2],
        .ttl_ms = below(storm, 10) ? 60000 : 5,
        .fresh = below(storm, 50) == 0,
        .only = below(storm, 20) == 0,
        .max_age_ms = below(storm, 20) ? UINT32_MAX : 3,
        .home = &storm->mailbox,
        .high_water = 1500,
        .low_water = 400,
        .kept = on_kept,
        .data = storm,
    };
    enum memo_verdict verdict;

    *client = (struct client){.key = number};
    verdict = memo_claim(storm->shared->memo, &claim, &client->reader, on_wake, client, &client->transcript);
    atomic_fetch_add(&storm->shared->verdicts[verdict], 1);
    if (verdict == MEMO_LEAD && !lead_start(storm, client->transcript, number))
        client_leave(client);
}

static void client_read(struct storm *storm, struct client *client)
{
    struct chat_event event;
    struct word word;
    int r = reader_next(&client->reader, &event);

    if (r == 0) {
        memcpy(&word, event.payload.data, sizeof(word));
        must(word.key == client->key, "an answer to another question");
        must(!client->number || client->number == word.number, "two answers in one");
        must(word.event == client->taken, "an event out of order");
        client->number = word.number;
        client->taken++;
        atomic_fetch_add_explicit(&storm->shared->events, 1, memory_order_relaxed);
    } else if (r != READER_E_EMPTY) {
        must(r == READER_E_FAILED || client->taken == transcript_events(client->transcript), "an answer cut short");
        atomic_fetch_add(r == READER_E_END ? &storm->shared->ends : &storm->shared->failures, 1);
        client_leave(client);
    }
}

static void client_act(struct storm *storm, struct client *client)
{
    if (!client->transcript)
        client_ask(storm, client);
    else if (below(storm, 40) == 0)
        client_leave(client);
    else
        for (uint32_t i = below(storm, 4); client->transcript && i > 0; i--)
            client_read(storm, client);
}

/* --- the storm --- */

static void meddle(struct storm *storm)
{
    struct memo *memo = storm->shared->memo;
    struct memo_model *model = storm->shared->models[below(storm, 2)];
    uint8_t key[DIGEST_SIZE] = {0};
    struct memo_stats stats;

    switch (below(storm, 3000)) {
    case 0:
        memo_purge_model(memo, below(storm, 4) ? model : NULL);
        break;
    case 1:
        memo_model_set_stamp(memo, model, 1 + below(storm, 3));
        break;
    case 2:
    case 3:
        key[0] = key[8] = (uint8_t)below(storm, KEYS);
        memo_purge_key(memo, key);
        break;
    case 4:
        memo_stats(memo, &stats);
        must(stats.bytes + stats.growing_bytes <= stats.memory, "more bytes than there may be");
        break;
    default:
        break;
    }
}

static void turn(struct storm *storm)
{
    uv_ref((uv_handle_t *)&storm->mailbox.bell);
    uv_run(&storm->loop, UV_RUN_NOWAIT);
    uv_unref((uv_handle_t *)&storm->mailbox.bell);
}

static void blow(struct storm *storm)
{
    for (unsigned round = 0; clock_ms() < storm->shared->until; round++) {
        client_act(storm, &storm->clients[below(storm, CLIENTS)]);
        lead_go_on(&storm->leads[below(storm, LEADS)]);
        for (int i = 0; i < 8; i++)
            lead_go_on(&storm->leads[below(storm, 32)]);
        meddle(storm);
        if (round % 4 == 0)
            turn(storm);
    }
}

static void run(void *data)
{
    struct storm *storm = data;

    blow(storm);
    for (int i = 0; i < CLIENTS; i++) {
        if (storm->clients[i].transcript)
            client_leave(&storm->clients[i]);
    }
    for (int i = 0; i < LEADS; i++) {
        if (storm->leads[i].transcript)
            lead_end(&storm->leads[i]);
    }
    atomic_fetch_add(&storm->shared->away, 1);
    while (atomic_load(&storm->shared->away) < THREADS)
        turn(storm);
    turn(storm);
    mailbox_close(&storm->mailbox, NULL, NULL);
    uv_run(&storm->loop, UV_RUN_DEFAULT);
}

static void a_storm(void **given)
{
    static struct shared shared;
    static struct storm storms[THREADS];
    const char *text = getenv("STORM_MS");
    struct memo_stats stats;

    shared.memo = memo_new(&(struct memo_limits){MEMORY, 6 * 1024});
    shared.models[0] = memo_model(shared.memo, BYTES("even"));
    shared.models[1] = memo_model(shared.memo, BYTES("odd"));
    shared.until = clock_ms() + (text ? strtoul(text, NULL, 10) : 2000);
    for (int i = 0; i < THREADS; i++) {
        storms[i].shared = &shared;
        storms[i].state = (uint64_t)i + 1;
        uv_loop_init(&storms[i].loop);
        mailbox_init(&storms[i].mailbox, &storms[i].loop);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(uv_thread_create(&storms[i].thread, run, &storms[i]), 0);
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&storms[i].thread);
    for (int i = 0; i < THREADS; i++) {
        mailbox_deinit(&storms[i].mailbox);
        assert_int_equal(uv_loop_close(&storms[i].loop), 0);
    }

    memo_stats(shared.memo, &stats);
    assert_int_equal(stats.growing + stats.growing_bytes, 0);
    assert_int_equal(stats.counts.hits, shared.verdicts[MEMO_HIT]);
    assert_int_equal(stats.counts.joins, shared.verdicts[MEMO_JOIN]);
    assert_int_equal(stats.counts.misses, shared.verdicts[MEMO_LEAD]);
    printf("hits %lu joins %lu leads %lu none %lu\n", shared.verdicts[0], shared.verdicts[1], shared.verdicts[2],
           shared.verdicts[3]);
    printf("events %lu ends %lu failures %lu abandoned %lu kept %lu drained %lu\n", shared.events, shared.ends,
           shared.failures, shared.abandoned, shared.kept, shared.drains);
    printf("stored %lu too large %lu evicted %lu expired %lu voided %lu purged %lu fingerprints %lu\n",
           stats.counts.stored, stats.counts.too_large, stats.counts.evicted, stats.counts.expired,
           stats.counts.voided, stats.counts.purged, stats.counts.fingerprints);
    assert_true(stats.counts.evicted && stats.counts.voided && stats.counts.purged && stats.counts.stored);
    assert_true(shared.abandoned && shared.kept && stats.counts.hits && stats.counts.joins);
    memo_free(shared.memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
