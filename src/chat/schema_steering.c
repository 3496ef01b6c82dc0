/*
 * A Goodfire controller: interventions on features, and scopes that hold a condition and a controller of
 * their own.
 *
 * No member may stand there twice, known or not: two readers that take different ones would steer
 * differently.
 */
#include "chat/schema.h"

#define STEERING_OBJECT .type = RULE_OBJECT, .unique = true, .max = 64
#define STEERING_LIST(item) .type = RULE_ARRAY, .items = (item), .expected = "an array of objects"

static const struct rule feature_index = {.type = RULE_INTEGER, .min = 0, .max = INT32_MAX};

/* A feature is known by its index, else by its uuid. */
#define FEATURE_FIELDS                                                                                       \
    FIELD("index_in_sae", &feature_index), FIELD("label", &rule_string),                                     \
        FIELD("max_activation_strength", &rule_number)

static const struct rule_field feature_fields[] = {
    FEATURE_FIELDS,
    FIELD("uuid", &rule_string, .required = true, .unless = {"index_in_sae"}),
};
static const struct rule feature = {STEERING_OBJECT, FIELDS(feature_fields)};
static const struct rule features = {STEERING_LIST(&feature)};

static const struct rule_field group_fields[] = {FIELD("features", &features, .required = true)};
static const struct rule group = {STEERING_OBJECT, FIELDS(group_fields)};

static const struct rule_field side_fields[] = {
    FIELD("features", &features),
    FEATURE_FIELDS,
    FIELD("uuid", &rule_string, .required = true, .unless = {"features", "index_in_sae"}),
};
static const struct rule side = {STEERING_OBJECT, FIELDS(side_fields)}; /* a feature or a group */
static const struct rule *const side_options[] = {&rule_number, &side, NULL};
static const struct rule right_side = {
    .type = RULE_EITHER, .options = side_options, .expected = "one of a number or object"};

static const char *const mode_values[] = {"nudge", "pin", "mul", NULL};
static const struct rule mode = {.type = RULE_STRING, .values = mode_values};
static const struct rule_field intervention_fields[] = {
    FIELD("mode", &mode, .required = true),
    FIELD("features", &group, .required = true),
    FIELD("value", &rule_number, .required = true),
};
static const struct rule intervention = {STEERING_OBJECT, FIELDS(intervention_fields)};
static const struct rule interventions = {STEERING_LIST(&intervention)};

static const char *const comparison_values[] = {">", "<", "==", ">=", "<=", "!=", NULL};
static const struct rule comparison = {.type = RULE_STRING, .values = comparison_values};
static const struct rule_field condition_fields[] = {
    FIELD("left_hand", &side, .required = true),
    FIELD("right_hand", &right_side, .required = true),
    FIELD("operator", &comparison, .required = true),
};
static const struct rule condition = {STEERING_OBJECT, FIELDS(condition_fields)};
static const struct rule conditions = {STEERING_LIST(&condition)};

static const char *const join_values[] = {"AND", "OR", NULL};
static const struct rule join = {.type = RULE_STRING, .values = join_values};
static const struct rule_field conditionals_fields[] = {
    FIELD("conditionals", &conditions, .required = true),
    FIELD("operator", &join, .required = true),
};
static const struct rule conditionals = {STEERING_OBJECT, FIELDS(conditionals_fields)};

static const struct rule_field scope_fields[] = {
    FIELD("conditionals", &conditionals, .required = true),
    FIELD("controller", &rule_controller),
    FIELD("is_active", &rule_boolean),
    FIELD("event_name", &rule_string),
};
static const struct rule scope = {STEERING_OBJECT, FIELDS(scope_fields)};
static const struct rule scopes = {STEERING_LIST(&scope)};

static const struct rule_field controller_fields[] = {
    FIELD("interventions", &interventions),
    FIELD("scopes", &scopes),
    FIELD("name", &rule_string),
    FIELD("nonzero_strength_threshold", &rule_number),
    FIELD("min_nudge_entropy", &rule_number),
    FIELD("max_nudge_entropy", &rule_number),
};
const struct rule rule_controller = {STEERING_OBJECT, FIELDS(controller_fields)};
