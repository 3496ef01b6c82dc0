/*
 * The calendar is the proleptic Gregorian one, counted in years that begin in March, so that the odd day is the last.
 */
#include "admit/budget.h"

#define DAY_S 86400
#define DAY_US (UINT64_C(1000000) * DAY_S)
#define YEARS_400 146097        /* days */
#define EPOCH 719468            /* days from 0000-03-01 to 1970-01-01 */

static const uint64_t lengths_us[BUDGET_PERIODS] = {DAY_US, 31 * DAY_US};

static int64_t divide_down(int64_t number, int64_t by)
{
    return number / by - (number % by < 0);
}

/* Months since January of the year 0. */
static int32_t month_of(int64_t day)
{
    int64_t era = divide_down(day + EPOCH, YEARS_400);
    int64_t of_era = day + EPOCH - era * YEARS_400;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / (YEARS_400 - 1)) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;        /* 0: March */

    return (int32_t)((era * 400 + year) * 12 + month + 2);
}

static int64_t first_day_of(int32_t month)
{
    int64_t march = (int64_t)month - 2;             /* months since March of the year 0 */
    int64_t year = divide_down(march, 12);
    int64_t of_year = (153 * (march - year * 12) + 2) / 5;

    return 365 * year + divide_down(year, 4) - divide_down(year, 100) + divide_down(year, 400) + of_year - EPOCH;
}

struct moment moment_of(uint64_t us, int64_t wall_s)
{
    static _Thread_local struct {
        int32_t day, month;
    } last = {-1, 0};           /* the calendar is asked once a day */
    struct moment moment = {.us = us};
    int64_t most = (int64_t)INT32_MAX * DAY_S / 2;

    moment.wall_s = wall_s < 0 ? 0 : wall_s > most ? most : wall_s;
    moment.number[BUDGET_DAY] = (int32_t)(moment.wall_s / DAY_S);
    if (moment.number[BUDGET_DAY] != last.day) {
        last.day = moment.number[BUDGET_DAY];
        last.month = month_of(last.day);
    }
    moment.number[BUDGET_MONTH] = last.month;
    return moment;
}

/* How much time BUDGET was open for. */
static uint64_t age_us(const struct budget *budget, uint64_t now_us)
{
    return now_us > budget->opened_us ? now_us - budget->opened_us : 0;
}

void budget_open(struct budget *budget, enum budget_period period, const struct moment *moment)
{
    int32_t number = moment->number[period];

    if (number < budget->now.number && age_us(budget, moment->us) < lengths_us[period])
        return;
    budget->before = budget->now;
    budget->now = (struct spent){.number = number};
    budget->opened_us = moment->us;
}

static uint64_t left_by_age_ms(const struct budget *budget, enum budget_period period, uint64_t now_us)
{
    uint64_t age = age_us(budget, now_us);

    return age < lengths_us[period] ? (lengths_us[period] - age + 999) / 1000 : 0;
}

uint64_t budget_reset_ms(const struct budget *budget, enum budget_period period, const struct moment *moment)
{
    int32_t next = budget->now.number + 1;
    int64_t end = period == BUDGET_DAY ? next : first_day_of(next);
    int64_t left_s = end * DAY_S - moment->wall_s;
    uint64_t left_ms = left_s > 0 ? (uint64_t)left_s * 1000 : 0;
    uint64_t by_age = left_by_age_ms(budget, period, moment->us);

    return moment->number[period] < budget->now.number && by_age < left_ms ? by_age : left_ms;
}
