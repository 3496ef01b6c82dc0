/*
 * The byte filter in front of llhttp: line ends, control bytes and sizes of a head. Private to entry/.
 */
#pragma once

#include "entry/http_in.h"

/* Why a message is refused. MESSAGE is static; NULL: it is not. */
struct http_fault {
    enum failure_kind kind;
    const char *message;
};

/* Sets *FAULT and returns false, for `return http_refuse(...)`. */
static inline bool http_refuse(struct http_fault *fault, enum failure_kind kind, const char *message)
{
    *fault = (struct http_fault){kind, message};
    return false;
}

/* A zeroed filter stands before the first byte of a head. */
struct http_filter {
    uint32_t size;      /* bytes of the head so far */
    uint32_t lines;     /* ended so far, the request line among them */
    uint8_t state;
};

/* How many bytes at the front of VIEW are the one empty line that may precede a request line. */
size_t http_filter_lead(struct http_filter *filter, struct bytes view);

/* Takes bytes of the head from the front of VIEW, *RET_TAKEN of them. False: *FAULT. */
bool http_filter_head(struct http_filter *filter, const struct http_in_limits *limits, struct bytes view,
                      size_t *ret_taken, struct http_fault *fault);

/* The empty line after the last field was taken. */
bool http_filter_done(const struct http_filter *filter);

/* Fit for a field value: no control byte but the tab. */
static inline bool http_plain_byte(unsigned char byte)
{
    return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}
