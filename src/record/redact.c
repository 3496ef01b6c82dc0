/*
 * The document is written anew, without white space between its tokens, so a line stays a line. A string goes on as it
 * came unless something in it matches; then it is decoded, its marked stretches are replaced, and it is written again.
 * A number with a match becomes a string, since half a number would be another one.
 * Writing stops soon after the bound, and what is longer becomes a string of its beginning: already redacted, so a cut
 * shows nothing that the whole would hide.
 */
#include "record/redact.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "json/json_unescape.h"
#include "json/json_write.h"
#include "record/redact_path.h"
#include "record/redact_pattern.h"

#define PLACEHOLDER "[redacted]"
#define REPLACEMENT "\xef\xbf\xbd"
#define NOT_UTF8 ((char)0xff)
#define KEEP (128 << 10) /* of each buffer's memory, from one document to the next */

struct redact {
    struct redact_path *paths;
    uint32_t path_count;
    struct redact_patterns *patterns;
    struct buffer values;   /* a byte for each node: a path means it */
    struct buffer decoded;  /* a string's characters */
    struct buffer marks;    /* a byte for each of theirs: it matches */
    struct buffer cleaned;  /* without those */
    struct buffer text;     /* the document, as far as it is wanted */
};

struct redact *redact_new(const struct config_log *log)
{
    struct redact *redact = ALLOC_NEW(struct redact);

    redact->path_count = log->redact_field_count;
    redact->paths = alloc_zeroed((redact->path_count + 1) * sizeof(*redact->paths));
    for (uint32_t i = 0; i < redact->path_count; i++)
        redact_path_init(&redact->paths[i], log->redact_fields[i]);
    redact->patterns = redact_patterns_new(log->redact_patterns, log->redact_pattern_count);
    return redact;
}

struct redact *redact_free(struct redact *redact)
{
    if (!redact)
        return NULL;
    for (uint32_t i = 0; i < redact->path_count; i++)
        redact_path_deinit(&redact->paths[i]);
    alloc_free(redact->paths);
    redact_patterns_free(redact->patterns);
    buffer_deinit(&redact->values);
    buffer_deinit(&redact->decoded);
    buffer_deinit(&redact->marks);
    buffer_deinit(&redact->cleaned);
    buffer_deinit(&redact->text);
    return alloc_free(redact);
}

/* --- text --- */

/* What is not marked, and a placeholder for each stretch that is. */
static void append_unmarked(struct bytes text, const char *marks, struct buffer *out)
{
    size_t at = 0;

    while (at < text.size) {
        const char *change = memchr(marks + at, marks[at] ? 0 : 1, text.size - at);
        size_t next = change ? (size_t)(change - marks) : text.size;

        buffer_append(out, marks[at] ? BYTES(PLACEHOLDER) : (struct bytes){text.data + at, next - at});
        at = next;
    }
}

/* The first MOST bytes of TEXT (UTF-8) without what matches, in redact->cleaned. False: nothing does. */
static bool clean(struct redact *redact, struct bytes text, size_t most)
{
    struct bytes seen = text.size > most ? utf8_cut(text, most) : text;
    struct bytes reached = text.size - seen.size > REDACT_REACH ? utf8_cut(text, seen.size + REDACT_REACH) : text;
    enum redact_found found = redact_patterns_search(redact->patterns, reached, seen.size, &redact->marks);

    if (found == REDACT_NOTHING)
        return false;
    redact->cleaned.size = 0;
    if (found == REDACT_SOME)
        append_unmarked(seen, redact->marks.data, &redact->cleaned);
    else
        buffer_append(&redact->cleaned, BYTES(PLACEHOLDER));
    return true;
}

/* --- a document --- */

struct writing {
    struct redact *redact;
    const struct json_doc *doc;
    size_t most;
    bool cut;           /* there is more than was written */
};

/* Never more than one byte beyond what is wanted: enough to know that there is more. */
static void put(struct writing *writing, struct bytes piece)
{
    struct buffer *text = &writing->redact->text;
    size_t room = writing->most + 1 - text->size;

    buffer_append(text, (struct bytes){piece.data, piece.size < room ? piece.size : room});
    writing->cut |= text->size > writing->most;
}

static void put_char(struct writing *writing, char byte)
{
    put(writing, (struct bytes){&byte, 1});
}

static struct bytes decode(struct redact *redact, struct bytes inside)
{
    char *to;

    redact->decoded.size = 0;
    to = buffer_reserve(&redact->decoded, inside.size);
    return (struct bytes){to, json_unescape(inside, to)};
}

static void write_string(struct writing *writing, const struct json_node *node)
{
    struct redact *redact = writing->redact;
    struct bytes raw = json_raw(writing->doc, node), text = {raw.data + 1, raw.size - 2};
    size_t room = writing->most + 1 - redact->text.size;

    if (node->escaped)
        text = decode(redact, text);
    if (!clean(redact, text, room)) {
        put(writing, raw);
        return;
    }
    redact->decoded.size = 0;
    json_write_string(&redact->decoded, buffer_bytes(&redact->cleaned));
    put(writing, buffer_bytes(&redact->decoded));
    writing->cut |= text.size > room;
}

static void write_number(struct writing *writing, const struct json_node *node)
{
    struct bytes raw = json_raw(writing->doc, node);
    size_t room = writing->most + 1 - writing->redact->text.size;

    put(writing, clean(writing->redact, raw, room) ? BYTES("\"" PLACEHOLDER "\"") : raw);
}

