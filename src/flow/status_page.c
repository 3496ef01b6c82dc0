/*
 * The page itself, and its numbers for whoever asks once.
 */
#include "flow/status.h"

enum verdict status_page(struct exchange *x)
{
    x->quiet = true;
    deliver_page(x, 200, "text/html; charset=utf-8", status_html);
    return STEP_DONE;
}

enum verdict status_json_page(struct exchange *x)
{
    struct buffer body;

    buffer_init(&body);
    status_write(x->flow, &body);
    buffer_append_char(&body, '\n');
    x->quiet = true;
    deliver_page(x, 200, "application/json", buffer_bytes(&body));
    buffer_deinit(&body);
    return STEP_DONE;
}
