/*
 * Small texts and what they mean: durations, sizes, numbers, ${NAME}.
 */
#pragma once

#include "base/arena.h"

/* "500ms", "10s", "5m", "1h", "7d", "0". 0, -EINVAL, or -ERANGE. */
int value_duration(struct bytes text, uint64_t *ret_ms);

/* "512", "64k", "16m", "1g": powers of 1024. 0, -EINVAL, or -ERANGE. */
int value_size(struct bytes text, uint64_t *ret);

/* "60", "100k", "2m": powers of 1000. 0, -EINVAL, or -ERANGE. */
int value_number(struct bytes text, uint64_t *ret);

/* "12.50" in millionths, exactly: at most 12 digits before the point and six after it. 0, -EINVAL, or -ERANGE. */
int value_money(struct bytes text, uint64_t *ret);

/* "2027-01-01" (its 00:00) or "2027-01-01T12:00:00Z", both UTC, not before 1970, as seconds since then. 0 or
 * -EINVAL. */
int value_time(struct bytes text, int64_t *ret_s);

/* Letters, digits and ._-:/@+ only: what may stand in log lines and metrics. */
bool value_is_name(struct bytes text);

/* TEXT is a number as JSON writes it; *RET_WHOLE: without a fraction and an exponent. */
bool value_is_number(struct bytes text, bool *ret_whole);

enum { VALUE_E_UNSET = 1, VALUE_E_GRAMMAR };

/* TEXT with every ${NAME} replaced by that environment variable; "$${" stands for "${". VALUE_E_UNSET: *RET
 * is the name of a variable that is not set. VALUE_E_GRAMMAR: a "${" that is no variable. */
int value_expand(struct arena *arena, struct bytes text, struct bytes *ret);
