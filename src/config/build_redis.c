/*
 * A Redis server: whom to ask, as whom, and for how long.
 */
#include "config/build.h"
#include "config/redis_url.h"

#define PREFIX_MOST 64

static void read_prefix(struct build *build, const struct tree_node *node, const char *raw, struct bytes *target)
{
    struct bytes text;

    if (!build_text(build, node, raw, &text))
        return;
    if (text.size > PREFIX_MOST)
        report_node(build->report, node, "must have at most %d bytes", PREFIX_MOST);
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i], small = (char)(byte | 0x20);

        if ((small >= 'a' && small <= 'z') || (byte >= '0' && byte <= '9') || strchr("._:{}-", byte))
            continue;
        report_node(build->report, node, "may hold letters, digits and ._:{}- only");
        return;
    }
    *target = text;
}

/* Whom to ask, and as whom. The keys win over the URL. */
static void read_server(struct build *build, const struct raw_redis *raw, const struct tree_node *node,
                        struct config_redis *redis)
{
    const struct tree_node *url = tree_member(node, BYTES("url"));
    const char *wrong;
    struct bytes text;

    if (!tree_given(node, BYTES("url")))
        report_member(build->report, node, "url", "is missing");
    if (build_text(build, url, raw->url, &text)) {
        wrong = redis_url_read(&build->config->arena, text, redis);
        if (wrong)
            report_node(build->report, url, "%s", wrong);
        redis->used = !wrong;
    }
    build_text(build, tree_member(node, BYTES("username")), raw->username, &redis->username);
    build_text(build, tree_member(node, BYTES("password")), raw->password, &redis->password);
    if (raw->database && *raw->database > CONFIG_DATABASE_MAX)
        report_member(build->report, node, "database", "must be from 0 to %d", CONFIG_DATABASE_MAX);
    else if (raw->database)
        redis->database = *raw->database;
    if (redis->used && redis->username.size && !redis->password.size && !tree_given(node, BYTES("password")))
        report_member(build->report, node, tree_given(node, BYTES("username")) ? "username" : "url",
                      "names a user without a password: give password as well");
}

void build_redis(struct build *build, const struct raw_redis *raw, const struct tree_node *node,
                 struct config_redis *redis)
{
    if (!raw)
        return;
    read_server(build, raw, node, redis);
    read_prefix(build, tree_member(node, BYTES("prefix")), raw->prefix, &redis->prefix);
    build_duration_between(build, tree_member(node, BYTES("deadline")), raw->deadline, "1ms", "10s",
                           &redis->deadline_ms);
    build_duration_between(build, tree_member(node, BYTES("connect")), raw->connect, "1ms", "1m",
                           &redis->connect_ms);
}
