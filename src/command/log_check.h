/*
 * `embergate log check`: is every line there, once?
 */
#pragma once

#include "command/log_files.h"
#include "command/log_runs.h"
#include "command/log_seen.h"

/* More faults than this are counted, not told. */
#define LOG_CHECK_TOLD 20
/* So many ids at least are remembered. */
#define LOG_CHECK_IDS LOG_SEEN_KEPT

/* What is found, in OUT, told of a run by its name when there are several. True: nothing is wrong. The files may begin
 * in the middle of runs, for old ones are removed. */
bool log_check(struct log_files *files, struct buffer *out);
