/*
 * How malloc keeps what was given back: for a thread that has many requests open at once.
 */
#pragma once

/* The first thing a server does: the program begins anew, once, with glibc's malloc told to keep more for each thread.
 * Returns when that is done already, when somebody set GLIBC_TUNABLES, or when it cannot be. */
void heap_tune(char **argv);
