/*
 * A list under a lock, and a bell. When it rings, the letters that were there are opened one by one; those that come
 * meanwhile ring it again, so a letter that posts itself from its own opening does not hold up the loop.
 */
#include "link/mailbox.h"

#include <assert.h>

/* The next letter before MARKER, or NULL. Opening may have closed the mailbox, and then MARKER is gone too. */
static struct letter *take_letter(struct mailbox *mailbox, const struct list *marker)
{
    struct list *node;

    uv_mutex_lock(&mailbox->lock);
    node = list_first(&mailbox->letters);
    if (node == marker)
        node = NULL;
    if (node)
        list_remove(node);
    uv_mutex_unlock(&mailbox->lock);
    return node ? LIST_ENTRY(node, struct letter, link) : NULL;
}

static void on_bell(uv_async_t *bell)
{
    struct mailbox *mailbox = bell->data;
    struct letter *letter;
    struct list marker;

    uv_mutex_lock(&mailbox->lock);
    list_append(&mailbox->letters, &marker);
    uv_mutex_unlock(&mailbox->lock);
    while ((letter = take_letter(mailbox, &marker)))
        letter->open(letter);
    uv_mutex_lock(&mailbox->lock);
    list_remove(&marker);
    uv_mutex_unlock(&mailbox->lock);
}

void mailbox_init(struct mailbox *mailbox, uv_loop_t *loop)
{
    int r;

    *mailbox = (struct mailbox){0};
    list_init(&mailbox->letters);
    r = uv_mutex_init(&mailbox->lock);
    assert(r == 0);
    r = uv_async_init(loop, &mailbox->bell, on_bell);
    assert(r == 0);
    mailbox->bell.data = mailbox;
    uv_unref((uv_handle_t *)&mailbox->bell);
    (void)r;
}

static void on_closed(uv_handle_t *handle)
{
    struct mailbox *mailbox = handle->data;

    if (mailbox->gone)
        mailbox->gone(mailbox->data);
}

void mailbox_close(struct mailbox *mailbox, void (*gone)(void *data), void *data)
{
    struct list *node;

    uv_mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    while ((node = list_first(&mailbox->letters)))
        list_remove(node);
    uv_mutex_unlock(&mailbox->lock);
    mailbox->gone = gone;
    mailbox->data = data;
    uv_close((uv_handle_t *)&mailbox->bell, on_closed);
}

void mailbox_deinit(struct mailbox *mailbox)
{
    uv_mutex_destroy(&mailbox->lock);
}

void letter_init(struct letter *letter, void (*open)(struct letter *letter))
{
    list_init(&letter->link);
    letter->open = open;
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
    uv_mutex_lock(&mailbox->lock);
    if (!mailbox->closed && list_empty(&letter->link)) {
        list_append(&mailbox->letters, &letter->link);
        uv_async_send(&mailbox->bell); /* under the lock: the loop must not be gone by then */
    }
    uv_mutex_unlock(&mailbox->lock);
}

void mailbox_withdraw(struct mailbox *mailbox, struct letter *letter)
{
    uv_mutex_lock(&mailbox->lock);
    list_remove(&letter->link);
    uv_mutex_unlock(&mailbox->lock);
}
