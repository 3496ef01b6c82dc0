/*
 * The file is looked at, not watched: renaming another one over it, as editors and Kubernetes do, is seen as well. A
 * change is a new keyring, put where the workers find it; requests that began with the old one end with it.
 *
 * Half a file may be good YAML that lacks half of the keys, so what changed is read when it has been still for some
 * looks: for one, when it is another file, which is finished as a rule before it is put there. What cannot be read is
 * tried again at each look, and said once.
 */
#include "gateway_keys.h"

#include "admit/keyring.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <sys/stat.h>

#define LOOK_MS 500
#define STILL_LOOKS 6
#define STILL_LOOKS_OF_ANOTHER 1

struct gateway_keys {
    struct flow_shared *shared;
    char *path;                 /* NULL: no file */
    uv_timer_t timer;
    struct stat seen;           /* all zero: it is not there */
    unsigned still, wanted;     /* looks since it changed; how many of them before it is read */
    bool due;                   /* it is to be read */
    int said;                   /* why it could not be, and that was told */
};

static void say_lines(const struct buffer *errors)
{
    struct bytes text = buffer_bytes(errors);

    text.size -= text.size && text.data[text.size - 1] == '\n';
    log_line("%.*s", BYTES_ARG(text));
}

/* False: that many names would be more than are remembered. */
static bool hand_out(struct flow_shared *shared, struct keyring *keyring)
{
    const struct config *config = shared->config;
    struct keyring *old;

    if (!keyring_attach(keyring, shared->admit, config->teams, config->team_count)) {
        keyring_unref(keyring);
        return false;
    }
    uv_mutex_lock(&shared->keyring_lock);
    old = shared->keyring;
    shared->keyring = keyring;
    atomic_fetch_add_explicit(&shared->keyring_number, 1, memory_order_release);
    uv_mutex_unlock(&shared->keyring_lock);
    keyring_unref(old);
    if (!config->admission.redis.used)
        admit_forget(shared->admit, (struct admit_time){clock_us(), clock_wall_s()});
    return true;
}

/* Negative errno: it cannot be read now. */
static int read_file(struct gateway_keys *keys, struct config_keys **ret)
{
    struct buffer errors;
    int r;

    buffer_init(&errors);
    r = config_read_keys(keys->path, keys->shared->config, &errors, ret);
    if (r > 0 || (r < 0 && r != keys->said))
        say_lines(&errors);
    buffer_deinit(&errors);
    return r;
}

static int load(struct gateway_keys *keys, bool first)
{
    const struct config *config = keys->shared->config;
    struct config_keys *more = NULL;
    int r = keys->path ? read_file(keys, &more) : 0;
    bool told = r < 0 && r == keys->said;

    keys->said = r < 0 ? r : 0;
    keys->due = r < 0;
    if (r == 0 || (first && r == -ENOENT)) {
        r = hand_out(keys->shared, keyring_new(config->keys, more)) ? 0 : CONFIG_E_BAD;
        config_keys_unref(more);
        if (r)
            log_line("embergate: keys of too many names have come and gone since the start; it takes a restart to "
                     "have more of them");
    }
    if (r == 0 && !first)
        log_line("embergate: %u keys", keyring_count(keys->shared->keyring));
    else if (r && !first && !told)
        log_line("embergate: the keys stay as they were");
    return r;
}

static void stat_file(const char *path, struct stat *ret)
{
    if (stat(path, ret) < 0)
        *ret = (struct stat){0};
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
        stat_file(keys->path, &keys->seen);
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
    if (!keys || !keys->path)
        return;
    stat_file(keys->path, &keys->seen);
    keys->said = 0;
    load(keys, false);
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Whoever gives it another owner or mode moves ctime alone. */
static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           is_same_time(&a->st_mtim, &b->st_mtim) && is_same_time(&a->st_ctim, &b->st_ctim);
}

static void look(uv_timer_t *timer)
{
    struct gateway_keys *keys = timer->data;
    struct stat now;

    stat_file(keys->path, &now);
    if (!is_same(&now, &keys->seen)) {
        keys->wanted = now.st_ino == keys->seen.st_ino ? STILL_LOOKS : STILL_LOOKS_OF_ANOTHER;
        keys->seen = now;
        keys->still = 0;
        keys->due = true;
    } else if (keys->due && (keys->still >= keys->wanted || ++keys->still == keys->wanted)) {
        load(keys, false);
    }
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
