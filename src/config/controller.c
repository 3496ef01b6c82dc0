/*
 * Controller.json() is what travels in a request, so it is kept as it stands. Variant.json() is the same
 * steering in other words: each edit is a nudge of one feature, each scope a condition with edits of its own;
 * it is rewritten the way the SDK's Variant.controller does it. What Variant.json() loses (the event of
 * abort_when and handle_when) cannot be won back, so such a file is refused.
 */
#include "config/controller.h"

#include "config/file.h"
#include "json/json_doc.h"
#include "json/json_write.h"

#include <stdio.h>

#define PLACE_MAX 200

struct controller_file {
    struct build *build;
    const struct tree_node *node; /* where the YAML names the file */
    struct bytes name;            /* the variant's */
    struct json_doc doc;
    struct buffer text, out;
    bool good;
};

/* PLACE within the JSON, or "". Only the first complaint of a file is told. */
static void complain(struct controller_file *file, const char *place, const char *message)
{
    if (file->good)
        report_node(file->build->report, file->node, "%s: %s%s%s",
                    report_quote(file->build->report, file->node->text), place, place[0] ? ": " : "",
                    message);
    file->good = false;
}

static const struct json_node *member(const struct controller_file *file, const struct json_node *object,
                                      const char *name)
{
    return json_member(&file->doc, object, bytes_of(name));
}

static bool is_one_of(const struct controller_file *file, const struct json_node *node,
                      const char *const *words)
{
    for (; *words; words++)
        if (json_is(node, JSON_STRING) && json_text_is(&file->doc, node, bytes_of(*words)))
            return true;
    return false;
}

/* --- is it a controller? --- */

static void check_controller(struct controller_file *file, const struct json_node *node, const char *place);

static void check_intervention(struct controller_file *file, const struct json_node *node, const char *place)
{
    static const char *const modes[] = {"nudge", "pin", "mul", NULL};
    const struct json_node *features = member(file, member(file, node, "features"), "features");

    if (!json_is(node, JSON_OBJECT))
        complain(file, place, "must be an object");
    else if (!is_one_of(file, member(file, node, "mode"), modes))
        complain(file, place, "its mode must be nudge, pin or mul");
    else if (!json_is(member(file, node, "value"), JSON_NUMBER))
        complain(file, place, "its value must be a number");
    else if (!json_is(features, JSON_ARRAY) || json_length(&file->doc, features) == 0)
        complain(file, place, "its features.features must be a list of features");
    for (const struct json_node *one = json_first(&file->doc, features); one && file->good;
         one = json_after(&file->doc, features, one))
        if (!json_is(member(file, one, "index_in_sae"), JSON_NUMBER) &&
            !json_is(member(file, one, "uuid"), JSON_STRING))
            complain(file, place, "a feature must have index_in_sae or uuid");
}

static void check_scope(struct controller_file *file, const struct json_node *node, const char *place)
{
    char inner[PLACE_MAX];

    if (!json_is(node, JSON_OBJECT))
        complain(file, place, "must be an object");
    else if (!json_is(member(file, node, "conditionals"), JSON_OBJECT))
        complain(file, place, "its conditionals must be an object");
    if (!file->good)
        return;
    snprintf(inner, sizeof(inner), "%s.controller", place);
    check_controller(file, member(file, node, "controller"), inner);
}

/* NAME inside PLACE; a place too long to say is cut. */
static void place_inside(char inner[PLACE_MAX], const char *place, const char *name)
{
    if (snprintf(inner, PLACE_MAX, "%s%s%s", place, place[0] ? "." : "", name) >= PLACE_MAX)
        inner[PLACE_MAX - 1] = '\0';
}

static void check_list(struct controller_file *file, const struct json_node *object, const char *name,
                       const char *place,
                       void (*check)(struct controller_file *, const struct json_node *, const char *))
{
    const struct json_node *list = member(file, object, name);
    char inner[PLACE_MAX];
    unsigned index = 0;

    if (!json_is(list, JSON_ARRAY)) {
        place_inside(inner, place, name);
        complain(file, inner, list ? "must be a list" : "is missing");
        return;
    }
    for (const struct json_node *item = json_first(&file->doc, list); item && file->good;
         item = json_after(&file->doc, list, item)) {
        char item_name[64];

        snprintf(item_name, sizeof(item_name), "%.40s[%u]", name, index++);
        place_inside(inner, place, item_name);
        check(file, item, inner);
    }
}

