/*
 * `embergate cache`: what a running gateway remembers, asked through its admin listener.
 */
#pragma once

#include "base/buffer.h"

/* ARGV begins with the word "cache". The process's exit code. */
int cache_command(int argc, char **argv);

/* --- its parts --- */

enum cache_verb { CACHE_STATS, CACHE_PURGE };

struct cache_arguments {
    enum cache_verb verb;
    const char *file, *admin;   /* at most one of them, or NULL */
    const char *model, *key;    /* at most one of them, or NULL */
    bool json, help;
};

enum { CACHE_COMMAND_E_BAD = 1 };

/* Read ARGV; texts in *RET point into it. CACHE_COMMAND_E_BAD: lines in ERRORS say what is wrong. */
int cache_arguments_read(int argc, char **argv, struct cache_arguments *ret, struct buffer *errors);

/* What is asked for: "/cache", "/cache/purge?model=a%20b". */
void cache_arguments_target(const struct cache_arguments *arguments, struct buffer *out);
