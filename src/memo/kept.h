/*
 * Word that an answer was kept: goes by letter to the thread that led it, since the answer's end is not over yet
 * when the memo decides.
 */
#pragma once

#include "memo/memo.h"

struct kept;

/* Word under way, of all threads. */
struct kept_list {
    uv_mutex_t lock;
    struct list words;
};

void kept_list_init(struct kept_list *list);
/* Word that nobody opened any more is forgotten. */
void kept_list_deinit(struct kept_list *list);

/* NULL when CLAIM does not want to hear. */
struct kept *kept_new(struct kept_list *list, const struct memo_claim *claim);
/* One that was not sent. */
struct kept *kept_free(struct kept *kept);
/* The word is forgotten when TICKET does not hold any more before it is opened. */
void kept_send(struct kept *kept, struct memo *memo, struct transcript *transcript, struct memo_ticket ticket);
