/*
 * What the conversations of all kinds share: the strings that were asked for, the values found so far, and
 * the answer that is written of them.
 */
#pragma once

#include "dialect/backend_draft.h"
#include "dialect/logits.h"

/* A string of filter_vocabulary. */
struct logits_wish {
    struct bytes text;
    int64_t id; /* its token, or -1 when it is not exactly one */
    bool answered;
    double value;
    struct bytes digits; /* the value as the upstream wrote it; none when it was calculated */
};

/* A token found without being asked for by name. */
struct logits_entry {
    struct bytes text; /* none: a special token whose name is not known yet */
    int64_t id;
    double value;
    struct bytes digits;
};

struct logits_kind;

struct logits_talk {
    struct backend_ask ask;
    const struct logits_kind *kind;
    int stage; /* the kind's own; 0 at first */
    struct backend_request request;
    struct json_doc doc; /* the last reply */
    struct buffer body;
    struct buffer answer;
    struct failure *ret_failure;

    bool filtered; /* only the wishes are answered */
    struct logits_wish *wishes;
    uint32_t wish_count;
    struct logits_wish **by_id; /* the wishes that are one token, sorted */
    uint32_t by_id_count;

    struct logits_entry *entries;
    uint32_t entry_count, entry_capacity;
    bool true_logits; /* a value was above 0: no log-probabilities */

    uint32_t at; /* the wish, entry or batch a stage is at */
    int64_t top; /* how many the upstream is asked for */

    /* llama-server, SGLang */
    struct bytes prompt; /* JSON: the templated text, or its token ids */
    int64_t helper;      /* an ASCII token that is made to be sampled, or -1 */
    int64_t best;        /* the most likely token, and its value */
    double best_value;
};

/* How one kind is talked to. */
struct logits_kind {
    /* Before the first request: 0, or -EINVAL with a failure. May be NULL. */
    int (*start)(struct logits_talk *talk);
    /* The reply is in talk->doc, except at the first call. Sets talk->request. */
    enum logits_verdict (*next)(struct logits_talk *talk, unsigned status);
    bool by_token; /* wishes are resolved to tokens; else the reply passes as it is */
    /* The talk can go on after this status. May be NULL: never. */
    bool (*goes_on)(const struct logits_talk *talk, unsigned status);
};

extern const struct logits_kind logits_llama, logits_vllm, logits_sglang, logits_openai, logits_goodfire;

/* --- asking --- */

/* A request with talk->body, which the caller has begun with logits_body(). */
struct buffer *logits_body(struct logits_talk *talk);
enum logits_verdict logits_post(struct logits_talk *talk, const char *path);

/* A draft of the client's body with nothing but what shapes the prompt. 0 or -EINVAL. */
int logits_draft(struct logits_talk *talk, struct backend_draft *draft);
enum logits_verdict logits_post_draft(struct logits_talk *talk, struct backend_draft *draft, const char *path);

/* How many alternatives are wanted, at most LIMIT of them (0: no limit). */
int64_t logits_wanted(const struct logits_talk *talk, int64_t limit);
/* How many to ask for at first: some more than are wanted, because a token that is no whole text has no name
 * and is left out. Over LIMIT only when more than LIMIT are wanted. */
int64_t logits_generous(const struct logits_talk *talk, int64_t limit);

/* A chat of one token, with its TOP best alternatives (0: not asked for). 0 or -EINVAL. */
int logits_chat(struct logits_talk *talk, struct backend_draft *draft, int64_t top);

/* --- reading --- */

enum logits_verdict logits_fail(struct logits_talk *talk, enum failure_kind kind, const char *param,
                                const char *message);

/* choices[0].logprobs.content[0] of a chat, or NULL. */
const struct json_node *logits_chat_token(const struct logits_talk *talk);

/* The wishes' ids are known: sort them. */
void logits_sort_wishes(struct logits_talk *talk);

/* A wish that is one token and has no value yet. */
bool logits_wish_open(const struct logits_wish *wish);
uint32_t logits_open_wishes(const struct logits_talk *talk);

/* Token ID has VALUE, which stands in the reply as NUMBER (NULL when it was calculated). */
void logits_answer_id(struct logits_talk *talk, int64_t id, double value, const struct json_node *number);
/* The same for a token known by its text alone. The first value wins. */
void logits_answer_text(struct logits_talk *talk, struct bytes text, double value, const struct json_node *number);

/* A token nobody named. TEXT none: nameless as yet. */
void logits_add(struct logits_talk *talk, struct bytes text, int64_t id, double value, const struct json_node *number);

/* The text of a {token, bytes} object: false when the token is no whole text and so cannot be a name. */
bool logits_token_text(struct logits_talk *talk, const struct json_node *token, struct bytes *ret);

/* A value that can be had: a number above the -9999 that stands for "none". */
bool logits_value(struct logits_talk *talk, const struct json_node *number, double *ret);

/* --- the end --- */

/* Write talk->answer from what was found. LOGITS_DONE, or LOGITS_FAILED when the scale asked for cannot be had. */
enum logits_verdict logits_write_answer(struct logits_talk *talk);
