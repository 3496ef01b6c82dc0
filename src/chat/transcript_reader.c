/*
 * A reader is a place in the chain of blocks.
 *
 * While letting go, each block counts the readers that stand on it: blocks at the front without any are given back. The
 * place of the slowest is known in payload bytes together with how many readers stand there, so that it is looked for
 * anew only when the last of them has moved on. A lost reader stands nowhere; but it may be looking at the last event
 * it was given, so that event's block stays until it comes again.
 *
 * A private transcript's last block is used anew once its reader has read it, so that a stream relayed token by token
 * lives in one block.
 */
#include "chat/transcript_private.h"

#include "base/alloc.h"

/* --- letting go --- */

static void give_back(struct transcript *transcript, struct transcript_block *block)
{
    transcript->size -= sizeof(*block) + block->room;
    alloc_free(block);
}

/* The last block stays: the writer may be filling it. */
static void let_go(struct transcript *transcript)
{
    while (transcript->first != transcript->last && transcript->first->readers == 0 && transcript->unstarted == 0) {
        struct transcript_block *block = transcript->first;

        transcript->first = block->next;
        if (!transcript->beginning_gone)
            transcript->beginning_gone = true; /* a private one; others are looked at without the lock */
        if (block->lost)
            block->next = block;
        else
            give_back(transcript, block);
    }
}

static void find_slowest(struct transcript *transcript)
{
    uint64_t passed = UINT64_MAX;

    LIST_EACH(&transcript->readers, node) {
        struct reader *reader = LIST_ENTRY(node, struct reader, link);

        if (reader->bytes < passed) {
            passed = reader->bytes;
            transcript->slowest = 0;
        }
        transcript->slowest += reader->bytes == passed;
    }
    if (passed != UINT64_MAX)
        transcript->passed = passed;
}

/* The fastest one has left. Mostly others stand where it stood. */
static void find_furthest(struct transcript *transcript)
{
    uint64_t before = transcript->furthest;

    transcript->furthest = transcript->passed;
    LIST_EACH(&transcript->readers, node) {
        struct reader *reader = LIST_ENTRY(node, struct reader, link);

        if (reader->bytes > transcript->furthest)
            transcript->furthest = reader->bytes;
        if (transcript->furthest == before)
            return;
    }
}

/* A reader that stood at BYTES does so no more. */
static void left_place(struct transcript *transcript, uint64_t bytes)
{
    if (bytes == transcript->passed && --transcript->slowest == 0)
        find_slowest(transcript);
}

/* Shared, letting go, and SIZE is not 0. */
static void passed_event(struct transcript *transcript, const struct reader *reader, size_t size)
{
    if (reader->bytes > transcript->furthest)
        transcript->furthest = reader->bytes;
    left_place(transcript, reader->bytes - size);
}

void transcript_pass_all(struct transcript *transcript)
{
    transcript->passed = transcript->furthest = transcript->payload;
    let_go(transcript);
}

/* Counts a shared transcript's readers where they stand, which was not needed so far. */
void transcript_stop_keeping(struct transcript *transcript)
{
    transcript->beginning_gone = true;
    if (transcript->letting_go)
        return;
    transcript->letting_go = true;
    if (transcript->payload > transcript->lag)
        transcript->lag = transcript->payload;
    LIST_EACH(&transcript->readers, node) {
        struct reader *reader = LIST_ENTRY(node, struct reader, link);

        if (reader->bytes > transcript->furthest)
            transcript->furthest = reader->bytes;
        if (reader->block)
            reader->block->readers++;
        else
            transcript->unstarted++;
    }
    find_slowest(transcript);
    if (list_empty(&transcript->readers))
        transcript_pass_all(transcript);
    else
        let_go(transcript);
}

/* True: the writer has to be told by the caller, on this thread and without the lock. */
static bool is_drained(struct transcript *transcript, const struct reader *reader)
{
    if (transcript_pressure(transcript) > transcript->low_water)
        return false;
    transcript->above = false;
    if (!transcript_grows(transcript))
        return false;
    transcript->drained = !transcript_is_near(transcript, reader);
    if (!transcript->drained)
        return true;
    transcript_post(transcript);
    return false;
}

/* --- losing --- */

