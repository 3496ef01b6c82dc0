/*
 * A head is lines of plain bytes, each ended by CR LF, the last one empty. Whatever else a parser may take
 * for a line end (a lone CR, a lone LF, a folded line) is refused here, so no version of llhttp gets to see
 * it. The verdict on a byte depends only on the bytes before it, never on how they were cut into reads.
 */
#include "entry/http_filter.h"

enum state {
    LEAD,       /* nothing yet */
    LEAD_CR,
    LEAD_DONE,  /* one empty line was skipped */
    LINE,
    LINE_CR,
    NEXT_LINE,  /* right after CR LF */
    END_CR,
    DONE,
};

size_t http_filter_lead(struct http_filter *filter, struct bytes view)
{
    size_t at = 0;

    if (filter->state == LEAD && at < view.size && view.data[at] == '\r') {
        filter->state = LEAD_CR;
        at++;
    }
    if (filter->state == LEAD_CR && at < view.size && view.data[at] == '\n') {
        filter->state = LEAD_DONE;
        at++;
    }
    return at;
}

/* How many plain bytes VIEW begins with: eight at a time, as long as none is below 0x20 or 0x7f. */
static size_t plain_run(struct bytes view)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    size_t at = 0;

    for (; at + 8 <= view.size; at += 8) {
        uint64_t word, low, del;

        memcpy(&word, view.data + at, 8);
        low = (word - ones * 0x20) & ~word;
        del = ((word ^ ones * 0x7f) - ones) & ~(word ^ ones * 0x7f);
        if ((low | del) & tops)
            break;
    }
    while (at < view.size && http_plain_byte((unsigned char)view.data[at]))
        at++;
    return at;
}

static bool end_of_line(struct http_filter *filter, const struct http_in_limits *limits,
                        struct http_fault *fault)
{
    filter->state = NEXT_LINE;
    if (filter->lines > limits->headers)
        return http_refuse(fault, FAIL_HEAD_TOO_LARGE, "There are too many header fields.");
    filter->lines++;
    return true;
}

static bool take_byte(struct http_filter *filter, const struct http_in_limits *limits, char byte,
                      struct http_fault *fault)
{
    if (filter->state == LINE_CR || filter->state == END_CR || filter->state == LEAD_CR) {
        if (byte != '\n' || filter->state == LEAD_CR)
            return http_refuse(fault, FAIL_BAD_HTTP, "A CR in the head is not followed by LF.");
        if (filter->state == LINE_CR)
            return end_of_line(filter, limits, fault);
        filter->state = DONE;
        return true;
    }
    if (byte == '\r') {
        if (filter->state == LEAD_DONE)
            return http_refuse(fault, FAIL_BAD_HTTP, "Empty lines precede the request line.");
        filter->state = filter->state == NEXT_LINE ? END_CR : LINE_CR;
        return true;
    }
    if (byte == '\n')
        return http_refuse(fault, FAIL_BAD_HTTP, "A LF in the head does not follow CR.");
    if (!http_plain_byte((unsigned char)byte))
        return http_refuse(fault, FAIL_BAD_HTTP, "There is a control byte in the head.");
    if (filter->state == NEXT_LINE && (byte == ' ' || byte == '\t'))
        return http_refuse(fault, FAIL_BAD_HTTP, "A header line is folded.");
    filter->state = LINE;
    return true;
}

/* How long the head may get before the line that is being read ends. */
static uint32_t size_limit(const struct http_filter *filter, const struct http_in_limits *limits)
{
    if (filter->lines == 0 && limits->line_bytes + 2 < limits->head_bytes)
        return limits->line_bytes + 2;
    return limits->head_bytes;
}

bool http_filter_head(struct http_filter *filter, const struct http_in_limits *limits, struct bytes view,
                      size_t *ret_taken, struct http_fault *fault)
{
    size_t at = 0;

    while (at < view.size && filter->state != DONE) {
        size_t room = size_limit(filter, limits) - filter->size, run = 0;

        if (room == 0)
            return http_refuse(fault, FAIL_HEAD_TOO_LARGE,
                               filter->lines == 0 ? "The request line is too long."
                                                  : "The head is too long.");
        if (filter->state == LINE)
            run = plain_run((struct bytes){view.data + at, view.size - at < room ? view.size - at : room});
        if (run == 0) {
            if (!take_byte(filter, limits, view.data[at], fault))
                return false;
            run = 1;
        }
        at += run;
        filter->size += (uint32_t)run;
    }
    *ret_taken = at;
    return true;
}

bool http_filter_done(const struct http_filter *filter)
{
    return filter->state == DONE;
}
