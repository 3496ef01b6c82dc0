/*
 * A JSON value into a digest by its meaning: equal for two texts that say the same, different for any others.
 *
 * White space, the order of an object's members, escapes in strings and the form of numbers do not count: 1, 1.0 and
 * 10e-1 are one number. A whole number keeps all its digits however long (2^60 + 1 is not 2^60); a fraction counts as
 * the nearest double, for that is what every server reads. Members of one name are all there, in their order.
 *
 * Each value is a kind byte, a length where it has one, and its bytes: no two values give the same stream. A list is
 * "[", its values and "]"; who has the values alone may write it so.
 */
#pragma once

#include "base/digest.h"
#include "json/json_doc.h"

/* NODE (NULL counts as null) and all below it. ARENA takes decoded strings and sorted members. */
void json_digest(struct digest *digest, const struct json_doc *doc, const struct json_node *node, struct arena *arena);

/* The same for a value that is no part of a document: NUMBER a JSON number, TEXT a string's characters. */
void json_digest_number(struct digest *digest, struct bytes number);
void json_digest_text(struct digest *digest, struct bytes text);
/* TEXT is JSON: a number, a word or a plain string is taken as it is, anything else is parsed for this. */
void json_digest_json(struct digest *digest, struct bytes text, struct arena *arena);

/* The members of OBJECT in the order of their names, by bytes; those of one name as they stand. Keys, not values. */
const struct json_node **json_sorted_keys(const struct json_doc *doc, const struct json_node *object,
                                          struct arena *arena, uint32_t *ret_count);
