/*
 * What makes two questions the same one, and whether an answer may be remembered at all.
 *
 * The key is a digest over the canonical effective request: what would really be asked of each backend that may
 * answer, with the configuration's parameters and steering in it, minus a short list of members that do not change an
 * answer. Never a list of members that do: one that nobody thought of must split keys, not merge them. The table is in
 * backend_key_fields.c.
 */
#pragma once

#include "base/digest.h"
#include "dialect/backend.h"

/* Why an answer is not remembered: a short word for a header. */
enum repeat_reason {
    REPEAT_YES,
    REPEAT_POLICY,          /* the configuration says never */
    REPEAT_NOT_ASKED,       /* neither a usable seed nor greedy */
    REPEAT_SEED_UNUSABLE,   /* a seed, but one the backend takes for none, or the backend does not honour seeds */
    REPEAT_WEB_SEARCH,
    REPEAT_SERVER_TOOLS,
    REPEAT_STORE,
    REPEAT_AUDIO,
    REPEAT_EVENT_NAME,      /* a controller's scope with an event_name */
    REPEAT_UNASKABLE,       /* no backend could be asked this */
};

/* "no-seed", "never", ... */
const char *repeat_reason_name(enum repeat_reason reason);

/* Nothing in the request or in its model's parameters asks for repeatable answers: a quick no, without drafting. */
bool repeat_surely_not(const struct chat_request *request, const struct config_params *defaults,
                       const struct config_params *fixed);

/* Where a key is told, for people; see backend_key_told(). */
struct key_parts {
    struct buffer *out;
    struct digest *digest;      /* scratch, not the one the key is made with */
    uint32_t members;           /* told of the question that is being told */
    uint64_t more;              /* that are not told, being too many */
};

/* The key of a question for COUNT backends (ASKS, one per candidate, in any order), within SCOPE (whose answers may be
 * shared). One that could not be asked this stays out. REPEAT_YES with *RET_KEY, or why not. */
enum repeat_reason backend_key(const struct backend_ask *asks, uint32_t count, enum config_cache_when when,
                               const uint8_t scope[DIGEST_SIZE], struct digest *digest, uint8_t ret_key[DIGEST_SIZE]);

/* The same, and what joined the key is told in PARTS, in its order: a JSON list of {"part": ..., "value": ...}, in
 * which what is long has a "digest" instead. Of a question without a key as much as was looked at. */
enum repeat_reason backend_key_told(const struct backend_ask *asks, uint32_t count, enum config_cache_when when,
                                    const uint8_t scope[DIGEST_SIZE], struct digest *digest, struct key_parts *parts,
                                    uint8_t ret_key[DIGEST_SIZE]);
