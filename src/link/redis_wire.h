/*
 * RESP2 both ways: commands into bytes, and bytes cut anywhere into replies. Private to redis*.c; hiredis' reader is
 * behind it.
 */
#pragma once

#include "base/buffer.h"
#include "link/redis.h"

/* How many bytes the command takes, and appending it. */
size_t redis_command_size(const struct bytes *arguments, uint32_t count);
void redis_command_append(struct buffer *out, const struct bytes *arguments, uint32_t count);

struct redis_reader;

/* No text of more than LIMIT bytes is taken, and no list of more than that. */
struct redis_reader *redis_reader_new(uint32_t limit);
struct redis_reader *redis_reader_free(struct redis_reader *reader);

enum { REDIS_READER_MORE, REDIS_READER_REPLY, REDIS_READER_BROKEN };

/* Takes from INPUT until a reply is whole: then RET stays valid until the next call. MORE: all is taken and there is no
 * reply yet. BROKEN: this is not RESP2, or larger than allowed, said as soon as it is announced; nothing more comes. */
int redis_reader_next(struct redis_reader *reader, struct bytes *input, const struct redis_reply **ret);
/* Bytes of a reply that is not whole are held. */
bool redis_reader_is_midway(const struct redis_reader *reader);
/* What was wrong. */
const char *redis_reader_fault(const struct redis_reader *reader);