/* As deep as scopes nest, which the limits of the JSON reader bound. */
static void check_controller(struct controller_file *file, const struct json_node *node, const char *place)
{
    if (!json_is(node, JSON_OBJECT)) {
        complain(file, place, "must be an object");
        return;
    }
    check_list(file, node, "interventions", place, check_intervention);
    if (file->good)
        check_list(file, node, "scopes", place, check_scope);
}

/* --- Variant.json() into a controller --- */

/* A UUID in the SDK's other form: without dashes. */
static void write_uuid(struct controller_file *file, const struct json_node *node)
{
    struct bytes text = json_text(&file->doc, node, &file->build->config->arena);
    struct buffer plain;

    buffer_init(&plain);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] != '-')
            buffer_append_char(&plain, text.data[i]);
    json_write_member_string(&file->out, "uuid", buffer_bytes(&plain));
    buffer_deinit(&plain);
}

static void write_edit(struct controller_file *file, const struct json_node *edit, const char *place)
{
    const struct json_node *uuid = member(file, edit, "feature_id"),
                           *label = member(file, edit, "feature_label");
    const struct json_node *index = member(file, edit, "index_in_sae"), *value = member(file, edit, "value");

    if (!json_is(uuid, JSON_STRING) || !json_is(label, JSON_STRING) || !json_is(index, JSON_NUMBER) ||
        !json_is(value, JSON_NUMBER)) {
        complain(file, place, "must have feature_id, feature_label, index_in_sae and value");
        return;
    }
    buffer_append_text(&file->out, "{\"mode\":\"nudge\",\"features\":{\"features\":[{");
    write_uuid(file, uuid);
    json_write_member_raw(&file->out, "label", json_raw(&file->doc, label));
    json_write_member_raw(&file->out, "index_in_sae", json_raw(&file->doc, index));
    buffer_append_text(&file->out, ",\"max_activation_strength\":1}]}");
    json_write_member_raw(&file->out, "value", json_raw(&file->doc, value));
    buffer_append_char(&file->out, '}');
}

static void write_edits(struct controller_file *file, const struct json_node *variant, const char *place)
{
    const struct json_node *edits = member(file, variant, "edits");
    char inner[PLACE_MAX];
    unsigned index = 0;

    if (!json_is(edits, JSON_ARRAY)) {
        complain(file, place, "its edits must be a list");
        return;
    }
    buffer_append_text(&file->out, "\"interventions\":[");
    for (const struct json_node *edit = json_first(&file->doc, edits); edit && file->good;
         edit = json_after(&file->doc, edits, edit)) {
        if (index)
            buffer_append_char(&file->out, ',');
        snprintf(inner, sizeof(inner), "%s%sedits[%u]", place, place[0] ? "." : "", index++);
        write_edit(file, edit, inner);
    }
    buffer_append_text(&file->out, "]");
}

static void write_end(struct controller_file *file, const char *suffix)
{
    struct bytes name = arena_printf(&file->build->config->arena, "%.*s%s", BYTES_ARG(file->name), suffix);

    json_write_member_string(&file->out, "name", name);
    buffer_append_text(&file->out, ",\"nonzero_strength_threshold\":null,\"min_nudge_entropy\":null,"
                                   "\"max_nudge_entropy\":null}");
}

static void write_scope(struct controller_file *file, const struct json_node *scope, const char *place)
{
    const struct json_node *condition = member(file, scope, "condition");
    const struct json_node *variant = member(file, scope, "nested_variant");

    if (!json_is(condition, JSON_OBJECT) || !json_is(variant, JSON_OBJECT)) {
        complain(file, place, "must have the objects condition and nested_variant");
        return;
    }
    if (json_length(&file->doc, member(file, variant, "edits")) == 0) {
        complain(file, place,
                 "has no edits: Variant.json() loses abort_when and handle_when, save "
                 "variant.controller.json() instead");
        return;
    }
    if (json_length(&file->doc, member(file, variant, "scopes"))) {
        complain(file, place, "has scopes of its own, which the SDK does not send");
        return;
    }
    buffer_append_char(&file->out, '{');
    json_write_member_raw(&file->out, "conditionals", json_raw(&file->doc, condition));
    buffer_append_text(&file->out, ",\"controller\":{");
    write_edits(file, variant, place);
    buffer_append_text(&file->out, ",\"scopes\":[]");
    write_end(file, "_scope");
    buffer_append_text(&file->out, ",\"is_active\":false,\"event_name\":null}");
}