static void lose(struct transcript *transcript, struct reader *reader)
{
    reader->lost = true;
    list_remove(&reader->link);
    list_append(&transcript->waiting, &reader->waiting);
    if (reader->block) {
        reader->block->readers--;
        reader->block->lost++;
    } else {
        transcript->unstarted--;
    }
}

/* Its last event is not looked at any more. */
static void forget_lost(struct transcript *transcript, struct reader *reader)
{
    struct transcript_block *block = reader->block;

    reader->block = NULL;
    if (block && --block->lost == 0 && block->next == block)
        give_back(transcript, block);
}

/* The newest event does not count: it may be large, and the others may have had it a moment ago. */
void transcript_lose_laggards(struct transcript *transcript)
{
    uint64_t allowed = transcript->lag + transcript->newest;

    if (transcript->payload - transcript->passed <= allowed)
        return;
    LIST_EACH(&transcript->readers, node) {
        struct reader *reader = LIST_ENTRY(node, struct reader, link);

        if (transcript->payload - reader->bytes > allowed)
            lose(transcript, reader);
    }
    find_slowest(transcript);
    let_go(transcript);
}

/* --- coming and going --- */

static void open_letter(struct letter *letter)
{
    struct reader *reader = LIST_ENTRY(letter, struct reader, letter);

    reader->wake(reader->data);
}

static bool can_join(struct transcript *transcript)
{
    return !transcript->beginning_gone &&
           (!transcript->abandoned || !transcript_grows(transcript));
}

static void wait_for_more(struct transcript *transcript, struct reader *reader)
{
    if (!transcript->shared)
        transcript->waiter = reader;
    else if (list_empty(&reader->waiting))
        list_append(&transcript->waiting, &reader->waiting);
}

static void join(struct transcript *transcript, struct reader *reader)
{
    reader->joined = true;
    list_append(&transcript->readers, &reader->link);
    if (transcript->letting_go) {
        transcript->unstarted++;
        find_slowest(transcript);
    }
    if (!transcript->first && transcript_grows(transcript))
        wait_for_more(transcript, reader);
}

bool reader_init(struct reader *reader, struct transcript *transcript, struct mailbox *home, void (*wake)(void *data),
                 void *data)
{
    bool good, locked;

    *reader = (struct reader){.home = home, .wake = wake, .data = data};
    list_init(&reader->link);
    list_init(&reader->waiting);
    letter_init(&reader->letter, open_letter);
    locked = transcript_lock(transcript);
    good = can_join(transcript);
    if (good && !transcript_settled(transcript))
        join(transcript, reader);
    transcript_unlock(transcript, locked);
    if (good)
        reader->transcript = transcript_ref(transcript);
    return good;
}

/* Its place is free, and what only it still wanted may go. */
static void free_place(struct transcript *transcript, struct reader *reader)
{
    if (reader->block)
        reader->block->readers--;
    else
        transcript->unstarted--;
    left_place(transcript, reader->bytes);
    if (!transcript->shared)
        return;
    if (list_empty(&transcript->readers)) {
        transcript_pass_all(transcript);
        return;
    }
    if (reader->bytes == transcript->furthest)
        find_furthest(transcript);
    let_go(transcript);
}

static void leave(struct transcript *transcript, struct reader *reader)
{
    bool near = transcript_is_near(transcript, reader), drained = false, abandoned = false;
    bool locked = transcript_lock(transcript);

    list_remove(&reader->link);
    list_remove(&reader->waiting);
    if (transcript->waiter == reader)
        transcript->waiter = NULL;
    if (reader->lost) {
        forget_lost(transcript, reader);
    } else if (transcript->letting_go) {
        free_place(transcript, reader);
        drained = transcript->above && is_drained(transcript, reader);
    }
    if (!reader->lost && list_empty(&transcript->readers) && transcript_grows(transcript)) {
        abandoned = near;
        transcript->abandoned = true;
        if (!near)
            transcript_post(transcript);
    }
    transcript_unlock(transcript, locked);
    if (!near)
        mailbox_withdraw(reader->home, &reader->letter);
    if (abandoned)
        transcript_hear_abandoned(transcript);
    else if (drained)
        transcript_hear_drained(transcript);
}

void reader_deinit(struct reader *reader)
{
    struct transcript *transcript = reader->transcript;

    if (!transcript)
        return;
    reader->transcript = NULL;
    if (reader->joined)
        leave(transcript, reader);
    transcript_unref(transcript);
}

