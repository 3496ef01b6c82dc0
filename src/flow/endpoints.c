/*
 * Paths match byte for byte; nothing is decoded or normalised.
 */
#include "flow/endpoints.h"

#define GOODFIRE "/api/inference/v1/"

static const struct endpoint endpoints[] = {
    {"/v1/chat/completions", ENDPOINT_CHAT, "POST", &client_openai, CHAT_COMPLETION, false, false},
    {"/v1/chat/logits", ENDPOINT_CHAT, "POST", &client_openai, CHAT_LOGITS, false, false},
    {"/v1/models", ENDPOINT_MODELS, "GET, HEAD", &client_openai, 0, false, false},
    {GOODFIRE "chat/completions", ENDPOINT_CHAT, "POST", &client_goodfire, CHAT_COMPLETION, false, false},
    {GOODFIRE "chat-attribution/compute-logits", ENDPOINT_CHAT, "POST", &client_goodfire, CHAT_LOGITS, false, false},
    {GOODFIRE "chat-attribution/compute-features", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "chat-attribution/contrast", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "chat/tokenize", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "attributions/neighbors", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "attributions/compute-logit-attribution", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "attributions/generate-contrastive-dataset", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "features/", ENDPOINT_PASS, "GET", &client_goodfire, 0, false, false},
    {GOODFIRE "features/search", ENDPOINT_PASS, "GET", &client_goodfire, 0, false, false},
    {GOODFIRE "features/rerank", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "features/lookup", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "features/auto-edits", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {GOODFIRE "features/auto-conditional", ENDPOINT_PASS, "POST", &client_goodfire, 0, false, false},
    {"/v1/explain", ENDPOINT_EXPLAIN, "POST", &client_openai, 0, false, false},
    {"/v1/usage", ENDPOINT_OWN_USAGE, "GET, HEAD", &client_openai, 0, false, false},
    {"/healthz", ENDPOINT_HEALTH, "GET, HEAD", &client_openai, 0, false, true},
    {"/readyz", ENDPOINT_READY, "GET, HEAD", &client_openai, 0, false, true},
    {"/metrics", ENDPOINT_METRICS, "GET, HEAD", &client_openai, 0, true, true},
    {"/usage", ENDPOINT_ALL_USAGE, "GET, HEAD", &client_openai, 0, true, true},
    {"/cache", ENDPOINT_CACHE, "GET, HEAD", &client_openai, 0, true, true},
    {"/cache/purge", ENDPOINT_PURGE, "POST", &client_openai, 0, true, true},
    {"/", ENDPOINT_STATUS, "GET, HEAD", &client_openai, 0, true, true},
    {"/status", ENDPOINT_STATUS, "GET, HEAD", &client_openai, 0, true, true},
    {"/status.json", ENDPOINT_STATUS_JSON, "GET, HEAD", &client_openai, 0, true, true},
    {"/status/events", ENDPOINT_STATUS_EVENTS, "GET", &client_openai, 0, true, true},
};

static const struct endpoint one_model = {"/v1/models/", ENDPOINT_MODEL, "GET, HEAD", &client_openai, 0, false, false};

const struct endpoint *endpoint_find(struct bytes path, bool admin)
{
    for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
        const struct endpoint *endpoint = &endpoints[i];

        if (admin ? !endpoint->both : endpoint->admin)
            continue;
        if (bytes_equal(path, bytes_of(endpoint->path)))
            return endpoint;
    }
    if (!admin && path.size > strlen(one_model.path) && bytes_start_with(path, bytes_of(one_model.path)))
        return &one_model;
    return NULL;
}

bool endpoint_allows(const struct endpoint *endpoint, enum http_method method)
{
    bool get = endpoint->allow[0] == 'G';

    switch (method) {
    case HTTP_GET_:
        return get;
    case HTTP_HEAD_:
        return get && endpoint->allow[3] == ',';
    case HTTP_POST_:
        return !get;
    default:
        return false;
    }
}

const struct client_dialect *endpoint_dialect(struct bytes path)
{
    return bytes_start_with(path, BYTES(GOODFIRE)) ? &client_goodfire : &client_openai;
}
