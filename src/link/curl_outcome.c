/*
 * What libcurl's codes mean for the owner of a transfer. The same code means different things before and after the
 * request went out, and on a fresh connection and a pooled one.
 */
#include "link/curl_private.h"

#include <stdio.h>

struct meaning {
    CURLcode code;
    int result;
};

/* Before the request went out; anything else is TRANSFER_E_CONNECT. */
static const struct meaning early[] = {
    {CURLE_COULDNT_RESOLVE_HOST, TRANSFER_E_DNS},
    {CURLE_OPERATION_TIMEDOUT, TRANSFER_E_CONNECT_TIMEOUT},
    {CURLE_SSL_CONNECT_ERROR, TRANSFER_E_TLS},
    {CURLE_PEER_FAILED_VERIFICATION, TRANSFER_E_TLS},
    {CURLE_SSL_CERTPROBLEM, TRANSFER_E_TLS},
    {CURLE_SSL_CIPHER, TRANSFER_E_TLS},
    {CURLE_SSL_CACERT_BADFILE, TRANSFER_E_TLS},
    {CURLE_SSL_CRL_BADFILE, TRANSFER_E_TLS},
    {CURLE_SSL_ISSUER_ERROR, TRANSFER_E_TLS},
    {CURLE_SSL_ENGINE_INITFAILED, TRANSFER_E_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, TRANSFER_E_TLS},
};

/* After it; anything else is TRANSFER_E_RESET. */
static const struct meaning late[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, TRANSFER_E_BAD}, /* HTTP/0.9, or no HTTP at all */
    {CURLE_WEIRD_SERVER_REPLY, TRANSFER_E_BAD},
    {CURLE_OUT_OF_MEMORY, TRANSFER_E_BAD}, /* libcurl's word for a header line without end */
    {CURLE_BAD_CONTENT_ENCODING, TRANSFER_E_BAD},
};

static int look_up(const struct meaning *table, size_t count, CURLcode code, int otherwise)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].code == code)
            return table[i].result;
    return otherwise;
}

static int result_of(const struct curl_transfer *transfer, CURLcode code)
{
    if (transfer->result)
        return transfer->result;
    if (code == CURLE_OK)
        return transfer->head_given ? 0 : TRANSFER_E_RESET; /* cut in its head */
    if (!transfer->asked)
        return look_up(early, ARRAY_SIZE(early), code, TRANSFER_E_CONNECT);
    if (transfer->reused && transfer->header_bytes == 0 && transfer_is_early(&transfer->base) &&
        look_up(late, ARRAY_SIZE(late), code, 0) != TRANSFER_E_BAD)
        return TRANSFER_E_STALE;
    return look_up(late, ARRAY_SIZE(late), code, TRANSFER_E_RESET);
}

static const char *reason_of(const struct curl_transfer *transfer, CURLcode code)
{
    if (transfer->result == TRANSFER_E_STALE)
        return "a kept connection was closed before an answer came";
    if (transfer->reason[0])
        return transfer->reason;
    return code == CURLE_OK ? "the answer ended in its head" : curl_easy_strerror(code);
}

/* One printable line, whatever the upstream wrote into it. */
static void write_reason(struct curl_transfer *transfer, CURLcode code)
{
    const char *reason = reason_of(transfer, code);

    if (reason != transfer->reason)
        snprintf(transfer->reason, sizeof(transfer->reason), "%s", reason);
    for (char *at = transfer->reason; *at; at++)
        if (*at < 0x20 || *at > 0x7e)
            *at = *at == '\r' || *at == '\n' || *at == '\t' ? ' ' : '?';
}

void curl_transfer_judge(struct curl_transfer *transfer, CURLcode code)
{
    transfer->result = result_of(transfer, code);
    if (transfer->result)
        write_reason(transfer, code);
}
