/*
 * A state per part of the answer; a state takes what it can of the bytes at hand and names the next state.
 * Text that must be whole before it can be read (head, size line, event) is collected in one small buffer.
 */
#include "answer.h"

#include <stdlib.h>
#include <string.h>

struct cut {
    const char *at, *end;
    uint32_t read;
    answer_event *event;
    void *data;
};

void answer_reset(struct answer *answer)
{
    answer->state = ANSWER_HEAD;
    answer->chunked = answer->stream = answer->last_chunk = false;
    answer->left = 0;
    answer->text_length = 0;
}

/* Copy up to and with the next LF. */
static bool take_line(struct answer *answer, struct cut *cut, bool *ret_whole)
{
    const char *feed = memchr(cut->at, '\n', (size_t)(cut->end - cut->at));
    size_t length = (size_t)((feed ? feed + 1 : cut->end) - cut->at);

    if (answer->text_length + length >= ANSWER_TEXT)
        return false;
    memcpy(answer->text + answer->text_length, cut->at, length);
    answer->text_length += (uint32_t)length;
    answer->text[answer->text_length] = '\0';
    cut->at += length;
    *ret_whole = feed;
    return true;
}

static bool head_done(struct answer *answer)
{
    const char *length = strcasestr(answer->text, "\r\ncontent-length:");

    if (strncmp(answer->text, "HTTP/1.1 ", 9) != 0)
        return false;
    answer->status = (unsigned)strtoul(answer->text + 9, NULL, 10);
    answer->chunked = strcasestr(answer->text, "\r\ntransfer-encoding: chunked");
    answer->stream = strcasestr(answer->text, "\r\ncontent-type: text/event-stream");
    if (!answer->chunked && !length)
        return false;
    answer->left = answer->chunked ? 0 : strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
    answer->state = answer->chunked ? ANSWER_CHUNK_SIZE : answer->left ? ANSWER_LENGTH : ANSWER_DONE;
    answer->text_length = 0;
    return true;
}

static bool take_head(struct answer *answer, struct cut *cut)
{
    bool whole;

    if (!take_line(answer, cut, &whole))
        return false;
    if (whole && answer->text_length >= 4 && strcmp(answer->text + answer->text_length - 4, "\r\n\r\n") == 0)
        return head_done(answer);
    return true;
}

/* A chunk's size line, and after the last chunk the blank line. Its text may not overwrite an open event, so
 * the digits are read as they come. */
static bool take_chunk_size(struct answer *answer, struct cut *cut)
{
    while (cut->at < cut->end) {
        char c = *cut->at++;

        if (c == '\n') {
            answer->last_chunk = answer->left == 0;
            answer->state = answer->last_chunk ? ANSWER_CHUNK_END : ANSWER_CHUNK;
            return true;
        }
        if (c >= '0' && c <= '9')
            answer->left = answer->left * 16 + (uint64_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            answer->left = answer->left * 16 + (uint64_t)((c | 32) - 'a' + 10);
        else if (c != '\r')
            return false;
    }
    return true;
}

static bool take_chunk_end(struct answer *answer, struct cut *cut)
{
    const char *feed = memchr(cut->at, '\n', (size_t)(cut->end - cut->at));

    cut->at = feed ? feed + 1 : cut->end;
    if (feed) {
        answer->left = 0;
        answer->state = answer->last_chunk ? ANSWER_DONE : ANSWER_CHUNK_SIZE;
    }
    return true;
}

/* Cut the body's next LENGTH bytes into events. */
static bool take_events(struct answer *answer, struct cut *cut, size_t length)
{
    struct cut part = *cut;
    bool whole;

    part.end = part.at + length;
    while (part.at < part.end) {
        if (answer->text_length == 0)
            answer->event_read = part.read;
        if (!take_line(answer, &part, &whole))
            return false;
        if (whole && answer->text_length >= 2 && answer->text[answer->text_length - 2] == '\n') {
            part.event(part.data, answer->text, answer->text_length, answer->event_read);
            answer->text_length = 0;
        }
    }
    return true;
}

/* Of a body that is no stream, as much as there is room for. */
static void keep_body(struct answer *answer, const char *bytes, size_t length)
{
    size_t room = ANSWER_TEXT - 1 - answer->text_length;

    if (length > room)
        length = room;
    memcpy(answer->text + answer->text_length, bytes, length);
    answer->text_length += (uint32_t)length;
    answer->text[answer->text_length] = '\0';
}

static bool take_body(struct answer *answer, struct cut *cut)
{
    size_t length = (size_t)(cut->end - cut->at);

    if (length > answer->left)
        length = (size_t)answer->left;
    if (answer->stream && !take_events(answer, cut, length))
        return false;
    if (!answer->stream)
        keep_body(answer, cut->at, length);
    cut->at += length;
    answer->left -= length;
    if (answer->left == 0)
        answer->state = answer->chunked ? ANSWER_CHUNK_END : ANSWER_DONE;
    return true;
}

bool answer_take(struct answer *answer, const char *bytes, size_t length, uint32_t read, answer_event *event,
                 void *data)
{
    static bool (*const take[])(struct answer *, struct cut *) = {
        [ANSWER_HEAD] = take_head, [ANSWER_LENGTH] = take_body, [ANSWER_CHUNK_SIZE] = take_chunk_size,
        [ANSWER_CHUNK] = take_body, [ANSWER_CHUNK_END] = take_chunk_end,
    };
    struct cut cut = { .at = bytes, .end = bytes + length, .read = read, .event = event, .data = data };

    while (cut.at < cut.end) {
        if (answer->state == ANSWER_DONE || !take[answer->state](answer, &cut))
            return false;
    }
    return true;
}