static void write_variant(struct controller_file *file, const struct json_node *root)
{
    const struct json_node *scopes = member(file, root, "scopes");
    char place[PLACE_MAX];
    unsigned index = 0;

    buffer_append_char(&file->out, '{');
    write_edits(file, root, "");
    buffer_append_text(&file->out, ",\"scopes\":[");
    if (scopes && !json_is(scopes, JSON_ARRAY))
        complain(file, "scopes", "must be a list");
    for (const struct json_node *scope = json_first(&file->doc, scopes); scope && file->good;
         scope = json_after(&file->doc, scopes, scope)) {
        if (index)
            buffer_append_char(&file->out, ',');
        snprintf(place, sizeof(place), "scopes[%u]", index++);
        write_scope(file, scope, place);
    }
    buffer_append_text(&file->out, "]");
    write_end(file, "");
}

/* --- the file --- */

/* Steering made for one model says nothing about another: feature numbers differ. */
static void check_base(struct controller_file *file, const struct json_node *root,
                       const struct config_model *model)
{
    const struct json_node *base = member(file, root, "base_model");
    bool fits = !base || !model;

    if (fits)
        return;
    if (!json_is(base, JSON_STRING)) {
        complain(file, "base_model", "must be text");
        return;
    }
    fits = json_text_is(&file->doc, base, model->name) || json_text_is(&file->doc, base, model->upstream);
    for (uint32_t i = 0; i < model->alias_count; i++)
        fits = fits || json_text_is(&file->doc, base, model->aliases[i]);
    if (!fits)
        complain(file, "base_model",
                 "is neither the name, nor an alias, nor the upstream name of the variant's model");
}

/* JSON without the white space between its tokens. */
static struct bytes compact(struct arena *arena, struct bytes json)
{
    char *to = arena_alloc(arena, json.size + 1);
    bool inside = false;
    size_t size = 0;

    for (size_t i = 0; i < json.size; i++) {
        char byte = json.data[i];

        if (!inside && (byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'))
            continue;
        to[size++] = byte;
        if (inside && byte == '\\' && i + 1 < json.size)
            to[size++] = json.data[++i];
        else if (byte == '"')
            inside = !inside;
    }
    to[size] = '\0';
    return (struct bytes){to, size};
}

static struct bytes take(struct controller_file *file, const struct config_model *model)
{
    const struct json_node *root = json_root(&file->doc);
    const struct json_node *controller = member(file, root, "controller");

    if (!json_is(root, JSON_OBJECT)) {
        complain(file, "", "must be a JSON object");
        return BYTES_NONE;
    }
    check_base(file, root, model);
    if (member(file, root, "edits")) {
        write_variant(file, root);
        return buffer_bytes(&file->out);
    }
    check_controller(file, controller ? controller : root, controller ? "controller" : "");
    return json_raw(&file->doc, controller ? controller : root);
}

static void parse(struct controller_file *file, const struct config_model *model, struct bytes *ret)
{
    struct bytes controller;
    int r = json_doc_parse(&file->doc, buffer_bytes(&file->text));

    if (r) {
        complain(file, "", json_error_text(r));
        return;
    }
    controller = take(file, model);
    if (file->good)
        *ret = compact(&file->build->config->arena, controller);
}

void controller_read(struct build *build, const struct tree_node *node, struct bytes path, struct bytes name,
                     const struct config_model *model, struct bytes *ret)
{
    struct controller_file file = {.build = build, .node = node, .name = name, .good = true};
    int r;

    buffer_init(&file.text);
    buffer_init(&file.out);
    json_doc_init(&file.doc, JSON_LIMITS_DEFAULT);
    r = file_read(path.data, true, FILE_SIZE_MAX, &file.text);
    if (r < 0)
        complain(&file, "", file_error_text(r, FILE_SIZE_MAX));
    else
        parse(&file, model, ret);
    json_doc_deinit(&file.doc);
    buffer_deinit(&file.text);
    buffer_deinit(&file.out);
}
