/*
 * What a question will cost, before it is asked: an estimate that errs to the high side.
 *
 * Tokens of the prompt: a token for every four bytes of text in the messages (as JSON writes it), of the system prompt,
 * and of the tools and the response's schema, which the model reads as well; four for each message; of images and other
 * media 1,000 each, whatever their size. Of the answer: the output limit that the backend is told (that which MODEL's
 * entry fixes, else the client's), else what MODEL's entry expects; times n. Logits: the prompt, and one. Never more
 * than ESTIMATE_MOST of either. Documented in the README.
 */
#pragma once

#include "chat/request.h"
#include "config/config.h"

#define ESTIMATE_MOST UINT64_C(1000000000000)

struct estimate {
    uint64_t prompt, output;
};

/* MODEL NULL: there is no entry. */
struct estimate estimate_of(const struct chat_request *request, const struct config_model *model);

/* Money in millionths of the currency, the last one begun counted; prices per million tokens in millionths.
 * Saturates. */
uint64_t estimate_money(uint64_t prompt_tokens, uint64_t output_tokens, uint64_t input_price, uint64_t output_price);
