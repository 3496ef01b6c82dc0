/*
 * A backtracking matcher on a text that somebody else chose is held from four sides: limits on its steps, depth and
 * memory for each place where a match may begin; texts looked at in windows of a few such places, with the clock read
 * between them, since many cheap places make an expensive text; time for each document as a whole; and when any of
 * these is used up, the text counts as one that matches.
 *
 * Every pattern sees the text as it came, so what one of them takes out hides nothing from another.
 */
#include "record/redact_pattern.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "record/redact.h"

#include <errno.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MATCH_STEPS 100000      /* for one place to begin at */
#define MATCH_DEPTH 10000
#define MATCH_HEAP_KB 1024
#define STACK_FIRST (32 << 10)  /* of the compiled matcher */
#define STACK_MOST (1 << 20)
#define WINDOW 64               /* places to begin at between two looks at the clock */
#define DOCUMENT_US 10000
#define COMPILE_OPTIONS (PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT)
#define MATCH_OPTIONS (PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY)

struct pattern {
    pcre2_code *code;           /* NULL: it could not be compiled, and so is on every text */
    size_t shortest;            /* match, in characters: many a text is shorter, and need not be looked at */
};

struct redact_patterns {
    struct pattern *list;
    uint32_t count;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    pcre2_match_data *match;
    uint64_t deadline;          /* of this document; 0: it has not begun */
    bool exhausted;
};

static void *take(size_t size, void *data)
{
    return alloc_bytes(size);
}

static void give_back(void *memory, void *data)
{
    alloc_free(memory);
}

static pcre2_code *compile(struct bytes text, int *ret_error, size_t *ret_at)
{
    pcre2_general_context *memory = pcre2_general_context_create(take, give_back, NULL);
    pcre2_compile_context *context = pcre2_compile_context_create(memory);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text.data, text.size, COMPILE_OPTIONS, ret_error, ret_at, context);

    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    return code;
}

int redact_check(struct bytes pattern, struct buffer *error)
{
    char words[256];
    int number;
    size_t at;
    pcre2_code *code;

    if (pattern.size == 0) {
        buffer_append_text(error, "is empty");
        return -EINVAL;
    }
    code = compile(pattern, &number, &at);
    if (!code) {
        pcre2_get_error_message(number, (PCRE2_UCHAR *)words, sizeof(words));
        buffer_printf(error, "%s, at its byte %zu", words, at);
        return -EINVAL;
    }
    pcre2_code_free(code);
    return 0;
}

static void pattern_init(struct pattern *pattern, struct bytes text)
{
    uint32_t shortest = 0;
    int error;
    size_t at;

    pattern->code = compile(text, &error, &at);
    if (!pattern->code)
        return;
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* where it cannot be made machine code it is interpreted */
    pcre2_pattern_info(pattern->code, PCRE2_INFO_MINLENGTH, &shortest);
    pattern->shortest = shortest;
}

struct redact_patterns *redact_patterns_new(const struct bytes *texts, uint32_t count)
{
    pcre2_general_context *memory;
    struct redact_patterns *patterns;

    if (count == 0)
        return NULL;
    patterns = ALLOC_NEW(struct redact_patterns);
    patterns->list = alloc_zeroed(count * sizeof(*patterns->list));
    patterns->count = count;
    for (uint32_t i = 0; i < count; i++)
        pattern_init(&patterns->list[i], texts[i]);
    memory = pcre2_general_context_create(take, give_back, NULL);
    patterns->context = pcre2_match_context_create(memory);
    patterns->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MOST, memory);
    patterns->match = pcre2_match_data_create(1, memory);
    pcre2_general_context_free(memory);
    pcre2_set_match_limit(patterns->context, MATCH_STEPS);
    pcre2_set_depth_limit(patterns->context, MATCH_DEPTH);
    pcre2_set_heap_limit(patterns->context, MATCH_HEAP_KB);
    pcre2_jit_stack_assign(patterns->context, NULL, patterns->stack);
    return patterns;
}

struct redact_patterns *redact_patterns_free(struct redact_patterns *patterns)
{
    if (!patterns)
        return NULL;
    for (uint32_t i = 0; i < patterns->count; i++)
        pcre2_code_free(patterns->list[i].code);
    pcre2_match_data_free(patterns->match);
    pcre2_jit_stack_free(patterns->stack);
    pcre2_match_context_free(patterns->context);
    alloc_free(patterns->list);
    return alloc_free(patterns);
}

void redact_patterns_begin(struct redact_patterns *patterns)
{
    if (!patterns)
        return;
    patterns->deadline = 0;
    patterns->exhausted = false;
}

static bool has_time(struct redact_patterns *patterns)
{
    uint64_t now = clock_us();

    if (!patterns->deadline)
        patterns->deadline = now + DOCUMENT_US;
    if (now > patterns->deadline)
        patterns->exhausted = true;
    return !patterns->exhausted;
}

/* --- searching --- */

struct search {
    struct bytes text;
    size_t most;
    struct buffer *marks;
    bool marked;
};

/* The first place for a character from AT on. */
static size_t character_from(struct bytes text, size_t at)
{
    while (at < text.size && ((unsigned char)text.data[at] & 0xc0) == 0x80)
        at++;
    return at;
}

static void mark(struct search *search, size_t start, size_t end)
{
    if (!search->marked) {
        buffer_clear(search->marks, search->marks->capacity);
        memset(buffer_reserve(search->marks, search->text.size), 0, search->text.size);
        search->marks->size = search->text.size;
    }
    search->marked = true;
    memset(search->marks->data + start, 1, end - start);
}

/* Mark the next match that begins in the window at AT, which moves behind it, or to the next window. False: a limit was
 * reached. */
static bool search_window(struct redact_patterns *patterns, const pcre2_code *code, struct search *search, size_t *at)
{
    size_t last = (search->most - *at > WINDOW ? *at + WINDOW : search->most) - 1;
    const size_t *found = pcre2_get_ovector_pointer(patterns->match);
    size_t end;
    int r;

    pcre2_set_offset_limit(patterns->context, last);
    r = pcre2_match(code, (PCRE2_SPTR)search->text.data, search->text.size, *at, MATCH_OPTIONS, patterns->match,
                    patterns->context);
    if (r == PCRE2_ERROR_NOMATCH) {
        *at = character_from(search->text, last + 1);
        return true;
    }
    if (r < 0)
        return false;
    end = found[1];
    if (found[0] < end)
        mark(search, found[0], end);
    *at = end > *at ? end : character_from(search->text, *at + 1);
    return true;
}

static bool search_all(struct redact_patterns *patterns, const struct pattern *pattern, struct search *search)
{
    size_t at = 0;

    if (search->text.size < pattern->shortest)
        return true;
    if (patterns->exhausted || !pattern->code)
        return false;
    while (at < search->most)
        if (!has_time(patterns) || !search_window(patterns, pattern->code, search, &at))
            return false;
    return true;
}

enum redact_found redact_patterns_search(struct redact_patterns *patterns, struct bytes text, size_t most,
                                         struct buffer *marks)
{
    struct search search = {.text = text, .most = most < text.size ? most : text.size, .marks = marks};

    for (uint32_t i = 0; patterns && i < patterns->count; i++)
        if (!search_all(patterns, &patterns->list[i], &search))
            return REDACT_GAVE_UP;
    return search.marked ? REDACT_SOME : REDACT_NOTHING;
}
