/*
 * Events lie one behind the other in a chain of blocks, each event a small head and its payload. This file writes them
 * and tells those who have to know: readers that wait, the keeper, the writer itself.
 *
 * The writer fills a block beyond its `used` mark without the lock and then moves the mark under it. Whoever has to be
 * told is picked under the lock; callbacks of readers on the writer's own thread, of the writer and of the keeper come
 * after it, those of other readers by letter.
 */
#include "chat/transcript_private.h"

#include "base/alloc.h"
#include "base/clock.h"

#include <assert.h>

#define PRIVATE_ROOM (1024 - sizeof(struct transcript_block)) /* malloc keeps blocks up to 1 KB at hand */
#define SHARED_ROOM (4096 - sizeof(struct transcript_block))

static struct transcript *make(size_t high_water, size_t low_water)
{
    struct transcript *transcript = ALLOC_NEW(struct transcript);

    atomic_init(&transcript->references, 1);
    transcript->high_water = high_water;
    transcript->low_water = low_water;
    transcript->facts.prompt_tokens = transcript->facts.completion_tokens = -1;
    list_init(&transcript->readers);
    list_init(&transcript->waiting);
    arena_init(&transcript->arena);
    return transcript;
}

struct transcript *transcript_new(size_t high_water, size_t low_water)
{
    struct transcript *transcript = make(high_water, low_water);

    transcript->letting_go = true;
    return transcript;
}

static void open_letter(struct letter *letter);

struct transcript *transcript_new_shared(struct mailbox *home, const struct transcript_keeper *keeper,
                                         size_t high_water, size_t low_water)
{
    struct transcript *transcript = make(high_water, low_water);
    int r = uv_mutex_init(&transcript->lock);

    assert(r == 0);
    (void)r;
    transcript->shared = true;
    transcript->home = home;
    transcript->keeper = *keeper;
    transcript->born_ms = clock_ms();
    transcript->lag = 4 * high_water > TRANSCRIPT_LAG ? 4 * high_water : TRANSCRIPT_LAG;
    letter_init(&transcript->letter, open_letter);
    return transcript;
}

struct transcript *transcript_ref(struct transcript *transcript)
{
    atomic_fetch_add_explicit(&transcript->references, 1, memory_order_relaxed);
    return transcript;
}

