/*
 * Answers out of bytes: each vector is fed whole, byte by byte, and cut in two at every place, and must always give
 * the same account.
 */
#include "link/http1_answer.h"

#include "base/alloc.h"
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

struct account {
    struct http1_answer *answer;
    enum http1_answer_state state;
    const char *low, *high;     /* what is being read */
    unsigned heads, leave_at;   /* LEAVE_AT: the callback of this number refuses */
    struct buffer text, body, rest;
};

static void tell(struct buffer *out, const char *what, struct bytes value)
{
    if (value.size)
        buffer_printf(out, " %s=[%.*s]", what, BYTES_ARG(value));
}

static bool on_head(void *data, const struct transfer_head *head)
{
    struct account *account = data;

    assert_int_equal(account->heads++, 0);
    assert_false(account->state == HTTP1_ANSWER_LEFT);
    assert_true(http1_answer_headed(account->answer));
    buffer_printf(&account->text, "%u", head->status);
    tell(&account->text, "type", head->content_type);
    tell(&account->text, "encoding", head->content_encoding);
    tell(&account->text, "again", head->retry_after);
    return account->leave_at == 0 || --account->leave_at > 0;
}

static bool on_body(void *data, struct bytes piece)
{
    struct account *account = data;

    assert_int_equal(account->heads, 1);
    assert_true(piece.size > 0 && piece.data >= account->low && piece.data + piece.size <= account->high);
    buffer_append(&account->body, piece);
    return account->leave_at == 0 || --account->leave_at > 0;
}

static const struct http1_answer_events events = {on_head, on_body};

static void begin(struct account *account)
{
    *account = (struct account){.answer = http1_answer_new(&events)};
    http1_answer_begin(account->answer, account);
}

/* With the same parser. */
static void begin_again(struct account *account)
{
    http1_answer_begin(account->answer, account);
    account->state = HTTP1_ANSWER_MORE;
    account->heads = 0;
    account->text.size = account->body.size = account->rest.size = 0;
}

static void feed(struct account *account, struct bytes piece)
{
    /* On the heap, at its exact size: a read too far is seen. */
    char *copy = malloc(piece.size ? piece.size : 1);
    enum http1_answer_state before = account->state;
    struct bytes rest = {"?", 1};

    assert_non_null(copy);
    if (piece.size)
        memcpy(copy, piece.data, piece.size);
    account->low = copy;
    account->high = copy + piece.size;
    account->state = http1_answer_read(account->answer, (struct bytes){copy, piece.size}, &rest);
    if (before != HTTP1_ANSWER_MORE)
        assert_int_equal(account->state, before);
    if (account->state == HTTP1_ANSWER_WHOLE) {
        assert_true(rest.size == 0 || rest.data + rest.size == account->high);
        buffer_append(&account->rest, rest);
    } else {
        assert_int_equal(rest.size, 0);
    }
    free(copy);
}

static void say_state(struct account *account)
{
    static const char *const words[] = {"more", "whole", "cut", "bad", "left"};
    const char *reason = http1_answer_reason(account->answer);

    buffer_printf(&account->text, "%s%s", account->text.size ? " " : "", words[account->state]);
    if (account->state == HTTP1_ANSWER_BAD || account->state == HTTP1_ANSWER_CUT)
        assert_true(reason && *reason);
    assert_int_equal(account->heads > 0, http1_answer_headed(account->answer));
    if (account->state == HTTP1_ANSWER_BAD)
        assert_int_equal(account->heads, 0);
    if (account->state == HTTP1_ANSWER_CUT)
        assert_int_equal(account->heads, 1);
    if (http1_answer_keeps(account->answer))
        buffer_append_text(&account->text, " keeps");
}

