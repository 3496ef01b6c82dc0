/*
 * Cells of tables for people to read.
 */
#pragma once

#include "base/buffer.h"

/* 1234567 as "1,234,567". */
void table_count(struct buffer *out, uint64_t value);
/* As the configuration counts: 1 KB is 1024 bytes. */
void table_size(struct buffer *out, uint64_t bytes);
/* "12.5 %", or "-" of nothing. */
void table_ratio(struct buffer *out, uint64_t part, uint64_t all);
/* CELL, which is emptied, at the right end of WIDTH columns, two apart from what comes behind. */
void table_cell(struct buffer *out, struct buffer *cell, int width);
/* The character at AT of TEXT, valid or not, would steer a terminal: a control byte, or one that turns the direction of
 * what is written, breaks the line or is not seen. Its size, its number in *RET_CODE; 0: it would not. */
size_t table_steers(struct bytes text, size_t at, uint32_t *ret_code);
/* Names come from clients and configurations: nothing in them may steer a terminal. */
void table_name(struct buffer *out, struct bytes name);
