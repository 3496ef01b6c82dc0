/*
 * What the dialects of both doors share.
 */
#include "dialect/client.h"

#include "base/clock.h"
#include "base/random.h"
#include "dialect/told.h"
#include "json/json_write.h"

#include <ctype.h>

#define ID_PREFIX "chatcmpl-"
#define LONGEST_ID 128

static struct bytes new_id(struct arena *arena)
{
    const size_t prefix = sizeof(ID_PREFIX) - 1;
    char *text = arena_alloc(arena, prefix + RANDOM_ID_SIZE);

    memcpy(text, ID_PREFIX, prefix);
    random_id(text + prefix);
    return (struct bytes){text, prefix + RANDOM_ID_SIZE};
}

void client_stream_init(struct client_stream *stream, const struct client_dialect *dialect,
                        const struct chat_request *request, struct arena *arena, struct json_doc *doc)
{
    *stream = (struct client_stream){
        .dialect = dialect,
        .request = request,
        .arena = arena,
        .doc = doc,
        .id = new_id(arena),
        .created = clock_wall_s(),
    };
}

/* --- reading --- */

static bool is_plain(struct bytes id)
{
    for (size_t i = 0; i < id.size; i++)
        if (!isalnum((unsigned char)id.data[i]) && id.data[i] != '-' && id.data[i] != '_')
            return false;
    return id.size > 0 && id.size <= LONGEST_ID;
}

/* An answer that is told twice keeps its name: so hits are byte for byte what was told first. */
static void take_name(struct client_stream *stream)
{
    const struct json_doc *doc = stream->doc;
    struct bytes id = json_text(doc, json_member(doc, json_root(doc), BYTES("id")), stream->arena);

    if (stream->named || stream->silent)
        return;
    stream->named = true;
    if (is_plain(id))
        stream->id = arena_copy(stream->arena, id);
    json_i64(doc, json_member(doc, json_root(doc), BYTES("created")), &stream->created);
}

int told_parse(struct client_stream *stream, struct bytes payload)
{
    if (json_doc_parse(stream->doc, payload) != 0 || !json_is(json_root(stream->doc), JSON_OBJECT))
        return CLIENT_E_UNTELLABLE;
    take_name(stream);
    return 0;
}

/* MEMBER of OBJECT into *RET, NULL when absent or null; CLIENT_E_UNTELLABLE when it is not of TYPE. */
static int read_member(const struct json_doc *doc, const struct json_node *object, const char *member,
                       enum json_type type, const struct json_node **ret)
{
    const struct json_node *node = json_member(doc, object, bytes_of(member));

    if (json_is(node, JSON_NULL))
        node = NULL;
    if (node && node->type != type)
        return CLIENT_E_UNTELLABLE;
    *ret = node;
    return 0;
}

int told_choice(const struct json_doc *doc, const struct json_node *choice, const char *part,
                struct told_choice *ret)
{
    struct told_choice told = {0};
    const struct json_node *index = json_member(doc, choice, BYTES("index"));
    int64_t number;

    if (!json_is(choice, JSON_OBJECT) || (index && json_i64(doc, index, &told.index) < 0) ||
        read_member(doc, choice, part, JSON_OBJECT, &told.part) ||
        read_member(doc, told.part, "content", JSON_STRING, &told.content) ||
        read_member(doc, choice, "finish_reason", JSON_STRING, &told.finish))
        return CLIENT_E_UNTELLABLE;
    if (told.content && json_raw(doc, told.content).size == 2)
        told.content = NULL;
    told.token_index = json_member(doc, choice, BYTES("gf_token_index"));
    if (json_i64(doc, told.token_index, &number) < 0)
        told.token_index = NULL;
    *ret = told;
    return 0;
}

const struct json_node *told_string(const struct json_doc *doc, const char *member)
{
    const struct json_node *node = json_member(doc, json_root(doc), bytes_of(member));

    return json_is(node, JSON_STRING) ? node : NULL;
}

/* --- writing --- */

static void write_word(struct buffer *out, const char *name, struct bytes text, bool ascii)
{
    json_write_name(out, name);
    if (!text.data)
        buffer_append(out, BYTES("null"));
    else if (ascii)
        json_write_string_ascii(out, text);
    else
        json_write_string(out, text);
}

void told_write_error(const struct failure *failure, bool ascii, struct buffer *out)
{
    const struct failure_row *row = failure_row(failure->kind);

    buffer_append(out, BYTES("\"error\":{"));
    write_word(out, "message", failure->message.data ? failure->message : BYTES(""), ascii);
    write_word(out, "type", failure->type.data ? failure->type : bytes_of(row->type), ascii);
    write_word(out, "param", failure->param, ascii);
    write_word(out, "code", failure->code.data ? failure->code : bytes_of(row->code), ascii);
    buffer_append_char(out, '}');
}
