/*
 * Two clocks. The monotonic one rules every timer and measure; the wall clock ends up in text, and in
 * what is shared with other machines.
 */
#pragma once

#include <stdint.h>

uint64_t clock_ms(void);      /* monotonic */
uint64_t clock_us(void);      /* monotonic */
int64_t clock_wall_s(void);   /* seconds since 1970 */
uint64_t clock_wall_ms(void); /* milliseconds since 1970 */
uint64_t clock_wall_us(void); /* microseconds since 1970 */
