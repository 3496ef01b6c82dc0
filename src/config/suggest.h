/*
 * What somebody meant who misspelled a word.
 */
#pragma once

#include "config/report.h"

/* Keeps the nearest of the words it is shown. Begins with WORD set and all else zero. */
struct nearest {
    struct bytes word;
    const char *best; /* NULL: none is near */
    uint32_t distance;
};

void nearest_try(struct nearest *nearest, const char *candidate);

/* "; did you mean "url"?", or nothing. Lives as long as REPORT. */
struct bytes nearest_hint(struct report *report, const struct nearest *nearest);
