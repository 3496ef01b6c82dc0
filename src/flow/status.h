/*
 * The status page: what a team keeps open on a wall. One HTML file, its numbers as JSON, and the same once a second as
 * server-sent events. On the admin listener.
 */
#pragma once

#include "flow/exchange.h"

/* The file status.html as it stands in this folder: put into the program by embed.py. */
extern const struct bytes status_html;

/* --- status_page.c --- */

enum verdict status_page(struct exchange *x);
enum verdict status_json_page(struct exchange *x);

/* --- status_feed.c --- */

/* Runs whenever X is resumed, until its client leaves or the gateway ends. */
enum verdict status_feed(struct exchange *x);

/* --- status_json.c --- */

/* Everything the page shows, one JSON object without a newline in it. Sums since the start: whoever wants rates takes
 * differences. Times are in microseconds, unless their names say otherwise. */
void status_write(struct flow *flow, struct buffer *out);
