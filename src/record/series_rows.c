/*
 * The histograms of a model: their names, labels and bounds. Those that OpenTelemetry's conventions for generative AI
 * name have the bounds they recommend.
 */
#include "record/series_private.h"

_Static_assert(HISTOGRAM_BUCKETS == SERIES_BUCKETS_MOST, "a view takes any histogram");

#define SHAPE(...)                                                                                                     \
    {                                                                                                                  \
        (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)                    \
    }

#define DURATION_BOUNDS                                                                                                \
    10000, 20000, 40000, 80000, 160000, 320000, 640000, 1280000, 2560000, 5120000, 10240000, 20480000, 40960000,       \
        81920000
#define FIRST_TOKEN_BOUNDS                                                                                             \
    1000, 5000, 10000, 20000, 40000, 60000, 80000, 100000, 250000, 500000, 750000, 1000000, 2500000, 5000000, 7500000, \
        10000000
#define GAP_BOUNDS 10000, 25000, 50000, 75000, 100000, 150000, 200000, 300000, 400000, 500000, 750000, 1000000, 2500000
#define INSIDE_BOUNDS 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000
#define TOKEN_BOUNDS                                                                                                   \
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864

#define CHAT                                                                                                           \
    {                                                                                                                  \
        "gen_ai_operation_name", "chat"                                                                                \
    }

const struct series_row series_rows[SERIES_HISTOGRAMS] = {
    [SERIES_DURATION] = {.name = "gen_ai_server_request_duration_seconds",
                         .help = "From a request's head to the end of its answer",
                         .label = CHAT,
                         .shape = SHAPE(DURATION_BOUNDS)},
    [SERIES_FIRST_TOKEN] = {.name = "gen_ai_server_time_to_first_token_seconds",
                            .help = "From a request's head to the first event of its stream",
                            .label = CHAT,
                            .shape = SHAPE(FIRST_TOKEN_BOUNDS)},
    [SERIES_GAP] = {.name = "gen_ai_server_time_per_output_token_seconds",
                    .help = "Between two events of a stream",
                    .label = CHAT,
                    .shape = SHAPE(GAP_BOUNDS)},
    [SERIES_OVERHEAD] = {.name = "embergate_overhead_seconds",
                         .help = "What the gateway itself added, without backends and queues",
                         .shape = SHAPE(INSIDE_BOUNDS)},
    [SERIES_LAG] = {.name = "embergate_relay_lag_seconds",
                    .help = "From a backend's bytes to the client's socket, the worst of each stream",
                    .shape = SHAPE(INSIDE_BOUNDS)},
    [SERIES_INPUT_TOKENS] = {.name = "gen_ai_client_token_usage",
                             .help = "Tokens of questions and answers",
                             .label = {"gen_ai_token_type", "input"},
                             .shape = SHAPE(TOKEN_BOUNDS),
                             .tokens = true},
    [SERIES_OUTPUT_TOKENS] = {.name = "gen_ai_client_token_usage",
                              .help = "Tokens of questions and answers",
                              .label = {"gen_ai_token_type", "output"},
                              .shape = SHAPE(TOKEN_BOUNDS),
                              .tokens = true},
};
