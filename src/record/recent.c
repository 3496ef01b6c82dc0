/*
 * A ring that is written over: number N stands in place N modulo its size.
 */
#include "record/recent.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <uv.h>

struct recent {
    uv_mutex_t lock;
    uint64_t added;
    struct recent_failure ring[RECENT_PLACES];
};

struct recent *recent_new(void)
{
    struct recent *recent = ALLOC_NEW(struct recent);

    uv_mutex_init(&recent->lock);
    return recent;
}

struct recent *recent_free(struct recent *recent)
{
    if (!recent)
        return NULL;
    uv_mutex_destroy(&recent->lock);
    return alloc_free(recent);
}

/* TEXT into TO, which has room for SIZE bytes, the final 0 included. */
static void copy(char *to, size_t size, struct bytes text)
{
    text = utf8_cut(text, size - 1);
    if (text.size)
        memcpy(to, text.data, text.size);
    to[text.size] = '\0';
}

void recent_add(struct recent *recent, uint64_t wall_ms, struct bytes id, struct bytes key, struct bytes model,
                struct bytes backend, const char *reason, unsigned status)
{
    struct recent_failure *failure;

    uv_mutex_lock(&recent->lock);
    failure = &recent->ring[recent->added++ % RECENT_PLACES];
    failure->wall_ms = wall_ms;
    failure->status = status;
    copy(failure->id, sizeof(failure->id), id);
    copy(failure->key, sizeof(failure->key), key);
    copy(failure->model, sizeof(failure->model), model);
    copy(failure->backend, sizeof(failure->backend), backend);
    copy(failure->reason, sizeof(failure->reason), bytes_of(reason));
    uv_mutex_unlock(&recent->lock);
}

unsigned recent_list(struct recent *recent, struct recent_failure *ret, unsigned most)
{
    uint64_t count;

    uv_mutex_lock(&recent->lock);
    count = recent->added < RECENT_PLACES ? recent->added : RECENT_PLACES;
    count = count < most ? count : most;
    for (uint64_t i = 0; i < count; i++)
        ret[i] = recent->ring[(recent->added - 1 - i) % RECENT_PLACES];
    uv_mutex_unlock(&recent->lock);
    return (unsigned)count;
}
