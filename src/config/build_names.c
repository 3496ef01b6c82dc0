/*
 * Names that must differ: sorted, so that ten thousand of them are compared as quickly as ten.
 */
#include "base/alloc.h"
#include "config/build.h"

#include <stdlib.h>

struct name_use {
    struct bytes name;
    const struct tree_node *node;
    uint32_t order;
};

void names_add(struct name_list *list, struct bytes name, const struct tree_node *node)
{
    if (name.size == 0)
        return;
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 64;
        list->uses = alloc_resize(list->uses, list->room * sizeof(*list->uses));
    }
    list->uses[list->count] = (struct name_use){name, node, list->count};
    list->count++;
}

static int compare_uses(const void *one, const void *other)
{
    const struct name_use *a = one, *b = other;
    int r;

    if (a->name.size != b->name.size)
        return a->name.size < b->name.size ? -1 : 1;
    r = memcmp(a->name.data, b->name.data, a->name.size);
    return r ? r : (int)a->order - (int)b->order;
}

static void complain(struct build *build, const struct name_use *first, const struct tree_node *node,
                     const char *what)
{
    const char *name = report_quote(build->report, node->text);

    if (first->node)
        report_node(build->report, node, "%s is already %s, see line %u", name, what, first->node->line);
    else
        report_node(build->report, node, "%s is already %s in the configuration", name, what);
}

void names_check(struct build *build, struct name_list *list, const char *what)
{
    if (list->count)
        qsort(list->uses, list->count, sizeof(*list->uses), compare_uses);
    for (uint32_t i = 1; i < list->count; i++)
        if (bytes_equal(list->uses[i].name, list->uses[i - 1].name))
            complain(build, &list->uses[i - 1], list->uses[i].node, what);
    alloc_free(list->uses);
    *list = (struct name_list){0};
}
