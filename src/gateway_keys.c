/*
 * The file is looked at, not watched: renaming another one over it, as editors and Kubernetes do, is seen as well. A
 * change is a new keyring, put where the workers find it; requests that began with the old one end with it.
 */
#include "gateway_keys.h"

#include "admit/keyring.h"
#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <sys/stat.h>

#define LOOK_MS 2000

struct gateway_keys {
    struct flow_shared *shared;
    char *path;                 /* NULL: no file */
    uv_timer_t timer;
    struct stat seen;
};

static void say_lines(struct buffer *errors)
{
    log_line("%.*s", BYTES_ARG(bytes_trim(buffer_bytes(errors))));
}

static void hand_out(struct flow_shared *shared, struct keyring *keyring)
{
    struct keyring *old;

    keyring_attach(keyring, shared->admit, shared->config->teams, shared->config->team_count);
    uv_mutex_lock(&shared->keyring_lock);
    old = shared->keyring;
    shared->keyring = keyring;
    atomic_fetch_add_explicit(&shared->keyring_number, 1, memory_order_release);
    uv_mutex_unlock(&shared->keyring_lock);
    keyring_unref(old);
}

static int load(struct gateway_keys *keys, bool first)
{
    const struct config *config = keys->shared->config;
    struct config_keys *more = NULL;
    struct buffer errors;
    int r = 0;

    buffer_init(&errors);
    if (keys->path)
        r = config_read_keys(keys->path, config, &errors, &more);
    if (r != 0)
        say_lines(&errors);
    buffer_deinit(&errors);
    if (r != 0 && !(first && r == -ENOENT)) {
        if (!first)
            log_line("embergate: the keys stay as they were");
        return r;
    }
    hand_out(keys->shared, keyring_new(config->keys, more));
    config_keys_unref(more);
    if (!first)
        log_line("embergate: %u keys", keyring_count(keys->shared->keyring));
    return 0;
}

int gateway_keys_new(struct flow_shared *shared, struct gateway_keys **ret)
{
    const struct config *config = shared->config;
    struct gateway_keys *keys;
    int r;

    *ret = NULL;
    if (!config->keys && !config->keys_file.size)
        return 0;
    keys = ALLOC_NEW(struct gateway_keys);
    keys->shared = shared;
    if (config->keys_file.size) {
        keys->path = alloc_zeroed(config->keys_file.size + 1);
        memcpy(keys->path, config->keys_file.data, config->keys_file.size);
        stat(keys->path, &keys->seen);
    }
    r = load(keys, true);
    if (r != 0) {
        gateway_keys_free(keys);
        return r;
    }
    *ret = keys;
    return 0;
}

void gateway_keys_reload(struct gateway_keys *keys)
{
    if (keys && keys->path) {
        stat(keys->path, &keys->seen);
        load(keys, false);
    }
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void look(uv_timer_t *timer)
{
    struct gateway_keys *keys = timer->data;
    struct stat now;

    if (stat(keys->path, &now) == 0 && !is_same(&now, &keys->seen))
        gateway_keys_reload(keys);
}

void gateway_keys_watch(struct gateway_keys *keys, uv_loop_t *loop)
{
    if (!keys)
        return;
    uv_timer_init(loop, &keys->timer);
    keys->timer.data = keys;
    if (keys->path)
        uv_timer_start(&keys->timer, look, LOOK_MS, LOOK_MS);
    uv_unref((uv_handle_t *)&keys->timer);
}

void gateway_keys_close(struct gateway_keys *keys)
{
    if (keys)
        uv_close((uv_handle_t *)&keys->timer, NULL);
}

struct gateway_keys *gateway_keys_free(struct gateway_keys *keys)
{
    if (!keys)
        return NULL;
    keyring_unref(keys->shared->keyring);
    keys->shared->keyring = NULL;
    alloc_free(keys->path);
    return alloc_free(keys);
}
