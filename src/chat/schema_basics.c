/*
 * The rules that every table shares.
 */
#include "chat/schema.h"

static bool label_fits(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
              c == '-'))
            return false;
    }
    return text.size > 0;
}

static const struct rule_pattern label_pattern = {label_fits, "^[a-zA-Z0-9_-]+$"};

const struct rule rule_anything = {.type = RULE_ANYTHING, .null_ok = true};
const struct rule rule_boolean = {.type = RULE_BOOLEAN};
const struct rule rule_number = {.type = RULE_NUMBER};
const struct rule rule_string = {.type = RULE_STRING};
const struct rule rule_object = {.type = RULE_OBJECT};
const struct rule rule_label = {.type = RULE_STRING, .min = 1, .max = 64, .pattern = &label_pattern};