struct transcript *transcript_unref(struct transcript *transcript)
{
    if (!transcript || atomic_fetch_sub_explicit(&transcript->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    while (transcript->first) {
        struct transcript_block *block = transcript->first;

        transcript->first = block->next;
        alloc_free(block);
    }
    arena_deinit(&transcript->arena);
    if (transcript->shared)
        uv_mutex_destroy(&transcript->lock);
    return alloc_free(transcript);
}

/* --- telling readers --- */

/* Under the lock: nobody waits any more. Those on this thread are in NEAR, to be woken when the lock is free. */
static void pick_waiting(struct transcript *transcript, struct list *near)
{
    list_init(near);
    LIST_EACH(&transcript->waiting, node) {
        struct reader *reader = LIST_ENTRY(node, struct reader, waiting);

        list_remove(node);
        if (transcript_is_near(transcript, reader))
            list_append(near, node);
        else
            mailbox_post(reader->home, &reader->letter);
    }
}

static void wake_near(struct list *near)
{
    struct list *node;

    while ((node = list_first(near))) {
        struct reader *reader = LIST_ENTRY(node, struct reader, waiting);

        list_remove(node);
        reader->wake(reader->data);
    }
}

static void wake_only(struct transcript *transcript)
{
    struct reader *reader = transcript->waiter;

    if (!reader)
        return;
    transcript->waiter = NULL;
    reader->wake(reader->data);
}

/* --- telling the keeper and the writer --- */

static void tell_keeper(struct transcript *transcript, enum transcript_status status)
{
    struct transcript_keeper keeper = transcript->keeper;

    transcript->keeper = (struct transcript_keeper){0};
    if (keeper.ended)
        keeper.ended(keeper.data, transcript, status);
}

void transcript_hear_drained(struct transcript *transcript)
{
    if (transcript->writer.drained)
        transcript->writer.drained(transcript->writer.data);
}

void transcript_hear_abandoned(struct transcript *transcript)
{
    struct transcript_writer writer;
    bool locked;

    if (!transcript_grows(transcript))
        return;
    tell_keeper(transcript, TRANSCRIPT_GROWING);
    locked = transcript_lock(transcript);
    transcript_stop_keeping(transcript);
    transcript_unlock(transcript, locked);
    writer = transcript->writer;
    transcript->writer = (struct transcript_writer){0};
    if (writer.abandoned)
        writer.abandoned(writer.data);
}

void transcript_post(struct transcript *transcript)
{
    if (transcript->letter_out)
        return;
    transcript->letter_out = true;
    transcript_ref(transcript);
    mailbox_post(transcript->home, &transcript->letter);
}

static void open_letter(struct letter *letter)
{
    struct transcript *transcript = LIST_ENTRY(letter, struct transcript, letter);
    bool drained, abandoned, locked = transcript_lock(transcript);

    transcript->letter_out = false;
    drained = transcript->drained && !transcript->above;
    transcript->drained = false;
    abandoned = transcript->abandoned;
    transcript_unlock(transcript, locked);
    if (abandoned)
        transcript_hear_abandoned(transcript);
    else if (drained)
        transcript_hear_drained(transcript);
    transcript_unref(transcript);
}

/* --- the writer --- */

void transcript_set_writer(struct transcript *transcript, const struct transcript_writer *writer)
{
    transcript->writer = *writer;
}

void transcript_begin(struct transcript *transcript)
{
    atomic_store_explicit(&transcript->begun, true, memory_order_release);
}

void transcript_set_queued(struct transcript *transcript, bool queued)
{
    atomic_store_explicit(&transcript->queued, queued, memory_order_relaxed);
}

/* Room for an event of KIND: streams get more of it, to be filled by what follows. */
static size_t room_of_block(const struct transcript *transcript, enum chat_event_kind kind, size_t room)
{
    size_t usual = !transcript->shared ? PRIVATE_ROOM : kind <= EVENT_USAGE ? SHARED_ROOM : 0;

    return room > usual ? room : usual;
}

static void ask_keeper(struct transcript *transcript, size_t size)
{
    bool locked;

    if (transcript->letting_go || !transcript->keeper.grow || transcript->keeper.grow(transcript->keeper.data, size))
        return;
    locked = transcript_lock(transcript);
    transcript_stop_keeping(transcript);
    transcript_unlock(transcript, locked);
}

/* One with ROOM, which is not in the chain yet. */
static struct transcript_block *new_block(struct transcript *transcript, enum chat_event_kind kind, size_t room)
{
    struct transcript_block *block;

    room = room_of_block(transcript, kind, room);
    ask_keeper(transcript, sizeof(*block) + room);
    block = alloc_bytes(sizeof(*block) + room);
    *block = (struct transcript_block){.room = (uint32_t)room};
    return block;
}

/* The last block if there is ROOM in it, else a new one. */
static inline struct transcript_block *block_with_room(struct transcript *transcript, enum chat_event_kind kind,
                                                       size_t room)
{
    struct transcript_block *block = transcript->last;

    return block && block->room - block->used >= room ? block : new_block(transcript, kind, room);
}

static inline void write_event(struct transcript_block *block, const struct chat_event *event, uint32_t at_ms)
{
    struct transcript_event *head = (void *)(block->bytes + block->used);

    *head = (struct transcript_event){
        .size = (uint32_t)event->payload.size,
        .at_ms = at_ms,
        .kind = (uint8_t)event->kind,
        .shape = (uint8_t)event->shape,
        .usage = event->usage,
    };
    assert(event->payload.size == head->size);
    if (head->size)
        memcpy(head->payload, event->payload.data, head->size);
}

/* Under the lock: BLOCK's next ROOM bytes are an event with SIZE bytes of payload. */
static inline void publish(struct transcript *transcript, struct transcript_block *block, size_t room, size_t size)
{
    uint64_t events = atomic_load_explicit(&transcript->events, memory_order_relaxed);

    if (events == 0)
        atomic_store_explicit(&transcript->first_us, clock_us(), memory_order_relaxed);
    if (block != transcript->last) {
        if (transcript->last)
            transcript->last->next = block;
        else
            transcript->first = block;
        transcript->last = block;
        transcript->size += sizeof(*block) + block->room;
    }
    block->used += (uint32_t)room;
    transcript->payload += size;
    atomic_store_explicit(&transcript->events, events + 1, memory_order_release);
}

/* An event of SIZE bytes came while letting go. */
static void press(struct transcript *transcript, size_t size)
{
    transcript->newest = size;
    if (list_empty(&transcript->readers))
        transcript_pass_all(transcript);
    if (transcript_pressure(transcript) > transcript->high_water)
        transcript->above = true;
}

static bool append_private(struct transcript *transcript, const struct chat_event *event, size_t room)
{
    struct transcript_block *block = block_with_room(transcript, event->kind, room);

    write_event(block, event, event->at_ms);
    transcript_begin(transcript);
    publish(transcript, block, room, event->payload.size);
    if (transcript->payload - transcript->passed > transcript->high_water)
        transcript->above = true;
    wake_only(transcript);
    return !transcript->above;
}

static bool append_shared(struct transcript *transcript, const struct chat_event *event, size_t room)
{
    struct transcript_block *block = block_with_room(transcript, event->kind, room);
    struct list near;
    bool above;

    write_event(block, event, event->at_ms ? event->at_ms : (uint32_t)(clock_ms() - transcript->born_ms));
    transcript_begin(transcript);
    uv_mutex_lock(&transcript->lock);
    if (transcript->letting_go && !list_empty(&transcript->waiting))
        transcript_lose_laggards(transcript);
    publish(transcript, block, room, event->payload.size);
    if (transcript->letting_go)
        press(transcript, event->payload.size);
    above = transcript->above;
    pick_waiting(transcript, &near);
    uv_mutex_unlock(&transcript->lock);
    wake_near(&near);
    return !above;
}

bool transcript_append(struct transcript *transcript, const struct chat_event *event)
{
    size_t room = TRANSCRIPT_ALIGN(offsetof(struct transcript_event, payload) + event->payload.size);

    assert(transcript_grows(transcript));
    return transcript->shared ? append_shared(transcript, event, room) : append_private(transcript, event, room);
}

/* Nobody goes through the readers of a settled transcript, so they may leave without the lock. */
static void dismiss_readers(struct transcript *transcript)
{
    LIST_EACH(&transcript->readers, node)
        list_remove(node);
}

static void end(struct transcript *transcript, enum transcript_status status, const struct failure *failure)
{
    struct list near;
    bool letter_out, locked;

    assert(transcript_grows(transcript));
    tell_keeper(transcript, status);
    transcript->writer = (struct transcript_writer){0};
    locked = transcript_lock(transcript);
    letter_out = transcript->letter_out;
    transcript->letter_out = false;
    if (failure)
        transcript->failure = failure_copy(&transcript->arena, failure);
    pick_waiting(transcript, &near);
    if (transcript->shared && !transcript->beginning_gone)
        dismiss_readers(transcript);
    atomic_store_explicit(&transcript->status, status, memory_order_release);
    transcript_unlock(transcript, locked);
    if (letter_out) {
        mailbox_withdraw(transcript->home, &transcript->letter);
        transcript_unref(transcript); /* not the last one: the writer has its own */
    }
    wake_only(transcript);
    wake_near(&near);
}

void transcript_finish(struct transcript *transcript)
{
    end(transcript, TRANSCRIPT_FINISHED, NULL);
}

void transcript_fail(struct transcript *transcript, const struct failure *failure)
{
    end(transcript, TRANSCRIPT_FAILED, failure);
}

static struct bytes keep_text(struct arena *arena, struct bytes known, struct bytes told)
{
    if (bytes_equal(known, told))
        return known;
    return told.size ? arena_copy(arena, told) : BYTES_NONE;
}

void transcript_tell(struct transcript *transcript, const struct transcript_facts *facts)
{
    struct transcript_facts told = *facts;
    bool locked;

    if (!transcript_grows(transcript))
        return;
    locked = transcript_lock(transcript);
    told.backend = keep_text(&transcript->arena, transcript->facts.backend, facts->backend);
    told.model = keep_text(&transcript->arena, transcript->facts.model, facts->model);
    told.fingerprint = keep_text(&transcript->arena, transcript->facts.fingerprint, facts->fingerprint);
    transcript->facts = told;
    transcript_unlock(transcript, locked);
}

/* --- anybody --- */

struct transcript_facts transcript_facts(struct transcript *transcript)
{
    bool locked = transcript_lock(transcript);
    struct transcript_facts facts = transcript->facts;

    transcript_unlock(transcript, locked);
    return facts;
}

enum transcript_status transcript_status(struct transcript *transcript)
{
    return atomic_load_explicit(&transcript->status, memory_order_acquire);
}

uint64_t transcript_events(struct transcript *transcript)
{
    return atomic_load_explicit(&transcript->events, memory_order_acquire);
}

void transcript_hear(struct transcript *transcript, uint64_t us)
{
    atomic_store_explicit(&transcript->heard_us, us, memory_order_relaxed);
}

uint64_t transcript_heard_us(struct transcript *transcript)
{
    return atomic_load_explicit(&transcript->heard_us, memory_order_relaxed);
}

uint64_t transcript_first_us(struct transcript *transcript)
{
    return atomic_load_explicit(&transcript->first_us, memory_order_relaxed);
}

size_t transcript_undelivered(struct transcript *transcript)
{
    bool locked = transcript_lock(transcript);
    uint64_t undelivered = transcript->payload - transcript->passed;

    transcript_unlock(transcript, locked);
    return (size_t)undelivered;
}

size_t transcript_size(struct transcript *transcript)
{
    bool locked = transcript_lock(transcript);
    size_t size = sizeof(*transcript) + transcript->size + transcript->arena.total;

    transcript_unlock(transcript, locked);
    return size;
}

const struct failure *transcript_failure(struct transcript *transcript)
{
    return transcript_status(transcript) == TRANSCRIPT_FAILED ? &transcript->failure : NULL;
}
