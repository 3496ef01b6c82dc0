/*
 * The request log: where its lines are kept, how many may wait, and what they hold.
 */
#include "config/build.h"
#include "config/values.h"

#include <sys/un.h>

#define KB (UINT64_C(1) << 10)
#define MB (UINT64_C(1) << 20)
#define GB (UINT64_C(1) << 30)

#define KEEP_MOST 100000
#define TAG_MOST 48
#define STREAM_MOST 256
#define LENGTH_MOST UINT64_C(1000000000000)
/* Longer than elsewhere: no request waits for this Redis, only the thread that writes the log. */
#define REDIS_DEADLINE_MS 2000

void build_bodies(struct build *build, const struct tree_node *node, const char *raw, enum config_bodies *target)
{
    static const char *const words[] = {"none", "hash", "full"};
    size_t at;

    if (build_word(build, node, raw, words, ARRAY_SIZE(words), &at))
        *target = (enum config_bodies)(BODIES_NONE + at);
}

/* --- one sink --- */

static const char *const kinds[] = {
    [CONFIG_SINK_STDOUT] = "stdout",
    [CONFIG_SINK_FILE] = "file",
    [CONFIG_SINK_SYSLOG] = "syslog",
    [CONFIG_SINK_REDIS] = "redis",
};

#define OF(kind) (1u << CONFIG_SINK_##kind)

/* Whose keys are whose, and in words. */
static const struct {
    const char *key;
    unsigned kinds;
    const char *words;
} owners[] = {
    {"path", OF(FILE) | OF(SYSLOG), "file or syslog"},
    {"rotate", OF(FILE), "file"},
    {"facility", OF(SYSLOG), "syslog"},
    {"tag", OF(SYSLOG), "syslog"},
    {"redis", OF(REDIS), "redis"},
    {"stream", OF(REDIS), "redis"},
    {"length", OF(REDIS), "redis"},
};

static void check_owners(struct build *build, const struct tree_node *node, enum config_sink_kind kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
        if ((owners[i].kinds & (1u << kind)) || !tree_given(node, bytes_of(owners[i].key)))
            continue;
        report_member(build->report, node, owners[i].key, "is only for a sink of kind %s: take it out here",
                      owners[i].words);
    }
}

static void read_rotate(struct build *build, const struct raw_rotate *raw, const struct tree_node *node,
                        struct config_sink *sink)
{
    static const char *const words[] = {"none", "gzip"};
    uint32_t age_ms = 0;
    size_t at;

    if (!raw)
        return;
    if (!tree_given(node, BYTES("size")) && !tree_given(node, BYTES("age")))
        report_node(build->report, node, "needs size or age, such as {size: 256m, age: 24h}");
    build_size(build, tree_member(node, BYTES("size")), raw->size, 4 * KB, 1024 * GB, &sink->rotate_bytes);
    build_duration_between(build, tree_member(node, BYTES("age")), raw->age, "1s", "49d", &age_ms);
    sink->rotate_s = age_ms / 1000;
    build_count(build, node, "keep", raw->keep, 0, KEEP_MOST, &sink->keep);
    if (build_word(build, tree_member(node, BYTES("compress")), raw->compress, words, ARRAY_SIZE(words), &at))
        sink->gzip = at == 1;
}

static void build_file(struct build *build, const struct raw_sink *raw, const struct tree_node *node,
                       struct config_sink *sink)
{
    const struct tree_node *path = tree_member(node, BYTES("path"));
    struct bytes text;

    if (!tree_given(node, BYTES("path")))
        report_member(build->report, node, "path", "is missing: a sink of kind file needs one, such as requests.log");
    if (build_text(build, path, raw->path, &text))
        sink->path = build_path(build, text);
    if (bytes_end_with(sink->path, BYTES("/")))
        report_node(build->report, path, "must name a file, not a folder");
    read_rotate(build, raw->rotate, tree_member(node, BYTES("rotate")), sink);
}

