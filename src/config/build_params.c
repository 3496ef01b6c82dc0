/*
 * What a model's entry sets in a question. Numbers keep the digits of the file: they go to the model as JSON.
 */
#include "config/build.h"
#include "config/values.h"
#include "json/json_write.h"

#define STOPS_MAX 16

enum param_form { FORM_NUMBER, FORM_WHOLE, FORM_WORD };

struct param_row {
    struct bytes name;
    enum param_form form;
    double least, most;
};

#define PARAM_ROW(id, name, form, least, most) {{name, sizeof(name) - 1}, FORM_##form, least, most},
static const struct param_row rows[PARAM_COUNT] = {CONFIG_PARAMS(PARAM_ROW)};

static const char *const efforts[] = {"none", "minimal", "low", "medium", "high", "xhigh"};

static void check_number(struct build *build, const struct param_row *row, struct bytes text,
                         const struct tree_node *node)
{
    bool whole = false;
    double value = 0;

    if (!node->plain || !value_is_number(text, &whole) || bytes_to_double(text, &value) < 0 ||
        (row->form == FORM_WHOLE && !whole))
        report_node(build->report, node, "must be a %snumber, without quotes",
                    row->form == FORM_WHOLE ? "whole " : "");
    else if (!(value >= row->least && value <= row->most))
        report_node(build->report, node, "must be from %.16g to %.16g", row->least, row->most);
}

static void check_word(struct build *build, struct bytes text, const struct tree_node *node)
{
    for (size_t i = 0; i < ARRAY_SIZE(efforts); i++)
        if (bytes_equal(text, bytes_of(efforts[i])))
            return;
    report_node(build->report, node, "must be one of none, minimal, low, medium, high, xhigh");
}

static struct bytes quoted(struct arena *arena, struct bytes text)
{
    struct buffer json;
    struct bytes copy;

    buffer_init(&json);
    json_write_string(&json, text);
    copy = arena_copy(arena, buffer_bytes(&json));
    buffer_deinit(&json);
    return copy;
}

static void build_param(struct build *build, const struct param_row *row, const char *raw,
                        const struct tree_node *node, struct config_params *params)
{
    struct bytes text;

    if (!build_text(build, node, raw, &text))
        return;
    if (row->form == FORM_WORD) {
        check_word(build, text, node);
        text = quoted(&build->config->arena, text);
    } else {
        check_number(build, row, text, node);
    }
    params->list[params->count++] = (struct config_param){row->name, text};
}

static void append_stop(struct build *build, const struct tree_node *node, struct buffer *json)
{
    struct bytes text;

    if (node->bad)
        return;
    if (tree_is_null(node))
        report_node(build->report, node, "has no value");
    else if (node->text.size == 0)
        report_node(build->report, node, "must not be empty");
    else if (build_free_text(build, node, node->text.data, &text))
        json_write_string(json, text);
}

static void build_stop(struct build *build, const struct tree_node *node, struct config_params *params)
{
    struct buffer json;

    buffer_init(&json);
    if (node->type == TREE_LIST) {
        buffer_append_char(&json, '[');
        for (const struct tree_node *item = node->first; item; item = item->next) {
            if (item != node->first)
                buffer_append_char(&json, ',');
            append_stop(build, item, &json);
        }
        buffer_append_char(&json, ']');
        if (node->count == 0 || node->count > STOPS_MAX)
            report_node(build->report, node, "must have from 1 to %d entries", STOPS_MAX);
    } else {
        append_stop(build, node, &json);
    }
    params->list[params->count++] =
        (struct config_param){BYTES("stop"), arena_copy(&build->config->arena, buffer_bytes(&json))};
    buffer_deinit(&json);
}

/* What is fixed never needs a default. */
static void compare_one(struct build *build, const struct tree_node *defaults, const struct tree_node *fixed,
                        struct bytes name)
{
    if (tree_given(defaults, name) && tree_given(fixed, name))
        report_node(build->report, tree_member(defaults, name), "has no effect, because it is fixed");
}

void build_compare_params(struct build *build, const struct tree_node *defaults,
                          const struct tree_node *fixed)
{
    for (size_t i = 0; i < PARAM_COUNT; i++)
        compare_one(build, defaults, fixed, rows[i].name);
    compare_one(build, defaults, fixed, BYTES("stop"));
}

void build_params(struct build *build, const struct raw_params *raw, const struct tree_node *node,
                  struct config_params *ret)
{
    const struct tree_node *stop = tree_member(node, BYTES("stop"));

    if (!raw)
        return;
    ret->list = arena_zeroed(&build->config->arena, (PARAM_COUNT + 1) * sizeof(*ret->list));
    for (size_t i = 0; i < PARAM_COUNT; i++)
        build_param(build, &rows[i], raw->values[i], tree_member(node, rows[i].name), ret);
    if (stop && !stop->bad && !tree_is_null(stop))
        build_stop(build, stop, ret);
    if (tree_given(node, rows[PARAM_MAX_TOKENS].name) &&
        tree_given(node, rows[PARAM_MAX_COMPLETION_TOKENS].name))
        report_member(build->report, node, "max_tokens",
                      "says the same as max_completion_tokens: give one of them");
}
