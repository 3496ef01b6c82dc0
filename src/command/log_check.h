/*
 * `embergate log check`: is every line there, once?
 */
#pragma once

#include "command/log_files.h"
#include "command/log_seen.h"

/* More faults than this are counted, not told. */
#define LOG_CHECK_TOLD 20
/* So many ids at least are remembered. */
#define LOG_CHECK_IDS LOG_SEEN_KEPT
/* Of one run: more holes than this at a time are not kept apart. */
#define LOG_CHECK_HOLES 100000

/* What is found, in OUT. True: nothing is wrong. A file may begin in the middle of a run, for old ones are removed. */
bool log_check(struct log_files *files, struct buffer *out);
