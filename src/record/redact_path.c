/*
 * Down one path: a name goes into the members so called (all of them, should one stand there twice), a star into any
 * member or element, and a list that a name meets is passed through. Each node is met at most once by each path. The
 * recursion goes as deep as the document, which has a limit.
 */
#include "record/redact_path.h"

#include "base/alloc.h"

void redact_path_init(struct redact_path *path, struct bytes text)
{
    path->count = 1;
    for (size_t i = 0; i < text.size; i++)
        path->count += text.data[i] == '.';
    path->steps = alloc_bytes(path->count * sizeof(*path->steps));
    for (uint32_t i = 0; i < path->count; i++) {
        size_t size = bytes_find(text, BYTES("."));

        path->steps[i] = (struct bytes){text.data, size};
        text = bytes_skip(text, size < text.size ? size + 1 : size);
    }
}

void redact_path_deinit(struct redact_path *path)
{
    path->steps = alloc_free(path->steps);
}

struct marking {
    const struct redact_path *path;
    const struct json_doc *doc;
    char *marks;
};

/* From NODE on, the step at AT comes next. */
static void mark(const struct marking *marking, const struct json_node *node, uint32_t at)
{
    const struct json_doc *doc = marking->doc;
    struct bytes step;
    bool any;

    if (at == marking->path->count) {
        marking->marks[node - doc->nodes] = 1;
        return;
    }
    step = marking->path->steps[at];
    any = bytes_equal(step, BYTES("*"));
    for (const struct json_node *child = json_first(doc, node); child; child = json_after(doc, node, child)) {
        if (child->type != JSON_KEY)
            mark(marking, child, at + any);
        else if (any || json_text_is(doc, child, step))
            mark(marking, json_value(doc, child), at + 1);
    }
}

void redact_path_mark(const struct redact_path *path, const struct json_doc *doc, char *marks)
{
    const struct marking marking = {path, doc, marks};

    mark(&marking, json_root(doc), 0);
}