static void read_facility(struct build *build, const struct raw_sink *raw, const struct tree_node *node,
                          unsigned *target)
{
    /* RFC 3164, by number. */
    static const char *const words[] = {"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp",
                                        "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0",
                                        "local1", "local2", "local3", "local4", "local5", "local6", "local7"};
    size_t at;

    if (build_word(build, node, raw->facility, words, ARRAY_SIZE(words), &at))
        *target = (unsigned)at;
}

static void build_syslog(struct build *build, const struct raw_sink *raw, const struct tree_node *node,
                         struct config_sink *sink)
{
    const struct tree_node *path = tree_member(node, BYTES("path")), *tag = tree_member(node, BYTES("tag"));

    sink->path = BYTES("/dev/log");
    sink->tag = BYTES("embergate");
    sink->facility = 16;
    if (build_text(build, path, raw->path, &sink->path) &&
        (sink->path.data[0] != '/' || sink->path.size >= sizeof(((struct sockaddr_un *)0)->sun_path)))
        report_node(build->report, path, "must be a unix socket's path from the root, shorter than 108 bytes, such as "
                                         "/dev/log");
    read_facility(build, raw, tree_member(node, BYTES("facility")), &sink->facility);
    if (build_name(build, tag, raw->tag, &sink->tag) && sink->tag.size > TAG_MOST)
        report_node(build->report, tag, "must have at most %d bytes", TAG_MOST);
}

static void build_redis_sink(struct build *build, const struct raw_sink *raw, const struct tree_node *node,
                             struct config_sink *sink)
{
    const struct tree_node *redis = tree_member(node, BYTES("redis")), *stream = tree_member(node, BYTES("stream"));

    sink->redis = (struct config_redis){.connect_ms = 1000, .deadline_ms = REDIS_DEADLINE_MS};
    sink->stream = BYTES("embergate:requests");
    sink->length = 1000000;
    if (!tree_given(node, BYTES("redis")))
        report_member(build->report, node, "redis", "is missing: a sink of kind redis needs it, such as "
                                                    "{url: 'redis://127.0.0.1:6379/0'}");
    build_redis(build, raw->redis, redis, &sink->redis);
    if (tree_given(redis, BYTES("prefix")))
        report_member(build->report, redis, "prefix", "has no meaning here: the sink's stream is the whole key");
    if (build_text(build, stream, raw->stream, &sink->stream) && sink->stream.size > STREAM_MOST)
        report_node(build->report, stream, "must have at most %d bytes", STREAM_MOST);
    build_number(build, tree_member(node, BYTES("length")), raw->length, 0, LENGTH_MOST, &sink->length);
}

static void build_sink(struct build *build, const struct raw_sink *raw, const struct tree_node *node,
                       struct config_sink *sink)
{
    static void (*const builders[])(struct build *, const struct raw_sink *, const struct tree_node *,
                                    struct config_sink *) = {
        [CONFIG_SINK_FILE] = build_file,
        [CONFIG_SINK_SYSLOG] = build_syslog,
        [CONFIG_SINK_REDIS] = build_redis_sink,
    };
    size_t at;

    if (!build_word(build, tree_member(node, BYTES("kind")), raw->kind, kinds, ARRAY_SIZE(kinds), &at))
        return;
    sink->kind = (enum config_sink_kind)at;
    check_owners(build, node, sink->kind);
    if (sink->kind != CONFIG_SINK_STDOUT)
        builders[sink->kind](build, raw, node, sink);
}

/* --- all of them --- */

static void build_sinks(struct build *build, const struct raw_log *raw, const struct tree_node *node,
                        struct config_log *log)
{
    const struct tree_node *list = tree_member(node, BYTES("sinks")), *item = list ? list->first : NULL;
    uint32_t count = raw ? raw->sinks_count : 0;
    struct name_list paths = {0};

    log->sinks = arena_zeroed(build->arena, (count + 1) * sizeof(*log->sinks));
    log->sink_count = !tree_given(node, BYTES("sinks"));    /* zeros are a stdout */
    for (uint32_t i = 0; i < count; i++, item = item->next) {
        struct config_sink *sink = &log->sinks[log->sink_count++];

        if (item->bad)
            continue;
        build_sink(build, &raw->sinks[i], item, sink);
        if (sink->kind == CONFIG_SINK_FILE)
            names_add(&paths, sink->path, tree_member(item, BYTES("path")));
    }
    names_check(build, &paths, "the path of a file");
}

