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

/* Open ADDRESS, or take INHERITED when it is a unix socket that another has opened (else -1). 0, or
 * negative errno; then there is nothing to deinit. */
int listening_init(struct listening *listening, const struct config_address *address, int inherited);
void listening_deinit(struct listening *listening);
