/*
 * How events become HTTP: the text in flow->out, framed as chunks and sent.
 */
#pragma once

#include "flow/exchange.h"

enum frame_end {
    FRAME_MORE,     /* more will come */
    FRAME_LAST,     /* the last chunk goes along, in the same write */
    FRAME_BROKEN,   /* nothing more will come, and no last chunk */
};

/* Send what stands in flow->out (whole events, possibly none), the response head in front of the first. The buffer is
 * empty afterwards. False: some of it is held until the conn is drained; then frame_flush(). */
bool frame_events(struct exchange *x, enum frame_end end);
/* True: nothing is held. */
bool frame_flush(struct exchange *x);

/* --- deliver.c, for the framing --- */

void frame_send_head(struct exchange *x, struct buffer *text);
void frame_send(struct exchange *x, const struct bytes *parts, unsigned count);
