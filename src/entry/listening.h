/*
 * A socket that listens, and what it is called. Private to entry/.
 */
#pragma once

#include "config/config.h"

#include <sys/stat.h>

struct listening {
    int descriptor;         /* non-blocking; -1: none */
    char *name;             /* "127.0.0.1:8080", "unix:/path" */
    uint16_t port;

    char *path;             /* of the unix socket file we made; else NULL */
    dev_t device;
    ino_t inode;
};

/* Open ADDRESS. FIRST is -1, and nobody else may have it; or the descriptor of the socket that this one shares it
 * with. 0, or negative errno; then there is nothing to deinit. */
int listening_init(struct listening *listening, const struct config_address *address, int first);
void listening_deinit(struct listening *listening);
