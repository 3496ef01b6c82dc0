/*
 * From a JSON document to a request that may be trusted. What both doors share.
 */
#pragma once

#include "chat/request.h"
#include "chat/violation.h"

/* Check DOC's root by SCHEMA and fill REQUEST. 0; or -EINVAL with *RET_FAILURE in the house's words, and with
 * what was found wrong in FOUND (whose limit the caller has set; a member given twice may leave it empty). */
int chat_request_understand(struct chat_request *request, const struct json_doc *doc,
                            enum chat_operation operation, const struct rule *schema, struct arena *arena,
                            struct violations *found, struct failure *ret_failure);
