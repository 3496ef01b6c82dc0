/*
 * What was spent in a day or a month (UTC), and in the one before, so that whatever was taken late in one is settled
 * there.
 *
 * A period follows the wall clock forward only. When the clock steps back the period stays open, until as much time as
 * it has went by on the monotonic clock: a clock that was a year ahead by mistake does not close a budget for a year.
 */
#pragma once

#include "base/bytes.h"

enum budget_period { BUDGET_DAY, BUDGET_MONTH, BUDGET_PERIODS };

struct spent {
    int32_t number;             /* days since 1970, or months */
    uint64_t tokens, money;
};

struct budget {
    struct spent now, before;
    uint64_t opened_us;
};

/* Now, in the forms that a decision needs: made once, used for each scope. */
struct moment {
    uint64_t us;
    int64_t wall_s;
    int32_t number[BUDGET_PERIODS];
};

struct moment moment_of(uint64_t us, int64_t wall_s);

/* Open the next period, if it is time: MOMENT is in another one than BUDGET. */
void budget_open(struct budget *budget, enum budget_period period, const struct moment *moment);

static inline void budget_roll(struct budget *budget, enum budget_period period, const struct moment *moment)
{
    if (budget->now.number != moment->number[period])
        budget_open(budget, period, moment);
}

/* The account of the period NUMBER; NULL when it is closed for good. */
static inline struct spent *budget_of(struct budget *budget, int32_t number)
{
    if (budget->now.number == number)
        return &budget->now;
    return budget->before.number == number ? &budget->before : NULL;
}

/* How long until the next period. */
uint64_t budget_reset_ms(const struct budget *budget, enum budget_period period, const struct moment *moment);