/* The whole story in one line. The connection ends when the answer has not. */
static struct bytes tell_all(struct account *account)
{
    if (account->heads)
        buffer_printf(&account->text, " {%.*s}", BYTES_ARG(buffer_bytes(&account->body)));
    if (account->state == HTTP1_ANSWER_MORE) {
        buffer_append_text(&account->text, account->text.size ? " ends" : "ends");
        account->state = http1_answer_end(account->answer);
        assert_int_equal(http1_answer_end(account->answer), account->state);
    }
    say_state(account);
    tell(&account->text, "rest", buffer_bytes(&account->rest));
    return buffer_bytes(&account->text);
}

static void end(struct account *account)
{
    assert_null(http1_answer_free(account->answer));
    buffer_deinit(&account->text);
    buffer_deinit(&account->body);
    buffer_deinit(&account->rest);
}

/* --- vectors --------------------------------------------------------------------------------------------------- */

struct vector {
    const char *name, *input, *outcome;
};

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define TEN "0123456789"
#define FORTY TEN TEN TEN TEN

static const struct vector vectors[] = {
    /* lengths and ends */
    {"nothing", "", "ends bad"},
    {"length", OK "Content-Length: 5\r\n\r\nhello", "200 {hello} whole keeps"},
    {"length 0", OK "Content-Length: 0\r\n\r\n", "200 {} whole keeps"},
    {"more than the length", OK "Content-Length: 2\r\n\r\nhello", "200 {he} whole keeps rest=[llo]"},
    {"less than the length", OK "Content-Length: 9\r\n\r\nhello", "200 {hello} ends cut"},
    {"half a head", OK "Content-Le", "ends bad"},
    {"one byte", "H", "ends bad"},
    {"empty line before", "\r\n" OK "Content-Length: 1\r\n\r\na", "200 {a} whole keeps"},
    {"two answers", OK "Content-Length: 1\r\n\r\na" OK "\r\n", "200 {a} whole keeps rest=[HTTP/1.1 200 OK\r\n\r\n]"},
    {"until the end", OK "\r\nhello", "200 {hello} ends whole"},
    {"until the end, empty", OK "\r\n", "200 {} ends whole"},
    {"no reason phrase", "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na", "200 {a} whole keeps"},
    {"no reason phrase, no space", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", "200 {a} whole keeps"},
    {"status 999", "HTTP/1.1 999 Hm\r\nContent-Length: 1\r\n\r\na", "999 {a} whole keeps"},
    {"204", "HTTP/1.1 204 None\r\n\r\n", "204 {} whole keeps"},
    {"204 with a length", "HTTP/1.1 204 None\r\nContent-Length: 2\r\n\r\nab", "204 {} whole keeps rest=[ab]"},
    {"304 with a length", "HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\n", "304 {} whole keeps"},
    {"304 with chunks", "HTTP/1.1 304 Same\r\nTransfer-Encoding: chunked\r\n\r\n", "304 {} whole keeps"},
    /* keeping */
    {"close", OK "Connection: close\r\nContent-Length: 1\r\n\r\na", "200 {a} whole"},
    {"close in a list", OK "Connection: x, Close\r\nContent-Length: 1\r\n\r\na", "200 {a} whole"},
    {"close until the end", OK "Connection: close\r\n\r\nab", "200 {ab} ends whole"},
    {"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "200 {a} whole"},
    {"1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", "200 {a} whole keeps"},
    {"1.0 kept and closed", "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 1\r\n\r\na",
     "200 {a} whole"},
    {"1.0 until the end", "HTTP/1.0 200 OK\r\n\r\nab", "200 {ab} ends whole"},
    {"1.0 kept until the end", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nab", "200 {ab} ends whole"},
    {"1.0 with chunks",
     "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
     "200 {a} whole"},
    {"bytes behind close", OK "Connection: close\r\nContent-Length: 1\r\n\r\nabc", "200 {a} whole rest=[bc]"},
    /* chunks */
    {"chunks", CHUNKED "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "200 {hello!} whole keeps"},
    {"chunks, a rest", CHUNKED "1\r\na\r\n0\r\n\r\nxyz", "200 {a} whole keeps rest=[xyz]"},
    {"chunks, none", CHUNKED "0\r\n\r\n", "200 {} whole keeps"},
    {"chunks, any case", OK "TRANSFER-encoding:\tChUnKeD  \r\n\r\nA\r\n" TEN "\r\n0\r\n\r\n",
     "200 {" TEN "} whole keeps"},
    {"chunks, zeros first", CHUNKED "0001\r\na\r\n000\r\n\r\n", "200 {a} whole keeps"},
    {"chunks, extensions", CHUNKED "1;a;b=\"c;d\"\r\na\r\n1;e=f\r\nb\r\n0;g\r\n\r\n", "200 {ab} whole keeps"},
    {"chunks, line ends in the data", CHUNKED "4\r\n\r\n\r\n\r\n0\r\n\r\n", "200 {\r\n\r\n} whole keeps"},
    {"chunks, trailers", CHUNKED "1\r\na\r\n0\r\nContent-Type: late\r\nConnection: close\r\n\r\n",
     "200 {a} whole keeps"},
    {"chunks, no end", CHUNKED "1\r\na\r\n", "200 {a} ends cut"},
    {"chunks, no last line", CHUNKED "1\r\na\r\n0\r\n", "200 {a} ends cut"},
    {"chunks, cut inside", CHUNKED "9\r\nabc", "200 {abc} ends cut"},
    {"chunks, then close", OK "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
     "200 {a} whole"},
    {"chunk of no size", CHUNKED "1\r\na\r\n\r\n", "200 {a} cut"},
    {"chunk size of letters", CHUNKED "xyz\r\n", "200 {} cut"},
    {"chunk size with a sign", CHUNKED "-1\r\n", "200 {} cut"},
    {"chunk size 0x1", CHUNKED "0x1\r\na\r\n", "200 {} cut"},
    {"chunk size too large", CHUNKED "fffffffffffffffff\r\n", "200 {} cut"},
    {"chunk size and a space", CHUNKED "1 \r\na\r\n", "200 {} cut"},
    {"chunk too short", CHUNKED "5\r\nabc\r\n0\r\n\r\n", "200 {abc\r\n} cut"},
    {"chunk too long", CHUNKED "1\r\nabc\r\n", "200 {a} cut"},
    {"chunk line with LF alone", CHUNKED "1\na\r\n", "200 {} cut"},
    /* values */
    {"type", OK "Content-Type: text/event-stream; charset=utf-8\r\nContent-Length: 0\r\n\r\n",
     "200 type=[text/event-stream; charset=utf-8] {} whole keeps"},
    {"all three", "HTTP/1.1 503 No\r\nDate: today\r\nCONTENT-TYPE:a/b\r\ncontent-encoding: br\r\nRetry-After: 7\r\n"
     "X-Request-Id: 1\r\nContent-Length: 0\r\n\r\n", "503 type=[a/b] encoding=[br] again=[7] {} whole keeps"},
    {"spaces around", OK "Content-Type: \t a/b; c \t \r\nContent-Length: 0\r\n\r\n",
     "200 type=[a/b; c] {} whole keeps"},
    {"the last one counts", OK "Retry-After: 123\r\nRetry-After: 4\r\nContent-Length: 0\r\n\r\n",
     "200 again=[4] {} whole keeps"},
    {"an empty value", OK "Content-Type: a\r\nContent-Type:\r\nContent-Length: 0\r\n\r\n", "200 {} whole keeps"},
    {"nearly the names", OK "Content-Typ: a\r\nContent-Typee: b\r\nXontent-Type: c\r\nTransfer-Encodings: d\r\n"
     "A-Name-Longer-Than-Transfer-Encoding: e\r\nContent-Length: 0\r\n\r\n", "200 {} whole keeps"},
    {"cut at 128", OK "Content-Type: " FORTY FORTY FORTY TEN "\r\nContent-Length: 0\r\n\r\n",
     "200 type=[" FORTY FORTY FORTY "01234567] {} whole keeps"},
    {"cut at 32", OK "Content-Encoding: " FORTY "\r\nContent-Length: 0\r\n\r\n",
     "200 encoding=[" TEN TEN TEN "01] {} whole keeps"},
    {"cut at 64", OK "Retry-After: " FORTY FORTY "\r\nContent-Length: 0\r\n\r\n",
     "200 again=[" FORTY TEN TEN "0123] {} whole keeps"},
    {"cut among spaces", OK "Content-Encoding: " TEN TEN TEN "        x\r\nContent-Length: 0\r\n\r\n",
     "200 encoding=[" TEN TEN TEN "  ] {} whole keeps"},
    {"spaces beyond the cut", OK "Content-Encoding: " TEN TEN TEN "         \r\nContent-Length: 0\r\n\r\n",
     "200 encoding=[" TEN TEN TEN "] {} whole keeps"},
    /* interim answers, and other protocols */
    {"100", "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\na", "200 {a} whole keeps"},
    {"103, its fields forgotten", "HTTP/1.1 103 Hints\r\nContent-Type: x\r\nRetry-After: 9\r\nConnection: close\r\n\r\n"
     "HTTP/1.1 102 Wait\r\nContent-Length: 7\r\n\r\n" OK "Content-Length: 1\r\n\r\na", "200 {a} whole keeps"},
    {"100 of chunks", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" CHUNKED "1\r\na\r\n0\r\n\r\n",
     "200 {a} whole keeps"},
    {"100 of 1.0", "HTTP/1.0 100 Continue\r\n\r\n" OK "Content-Length: 1\r\n\r\na", "200 {a} whole keeps"},
    {"100 and nothing", "HTTP/1.1 100 Continue\r\n\r\n", "ends bad"},
    {"101", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", "bad"},
    {"101 that tells nothing", "HTTP/1.1 101 Switching\r\n\r\nabc", "bad"},
    {"an upgrade offered", OK "Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\na",
     "200 {a} whole keeps"},
    {"an upgrade offered, no length", OK "Upgrade: h2c\r\nConnection: upgrade\r\n\r\na", "200 {a} ends whole"},
    {"upgrade required", "HTTP/1.1 426 No\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\nx",
     "426 {} whole keeps rest=[x]"},
    /* what is no answer */
    {"HTTP/0.9", "<html>hello</html>", "bad"},
    {"version 0.9", "HTTP/0.9 200 OK\r\n\r\n", "bad"},
    {"version 2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "bad"},
    {"version 1", "HTTP/1 200 OK\r\n\r\n", "bad"},
    {"version 11.1", "HTTP/11.1 200 OK\r\n\r\n", "bad"},
    {"small letters", "http/1.1 200 OK\r\n\r\n", "bad"},
    {"a request", "GET / HTTP/1.1\r\n\r\n", "bad"},
    {"ICY", "ICY 200 OK\r\n\r\n", "bad"},
    {"status 99", "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n", "bad"},
    {"status 1000", "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n", "bad"},
    {"status of letters", "HTTP/1.1 abc OK\r\n\r\n", "bad"},
    {"no status", "HTTP/1.1 OK\r\n\r\n", "bad"},
    {"status line with LF alone", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bad"},
    {"field with LF alone", OK "Content-Length: 0\n\r\n", "bad"},
    {"field with CR alone", OK "A: b\rContent-Length: 0\r\n\r\n", "bad"},
    {"end with LF alone, which llhttp lets pass", OK "Content-Length: 0\r\n\n", "200 {} whole keeps"},
    {"space before the colon", OK "Content-Length : 0\r\n\r\n", "bad"},
    {"space in a name", OK "Content Length: 0\r\n\r\n", "bad"},
    {"no colon", OK "Content-Length\r\n\r\n", "bad"},
    {"control byte in a value", OK "A: b\001c\r\n\r\n", "bad"},
    {"a second line", OK "Content-Type: a\r\n b\r\nContent-Length: 0\r\n\r\n", "bad"},
    {"a second line for a length", OK "Content-Length: 1\r\n 0\r\n\r\n" TEN, "bad"},
    {"a second line for chunks", OK "Transfer-Encoding: chunked\r\n\t, gzip\r\n\r\n0\r\n\r\n", "bad"},
    {"a second line for nobody", OK "A: b\r\n c\r\nContent-Length: 0\r\n\r\n", "bad"},
    /* framing that can be read in two ways */
    {"length twice", OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "bad"},
    {"length twice, equal", OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "bad"},
    {"length list", OK "Content-Length: 1, 1\r\n\r\na", "bad"},
    {"length negative", OK "Content-Length: -1\r\n\r\na", "bad"},
    {"length with a plus", OK "Content-Length: +1\r\n\r\na", "bad"},
    {"length of hex", OK "Content-Length: 0x1\r\n\r\na", "bad"},
    {"length of two words", OK "Content-Length: 1 1\r\n\r\na", "bad"},
    {"length empty", OK "Content-Length:\r\n\r\na", "bad"},
    {"length too large", OK "Content-Length: 18446744073709551616\r\n\r\na", "bad"},
    {"length, then chunks", OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "200 {ab} whole"},
    {"chunks, then length", OK "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nab\r\n0\r\n\r\n", "200 {ab} whole"},
    {"gzip", OK "Transfer-Encoding: gzip\r\n\r\nabc", "bad"},
    {"gzip, chunked", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "bad"},
    {"chunked, gzip", OK "Transfer-Encoding: chunked, gzip\r\n\r\nabc", "bad"},
    {"chunked, far off gzip", OK "Transfer-Encoding: chunked                , gzip\r\n\r\nabc", "bad"},
    {"chunked, far off chunked", OK "Transfer-Encoding: chunked                , chunked\r\n\r\n0\r\n\r\n", "bad"},
    {"chunked, chunked", OK "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "bad"},
    {"chunked twice", OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad"},
    {"gzip above chunked", OK "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad"},
    {"chunkedd", OK "Transfer-Encoding: chunkedd\r\n\r\n0\r\n\r\n", "bad"},
    {"chunked;q=1", OK "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "bad"},
    {"identity", OK "Transfer-Encoding: identity\r\n\r\nabc", "bad"},
    {"no coding", OK "Transfer-Encoding:\r\n\r\nabc", "bad"},
};

static void judge(struct account *account, const struct vector *vector, const char *how, size_t at)
{
    struct bytes outcome = tell_all(account);

    if (!bytes_equal(outcome, bytes_of(vector->outcome)))
        fail_msg("%s, %s %zu: \"%.*s\" instead of \"%s\"", vector->name, how, at, BYTES_ARG(outcome), vector->outcome);
    end(account);
}

static void run_in_steps(const struct vector *vector, size_t step)
{
    struct bytes input = bytes_of(vector->input);
    struct account account;

    begin(&account);
    while (input.size) {
        struct bytes piece = {input.data, input.size < step ? input.size : step};

        feed(&account, piece);
        input = bytes_skip(input, piece.size);
    }
    judge(&account, vector, "steps of", step);
}

static void vectors_come_out_the_same_however_cut(void **state)
{
    struct account account;

    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        struct bytes input = bytes_of(vectors[i].input);

        run_in_steps(&vectors[i], SIZE_MAX);
        run_in_steps(&vectors[i], 1);
        run_in_steps(&vectors[i], 3);
        for (size_t at = 0; at <= input.size; at++) {
            begin(&account);
            feed(&account, (struct bytes){input.data, at});
            feed(&account, bytes_skip(input, at));
            judge(&account, &vectors[i], "cut at", at);
        }
    }
}

static void one_parser_reads_answer_after_answer(void **state)
{
    struct account account;

    begin(&account);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
            begin_again(&account);
            assert_false(http1_answer_begun(account.answer) || http1_answer_headed(account.answer));
            feed(&account, bytes_of(vectors[i].input));
            assert_int_equal(http1_answer_begun(account.answer), vectors[i].input[0] != '\0');
            if (!bytes_equal(tell_all(&account), bytes_of(vectors[i].outcome)))
                fail_msg("%s: not the same in a used parser", vectors[i].name);
        }
    }
    end(&account);
}

/* --- limits ---------------------------------------------------------------------------------------------------- */

/* BEFORE, SIZE times FILL, BEHIND: fed in several ways. */
static void check_filled(const char *before, size_t size, char fill, const char *behind, const char *outcome)
{
    static const size_t steps[] = {SIZE_MAX, TRANSFER_HEADER_LIMIT, 16384, 4099, 1};
    struct vector vector = {"filled", NULL, outcome};
    struct buffer input;

    buffer_init(&input);
    buffer_append_text(&input, before);
    memset(buffer_reserve(&input, size), fill, size);
    input.size += size;
    buffer_append_text(&input, behind);
    buffer_append_char(&input, '\0');
    vector.input = input.data;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        run_in_steps(&vector, steps[i]);
    buffer_deinit(&input);
}

static void a_head_has_a_limit(void **state)
{
    static const char before[] = OK "A: ", behind[] = "\r\nContent-Length: 3\r\n\r\nabc";
    size_t fit = TRANSFER_HEADER_LIMIT - strlen(before) - strlen(behind) + strlen("abc");

    check_filled(before, fit, 'x', behind, "200 {abc} whole keeps");
    check_filled(before, fit + 1, 'x', behind, "bad");
    check_filled(OK "A: ", 10 * TRANSFER_HEADER_LIMIT, 'x', "", "bad");
    check_filled(OK, 10 * TRANSFER_HEADER_LIMIT, 'x', "", "bad");
    check_filled("HTTP/1.1 200 ", 10 * TRANSFER_HEADER_LIMIT, 'x', "", "bad");
    check_filled("", TRANSFER_HEADER_LIMIT + 1, '\r', "", "bad");
}

static void interim_heads_count_as_well(void **state)
{
    static const char before[] = "HTTP/1.1 103 Hints\r\nA: ", behind[] = "\r\n\r\n" OK "Content-Length: 3\r\n\r\nabc";
    size_t fit = TRANSFER_HEADER_LIMIT - strlen(before) - strlen(behind) + strlen("abc");

    check_filled(before, fit, 'x', behind, "200 {abc} whole keeps");
    check_filled(before, fit + 1, 'x', behind, "bad");
}

static void there_are_ten_interim_answers(void **state)
{
    for (size_t count = TRANSFER_INTERIM_LIMIT; count <= TRANSFER_INTERIM_LIMIT + 1; count++) {
        struct vector vector = {"interim", NULL, count > TRANSFER_INTERIM_LIMIT ? "bad" : "200 {a} whole keeps"};
        struct buffer input;

        buffer_init(&input);
        for (size_t i = 0; i < count; i++)
            buffer_append_text(&input, "HTTP/1.1 102 Wait\r\nA: b\r\n\r\n");
        buffer_append(&input, BYTES(OK "Content-Length: 1\r\n\r\na\0"));
        vector.input = input.data;
        run_in_steps(&vector, SIZE_MAX);
        run_in_steps(&vector, 1);
        run_in_steps(&vector, 7);
        buffer_deinit(&input);
    }
}

static void each_answer_has_the_whole_limit(void **state)
{
    static const char head[] = "HTTP/1.1 204 None\r\nA: bcdefghijklmnopqrstuvwxyz\r\n\r\n";
    struct account account;

    begin(&account);
    for (size_t read = 0; read < 2 * TRANSFER_HEADER_LIMIT; read += sizeof(head) - 1) {
        begin_again(&account);
        feed(&account, bytes_of(head));
        assert_int_equal(account.state, HTTP1_ANSWER_WHOLE);
    }
    end(&account);
}

static void what_is_no_body_has_a_limit(void **state)
{
    size_t limit = TRANSFER_HEADER_LIMIT;

    /* From the last byte of a chunk to the first of the next: CR LF 1 ; x... CR LF. */
    check_filled(CHUNKED "1\r\na\r\n1;", limit - 6, 'x', "\r\nb\r\n0\r\n\r\n", "200 {ab} whole keeps");
    check_filled(CHUNKED "1\r\na\r\n1;", limit - 5, 'x', "\r\nb\r\n0\r\n\r\n", "200 {a} cut");
    check_filled(CHUNKED "1\r\na\r\n1;", 5 * limit, 'x', "", "200 {a} cut");
    check_filled(CHUNKED "1;", 5 * limit, 'x', "", "200 {} cut");
    check_filled(CHUNKED, 5 * limit, '0', "", "200 {} cut");
    /* To the end: CR LF 0 CR LF A : SP x... CR LF CR LF. */
    check_filled(CHUNKED "1\r\na\r\n0\r\nA: ", limit - 12, 'x', "\r\n\r\nZ", "200 {a} whole keeps rest=[Z]");
    check_filled(CHUNKED "1\r\na\r\n0\r\nA: ", limit - 11, 'x', "\r\n\r\nZ", "200 {a} cut");
    check_filled(CHUNKED "1\r\na\r\n0\r\nA: ", 5 * limit, 'x', "", "200 {a} cut");
}

static void bodies_have_none(void **state)
{
    struct account account;
    struct buffer input;

    buffer_init(&input);
    buffer_append_text(&input, CHUNKED);
    for (size_t i = 0; i < 3 * TRANSFER_HEADER_LIMIT / 6; i++)
        buffer_append_text(&input, "1\r\nx\r\n");
    buffer_append_text(&input, "0\r\n\r\n");
    for (size_t step = 1; step <= input.size; step *= 7) {
        begin(&account);
        for (size_t at = 0; at < input.size; at += step)
            feed(&account, (struct bytes){input.data + at, input.size - at < step ? input.size - at : step});
        assert_int_equal(account.state, HTTP1_ANSWER_WHOLE);
        assert_int_equal(account.body.size, 3 * TRANSFER_HEADER_LIMIT / 6);
        end(&account);
    }
    buffer_deinit(&input);
}

/* --- callbacks that leave -------------------------------------------------------------------------------------- */

static void a_callback_may_leave(void **state)
{
    static const struct {
        const char *input, *outcome;
        unsigned leave_at;
        bool cut_makes_no_difference;
    } cases[] = {
        {OK "Content-Length: 5\r\n\r\nhello", "200 {} left", 1, true},
        {OK "Content-Length: 0\r\n\r\n", "200 {} left", 1, true},
        {"HTTP/1.1 204 None\r\n\r\nabc", "204 {} left", 1, true},
        {CHUNKED "zzz", "200 {} left", 1, true},
        {"HTTP/1.1 100 Continue\r\n\r\n" OK "\r\nab", "200 {} left", 1, true},
        {CHUNKED "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "200 {a} left", 2, true},
        {CHUNKED "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", "200 {ab} left", 3, true},
        {OK "Content-Length: 1\r\n\r\nab", "200 {a} left", 2, true},
        {OK "Content-Length: 5\r\n\r\nhello", "200 {hello} left", 2, false},
        {OK "\r\nhello", "200 {hello} left", 2, false},
    };
    struct account account;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct bytes input = bytes_of(cases[i].input);

        for (size_t at = 0; at <= (cases[i].cut_makes_no_difference ? input.size : 0); at++) {
            begin(&account);
            account.leave_at = cases[i].leave_at;
            feed(&account, (struct bytes){input.data, at});
            feed(&account, bytes_skip(input, at));
            /* Nothing comes any more, whatever is read. */
            feed(&account, BYTES(OK "Content-Length: 1\r\n\r\nx"));
            assert_int_equal(http1_answer_end(account.answer), HTTP1_ANSWER_LEFT);
            assert_false(http1_answer_keeps(account.answer));
            if (!bytes_equal(tell_all(&account), bytes_of(cases[i].outcome)))
                fail_msg("case %zu, cut at %zu: \"%.*s\"", i, at, BYTES_ARG(buffer_bytes(&account.text)));
            end(&account);
        }
    }
}

struct owner {
    char name[16];
};

static bool free_owner(void *data, const struct transfer_head *head)
{
    alloc_free(data);
    return false;
}

static bool no_body(void *data, struct bytes piece)
{
    fail_msg("a body for somebody who left");
    return false;
}

static void the_owner_may_be_gone(void **state)
{
    static const struct http1_answer_events leaving = {free_owner, no_body};
    struct http1_answer *answer = http1_answer_new(&leaving);
    struct bytes rest;

    for (int i = 0; i < 3; i++) {
        http1_answer_begin(answer, ALLOC_NEW(struct owner));
        assert_int_equal(http1_answer_read(answer, BYTES(OK "Content-Length: 1\r\n\r\na"), &rest), HTTP1_ANSWER_LEFT);
        assert_int_equal(rest.size, 0);
        assert_int_equal(http1_answer_read(answer, BYTES("b"), &rest), HTTP1_ANSWER_LEFT);
    }
    http1_answer_free(answer);
    assert_null(http1_answer_free(NULL));
}

/* --- reasons --------------------------------------------------------------------------------------------------- */

static void reasons_say_what_it_was(void **state)
{
    static const struct {
        const char *input, *reason;
    } cases[] = {
        {"hello", "not HTTP"},
        {"HTTP/3.0 200 OK\r\n\r\n", "not HTTP/1"},
        {"HTTP/2.0 200 OK\r\n\r\n", "not HTTP/1"},
        {"HTTP/1.1 20 OK\r\n\r\n", "not a status"},
        {"HTTP/1.1 2000 OK\r\n\r\n", "not a status"},
        {"HTTP/1.1 101 OK\r\n\r\n", "the upstream switched protocols"},
        {OK "A b: c\r\n\r\n", "a malformed head"},
        {OK "A: b\r\n c\r\n\r\n", "a header goes on in a second line"},
        {OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "the length of the body is not clear"},
        {OK "Transfer-Encoding: br\r\n\r\n", "a transfer encoding that is not known here"},
        {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "more than one transfer encoding"},
        {CHUNKED "x", "a malformed chunk size"},
        {CHUNKED "1\r\nabc", "a malformed body"},
        {CHUNKED "1\r\na", "the connection ended within the body"},
        {"HTTP/1.1 2", "the connection ended within the head"},
        {"", "the connection ended unanswered"},
    };
    struct account account;

    begin(&account);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        begin_again(&account);
        feed(&account, bytes_of(cases[i].input));
        http1_answer_end(account.answer);
        assert_string_equal(http1_answer_reason(account.answer), cases[i].reason);
    }
    end(&account);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_come_out_the_same_however_cut),
        cmocka_unit_test(one_parser_reads_answer_after_answer),
        cmocka_unit_test(a_head_has_a_limit),
        cmocka_unit_test(interim_heads_count_as_well),
        cmocka_unit_test(there_are_ten_interim_answers),
        cmocka_unit_test(each_answer_has_the_whole_limit),
        cmocka_unit_test(what_is_no_body_has_a_limit),
        cmocka_unit_test(bodies_have_none),
        cmocka_unit_test(a_callback_may_leave),
        cmocka_unit_test(the_owner_may_be_gone),
        cmocka_unit_test(reasons_say_what_it_was),
    };

    return cmocka_run_group_tests_name("http1_answer", tests, NULL, NULL);
}
