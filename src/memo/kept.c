/*
 * The word is made with the claim, while its key and tenant are there, and is its own: neither the entry nor whoever
 * asked needs to be there when it is opened.
 */
#include "memo/kept.h"

#include "base/alloc.h"

struct kept {
    struct letter letter;
    struct list link;
    struct kept_list *list;
    struct memo_claim claim;
    uint8_t key[DIGEST_SIZE], tenant[DIGEST_SIZE];
    struct transcript *transcript;
    struct memo *memo;
    struct memo_ticket ticket;
};

void kept_list_init(struct kept_list *list)
{
    uv_mutex_init(&list->lock);
    list_init(&list->words);
}

void kept_list_deinit(struct kept_list *list)
{
    LIST_EACH(&list->words, node)
        kept_free(LIST_ENTRY(node, struct kept, link));
    uv_mutex_destroy(&list->lock);
}

static void open_word(struct letter *letter)
{
    struct kept *kept = LIST_ENTRY(letter, struct kept, letter);

    uv_mutex_lock(&kept->list->lock);
    list_remove(&kept->link);
    uv_mutex_unlock(&kept->list->lock);
    if (memo_ticket_holds(kept->memo, kept->claim.model, kept->key, kept->ticket))
        kept->claim.kept(kept->claim.data, &kept->claim, kept->transcript, kept->ticket);
    kept_free(kept);
}

struct kept *kept_new(struct kept_list *list, const struct memo_claim *claim)
{
    struct kept *kept;

    if (!claim->kept)
        return NULL;
    kept = ALLOC_NEW(struct kept);
    letter_init(&kept->letter, open_word);
    list_init(&kept->link);
    kept->list = list;
    kept->claim = *claim;
    kept->claim.key = memcpy(kept->key, claim->key, DIGEST_SIZE);
    if (claim->tenant)
        kept->claim.tenant = memcpy(kept->tenant, claim->tenant, DIGEST_SIZE);
    return kept;
}

struct kept *kept_free(struct kept *kept)
{
    if (!kept)
        return NULL;
    list_remove(&kept->link);
    transcript_unref(kept->transcript);
    return alloc_free(kept);
}

void kept_send(struct kept *kept, struct memo *memo, struct transcript *transcript, struct memo_ticket ticket)
{
    kept->memo = memo;
    kept->ticket = ticket;
    kept->transcript = transcript_ref(transcript);
    uv_mutex_lock(&kept->list->lock);
    list_append(&kept->list->words, &kept->link);
    uv_mutex_unlock(&kept->list->lock);
    mailbox_post(kept->claim.home, &kept->letter);
}
