/*
 * Changed texts: each case is a text, some changes, and what must come out, which must be JSON again.
 *
 * A change is a word: -PATH removes a member, =PATH replaces a value by 0, ~PATH renames a key to "n", +NAME
 * adds a root member 1, ^PATH prepends "p" to an array. An empty path is the root.
 */
#include "json/json_splice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The object or array that PATH's last step is taken in, and the key for that step. */
static const struct json_node *find_key(const struct json_doc *doc, const char *path,
                                        const struct json_node **ret_object)
{
    const char *dot = strrchr(path, '.');
    char parent[64] = "";
    const char *name = dot ? dot + 1 : path;
    const struct json_node *key;

    *ret_object = json_root(doc);
    if (dot) {
        memcpy(parent, path, (size_t)(dot - path));
        *ret_object = json_at(doc, *ret_object, parent);
    }
    for (key = json_first(doc, *ret_object); key; key = json_after(doc, *ret_object, key))
        if (json_text_is(doc, key, bytes_of(name)))
            return key;
    fail_msg("no %s", path);
    return NULL;
}

static const struct json_node *find(const struct json_doc *doc, const char *path)
{
    return *path ? json_at(doc, json_root(doc), path) : json_root(doc);
}

static void change(struct json_splice *splice, const char *word)
{
    const struct json_doc *doc = splice->doc;
    const struct json_node *object, *key;

    switch (word[0]) {
    case '-':
        key = find_key(doc, word + 1, &object);
        json_splice_remove(splice, object, key);
        break;
    case '=':
        json_splice_replace(splice, find(doc, word + 1), BYTES("0"));
        break;
    case '~':
        json_splice_rename(splice, find_key(doc, word + 1, &object), BYTES("n"));
        break;
    case '+':
        json_splice_add(splice, word + 1, BYTES("1"));
        break;
    default:
        json_splice_prepend(splice, find(doc, word + 1), BYTES("\"p\""));
    }
}

static void assert_result(const char *text, const char *const *words, size_t count, const char *expected)
{
    struct json_doc doc, again;
    struct json_splice splice;
    struct arena arena;
    struct buffer out;

    arena_init(&arena);
    buffer_init(&out);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    json_doc_init(&again, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, bytes_of(text)), 0);
    json_splice_init(&splice, &doc, &arena);
    assert_true(json_splice_clean(&splice));
    for (size_t i = 0; i < count; i++)
        change(&splice, words[i]);
    assert_true(json_splice_clean(&splice) == (count == 0));
    for (int i = 0; i < 2; i++) {
        buffer_clear(&out, 4096);
        json_splice_write(&splice, &out);
        if (!bytes_equal(buffer_bytes(&out), bytes_of(expected)))
            fail_msg("%s became %.*s, not %s", text, BYTES_ARG(buffer_bytes(&out)), expected);
    }
    assert_int_equal(json_doc_parse(&again, buffer_bytes(&out)), 0);
    json_doc_deinit(&again);
    json_doc_deinit(&doc);
    buffer_deinit(&out);
    arena_deinit(&arena);
}

struct splice_case {
    const char *text;
    const char *words[6];
    const char *expected;
};

/* Runs each case in every order of its words, but those where order has a meaning. */
static void run_orders(const struct splice_case *c, const char **words, size_t fixed, size_t count)
{
    if (fixed == count) {
        assert_result(c->text, words, count, c->expected);
        return;
    }
    for (size_t i = fixed; i < count; i++) {
        const char *word = words[fixed];

        words[fixed] = words[i];
        words[i] = word;
        run_orders(c, words, fixed + 1, count);
        words[i] = words[fixed];
        words[fixed] = word;
    }
}

static void run(const struct splice_case *cases, size_t count, bool any_order)
{
    for (size_t i = 0; i < count; i++) {
        const char *words[ARRAY_SIZE(cases[i].words)];
        size_t used = 0;

        while (used < ARRAY_SIZE(cases[i].words) && cases[i].words[used]) {
            words[used] = cases[i].words[used];
            used++;
        }
        if (any_order)
            run_orders(&cases[i], words, 0, used);
        else
            assert_result(cases[i].text, words, used, cases[i].expected);
    }
}

