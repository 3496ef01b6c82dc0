/*
 * What a gateway remembers, for people to read.
 */
#pragma once

#include "base/buffer.h"

/* The answer of GET /cache as a few lines and a table of the models. False: it is none. */
bool cache_table_write(struct bytes answer, struct buffer *out);
