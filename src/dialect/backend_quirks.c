/*
 * The table. A member that is not set means: as OpenAI does it.
 */
#include "dialect/backend_quirks.h"

static const struct backend_quirks rows[KIND_COUNT] = {
    [KIND_OPENAI] = {
        .chat_path = "/v1/chat/completions",
        .steering = STEER_ADAPTER,
        .usage_asked = true,
    },
    [KIND_GOODFIRE] = {
        .chat_path = "/api/inference/v1/chat/completions",
        .steering = STEER_CONTROLLER,
        .limit = "max_completion_tokens",
        .plain_members = true,
        .system_role = true,
        .flat_content = true,
        .plain_roles = true,
        .stop_list = true,
        .goodfire_shape = true,
    },
    [KIND_VLLM] = {
        .chat_path = "/v1/chat/completions",
        .steering = STEER_ADAPTER,
        .limit = "max_completion_tokens",
        .top_k = "0",
        .min_p = "0",
        .neutral_sampling = true,
        .positive_top_p = true,
        .own_stops = true,
        .greedy_alone = true,
        .usage_asked = true,
        .plain_members = true,
        .system_role = true,
        .prefill_asked = true,
    },
    [KIND_LLAMA_SERVER] = {
        .chat_path = "/v1/chat/completions",
        .steering = STEER_LORA,
        .limit = "max_tokens",
        .top_k = "0",
        .min_p = "0",
        .neutral_sampling = true,
        .seed_modulo = true,
        .usage_asked = true,
        .plain_members = true,
        .system_role = true,
    },
    [KIND_SGLANG] = {
        .chat_path = "/v1/chat/completions",
        .steering = STEER_ADAPTER,
        .limit = "max_completion_tokens",
        .top_k = "-1",
        .min_p = "0",
        .neutral_sampling = true,
        .positive_top_p = true,
        .usage_asked = true,
        .plain_members = true,
        .system_role = true,
    },
    [KIND_OLLAMA] = {
        .chat_path = "/v1/chat/completions",
        .steering = STEER_ADAPTER,
        .limit = "max_tokens",
        .neutral_sampling = true,
        .usage_asked = true,
        .plain_members = true,
        .system_role = true,
        .flat_content = true,
        .ids_repeat = true,
    },
    [KIND_ECHO] = {
        .chat_path = "/v1/chat/completions",
        .steering = STEER_SHOWN,
    },
};

const struct backend_quirks *backend_quirks(enum config_kind kind)
{
    return &rows[kind];
}
