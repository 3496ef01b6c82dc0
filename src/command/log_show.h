/*
 * `embergate log show` and `tail`: the lines that are meant, all or the last ones, and those that are to come.
 */
#pragma once

#include "command/log_files.h"
#include "command/log_out.h"
#include "command/log_query.h"
#include "command/log_row.h"

/* All of FILES that QUERY takes. */
void log_show(struct log_files *files, const struct log_query *query, const struct log_form_spec *spec,
              struct log_out *out);

/* What is held of the last lines is bounded too: a line beyond that pushes older ones out. */
#define LOG_TAIL_MOST (256u << 20)
/* The last COUNT. With FOLLOW the files that can grow are watched then, until the first SIGINT, or nobody takes the
 * lines; numbers that do not come are told on stderr. */
void log_tail(struct log_files *files, const struct log_query *query, const struct log_form_spec *spec,
              unsigned count, bool follow, struct log_out *out);
