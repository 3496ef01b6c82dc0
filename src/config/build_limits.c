/*
 * Sizes and times: one row each, with its default and its bounds.
 */
#include "config/build.h"

#define KB (UINT64_C(1) << 10)
#define MB (UINT64_C(1) << 20)
#define GB (UINT64_C(1) << 30)

struct size_row {
    const char *key;
    size_t raw, target; /* offsets */
    size_t width;
    uint64_t standard, least, most;
};

#define SIZE_ROW(key, standard, least, most)                                                                 \
    {#key, offsetof(struct raw_limits, key), offsetof(struct config_limits, key),                            \
     sizeof(((struct config_limits *)0)->key), standard, least, most}

static const struct size_row size_rows[] = {
    SIZE_ROW(header_bytes, 16 * KB, KB, MB),
    SIZE_ROW(body_bytes, 16 * MB, KB, GB),
    SIZE_ROW(buffered_bytes, 256 * MB, KB, 1024 * GB),
    SIZE_ROW(answer_bytes, 16 * MB, KB, GB),
    SIZE_ROW(event_bytes, MB, KB, GB),
    SIZE_ROW(high_water, 64 * KB, KB, GB),
    SIZE_ROW(low_water, 16 * KB, 1, GB),
};

struct time_row {
    const char *key;
    size_t raw, target; /* offsets */
    uint32_t standard;
};

#define TIME_ROW(key, standard)                                                                              \
    {#key, offsetof(struct raw_timeouts, key), offsetof(struct config, key##_ms), standard}

static const struct time_row time_rows[] = {
    TIME_ROW(header, 10000),       TIME_ROW(body, 30000),  TIME_ROW(idle, 60000),
    TIME_ROW(client_stall, 60000), TIME_ROW(drain, 30000), TIME_ROW(keepalive, 10000),
};

static const char *raw_text(const void *raw, size_t offset)
{
    return raw ? *(char *const *)(const void *)((const char *)raw + offset) : NULL;
}

static uint32_t read_count(struct build *build, const struct tree_node *node, const char *key,
                           const uint32_t *raw, uint32_t standard, uint32_t least, uint32_t most)
{
    if (!raw)
        return standard;
    if (*raw < least || *raw > most)
        report_member(build->report, node, key, "must be from %u to %u", least, most);
    return *raw;
}

void build_limits(struct build *build, const struct raw_limits *raw, const struct tree_node *node)
{
    static const struct raw_limits none;
    struct config_limits *limits = &build->config->limits;

    if (!raw)
        raw = &none;
    for (size_t i = 0; i < ARRAY_SIZE(size_rows); i++) {
        const struct size_row *row = &size_rows[i];
        char *target = (char *)limits + row->target;
        uint64_t size = row->standard;

        if (!build_size(build, tree_member(node, bytes_of(row->key)), raw_text(raw, row->raw), row->least, row->most,
                        &size))
            size = 0; /* not known */
        if (row->width == sizeof(uint64_t))
            *(uint64_t *)(void *)target = size;
        else
            *(uint32_t *)(void *)target = (uint32_t)size;
    }
    limits->connections = read_count(build, node, "connections", raw->connections, 0, 0, 10000000);
    limits->headers = read_count(build, node, "headers", raw->headers, 100, 1, 10000);
    if (limits->high_water && limits->low_water >= limits->high_water)
        report_member(build->report, node, "low_water", "must be below high_water (%u is not below %u)",
                      limits->low_water, limits->high_water);
    if (limits->buffered_bytes && limits->buffered_bytes < limits->body_bytes)
        report_member(build->report, node, "buffered_bytes", "must be at least body_bytes (%u)",
                      limits->body_bytes);
}

void build_waits(struct build *build, const struct raw_waits *raw, const struct tree_node *node,
                 struct config_timeouts *waits)
{
    const struct {
        const char *key;
        const char *raw;
        uint32_t *target;
    } rows[] = {
        {"connect", raw->connect, &waits->connect},
        {"first_byte", raw->first_byte, &waits->first_byte},
        {"between_bytes", raw->between_bytes, &waits->between_bytes},
        {"total", raw->total, &waits->total},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        build_duration(build, tree_member(node, bytes_of(rows[i].key)), rows[i].raw, false, rows[i].target);
}

void build_timeouts(struct build *build, const struct raw_timeouts *raw, const struct tree_node *node,
                    struct config_timeouts *ret_waits)
{
    for (size_t i = 0; i < ARRAY_SIZE(time_rows); i++) {
        const struct time_row *row = &time_rows[i];
        uint32_t *target = (uint32_t *)(void *)((char *)build->config + row->target);

        *target = row->standard;
        build_duration(build, tree_member(node, bytes_of(row->key)), raw_text(raw, row->raw), false, target);
    }
    *ret_waits = (struct config_timeouts){5000, 60000, 60000, 30 * 60000};
    if (raw)
        build_waits(build, &raw->waits, node, ret_waits);
}
