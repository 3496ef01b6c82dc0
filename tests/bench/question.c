/*
 * One request text is made at the start; asking writes the nonce's digits into it, which is all that differs.
 */
#include "question.h"

#include "answer.h"
#include "bench.h"

enum { HEAD_BYTES = 1024 };

static struct question_plan plan;
static char *request, *request_nonce;
static size_t request_length;
static uint64_t issued, first_nonce;
static uint64_t *stamps_seen;                       /* by nonce, when questions come again */
static char first_answer[ANSWER_TEXT];              /* of this run: all others are like it, but for the id */
static size_t first_length, first_id;

static size_t write_body(char *body, size_t room)
{
    static const char prose[] =
        "An ember is a glowing, hot coal of slowly burning fuel.\\nIt \\\"glows\\\" long. ";
    size_t length = (size_t)snprintf(body, room, "{\"model\":\"bench\",");

    if (plan.stream)
        length += (size_t)snprintf(body + length, room - length,
            "\"stream\":true,\"user\":\"rate=%u count=%u\",", plan.event_rate, plan.events);
    if (plan.seeded)
        length += (size_t)snprintf(body + length, room - length, "\"seed\":42,");
    length += (size_t)snprintf(body + length, room - length,
        "\"temperature\":0.7,\"messages\":[{\"role\":\"system\",\"content\":\"You are brief.\"},"
        "{\"role\":\"user\",\"content\":\"%sWhat is it? ",
        plan.different || plan.always_new ? "nonce=" NO_NONCE " " : "");
    while (length + sizeof prose - 1 + 4 <= plan.body_bytes) {
        memcpy(body + length, prose, sizeof prose - 1);
        length += sizeof prose - 1;
    }
    while (length + 4 < plan.body_bytes)
        body[length++] = '.';
    return length + (size_t)snprintf(body + length, room - length, "\"}]}");
}

void question_init(const struct question_plan *wanted)
{
    struct timespec now;
    size_t room, length;
    char *body;

    plan = *wanted;
    room = plan.body_bytes + HEAD_BYTES + strlen(plan.key);
    body = must_alloc(room);
    length = write_body(body, room);
    request = must_alloc(room + HEAD_BYTES);
    request_length = (size_t)snprintf(request, room + HEAD_BYTES,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: embergate-bench/1\r\n"
        "Authorization: Bearer %s\r\n"
        "Accept: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        plan.port, plan.key, plan.stream ? "text/event-stream" : "application/json", length, body);
    free(body);
    request_nonce = strstr(request, "nonce=");
    if (plan.different)
        stamps_seen = must_alloc(plan.different * sizeof *stamps_seen);
    clock_gettime(CLOCK_REALTIME, &now);            /* microseconds: asked more slowly than they pass */
    first_nonce = plan.always_new ? (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 : 0;
}

uint64_t question_next(void)
{
    uint64_t next = issued++;

    if (plan.always_new)
        return (first_nonce + next) % 1000000000000ull;
    return plan.different ? next % plan.different : 0;
}

const char *question_text(uint64_t nonce, size_t *ret_length)
{
    if (request_nonce)
        put_digits(request_nonce + strlen("nonce=") + NONCE_DIGITS, nonce, NONCE_DIGITS);
    *ret_length = request_length;
    return request;
}

static bool is_nonce(uint64_t nonce, const char *id)
{
    char digits[NONCE_DIGITS];

    put_digits(digits + NONCE_DIGITS, nonce, NONCE_DIGITS);
    return memcmp(id, digits, NONCE_DIGITS) == 0;
}

static const char *find_id(const char *text, size_t length)
{
    const char *mark = memmem(text, length, "\"" NONCE_MARK, strlen("\"" NONCE_MARK));
    const char *id = mark ? mark + strlen("\"" NONCE_MARK) : NULL;

    return id && (size_t)(text + length - id) >= NONCE_DIGITS ? id : NULL;
}

bool question_is_whole(uint64_t nonce, const char *text, size_t length)
{
    const char *id = find_id(text, length);
    size_t rest;

    if (!id || !is_nonce(nonce, id))
        return false;
    if (!first_length) {
        memcpy(first_answer, text, length);
        first_length = length;
        first_id = (size_t)(id - text);
    }
    rest = first_id + NONCE_DIGITS;
    return length == first_length && (size_t)(id - text) == first_id &&
           memcmp(text, first_answer, first_id) == 0 && memcmp(text + rest, first_answer + rest, length - rest) == 0;
}

bool question_is_event(uint64_t nonce, const char *event, size_t length)
{
    const char *id = find_id(event, length < 64 ? length : 64);

    return id && is_nonce(nonce, id);
}

bool question_is_changed(uint64_t nonce, uint64_t stamps)
{
    uint64_t before;

    if (!stamps_seen)
        return false;
    before = stamps_seen[nonce];
    stamps_seen[nonce] = stamps;
    return before && before != stamps;
}
