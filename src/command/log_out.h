/*
 * What a command has to say, on its way to standard output.
 */
#pragma once

#include "base/buffer.h"

struct log_out {
    struct buffer text;
    int descriptor;
    bool broken;                /* nobody takes it any more */
};

/* Write what there is. False: nobody takes it. */
bool log_out_flush(struct log_out *out);
/* The same once it is worth it. */
bool log_out_some(struct log_out *out);