static void write_value(struct writing *writing, const struct json_node *node);

/* As deep as documents may be. */
static void write_container(struct writing *writing, const struct json_node *node)
{
    const struct json_doc *doc = writing->doc;
    bool object = node->type == JSON_OBJECT;

    put_char(writing, object ? '{' : '[');
    for (const struct json_node *child = json_first(doc, node); child && !writing->cut;
         child = json_after(doc, node, child)) {
        if (child != json_first(doc, node))
            put_char(writing, ',');
        if (object) {
            put(writing, json_raw(doc, child));
            put_char(writing, ':');
        }
        write_value(writing, object ? json_value(doc, child) : child);
    }
    put_char(writing, object ? '}' : ']');
}

static void write_value(struct writing *writing, const struct json_node *node)
{
    struct redact *redact = writing->redact;

    if (writing->cut)
        return;
    if (redact->path_count && redact->values.data[node - writing->doc->nodes])
        put(writing, BYTES("\"" PLACEHOLDER "\""));
    else if (node->type == JSON_OBJECT || node->type == JSON_ARRAY)
        write_container(writing, node);
    else if (node->type == JSON_STRING && redact->patterns)
        write_string(writing, node);
    else if (node->type == JSON_NUMBER && redact->patterns)
        write_number(writing, node);
    else
        put(writing, json_raw(writing->doc, node));
}

static void mark_paths(struct redact *redact, const struct json_doc *doc)
{
    if (redact->path_count == 0)
        return;
    redact->values.size = 0;
    memset(buffer_reserve(&redact->values, doc->count), 0, doc->count);
    for (uint32_t i = 0; i < redact->path_count; i++)
        redact_path_mark(&redact->paths[i], doc, redact->values.data);
}

/* --- what is no document, and what is too long --- */

static size_t escaped_size(unsigned char byte)
{
    if (byte == '"' || byte == '\\' || (byte >= '\b' && byte <= '\r' && byte != '\v'))
        return 2;
    return byte < ' ' ? 6 : 1;
}

/* TEXT as a string of at most MOST bytes, its quotes included. TEXT may end inside a character when it does not fit.
 * True: it did not. */
static bool write_beginning(struct bytes text, size_t most, struct buffer *out)
{
    size_t left = most > 2 ? most - 2 : 0, at = 0;

    for (; at < text.size && escaped_size((unsigned char)text.data[at]) <= left; at++)
        left -= escaped_size((unsigned char)text.data[at]);
    json_write_string(out, utf8_cut(text, at));
    return at < text.size;
}

/* JSON's first bytes as good UTF-8 without NUL, in redact->decoded. */
static struct bytes make_text(struct redact *redact, struct bytes json)
{
    struct buffer *copy = &redact->cleaned, *text = &redact->decoded;
    struct bytes rest;

    copy->size = text->size = 0;
    buffer_append(copy, json);
    for (size_t i = 0; i < copy->size; i++)
        if (copy->data[i] == '\0')
            copy->data[i] = NOT_UTF8;
    for (rest = buffer_bytes(copy); rest.size;) {
        size_t valid = utf8_valid_prefix(rest);

        buffer_append(text, (struct bytes){rest.data, valid});
        rest = bytes_skip(rest, valid);
        if (rest.size) {
            buffer_append(text, BYTES(REPLACEMENT));
            rest = bytes_skip(rest, 1);
        }
    }
    return buffer_bytes(text);
}

/* Where the values stand that a path means cannot be known here, nor what is an escape: then nothing is told. */
static bool write_text(struct redact *redact, struct bytes json, size_t most, struct buffer *out)
{
    bool longer = json.size > most;
    struct bytes text;

    if (redact->path_count || redact->patterns)
        return write_beginning(BYTES(PLACEHOLDER), most, out);
    if (longer)
        json.size = most;
    text = make_text(redact, json);
    return write_beginning(text, most, out) || longer;
}

void redact_write(struct redact *redact, struct bytes json, struct json_doc *doc, size_t most, struct buffer *out,
                  bool *ret_cut)
{
    struct writing writing = {.redact = redact, .doc = doc, .most = most};

    redact_patterns_begin(redact->patterns);
    redact->text.size = 0;
    if (json_doc_parse(doc, json)) {
        *ret_cut = write_text(redact, json, most, out);
    } else {
        mark_paths(redact, doc);
        write_value(&writing, json_root(doc));
        if (writing.cut)
            write_beginning(buffer_bytes(&redact->text), most, out);
        else
            buffer_append(out, buffer_bytes(&redact->text));
        *ret_cut = writing.cut;
    }
    buffer_clear(&redact->values, KEEP);
    buffer_clear(&redact->decoded, KEEP);
    buffer_clear(&redact->marks, KEEP);
    buffer_clear(&redact->cleaned, KEEP);
    buffer_clear(&redact->text, KEEP);
}

struct bytes redact_text(struct redact *redact, struct bytes text, size_t most, struct arena *arena)
{
    if (!redact || !redact->patterns || text.size == 0)
        return utf8_cut(text, most);
    if (utf8_valid_prefix(text) < text.size)
        return utf8_cut(BYTES(PLACEHOLDER), most);
    redact_patterns_begin(redact->patterns);
    if (!clean(redact, text, most))
        return utf8_cut(text, most);
    text = arena_copy(arena, utf8_cut(buffer_bytes(&redact->cleaned), most));
    buffer_clear(&redact->marks, KEEP);
    buffer_clear(&redact->cleaned, KEEP);
    return text;
}
