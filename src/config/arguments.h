/*
 * The command line.
 */
#pragma once

#include "config/config.h"

struct arguments {
    const char *file; /* or NULL */
    struct config_overrides overrides;
    bool check, version, help;
};

enum { ARGUMENTS_E_BAD = 1 };

/* Read ARGV; texts in ARGUMENTS point into it. ARGUMENTS_E_BAD: lines in ERRORS say what is wrong.
 * arguments_deinit() is due in any case. */
int arguments_init(struct arguments *arguments, int argc, char **argv, struct buffer *errors);
void arguments_deinit(struct arguments *arguments);

/* What --help prints. */
extern const char arguments_help[];