/* --- what is left out --- */

/* Members with dots between them; a member is any text, or a star. */
static bool is_field_path(struct bytes path)
{
    char before = '.';

    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] == '.' && before == '.')
            return false;
        before = path.data[i];
    }
    return before != '.';
}

static void read_fields(struct build *build, const struct raw_redact *raw, const struct tree_node *node,
                        struct config_log *log)
{
    const struct tree_node *item = node ? node->first : NULL;

    log->redact_fields = arena_zeroed(build->arena, (raw->fields_count + 1) * sizeof(*log->redact_fields));
    for (uint32_t i = 0; i < raw->fields_count; i++, item = item->next) {
        struct bytes *field = &log->redact_fields[log->redact_field_count];

        if (!build_text(build, item, raw->fields[i], field))
            continue;
        log->redact_field_count++;
        if (!is_field_path(*field))
            report_node(build->report, item, "must be names with one dot between them, such as messages.*.content; "
                                             "a star stands for any");
    }
}

/* Whether they are patterns is found out where the library is that runs them. */
static void read_patterns(struct build *build, const struct raw_redact *raw, const struct tree_node *node,
                          struct config_log *log)
{
    const struct tree_node *item = node ? node->first : NULL;

    log->redact_patterns = arena_zeroed(build->arena, (raw->patterns_count + 1) * sizeof(*log->redact_patterns));
    for (uint32_t i = 0; i < raw->patterns_count; i++, item = item->next)
        if (build_free_text(build, item, raw->patterns[i], &log->redact_patterns[log->redact_pattern_count]))
            log->redact_pattern_count++;
}

/* --- the log --- */

static void read_waiting(struct build *build, const struct raw_log *raw, const struct tree_node *node,
                         struct config_log *log)
{
    static const char *const whens[] = {[WHEN_FULL_DROP] = "drop", [WHEN_FULL_BLOCK] = "block"};
    size_t at;

    if (build_word(build, tree_member(node, BYTES("when_full")), raw->when_full, whens, ARRAY_SIZE(whens), &at))
        log->when_full = (enum config_when_full)at;
    build_duration_between(build, tree_member(node, BYTES("block")), raw->block, "1ms", "10m", &log->block_ms);
    build_duration_between(build, tree_member(node, BYTES("flush")), raw->flush, "10ms", "10s", &log->flush_ms);
    build_size(build, tree_member(node, BYTES("buffer")), raw->buffer, 64 * KB, GB, &log->buffer);
}

static void read_holding(struct build *build, const struct raw_log *raw, const struct tree_node *node,
                         struct config_log *log)
{
    const struct tree_node *redact = tree_member(node, BYTES("redact"));
    uint64_t body = log->body_bytes;

    build_bodies(build, tree_member(node, BYTES("bodies")), raw->bodies, &log->bodies);
    build_size(build, tree_member(node, BYTES("body")), raw->body, KB, 16 * MB, &body);
    log->body_bytes = (uint32_t)body;
    if (!raw->redact)
        return;
    read_fields(build, raw->redact, tree_member(redact, BYTES("fields")), log);
    read_patterns(build, raw->redact, tree_member(redact, BYTES("patterns")), log);
}

void build_log(struct build *build, const struct raw_log *raw, const struct tree_node *node)
{
    struct config_log *log = &build->config->log;

    *log = (struct config_log){
        .when_full = WHEN_FULL_DROP,
        .block_ms = 5000,
        .flush_ms = 200,
        .buffer = 4 * MB,
        .bodies = BODIES_NONE,
        .body_bytes = 64 * KB,
    };
    build_sinks(build, raw, node, log);
    if (!raw)
        return;
    read_waiting(build, raw, node, log);
    read_holding(build, raw, node, log);
}
