/*
 * Events lie one behind the other in a chain of blocks, each event a small head and its payload. A reader is a place in
 * that chain. Blocks behind the slowest reader are given back; the last block is used anew once everybody has read it,
 * so that a stream relayed token by token lives in one block.
 */
#include "chat/transcript.h"

#include "base/alloc.h"

#include <assert.h>

#define BLOCK_SIZE 1024
#define ALIGN(size) (((size) + 7) & ~(size_t)7)

struct transcript_block {
    struct transcript_block *next;
    uint32_t used, room;
    char bytes[] __attribute__((aligned(8)));
};

struct event_head {
    uint32_t size;
    uint8_t kind, shape, usage;
};

struct transcript {
    unsigned references;
    enum transcript_status status;
    bool begun;
    bool above;                 /* the writer was told to pause */

    struct transcript_block *first, *last;
    uint64_t events;
    size_t held;                /* payload bytes in the blocks */
    size_t high_water, low_water;

    struct list readers;
    struct transcript_writer writer;
    struct transcript_facts facts;

    struct arena arena;         /* the failure's text */
    struct failure failure;
};

struct transcript *transcript_new(size_t high_water, size_t low_water)
{
    struct transcript *transcript = ALLOC_NEW(struct transcript);

    transcript->references = 1;
    transcript->high_water = high_water;
    transcript->low_water = low_water;
    transcript->facts.prompt_tokens = transcript->facts.completion_tokens = -1;
    list_init(&transcript->readers);
    arena_init(&transcript->arena);
    return transcript;
}

struct transcript *transcript_ref(struct transcript *transcript)
{
    transcript->references++;
    return transcript;
}

struct transcript *transcript_unref(struct transcript *transcript)
{
    if (!transcript || --transcript->references > 0)
        return NULL;
    while (transcript->first) {
        struct transcript_block *block = transcript->first;

        transcript->first = block->next;
        alloc_free(block);
    }
    arena_deinit(&transcript->arena);
    return alloc_free(transcript);
}

/* --- the writer --- */

void transcript_set_writer(struct transcript *transcript, const struct transcript_writer *writer)
{
    transcript->writer = *writer;
}

static void wake_readers(struct transcript *transcript)
{
    LIST_EACH(&transcript->readers, node) {
        struct reader *reader = LIST_ENTRY(node, struct reader, link);

        reader->wake(reader->data);
    }
}

void transcript_begin(struct transcript *transcript)
{
    transcript->begun = true;
}

bool transcript_begun(const struct transcript *transcript)
{
    return transcript->begun;
}

struct transcript_facts *transcript_facts(struct transcript *transcript)
{
    return &transcript->facts;
}

/* A block with ROOM left at the end of the chain. */
static struct transcript_block *block_with_room(struct transcript *transcript, size_t room)
{
    struct transcript_block *block = transcript->last;
    size_t size = room > BLOCK_SIZE ? room : BLOCK_SIZE;

    if (block && block->room - block->used >= room)
        return block;
    block = alloc_bytes(sizeof(*block) + size);
    block->next = NULL;
    block->used = 0;
    block->room = (uint32_t)size;
    if (transcript->last)
        transcript->last->next = block;
    else
        transcript->first = block;
    transcript->last = block;
    return block;
}

bool transcript_append(struct transcript *transcript, const struct chat_event *event)
{
    struct bytes payload = event->payload;
    size_t room = ALIGN(sizeof(struct event_head) + payload.size);
    struct transcript_block *block = block_with_room(transcript, room);
    struct event_head head = {
        .size = (uint32_t)payload.size,
        .kind = (uint8_t)event->kind,
        .shape = (uint8_t)event->shape,
        .usage = event->usage,
    };

    assert(payload.size == head.size);

    memcpy(block->bytes + block->used, &head, sizeof(head));
    if (payload.size)
        memcpy(block->bytes + block->used + sizeof(head), payload.data, payload.size);
    block->used += (uint32_t)room;
    transcript->held += payload.size;
    transcript->events++;
    transcript->begun = true;
    wake_readers(transcript);
    if (transcript->held > transcript->high_water)
        transcript->above = true;
    return !transcript->above;
}

