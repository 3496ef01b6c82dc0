/*
 * Writing JSON: values are appended to a buffer; the caller writes the braces.
 */
#pragma once

#include "base/buffer.h"

/* TEXT as a quoted string. TEXT must be UTF-8; what is not becomes U+FFFD. Slashes stay as they are. */
void json_write_string(struct buffer *out, struct bytes text);

/* The same in ASCII only (\uXXXX), and with no "data:" in it: the colon is escaped there. What a Goodfire
 * client needs, see client_goodfire. */
void json_write_string_ascii(struct buffer *out, struct bytes text);

/* `"NAME":` , after a comma when OUT does not end with '{', '[' or nothing. NAME is plain ASCII. */
void json_write_name(struct buffer *out, const char *name);

/* A whole member. */
void json_write_member_string(struct buffer *out, const char *name, struct bytes text);
void json_write_member_i64(struct buffer *out, const char *name, int64_t value);
/* A number of millionths, as a number with six digits behind the point. */
void json_write_member_millionths(struct buffer *out, const char *name, uint64_t value);
/* VALUE is JSON already and goes in as it is. */
void json_write_member_raw(struct buffer *out, const char *name, struct bytes value);
/* The shortest of 15, 16 and 17 digits that reads back as VALUE; `null` for what JSON has no number for. */
void json_write_double(struct buffer *out, double value);
