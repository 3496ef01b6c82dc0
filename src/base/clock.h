/*
 * Two clocks. The monotonic one rules every timer and measure; the wall clock only ends up in text.
 */
#pragma once

#include <stdint.h>

uint64_t clock_ms(void);      /* monotonic */
uint64_t clock_us(void);      /* monotonic */
int64_t clock_wall_s(void);   /* seconds since 1970 */
