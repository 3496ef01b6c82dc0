/*
 * A dry run that is being made: explain.c finds out, explain_write.c tells.
 */
#pragma once

#include "flow/admission.h"

struct explanation {
    struct exchange *x;
    const char *reason;             /* why the answer is not to be remembered; or NULL */
    enum memo_verdict found;        /* what the memory has */
    struct buffer parts;            /* of the key, JSON */
    struct flight_candidate *order; /* as they would be asked, those that are down behind them */
    uint32_t asked, count;          /* so many of them would be asked; all */
    bool whole_cost;                /* tokens are charged, not the request alone */
    struct estimate estimate;
    struct charge charge;
    struct shared_peek peek;        /* the scopes as they stand */
    bool asking;
};

/* LINE would let CHARGE pass. */
bool explain_passes(const struct scope_line *line, const struct charge *charge);

void explain_write(const struct explanation *explanation, struct buffer *out);

/* The candidates, the ruled out ones behind the others; explain_ask.c. */
void explain_write_candidates(const struct explanation *explanation, struct buffer *out);
