/*
 * The keys that this process knows: those of the configuration and of its keys file, which is read again when it
 * changes and on SIGHUP. Workers take a new keyring with the next request.
 */
#pragma once

#include "flow/flow.h"

struct gateway_keys;

/* Read the keys file, if the configuration names one, and give SHARED its first keyring. A file that is not there is
 * said and looked for again; one with errors is said too, and CONFIG_E_BAD. */
int gateway_keys_new(struct flow_shared *shared, struct gateway_keys **ret);
/* Look after the file on LOOP, twice a second; keeps no loop alive. A file in its place is read at the second look, one
 * that was written to when it has not moved for three seconds; one that cannot be read, or has gone, is said once and
 * tried again at each look. */
void gateway_keys_watch(struct gateway_keys *keys, uv_loop_t *loop);
/* Read it now, finished or not: a bad one is said, and the old keys stay. */
void gateway_keys_reload(struct gateway_keys *keys);
/* Its handle is closed on the loop. */
void gateway_keys_close(struct gateway_keys *keys);
struct gateway_keys *gateway_keys_free(struct gateway_keys *keys);
