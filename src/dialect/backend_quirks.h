/*
 * How the kinds of backends differ, one row each. What a row says is done by backend_request.c and
 * backend_answer.c.
 */
#pragma once

#include "config/config.h"

enum quirk_steering {
    STEER_NONE,
    STEER_CONTROLLER,
    STEER_LORA,
    STEER_ADAPTER,
    STEER_SHOWN, /* the echo: it shows whatever there is */
};

struct backend_quirks {
    const char *chat_path;

    /* requests */
    enum quirk_steering steering;
    const char *limit;          /* the name of the output limit; NULL: as the client called it */
    const char *top_k, *min_p;  /* JSON that switches them off, where its own defaults would not; or NULL */
    bool neutral_sampling;      /* its defaults for temperature and top_p are not the API's: always say them */
    bool positive_top_p;        /* refuses top_p 0 */
    bool seed_modulo;           /* seeds are taken modulo 2^32 */
    bool own_stops;             /* special tokens end its answers anyway; as stop strings they delay */
    bool greedy_alone;          /* refuses several choices with temperature 0 */
    bool usage_asked;           /* tells the usage of a stream when stream_options ask for it */
    bool plain_members;         /* no company behind it: account members and empty values are dropped */
    bool system_role;           /* does not know the role `developer` */
    bool flat_content;          /* content must be one string */
    bool plain_roles;           /* only system, user and assistant */
    bool stop_list;             /* `stop` must be a list */
    bool prefill_asked;         /* continues a trailing assistant message only when told to */

    /* answers */
    bool ids_repeat;            /* ids of answers are not unique: ours replace them */
    bool goodfire_shape;        /* answers in Goodfire's words */
};

const struct backend_quirks *backend_quirks(enum config_kind kind);