static void end(struct transcript *transcript, enum transcript_status status)
{
    transcript->status = status;
    transcript->writer = (struct transcript_writer){0};
    wake_readers(transcript);
}

void transcript_finish(struct transcript *transcript)
{
    end(transcript, TRANSCRIPT_FINISHED);
}

void transcript_fail(struct transcript *transcript, const struct failure *failure)
{
    transcript->failure = failure_copy(&transcript->arena, failure);
    end(transcript, TRANSCRIPT_FAILED);
}

enum transcript_status transcript_status(const struct transcript *transcript)
{
    return transcript->status;
}

uint64_t transcript_events(const struct transcript *transcript)
{
    return transcript->events;
}

size_t transcript_undelivered(const struct transcript *transcript)
{
    return transcript->held;
}

const struct failure *transcript_failure(const struct transcript *transcript)
{
    return transcript->status == TRANSCRIPT_FAILED ? &transcript->failure : NULL;
}

/* --- readers --- */

void reader_init(struct reader *reader, struct transcript *transcript, void (*wake)(void *data), void *data)
{
    *reader = (struct reader){.transcript = transcript_ref(transcript), .wake = wake, .data = data};
    list_append(&transcript->readers, &reader->link);
}

void reader_deinit(struct reader *reader)
{
    struct transcript *transcript = reader->transcript;

    if (!transcript)
        return;
    reader->transcript = NULL;
    list_remove(&reader->link);
    if (list_empty(&transcript->readers) && transcript->writer.abandoned) {
        struct transcript_writer writer = transcript->writer;

        transcript->writer = (struct transcript_writer){0};
        writer.abandoned(writer.data);
    }
    transcript_unref(transcript);
}

/* Every event before READER's place has been read by its only reader: give the blocks back. */
static void let_go(struct reader *reader)
{
    struct transcript *transcript = reader->transcript;

    while (transcript->first != reader->block) {
        struct transcript_block *block = transcript->first;

        transcript->first = block->next;
        alloc_free(block);
    }
}

/* The place of the next event, or false. */
static bool advance(struct reader *reader)
{
    struct transcript_block *block = reader->block ? reader->block : reader->transcript->first;

    while (block && reader->offset >= block->used && block->next) {
        block = block->next;
        reader->offset = 0;
    }
    reader->block = block;
    return block && reader->offset < block->used;
}

/* All was read: the last block starts anew, and the writer may go on. */
static void caught_up(struct reader *reader)
{
    if (reader->block) {
        let_go(reader);
        reader->block->used = 0;
        reader->offset = 0;
    }
}

static void maybe_drained(struct transcript *transcript)
{
    if (!transcript->above || transcript->held > transcript->low_water)
        return;
    transcript->above = false;
    if (transcript->writer.drained)
        transcript->writer.drained(transcript->writer.data);
}

int reader_next(struct reader *reader, struct chat_event *ret)
{
    struct transcript *transcript = reader->transcript;
    struct event_head head;

    if (!advance(reader)) {
        caught_up(reader);
        maybe_drained(transcript);
        return transcript->status == TRANSCRIPT_GROWING    ? READER_E_EMPTY
               : transcript->status == TRANSCRIPT_FINISHED ? READER_E_END
                                                           : READER_E_FAILED;
    }
    let_go(reader);
    memcpy(&head, reader->block->bytes + reader->offset, sizeof(head));
    ret->kind = head.kind;
    ret->shape = head.shape;
    ret->usage = head.usage;
    ret->payload = (struct bytes){reader->block->bytes + reader->offset + sizeof(head), head.size};
    reader->offset += ALIGN(sizeof(head) + head.size);
    reader->taken++;
    transcript->held -= head.size;
    maybe_drained(transcript);
    return 0;
}

bool reader_ready(const struct reader *reader)
{
    const struct transcript *transcript = reader->transcript;

    return reader->taken < transcript->events || transcript->status != TRANSCRIPT_GROWING;
}
