/*
 * `{"seq":N,"run":"...",` before every line. The number is counted up as text: most times only its last digit changes.
 */
#include "record/journal_batch.h"

#include "base/alloc.h"
#include "base/random.h"
#include "record/line_cut.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define DIGITS 20

static const struct bytes before = {"{\"seq\":", 7};

struct batch *batch_new(size_t capacity)
{
    struct batch *batch = alloc_bytes(sizeof(*batch) + capacity);

    *batch = (struct batch){.references = 1, .capacity = capacity};
    return batch;
}

struct batch *batch_ref(struct batch *batch)
{
    batch->references++;
    return batch;
}

struct batch *batch_unref(struct batch *batch)
{
    if (batch && --batch->references == 0)
        alloc_free(batch);
    return NULL;
}

void run_make(char ret[RUN_SIZE])
{
    char text[RUN_SIZE + 1];

    snprintf(text, sizeof(text), "\"run\":\"%016" PRIx64 "\",", random_u64());
    memcpy(ret, text, RUN_SIZE);
}

size_t batch_need(const struct block *block)
{
    size_t prefix = block->kind == JOURNAL_LINES ? before.size + DIGITS + 1 + RUN_SIZE : 0;

    return block->text.size + (size_t)block->lines * prefix;
}

/* The last SIZE characters of DIGITS are a number; it grows by one. Returns its new size. */
static size_t count_up(char *digits, size_t size)
{
    size_t at = DIGITS;

    while (digits[--at] == '9')
        digits[at] = '0';
    digits[at]++;
    return DIGITS - at > size ? DIGITS - at : size;
}

static char *put(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

void batch_add(struct batch *batch, const struct block *block, uint64_t first, const char *run)
{
    struct bytes rest = buffer_bytes(&block->text);
    char *to = batch->data + batch->size;
    char digits[DIGITS + 1];
    size_t size = (size_t)snprintf(NULL, 0, "%llu", (unsigned long long)first);

    assert(batch_need(block) <= batch->capacity - batch->size);
    if (block->kind != JOURNAL_LINES && rest.size) {
        to = put(to, rest.data, rest.size);
        rest.size = 0;
    }
    snprintf(digits, sizeof(digits), "%020llu", (unsigned long long)first);
    for (uint64_t lines = 0; rest.size; lines++) {
        size_t line = first_line(rest);

        assert(lines < block->lines);
        to = put(to, before.data, before.size);
        to = put(to, digits + DIGITS - size, size);
        *to++ = ',';
        to = put(to, run, RUN_SIZE);
        to = put(to, rest.data, line);
        rest = bytes_skip(rest, line);
        size = count_up(digits, size);
    }
    batch->size = (size_t)(to - batch->data);
}