/* --- reading --- */

static void step_to(struct transcript *transcript, struct reader *reader, struct transcript_block *block)
{
    struct transcript_block *from = reader->block;

    reader->block = block;
    reader->offset = 0;
    if (!transcript->letting_go)
        return;
    block->readers++;
    if (from)
        from->readers--;
    else
        transcript->unstarted--;
    let_go(transcript);
}

/* The next event, or NULL. */
static inline const struct transcript_event *next_event(struct transcript *transcript, struct reader *reader)
{
    struct transcript_block *block = reader->block;

    while (!block || reader->offset >= block->used) {
        block = block ? block->next : transcript->first;
        if (!block)
            return NULL;
        step_to(transcript, reader, block);
    }
    return (const void *)(block->bytes + reader->offset);
}

static inline void take(struct reader *reader, const struct transcript_event *event, struct chat_event *ret)
{
    *ret = (struct chat_event){
        .kind = event->kind,
        .shape = event->shape,
        .usage = event->usage,
        .at_ms = event->at_ms,
        .payload = {event->payload, event->size},
    };
    reader->offset += TRANSCRIPT_ALIGN(offsetof(struct transcript_event, payload) + event->size);
    reader->taken++;
    reader->bytes += event->size;
}

/* Nothing is left to be read: why. */
static int nothing(struct transcript *transcript, struct reader *reader)
{
    if (reader->lost) {
        forget_lost(transcript, reader);
        return READER_E_LOST;
    }
    if (!transcript_grows(transcript))
        return transcript_status(transcript) == TRANSCRIPT_FINISHED ? READER_E_END : READER_E_FAILED;
    if (!transcript->shared && reader->block) {
        reader->block->used = 0;
        reader->offset = 0;
        transcript->beginning_gone = true;
    }
    wait_for_more(transcript, reader);
    return READER_E_EMPTY;
}

static int next_of_private(struct transcript *transcript, struct reader *reader, struct chat_event *ret)
{
    const struct transcript_event *event = next_event(transcript, reader);
    int r = 0;

    if (event) {
        take(reader, event, ret);
        transcript->passed = reader->bytes;
    } else {
        r = nothing(transcript, reader);
    }
    if (transcript->above && is_drained(transcript, reader))
        transcript_hear_drained(transcript);
    return r;
}

static int next_of_shared(struct transcript *transcript, struct reader *reader, struct chat_event *ret)
{
    bool drained, locked = transcript_lock(transcript);
    const struct transcript_event *event = reader->lost ? NULL : next_event(transcript, reader);
    int r = 0;

    if (event) {
        take(reader, event, ret);
        if (transcript->letting_go && event->size)
            passed_event(transcript, reader, event->size);
    } else {
        r = nothing(transcript, reader);
    }
    drained = transcript->above && is_drained(transcript, reader);
    transcript_unlock(transcript, locked);
    if (drained)
        transcript_hear_drained(transcript);
    return r;
}

int reader_next(struct reader *reader, struct chat_event *ret)
{
    struct transcript *transcript = reader->transcript;

    return transcript->shared ? next_of_shared(transcript, reader, ret) : next_of_private(transcript, reader, ret);
}

int reader_peek(struct reader *reader, uint32_t *ret_at_ms)
{
    struct transcript *transcript = reader->transcript;
    bool drained, locked = transcript_lock(transcript);
    const struct transcript_event *event = reader->lost ? NULL : next_event(transcript, reader);
    int r = 0;

    if (event)
        *ret_at_ms = event->at_ms;
    else
        r = nothing(transcript, reader);
    drained = transcript->above && is_drained(transcript, reader);
    transcript_unlock(transcript, locked);
    if (drained)
        transcript_hear_drained(transcript);
    return r;
}

bool transcript_begun(const struct transcript *transcript)
{
    return atomic_load_explicit(&transcript->begun, memory_order_acquire);
}

bool transcript_queued(const struct transcript *transcript)
{
    return atomic_load_explicit(&transcript->queued, memory_order_relaxed);
}

bool reader_ready(struct reader *reader)
{
    struct transcript *transcript = reader->transcript;

    return reader->taken < transcript_events(transcript) || !transcript_grows(transcript);
}
