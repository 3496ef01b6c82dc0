/*
 * Questions at either door, and their keys for backends of any kind.
 */
#pragma once

#include "dialect/backend_key.h"
#include "dialect/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEY_ASKS 4

/* One question, and who is asked it. A test may change anything before key_make(). */
struct key_stage {
    struct arena arena;
    struct json_doc doc;
    struct chat_request request;
    struct config_backend backend[KEY_ASKS];
    struct chat_steering steering[KEY_ASKS];
    struct backend_ask ask[KEY_ASKS];
    uint32_t count;
    enum config_cache_when when;
    struct digest *digest;
    uint8_t scope[DIGEST_SIZE];

    enum repeat_reason reason;
    uint8_t key[DIGEST_SIZE];
    char hex[2 * DIGEST_SIZE + 1];
};

/* False when the door refuses the question. */
static bool key_stage_try(struct key_stage *stage, const struct client_dialect *door, enum chat_operation operation,
                          const char *body)
{
    static const char *const names[KEY_ASKS] = {"first", "second", "third", "fourth"};
    struct failure failure;

    memset(stage, 0, sizeof(*stage));
    arena_init(&stage->arena);
    json_doc_init(&stage->doc, JSON_LIMITS_DEFAULT);
    if (json_doc_parse(&stage->doc, arena_copy(&stage->arena, bytes_of(body))) != 0)
        fail_msg("no JSON: %s", body);
    if (door->understand(&stage->request, &stage->doc, operation, &stage->arena, &failure) != 0)
        return false;
    stage->digest = digest_new(BYTES_NONE);
    stage->count = 1;
    for (int i = 0; i < KEY_ASKS; i++) {
        stage->backend[i] = (struct config_backend){
            .name = bytes_of(names[i]),
            .kind = KIND_OPENAI,
            .host = BYTES("127.0.0.1"),
            .port = 8000,
            .root = BYTES(""),
            .seeds = true,
        };
        stage->ask[i] = (struct backend_ask){
            .request = &stage->request,
            .client = door->shape,
            .backend = &stage->backend[i],
            .kind = KIND_OPENAI,
            .upstream_model = BYTES("m"),
            .steering = &stage->steering[i],
            .arena = &stage->arena,
        };
    }
    return true;
}

static inline void key_stage_init(struct key_stage *stage, const struct client_dialect *door,
                                  enum chat_operation operation, const char *body)
{
    if (!key_stage_try(stage, door, operation, body))
        fail_msg("refused: %s", body);
}

static inline void key_stage_deinit(struct key_stage *stage)
{
    stage->digest = digest_free(stage->digest);
    json_doc_deinit(&stage->doc);
    arena_deinit(&stage->arena);
}

static inline void key_kind(struct key_stage *stage, enum config_kind kind)
{
    for (int i = 0; i < KEY_ASKS; i++)
        stage->ask[i].kind = kind;
}

static inline enum repeat_reason key_make(struct key_stage *stage)
{
    memset(stage->key, 0, sizeof(stage->key));
    stage->reason = backend_key(stage->ask, stage->count, stage->when, stage->scope, stage->digest, stage->key);
    digest_hex(stage->key, stage->hex);
    return stage->reason;
}

struct key_result {
    bool understood;
    enum repeat_reason reason;
    char hex[2 * DIGEST_SIZE + 1];
};

/* All in one. */
static inline struct key_result key_of(const struct client_dialect *door, enum config_kind kind,
                                       enum chat_operation operation, const char *body)
{
    struct key_result result = {0};
    struct key_stage stage;

    result.understood = key_stage_try(&stage, door, operation, body);
    if (result.understood) {
        key_kind(&stage, kind);
        result.reason = key_make(&stage);
        memcpy(result.hex, stage.hex, sizeof(result.hex));
    }
    key_stage_deinit(&stage);
    return result;
}
