/*
 * Cuts are only noted, sorted by where they start; what they mean for each other is settled while writing,
 * from left to right. A cut that starts before the place already reached lies inside one that was carried
 * out, and is passed over. Neighbouring members that go are one run, and a run takes one comma with it: the
 * one before it, or, when it begins with the object's first member, the one after it.
 */
#include "json/json_splice.h"

#include "json/json_write.h"

void json_splice_init(struct json_splice *splice, const struct json_doc *doc, struct arena *arena)
{
    *splice = (struct json_splice){.doc = doc, .arena = arena};
}

/* --- noting --- */

static bool is_insertion(const struct json_cut *cut)
{
    return cut->start == cut->end;
}

/* A comes before B. At one place insertions come first, then the longer cut, which swallows the shorter.
 * Items are inserted in front of items, members behind members. */
static bool before(const struct json_cut *a, const struct json_cut *b)
{
    if (a->start != b->start)
        return a->start < b->start;
    if (is_insertion(a) && is_insertion(b))
        return b->kind != JSON_CUT_ITEM;
    if (is_insertion(a) || is_insertion(b))
        return is_insertion(a);
    return a->end > b->end;
}

static void note(struct json_splice *splice, struct json_cut cut)
{
    struct json_cut **at = &splice->cuts;
    struct json_cut *noted;

    if (splice->latest && before(splice->latest, &cut))
        at = &splice->latest->next;
    while (*at && before(*at, &cut))
        at = &(*at)->next;
    noted = *at;
    if (!noted || is_insertion(&cut) || noted->start != cut.start || noted->end != cut.end) {
        cut.next = noted;
        noted = *at = arena_alloc(splice->arena, sizeof(cut));
    } else {
        cut.next = noted->next; /* the same span again: the later wish wins */
    }
    *noted = cut;
    splice->latest = noted;
}

void json_splice_replace(struct json_splice *splice, const struct json_node *node, struct bytes value)
{
    if (node)
        note(splice, (struct json_cut){.start = node->start, .end = node->end, .put = value});
}

void json_splice_rename(struct json_splice *splice, const struct json_node *key, struct bytes name)
{
    if (json_is(key, JSON_KEY))
        json_splice_replace(splice, key, arena_printf(splice->arena, "\"%.*s\"", BYTES_ARG(name)));
}

void json_splice_remove(struct json_splice *splice, const struct json_node *object,
                        const struct json_node *key)
{
    const struct json_node *value = json_value(splice->doc, key);

    if (json_is(object, JSON_OBJECT) && value)
        note(splice, (struct json_cut){.start = key->start,
                                       .end = value->end,
                                       .kind = JSON_CUT_GONE,
                                       .root = object->depth == 0});
}

void json_splice_prepend(struct json_splice *splice, const struct json_node *array, struct bytes value)
{
    if (json_is(array, JSON_ARRAY))
        note(splice, (struct json_cut){.start = array->start + 1,
                                       .end = array->start + 1,
                                       .kind = JSON_CUT_ITEM,
                                       .put = value});
}

void json_splice_add(struct json_splice *splice, const char *name, struct bytes value)
{
    const struct json_node *root = json_root(splice->doc);

    if (json_is(root, JSON_OBJECT))
        note(splice, (struct json_cut){.start = root->end - 1,
                                       .end = root->end - 1,
                                       .kind = JSON_CUT_MEMBER,
                                       .name = name,
                                       .put = value});
}

/* --- writing --- */

struct writing {
    struct bytes text;
    struct buffer *out;
    uint32_t reached;    /* in the text */
    uint32_t members;    /* left in the root */
};

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

static uint32_t skip_space(struct bytes text, uint32_t at)
{
    while (at < text.size && is_space(text.data[at]))
        at++;
    return at;
}

static uint32_t skip_space_back(struct bytes text, uint32_t at)
{
    while (at > 0 && is_space(text.data[at - 1]))
        at--;
    return at;
}

/* Where the member after the one that ends at AT begins, or AT when there is none. */
static uint32_t next_member(struct bytes text, uint32_t at)
{
    uint32_t comma = skip_space(text, at);

    return comma < text.size && text.data[comma] == ',' ? skip_space(text, comma + 1) : at;
}

static void write_until(struct writing *writing, uint32_t end)
{
    if (end > writing->reached)
        buffer_append(writing->out,
                      (struct bytes){writing->text.data + writing->reached, end - writing->reached});
    writing->reached = end;
}

static const struct json_cut *pass_over(const struct json_cut *cut, uint32_t reached)
{
    while (cut && cut->start < reached)
        cut = cut->next;
    return cut;
}

/* A run of members that goes, beginning with CUT. Returns the first cut behind it. */
static const struct json_cut *write_gone(struct writing *writing, const struct json_cut *cut)
{
    uint32_t before_run = skip_space_back(writing->text, cut->start);
    bool leads = writing->text.data[before_run - 1] == '{';
    uint32_t start = cut->start, end, next;

    if (!leads)
        start = skip_space_back(writing->text, before_run - 1);
    do {
        end = cut->end;
        next = next_member(writing->text, end);
        writing->members -= cut->root;
        cut = pass_over(cut, end);
    } while (cut && cut->kind == JSON_CUT_GONE && cut->start == next && next != end);
    write_until(writing, start);
    writing->reached = leads ? next : end;
    return cut;
}

static void write_item(struct writing *writing, const struct json_cut *cut)
{
    const struct json_cut *next = cut->next;
    bool more = next && next->kind == JSON_CUT_ITEM && next->start == cut->start;

    buffer_append(writing->out, cut->put);
    if (more || writing->text.data[skip_space(writing->text, cut->end)] != ']')
        buffer_append_char(writing->out, ',');
}

static void write_new_member(struct writing *writing, const struct json_cut *cut)
{
    if (writing->members++ > 0)
        buffer_append_char(writing->out, ',');
    buffer_append_char(writing->out, '"');
    buffer_append_text(writing->out, cut->name);
    buffer_append(writing->out, BYTES("\":"));
    buffer_append(writing->out, cut->put);
}

/* Carry out CUT. Returns the first cut that is not done with. */
static const struct json_cut *write_cut(struct writing *writing, const struct json_cut *cut)
{
    if (cut->kind == JSON_CUT_GONE)
        return write_gone(writing, cut);
    write_until(writing, cut->start);
    if (cut->kind == JSON_CUT_ITEM)
        write_item(writing, cut);
    else if (cut->kind == JSON_CUT_MEMBER)
        write_new_member(writing, cut);
    else
        buffer_append(writing->out, cut->put);
    writing->reached = cut->end;
    return cut->next;
}

void json_splice_write(const struct json_splice *splice, struct buffer *out)
{
    const struct json_doc *doc = splice->doc;
    struct writing writing = {doc->text, out, 0, json_length(doc, json_root(doc))};
    const struct json_cut *cut = splice->cuts;

    buffer_reserve(out, doc->text.size);
    while (cut) {
        cut = write_cut(&writing, cut);
        cut = pass_over(cut, writing.reached);
    }
    write_until(&writing, (uint32_t)doc->text.size);
}
