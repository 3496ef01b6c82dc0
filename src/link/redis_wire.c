/*
 * hiredis finds where a reply ends; the objects it makes are our own: a lone text is copied into memory that is used
 * again, lists go into an arena that ends with the reply.
 *
 * hiredis would wait for two gigabytes that were announced, and for a line that never ends. So what it waits for is
 * looked at: the reader is fed in small slices, and after each one the item it could not finish is held to the limits.
 */
#include "link/redis_wire.h"

#include "base/alloc.h"
#include "base/arena.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

enum {
    SLICE_BYTES = 16 << 10,     /* hiredis moves what is left of its buffer after each reply: keep it short */
    IDLE_BYTES = 128 << 10,     /* of memory kept between replies */
    LINE_BYTES = 4 << 10,       /* of a status or an error */
    NUMBER_BYTES = 32,          /* of an integer, or of a length */
    LIST_ITEMS = 1 << 16,
    NESTING = 7,
};

struct redis_reader {
    redisReader *hiredis;
    struct redis_reply top;
    struct buffer text;         /* of a reply that is no list */
    struct arena list;          /* items and texts of a list */
    uint32_t limit;
    uint64_t used;              /* by the reply being read */
    const char *fault;          /* ours; else hiredis knows */
};

#if HIREDIS_MAJOR >= 1
typedef size_t item_count;
#define PENDING(hiredis) ((hiredis)->task[(hiredis)->ridx])
#else
typedef int item_count;
#define PENDING(hiredis) (&(hiredis)->rstack[(hiredis)->ridx])
#endif

/* --- commands --------------------------------------------------------------------------------------------------- */

static size_t digits_of(size_t value)
{
    size_t digits = 1;

    while (value /= 10)
        digits++;
    return digits;
}

static char *put_length(char *at, char type, size_t value)
{
    char *end = at + 1 + digits_of(value);

    *at = type;
    for (char *digit = end; digit > at + 1; value /= 10)
        *--digit = (char)('0' + value % 10);
    memcpy(end, "\r\n", 2);
    return end + 2;
}

size_t redis_command_size(const struct bytes *arguments, uint32_t count)
{
    size_t size = 1 + digits_of(count) + 2;

    for (uint32_t i = 0; i < count; i++)
        size += 1 + digits_of(arguments[i].size) + 2 + arguments[i].size + 2;
    return size;
}

void redis_command_append(struct buffer *out, const struct bytes *arguments, uint32_t count)
{
    char *begin = buffer_reserve(out, redis_command_size(arguments, count));
    char *at = put_length(begin, '*', count);

    for (uint32_t i = 0; i < count; i++) {
        at = put_length(at, '$', arguments[i].size);
        if (arguments[i].size)
            memcpy(at, arguments[i].data, arguments[i].size);
        at += arguments[i].size;
        memcpy(at, "\r\n", 2);
        at += 2;
    }
    out->size += (size_t)(at - begin);
}

/* --- what hiredis calls with the pieces of a reply: NULL refuses ------------------------------------------------- */

static void *refuse(struct redis_reader *reader, const char *fault)
{
    reader->fault = fault;
    return NULL;
}

static struct redis_reply *place_of(const redisReadTask *task)
{
    struct redis_reader *reader = task->privdata;
    struct redis_reply *list = task->parent ? task->parent->obj : NULL;

    /* The items belong to us; they are const for those who read the reply. */
    return list ? (struct redis_reply *)(uintptr_t)&list->items[task->idx] : &reader->top;
}

static bool take(struct redis_reader *reader, uint64_t size)
{
    reader->used += size;
    return reader->used <= (uint64_t)reader->limit + LINE_BYTES;
}

static struct bytes keep(struct redis_reader *reader, bool in_list, struct bytes text)
{
    if (in_list)
        return arena_copy(&reader->list, text);
    buffer_clear(&reader->text, IDLE_BYTES);
    buffer_append(&reader->text, text);
    return buffer_bytes(&reader->text);
}

static void *make_text(const redisReadTask *task, char *data, size_t size)
{
    struct redis_reader *reader = task->privdata;
    struct redis_reply *reply = place_of(task);
    bool is_bulk = task->type == REDIS_REPLY_STRING;

    if (!is_bulk && task->type != REDIS_REPLY_STATUS && task->type != REDIS_REPLY_ERROR)
        return refuse(reader, "a kind of reply that RESP2 does not have");
    if (size > (is_bulk ? reader->limit : LINE_BYTES) || !take(reader, size))
        return refuse(reader, "a reply that is too large");
    if (is_bulk && memcmp(data + size, "\r\n", 2) != 0)
        return refuse(reader, "a text without its end");
    *reply = (struct redis_reply){.kind = is_bulk                               ? REDIS_TEXT
                                          : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                                                : REDIS_ERROR};
    reply->text = keep(reader, task->parent != NULL, (struct bytes){data, size});
    return reply;
}

static bool too_deep(const redisReadTask *task)
{
    int depth = 0;

    while ((task = task->parent))
        depth++;
    return depth >= NESTING;
}

