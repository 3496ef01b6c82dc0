/*
 * Answers of upstreams: whatever the bytes, the same head, body, end and rest come out of them whole, byte by byte and
 * in pieces, and no more is read that is no body than the limit says. One parser reads all of it, so nothing may be
 * left of the time before. The first byte chooses the size of the pieces, the second which callback leaves in a last
 * run; a byte 0x1a stands for 24 KB, so that limits are reached.
 */
#include "link/http1_answer.h"

#include "base/alloc.h"
#include "base/buffer.h"

#include <stdlib.h>

enum { STRETCHED = 24 << 10, STRETCHES = 4 };

struct account {
    struct http1_answer *answer;
    struct bytes piece;
    unsigned heads, leave_at;   /* LEAVE_AT: that callback, and none comes after it */
    bool left;
    size_t read, idle;          /* before this piece: all; what came behind the last byte of the body */
    struct buffer out;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static bool goes_on(struct account *account)
{
    account->left = account->leave_at > 0 && --account->leave_at == 0;
    return !account->left;
}

static void note(struct buffer *out, struct bytes value, size_t limit)
{
    require(value.size <= limit);
    buffer_append(out, value);
    buffer_append_char(out, '\n');
}

static bool on_head(void *data, const struct transfer_head *head)
{
    struct account *account = data;

    require(!account->left && account->heads++ == 0 && account->read < TRANSFER_HEADER_LIMIT);
    require(head->status >= 200 && head->status <= 999);
    buffer_append_u64(&account->out, head->status);
    note(&account->out, head->content_type, 128);
    note(&account->out, head->content_encoding, 32);
    note(&account->out, head->retry_after, 64);
    return goes_on(account);
}

static bool on_body(void *data, struct bytes piece)
{
    struct account *account = data;
    size_t before = (size_t)(piece.data - account->piece.data);

    require(!account->left && account->heads == 1 && piece.size > 0);
    require(piece.data >= account->piece.data && before + piece.size <= account->piece.size);
    require(account->idle + before <= TRANSFER_HEADER_LIMIT);
    buffer_append(&account->out, piece);
    account->idle = (size_t)0 - before - piece.size; /* feed() adds the whole piece */
    return goes_on(account);
}

static enum http1_answer_state feed(struct account *account, struct bytes piece, size_t *ret_rest)
{
    char *copy = alloc_bytes(piece.size);
    enum http1_answer_state state;
    struct bytes rest;

    memcpy(copy, piece.data, piece.size);
    account->piece = (struct bytes){copy, piece.size};
    state = http1_answer_read(account->answer, account->piece, &rest);
    require(rest.size == 0 || (state == HTTP1_ANSWER_WHOLE && rest.data + rest.size == copy + piece.size));
    require(rest.size < piece.size && account->left == (state == HTTP1_ANSWER_LEFT));
    account->read += piece.size;
    account->idle += piece.size;
    require(state != HTTP1_ANSWER_MORE || account->idle <= TRANSFER_HEADER_LIMIT);
    *ret_rest = rest.size;
    alloc_free(copy);
    return state;
}

static void run(struct account *account, struct bytes in, size_t step)
{
    enum http1_answer_state state = HTTP1_ANSWER_MORE;
    bool ended = false;
    size_t rest = 0;

    account->heads = 0;
    account->left = false;
    account->read = account->idle = account->out.size = 0;
    http1_answer_begin(account->answer, account);
    while (in.size && state == HTTP1_ANSWER_MORE) {
        size_t size = step < in.size ? step : in.size;

        state = feed(account, (struct bytes){in.data, size}, &rest);
        in = bytes_skip(in, size);
    }
    if (state == HTTP1_ANSWER_MORE) {
        ended = true;
        state = http1_answer_end(account->answer);
    }
    require(state != HTTP1_ANSWER_MORE && state == http1_answer_end(account->answer));
    require(account->heads == http1_answer_headed(account->answer));
    require(state != HTTP1_ANSWER_BAD || !account->heads);
    require((state != HTTP1_ANSWER_CUT && state != HTTP1_ANSWER_WHOLE) || account->heads);
    require((state != HTTP1_ANSWER_BAD && state != HTTP1_ANSWER_CUT) || *http1_answer_reason(account->answer));
    buffer_append_char(&account->out, (char)('0' + state));
    buffer_append_char(&account->out, ended ? 'e' : ' ');
    buffer_append_char(&account->out, http1_answer_keeps(account->answer) ? 'k' : ' ');
    if (state == HTTP1_ANSWER_WHOLE)
        buffer_append_u64(&account->out, rest + in.size);
}

static void stretch(struct bytes in, struct buffer *out)
{
    unsigned left = STRETCHES;

    for (size_t i = 0; i < in.size; i++) {
        size_t count = in.data[i] == 0x1a && left ? STRETCHED : 1;

        left -= count > 1;
        memset(buffer_reserve(out, count), count > 1 ? 'x' : in.data[i], count);
        out->size += count;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http1_answer_events events = {on_head, on_body};
    struct account account = {.answer = http1_answer_new(&events)};
    struct buffer in, whole;
    size_t steps[3] = {SIZE_MAX, 1};

    buffer_init(&in);
    buffer_init(&whole);
    if (size > 2) {
        stretch((struct bytes){(const char *)data + 2, size - 2}, &in);
        steps[2] = (size_t)data[0] * data[0] + 2;
    }
    for (size_t i = 0; size > 2 && i < ARRAY_SIZE(steps); i++) {
        run(&account, buffer_bytes(&in), steps[i]);
        if (i == 0)
            buffer_append(&whole, buffer_bytes(&account.out));
        else
            require(bytes_equal(buffer_bytes(&whole), buffer_bytes(&account.out)));
    }
    if (size > 2) {
        account.leave_at = data[1] % 8;
        run(&account, buffer_bytes(&in), steps[2]);
    }
    http1_answer_free(account.answer);
    buffer_deinit(&account.out);
    buffer_deinit(&whole);
    buffer_deinit(&in);
    return 0;
}
