/*
 * Words from other threads: each loop has one mailbox; letters put into it by any thread are opened on the loop's own,
 * in the order they came, soon (libuv's uv_async, which rings once for many).
 *
 * A letter is part of what it is about and is in one mailbox at most. Posting it again before it was opened does
 * nothing. Withdrawn, it is not opened.
 */
#pragma once

#include "base/list.h"

#include <uv.h>

struct mailbox {
    uv_async_t bell;
    uv_mutex_t lock;
    struct list letters;
    bool closed;
    void (*gone)(void *data);
    void *data;
};

struct letter {
    struct list link;                       /* points at itself while it is in no mailbox */
    /* On the mailbox's thread, no lock held; the letter may be freed or posted again. */
    void (*open)(struct letter *letter);
};

/* Keeps no loop alive (its handle is unreferenced). */
void mailbox_init(struct mailbox *mailbox, uv_loop_t *loop);
/* From its own thread. Letters inside are forgotten, later ones too. GONE comes once the handle is closed; the memory
 * must stay for as long as somebody may still post. */
void mailbox_close(struct mailbox *mailbox, void (*gone)(void *data), void *data);
/* After GONE, when no other thread knows the mailbox any more. */
void mailbox_deinit(struct mailbox *mailbox);

void letter_init(struct letter *letter, void (*open)(struct letter *letter));
/* From any thread. */
void mailbox_post(struct mailbox *mailbox, struct letter *letter);
/* From the mailbox's own thread: afterwards LETTER is in no mailbox and will not be opened unless posted again. */
void mailbox_withdraw(struct mailbox *mailbox, struct letter *letter);
