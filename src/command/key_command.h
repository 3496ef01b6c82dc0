/*
 * `embergate key`: new keys, and the digests of keys that are there.
 */
#pragma once

#include "base/buffer.h"

/* ARGV begins with the word "key". The process's exit code. */
int key_command(int argc, char **argv);

/* --- its parts --- */

enum key_verb { KEY_NEW, KEY_HASH };

struct key_arguments {
    enum key_verb verb;
    const char *name, *team, *expires, *file;   /* or NULL */
    bool help;
};

enum { KEY_COMMAND_E_BAD = 1 };

/* "eg-" and 32 bytes as base64url. */
#define KEY_TEXT_SIZE 46

/* Read ARGV; texts in *RET point into it. KEY_COMMAND_E_BAD: lines in ERRORS say what is wrong. */
int key_arguments_read(int argc, char **argv, struct key_arguments *ret, struct buffer *errors);

/* A key nobody has; not terminated. */
void key_make(char key[KEY_TEXT_SIZE]);

/* The lines for a list of keys, INDENT columns in. */
void key_write_entry(struct bytes key, const struct key_arguments *arguments, unsigned indent, struct buffer *out);

/* The line with KEY's digest. KEY_COMMAND_E_BAD after a line in ERRORS. */
int key_write_digest(struct bytes key, struct buffer *out, struct buffer *errors);
