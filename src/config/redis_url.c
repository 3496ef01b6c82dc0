/*
 * The forms that Redis clients have in common. A user and a password may hold any byte, percent-encoded; the last @
 * ends them, so that one that was forgotten to be encoded does no harm.
 */
#include "config/redis_url.h"

#include "config/address.h"

#define REDIS_PORT 6379

static const char bad_database[] = "the database must be a number from 0 to 65535";

static int hex_digit(char byte)
{
    char small = (char)(byte | 0x20);

    if (byte >= '0' && byte <= '9')
        return byte - '0';
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

static const char *decode(struct arena *arena, struct bytes text, struct bytes *ret)
{
    struct bytes copy = arena_copy(arena, text);
    char *out = arena_alloc(arena, text.size + 1);
    size_t size = 0;

    for (size_t i = 0; i < copy.size; i++) {
        out[size++] = copy.data[i];
        if (copy.data[i] != '%')
            continue;
        /* The copy ends with a NUL, which is no digit. */
        if (hex_digit(copy.data[i + 1]) < 0 || hex_digit(copy.data[i + 2]) < 0)
            return "in the user and the password, a % must begin two hex digits (%25 is the character itself)";
        out[size - 1] = (char)(hex_digit(copy.data[i + 1]) * 16 + hex_digit(copy.data[i + 2]));
        i += 2;
    }
    *ret = arena_copy(arena, (struct bytes){out, size});
    return NULL;
}

static bool read_database(struct bytes text, uint32_t *ret)
{
    int64_t number;

    if (text.size == 0 || text.size > 5 || text.data[0] == '-' || text.data[0] == '+' ||
        bytes_to_i64(text, &number) < 0 || number > CONFIG_DATABASE_MAX)
        return false;
    *ret = (uint32_t)number;
    return true;
}

/* The last @ of TEXT, or its size. */
static size_t find_at(struct bytes text)
{
    const char *at = text.size ? memrchr(text.data, '@', text.size) : NULL;

    return at ? (size_t)(at - text.data) : text.size;
}

static const char *read_user(struct arena *arena, struct bytes text, struct config_redis *redis)
{
    size_t colon = bytes_find(text, BYTES(":"));
    const char *wrong = decode(arena, (struct bytes){text.data, colon}, &redis->username);

    if (wrong || colon == text.size)
        return wrong;
    return decode(arena, bytes_skip(text, colon + 1), &redis->password);
}

/* TEXT stands behind "redis://". */
static const char *read_host(struct arena *arena, struct bytes text, struct config_redis *redis)
{
    size_t slash = bytes_find(text, BYTES("/"));
    struct bytes authority = {text.data, slash}, path = bytes_skip(text, slash);
    struct config_address address;
    size_t at = find_at(authority);
    const char *wrong;

    if (bytes_find(text, BYTES("?")) < text.size || bytes_find(text, BYTES("#")) < text.size)
        return "no query (?) and no fragment (#) in this URL; in a password they are written %3F and %23";
    /* A password with a slash of its own ends up here. */
    if (find_at(path) < path.size)
        return "in the user and the password, a slash is written %2F";
    if (at < authority.size) {
        wrong = read_user(arena, (struct bytes){authority.data, at}, redis);
        if (wrong)
            return wrong;
        authority = bytes_skip(authority, at + 1);
    }
    wrong = address_read_host(arena, authority, REDIS_PORT, &address);
    if (wrong)
        return wrong;
    redis->host = address.host;
    redis->port = address.port;
    return path.size <= 1 || read_database(bytes_skip(path, 1), &redis->database) ? NULL : bad_database;
}

/* TEXT stands behind "unix:". */
static const char *read_path(struct arena *arena, struct bytes text, struct config_redis *redis)
{
    size_t mark = bytes_find(text, BYTES("?"));
    struct bytes path = {text.data, mark}, query = bytes_skip(text, mark);

    if (bytes_start_with(path, BYTES("//")))
        path = bytes_skip(path, 2);
    if (query.size && !bytes_start_with(query, BYTES("?db=")))
        return "after the path of a unix socket only ?db=NUMBER may follow";
    if (query.size && !read_database(bytes_skip(query, 4), &redis->database))
        return bad_database;
    return address_read_unix(arena, path, &redis->unix_path);
}

/* TEXT without PREFIX, whose case does not matter, in *RET. */
static bool take(struct bytes text, struct bytes prefix, struct bytes *ret)
{
    if (text.size < prefix.size || !bytes_equal_nocase((struct bytes){text.data, prefix.size}, prefix))
        return false;
    *ret = bytes_skip(text, prefix.size);
    return true;
}

const char *redis_url_read(struct arena *arena, struct bytes text, struct config_redis *ret)
{
    struct config_redis redis = *ret;
    const char *wrong;
    struct bytes rest;

    if (take(text, BYTES("redis://"), &rest))
        wrong = read_host(arena, rest, &redis);
    else if (take(text, BYTES("unix:"), &rest) || take(text, BYTES("redis+unix:"), &rest))
        wrong = read_path(arena, rest, &redis);
    else if (take(text, BYTES("rediss://"), &rest))
        wrong = "TLS is not spoken to Redis: run stunnel (or the like) next to this gateway, and give the address "
                "it listens on, such as redis://127.0.0.1:6380";
    else
        wrong = "must begin with redis://, unix:/ or redis+unix:/";
    if (!wrong)
        *ret = redis;
    return wrong;
}