static void *make_list(const redisReadTask *task, item_count count)
{
    struct redis_reader *reader = task->privdata;
    struct redis_reply *reply = place_of(task);

    if (task->type != REDIS_REPLY_ARRAY)
        return refuse(reader, "a kind of reply that RESP2 does not have");
    if (count > LIST_ITEMS || !take(reader, (uint64_t)count * sizeof(*reply)))
        return refuse(reader, "a list that is too long");
    if (too_deep(task))
        return refuse(reader, "lists nested too deep");
    *reply = (struct redis_reply){.kind = REDIS_LIST, .count = (uint32_t)count};
    if (count > 0)
        reply->items = arena_zeroed(&reader->list, (size_t)count * sizeof(*reply));
    return reply;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    struct redis_reply *reply = place_of(task);

    *reply = (struct redis_reply){.kind = REDIS_INTEGER, .integer = value};
    return reply;
}

static void *make_nil(const redisReadTask *task)
{
    struct redis_reply *reply = place_of(task);

    *reply = (struct redis_reply){.kind = REDIS_NIL};
    return reply;
}

static void free_nothing(void *reply)
{
}

#if HIREDIS_MAJOR >= 1
static void *make_double(const redisReadTask *task, double value, char *text, size_t size)
{
    return refuse(task->privdata, "a kind of reply that RESP2 does not have");
}

static void *make_bool(const redisReadTask *task, int value)
{
    return refuse(task->privdata, "a kind of reply that RESP2 does not have");
}
#endif

static redisReplyObjectFunctions functions = {
    .createString = make_text,
    .createArray = make_list,
    .createInteger = make_integer,
    .createNil = make_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = make_double,
    .createBool = make_bool,
#endif
    .freeObject = free_nothing,
};

/* --- replies ---------------------------------------------------------------------------------------------------- */

struct redis_reader *redis_reader_new(uint32_t limit)
{
    struct redis_reader *reader = ALLOC_NEW(struct redis_reader);

    reader->hiredis = redisReaderCreateWithFunctions(&functions);
    if (!reader->hiredis)
        abort(); /* as anywhere when memory runs out */
    reader->hiredis->privdata = reader;
    reader->hiredis->maxbuf = IDLE_BYTES;
    reader->limit = limit;
    buffer_init(&reader->text);
    arena_init(&reader->list);
    return reader;
}

struct redis_reader *redis_reader_free(struct redis_reader *reader)
{
    if (!reader)
        return NULL;
    redisReaderFree(reader->hiredis);
    buffer_deinit(&reader->text);
    arena_deinit(&reader->list);
    return alloc_free(reader);
}

/* Of a text whose end is not here yet, the announced size: digits, and their line soon ends. */
static bool announces_enough(const struct redis_reader *reader, const char *data, size_t size)
{
    uint64_t announced = 0;
    size_t at = 0;

    for (; at < size && data[at] >= '0' && data[at] <= '9'; at++) {
        announced = announced * 10 + (uint64_t)(data[at] - '0');
        if (announced > reader->limit)
            return false;
    }
    return size <= NUMBER_BYTES || (at + 1 < size && data[at] == '\r' && data[at + 1] == '\n');
}

/* Is it worth waiting for the rest of the item that hiredis could not finish? */
static bool is_bearable(const struct redis_reader *reader)
{
    const redisReader *hiredis = reader->hiredis;
    size_t held = hiredis->len - hiredis->pos;

    if (hiredis->ridx < 0 || held == 0)
        return true;
    switch (PENDING(hiredis)->type) {
    case REDIS_REPLY_STRING:
        return announces_enough(reader, hiredis->buf + hiredis->pos, held);
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        return held <= LINE_BYTES + 1; /* its CR may be here */
    default:
        return held <= NUMBER_BYTES;
    }
}

static void forget_last(struct redis_reader *reader)
{
    reader->used = 0;
    buffer_clear(&reader->text, IDLE_BYTES);
    if (!reader->list.blocks)
        return;
    arena_deinit(&reader->list);
    arena_init(&reader->list);
}

static int broken(struct redis_reader *reader, const char *fault)
{
    if (fault)
        reader->fault = fault;
    return REDIS_READER_BROKEN;
}

int redis_reader_next(struct redis_reader *reader, struct bytes *input, const struct redis_reply **ret)
{
    void *reply;

    if (reader->fault)
        return REDIS_READER_BROKEN;
    if (reader->hiredis->ridx < 0)
        forget_last(reader);
    for (;;) {
        size_t slice = input->size < SLICE_BYTES ? input->size : SLICE_BYTES;

        if (redisReaderGetReply(reader->hiredis, &reply) != REDIS_OK)
            return broken(reader, reader->fault ? NULL : reader->hiredis->errstr);
        if (reply) {
            *ret = reply;
            return REDIS_READER_REPLY;
        }
        if (!is_bearable(reader))
            return broken(reader, "a reply that is too large");
        if (slice == 0)
            return REDIS_READER_MORE;
        if (redisReaderFeed(reader->hiredis, input->data, slice) != REDIS_OK)
            return broken(reader, reader->hiredis->errstr);
        *input = bytes_skip(*input, slice);
    }
}

bool redis_reader_is_midway(const struct redis_reader *reader)
{
    const redisReader *hiredis = reader->hiredis;

    /* Its task is there, without a type, before the first byte. */
    return hiredis->len > hiredis->pos || (hiredis->ridx >= 0 && (hiredis->ridx > 0 || PENDING(hiredis)->type >= 0));
}

const char *redis_reader_fault(const struct redis_reader *reader)
{
    return reader->fault ? reader->fault : "";
}
