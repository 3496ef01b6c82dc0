/*
 * A Redis server, as people write it.
 */
#pragma once

#include "config/config.h"

/* "redis://[user[:password]@]host[:port][/database]", "unix:/path[?db=N]", "redis+unix:/path[?db=N]": sets host and
 * port or unix_path, username, password and database of RET. NULL when that is done, else what is wrong; the text is
 * never part of it. Views live in ARENA. */
const char *redis_url_read(struct arena *arena, struct bytes text, struct config_redis *ret);