static void members_are_removed(void **state)
{
    static const struct splice_case cases[] = {
        {"{\"a\":1}", {"-a"}, "{}"},
        {" { \"a\" : 1 } ", {"-a"}, " {  } "},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-a"}, "{\"b\":2,\"c\":3}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-b"}, "{\"a\":1,\"c\":3}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-c"}, "{\"a\":1,\"b\":2}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-a", "-b"}, "{\"c\":3}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-b", "-c"}, "{\"a\":1}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-a", "-c"}, "{\"b\":2}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-a", "-b", "-c"}, "{}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", {"-b", "-b"}, "{\"a\":1,\"c\":3}"},
        {"{ \"a\": 1 ,\n \"b\": 2 ,\t\"c\": 3 }", {"-a"}, "{ \"b\": 2 ,\t\"c\": 3 }"},
        {"{ \"a\": 1 ,\n \"b\": 2 ,\t\"c\": 3 }", {"-b"}, "{ \"a\": 1 ,\t\"c\": 3 }"},
        {"{ \"a\": 1 ,\n \"b\": 2 ,\t\"c\": 3 }", {"-c"}, "{ \"a\": 1 ,\n \"b\": 2 }"},
        {"{ \"a\": 1 ,\n \"b\": 2 ,\t\"c\": 3 }", {"-a", "-b"}, "{ \"c\": 3 }"},
        {"{ \"a\": 1 ,\n \"b\": 2 ,\t\"c\": 3 }", {"-a", "-b", "-c"}, "{  }"},
        {"{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}", {"-b", "-d"}, "{\"a\":1,\"c\":3,\"e\":5}"},
        {"{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}", {"-a", "-b", "-d", "-e"}, "{\"c\":3}"},
        {"{\"x\":{\"a\":1,\"b\":[{\"c\":2}]}}", {"-x.a", "-x.b.0.c"}, "{\"x\":{\"b\":[{}]}}"},
        {"{\"x\":{\"a\":1},\"y\":2}", {"-x.a", "-x"}, "{\"y\":2}"},
        {"{\"x\":{\"a\":1},\"y\":{\"b\":1},\"z\":3}", {"-x.a", "-x", "-y.b", "-y"}, "{\"z\":3}"},
        {"[{\"a\":1,\"b\":2},{\"a\":1}]", {"-0.a", "-1.a"}, "[{\"b\":2},{}]"},
        {"{\"a\":\"},\\\"{\",\"b\":\"[,\"}", {"-a"}, "{\"b\":\"[,\"}"},
    };

    run(cases, ARRAY_SIZE(cases), true);
}

static void values_and_names_are_changed(void **state)
{
    static const struct splice_case cases[] = {
        {"{\"a\":1}", {NULL}, "{\"a\":1}"},
        {"{\"a\" : [1] }", {"=a"}, "{\"a\" : 0 }"},
        {" true ", {"="}, " 0 "},
        {"[1, \"x\",{}]", {"=0", "=1", "=2"}, "[0, 0,0]"},
        {"{\"a\":1,\"b\":2}", {"~a", "=b"}, "{\"n\":1,\"b\":0}"},
        {"{\"\":1}", {"~", "~"}, "{\"n\":1}"},
        {"{\"a\":1,\"b\":2}", {"~a", "=a", "-b"}, "{\"n\":0}"},
        {"{\"a\":1,\"b\":2}", {"~a", "=a", "-a"}, "{\"b\":2}"},
        {"{\"a\":1,\"b\":2}", {"-a", "=b", "~b"}, "{\"n\":0}"},
        {"{\"a\":[{\"b\":1}],\"c\":2}", {"=a.0.b", "=a", "~a.0.b", "^a"}, "{\"a\":0,\"c\":2}"},
        {"{\"a\":[1]}", {"=", "-a", "^a", "+x"}, "0"},
    };

    run(cases, ARRAY_SIZE(cases), true);
}

static void items_and_members_are_added(void **state)
{
    static const struct splice_case cases[] = {
        {"{}", {"+x"}, "{\"x\":1}"},
        {" {\n} ", {"+x"}, " {\n\"x\":1} "},
        {"{\"a\":2}", {"+x"}, "{\"a\":2,\"x\":1}"},
        {"{\"a\":2 }", {"+x"}, "{\"a\":2 ,\"x\":1}"},
        {"{\"a\":2}", {"-a", "+x"}, "{\"x\":1}"},
        {"{\"a\":2,\"b\":3}", {"-a", "-b", "+x"}, "{\"x\":1}"},
        {"{\"a\":2,\"b\":3}", {"-b", "+x", "=a"}, "{\"a\":0,\"x\":1}"},
        {"{\"a\":2,\"b\":3}", {"-a", "+x", "~b"}, "{\"n\":3,\"x\":1}"},
        {"{\"a\":{\"b\":3}}", {"-a.b", "+x"}, "{\"a\":{},\"x\":1}"},
        {"{\"a\":{\"b\":3}}", {"-a.b", "-a", "+x"}, "{\"x\":1}"},
        {"[{}]", {"^"}, "[\"p\",{}]"},
        {"[]", {"^"}, "[\"p\"]"},
        {"[ ]", {"^"}, "[\"p\" ]"},
        {"[]", {"^", "^"}, "[\"p\",\"p\"]"},
        {"[1]", {"^", "^", "=0"}, "[\"p\",\"p\",0]"},
        {"{\"a\":[]}", {"^a", "+x"}, "{\"a\":[\"p\"],\"x\":1}"},
        {"{\"a\":[2],\"b\":[]}", {"^a", "-a", "^b", "+x"}, "{\"b\":[\"p\"],\"x\":1}"},
        {"{\"a\":[[]]}", {"^a", "^a.0"}, "{\"a\":[\"p\",[\"p\"]]}"},
    };
    static const struct splice_case in_order[] = {
        {"{}", {"+x", "+y", "+z"}, "{\"x\":1,\"y\":1,\"z\":1}"},
        {"{\"a\":2}", {"+x", "-a", "+y"}, "{\"x\":1,\"y\":1}"},
        {"{\"a\":2,\"b\":2}", {"+x", "-a", "+y"}, "{\"b\":2,\"x\":1,\"y\":1}"},
    };

    run(cases, ARRAY_SIZE(cases), true);
    run(in_order, ARRAY_SIZE(in_order), false);
}

