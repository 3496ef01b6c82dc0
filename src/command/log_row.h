/*
 * One line of a request log as it is shown: for people, for programs, or some of its fields.
 */
#pragma once

#include "base/buffer.h"
#include "command/log_line.h"

enum log_form { LOG_FORM_PEOPLE, LOG_FORM_JSON, LOG_FORM_FIELDS };

struct log_form_spec {
    enum log_form form;
    const struct bytes *fields; /* of LOG_FORM_FIELDS: names of members */
    unsigned field_count;
    bool colours;
    unsigned width;             /* of the terminal; 0: lines may have any length */
};

/* NAME is one that a line may have. */
bool log_row_field_known(struct bytes name);

/* LINE, which is not broken, with its newline. */
void log_row_write(const struct log_form_spec *spec, struct log_line *line, struct buffer *out);