static void the_later_wish_wins(void **state)
{
    struct json_doc doc;
    struct json_splice splice;
    struct arena arena;
    struct buffer out;

    arena_init(&arena);
    buffer_init(&out);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, BYTES("{\"a\":1,\"b\":[]}")), 0);
    json_splice_init(&splice, &doc, &arena);
    json_splice_replace(&splice, json_at(&doc, json_root(&doc), "a"), BYTES("2"));
    json_splice_replace(&splice, json_at(&doc, json_root(&doc), "a"), BYTES("3"));
    json_splice_prepend(&splice, json_at(&doc, json_root(&doc), "b"), BYTES("4"));
    json_splice_prepend(&splice, json_at(&doc, json_root(&doc), "b"), BYTES("5"));
    json_splice_write(&splice, &out);
    assert_true(bytes_equal(buffer_bytes(&out), BYTES("{\"a\":3,\"b\":[5,4]}")));
    json_doc_deinit(&doc);
    buffer_deinit(&out);
    arena_deinit(&arena);
}

static void what_is_not_there_changes_nothing(void **state)
{
    struct json_doc doc;
    struct json_splice splice;
    struct arena arena;

    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    assert_int_equal(json_doc_parse(&doc, BYTES("[{\"a\":1}]")), 0);
    json_splice_init(&splice, &doc, &arena);
    json_splice_replace(&splice, NULL, BYTES("0"));
    json_splice_rename(&splice, NULL, BYTES("n"));
    json_splice_rename(&splice, json_root(&doc), BYTES("n"));
    json_splice_remove(&splice, json_first(&doc, json_root(&doc)), NULL);
    json_splice_remove(&splice, NULL, NULL);
    json_splice_prepend(&splice, NULL, BYTES("0"));
    json_splice_prepend(&splice, json_first(&doc, json_root(&doc)), BYTES("0"));
    json_splice_add(&splice, "x", BYTES("0"));
    assert_true(json_splice_clean(&splice));
    json_doc_deinit(&doc);
    arena_deinit(&arena);
}

/* Twenty thousand removals of neighbours, forwards and backwards. */
static void many_changes_are_carried_out(void **state)
{
    struct buffer text, out;
    struct json_doc doc;
    struct json_splice splice;
    struct arena arena;
    const struct json_node *object;

    buffer_init(&text);
    buffer_init(&out);
    arena_init(&arena);
    json_doc_init(&doc, JSON_LIMITS_DEFAULT);
    buffer_append_text(&text, "[{");
    for (int i = 0; i < 20000; i++)
        buffer_printf(&text, "%s\"k%d\":%d", i ? "," : "", i, i);
    buffer_append_text(&text, "}]");
    assert_int_equal(json_doc_parse(&doc, buffer_bytes(&text)), 0);
    json_splice_init(&splice, &doc, &arena);
    object = json_first(&doc, json_root(&doc));
    for (const struct json_node *key = json_first(&doc, object); key; key = json_after(&doc, object, key))
        if (!json_text_is(&doc, key, BYTES("k777")))
            json_splice_remove(&splice, object, key);
    for (uint32_t i = doc.count - 2; i > doc.count - 200; i -= 2)
        json_splice_remove(&splice, object, &doc.nodes[i]);
    json_splice_write(&splice, &out);
    assert_true(bytes_equal(buffer_bytes(&out), BYTES("[{\"k777\":777}]")));
    json_doc_deinit(&doc);
    arena_deinit(&arena);
    buffer_deinit(&text);
    buffer_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_removed),
        cmocka_unit_test(values_and_names_are_changed),
        cmocka_unit_test(items_and_members_are_added),
        cmocka_unit_test(the_later_wish_wins),
        cmocka_unit_test(what_is_not_there_changes_nothing),
        cmocka_unit_test(many_changes_are_carried_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
