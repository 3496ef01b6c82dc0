/*
 * A look asks for the stamp first and for the answer behind it, in one write: when the answer comes the stamp is
 * known, and the value is read where it lies, without a copy.
 */
#include "memo/second_private.h"

#include "base/alloc.h"
#include "base/clock.h"

#define SKEW_MS 60000               /* between the wall clocks of two gateways */
#define REPLY_BYTES (64u << 10)     /* beside the largest value: more is not read */
#define QUEUE_BYTES (1u << 20)      /* beside two of the largest values */

void second_tell(struct second *second, enum second_news news, struct bytes text)
{
    if (second->news)
        second->news(second->data, news, text);
}

/* --- names --- */

static struct bytes name_of(struct buffer *out, struct bytes prefix, const char *kind,
                            const uint8_t digest[DIGEST_SIZE])
{
    buffer_clear(out, SIZE_MAX);
    buffer_append(out, prefix);
    buffer_append_text(out, kind);
    digest_hex(digest, buffer_reserve(out, 2 * DIGEST_SIZE));
    out->size += 2 * DIGEST_SIZE;
    return buffer_bytes(out);
}

struct bytes second_answer_name(struct second *second, const uint8_t key[DIGEST_SIZE])
{
    return name_of(&second->name, second->config.prefix, ":a:", key);
}

static void remember_model(struct second *second, struct memo_model *model)
{
    struct known_model *known;
    uint8_t sum[DIGEST_SIZE];
    struct digest *digest = digest_new(BYTES_NONE);
    struct buffer name;

    digest_begin(digest);
    digest_add(digest, memo_model_name(model));
    digest_end(digest, sum);
    digest_free(digest);
    buffer_init(&name);
    second->models = alloc_resize(second->models, (second->model_count + 1) * sizeof(*second->models));
    known = &second->models[second->model_count++];
    *known = (struct known_model){.model = model, .key = name_of(&name, second->config.prefix, ":m:", sum)};
}

struct known_model *second_model(struct second *second, struct memo_model *model)
{
    for (uint32_t i = 0; i < second->model_count; i++)
        if (second->models[i].model == model)
            return &second->models[i];
    remember_model(second, model);
    return &second->models[second->model_count - 1];
}

uint64_t second_stamp_of(struct bytes text)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t stamp = 0;

    if (text.size != STAMP_DIGITS)
        return 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *digit = memchr(hex, text.data[i], STAMP_DIGITS);

        if (!digit)
            return 0;
        stamp = stamp << 4 | (uint64_t)(digit - hex);
    }
    return stamp;
}

int second_get(struct second *second, struct bytes name, struct redis_call *call)
{
    return redis_ask(second->redis, (struct bytes[]){BYTES("GET"), name}, 2, call);
}

/* --- looks --- */

/* From here on nothing more comes of it. */
static void look_leave(struct second_look *look)
{
    redis_forget(look->second->redis, &look->stamp);
    redis_forget(look->second->redis, &look->answer);
    list_remove(&look->link);
    look->second = NULL;
}

static void look_end(struct second_look *look, enum second_news news, struct bytes text)
{
    struct second *second = look->second;

    look_leave(look);
    second_tell(second, news, text);
    look->done(look->data, NULL, 0);
}

/* The reply is not one that can be gone on with: the look is over. */
static bool look_fails(struct second_look *look, int result, const struct redis_reply *reply)
{
    if (result == 0 && (reply->kind == REDIS_TEXT || reply->kind == REDIS_NIL))
        return false;
    if (result)
        look_end(look, result == REDIS_E_TIMEOUT ? SECOND_TIMEOUT : SECOND_AWAY, BYTES_NONE);
    else if (reply->kind == REDIS_ERROR)
        look_end(look, SECOND_ERROR, reply->text);
    else
        look_end(look, SECOND_ERROR, BYTES("an unexpected reply"));
    return true;
}

static bool is_wrong_type(int result, const struct redis_reply *reply)
{
    return result == 0 && reply->kind == REDIS_ERROR && bytes_start_with(reply->text, BYTES("WRONGTYPE"));
}

static void on_stamp(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct second_look *look = LIST_ENTRY(call, struct second_look, stamp);
    struct second *second = look->second;
    uint64_t there;

    if (is_wrong_type(result, reply))
        second_void_again(second, look->model);
    if (look_fails(look, result, reply))
        return;
    there = second_stamp_of(reply->text);
    if (reply->kind == REDIS_NIL)
        second_learn(second, look->model);
    else if (there == 0)
        second_void_again(second, look->model);
    else if (second_adopt(second, look->model, there, look->known))
        look->there = there;
}

/* How old an answer made then is. False: it is from the future. */
static bool age_of(uint64_t made_wall_ms, uint64_t *ret)
{
    uint64_t now = clock_wall_ms();

    if (made_wall_ms > now && made_wall_ms - now > SKEW_MS)
        return false;
    *ret = made_wall_ms > now ? 0 : now - made_wall_ms;
    return true;
}

/* What the look is worth: SECOND_FOUND with *FOUND and its age. */
static enum second_news judge(struct second_look *look, const struct redis_reply *reply, struct stored *found,
                              uint64_t *age_ms)
{
    struct second *second = look->second;

    if (reply->kind == REDIS_NIL || reply->text.size > second->config.value_bytes)
        return SECOND_MISSED;
    if (look->there == 0)
        return SECOND_VOID;
    if (stored_read(second->digest, reply->text, look->key, look->tenant, found))
        return SECOND_BAD;
    if (found->label.stamp != look->there)
        return SECOND_VOID;
    if (!age_of(found->label.made_wall_ms, age_ms) || *age_ms >= look->ttl_ms)
        return SECOND_MISSED;
    return SECOND_FOUND;
}

static void on_answer(struct redis_call *call, int result, const struct redis_reply *reply)
{
    struct second_look *look = LIST_ENTRY(call, struct second_look, answer);
    struct second *second = look->second;
    enum second_news news;
    struct stored found;
    uint64_t age_ms = 0;

    if (look_fails(look, result, reply))
        return;
    news = judge(look, reply, &found, &age_ms);
    if (news != SECOND_FOUND) {
        look_end(look, news, BYTES_NONE);
        return;
    }
    look_leave(look);
    second_tell(second, news, BYTES_NONE);
    look->done(look->data, &found, (uint32_t)age_ms);
}

/* SECOND_FOUND: it is on its way. */
static enum second_news look_send(struct second *second, struct second_look *look)
{
    if (!redis_is_ready(second->redis))
        return SECOND_AWAY;
    if (memo_model_stamp_is_old(look->model))
        return second_void_again(second, look->model) ? SECOND_VOID : SECOND_AWAY;
    if (second_get(second, second_model(second, look->model)->key, &look->stamp))
        return SECOND_AWAY;
    return second_get(second, second_answer_name(second, look->key), &look->answer) ? SECOND_AWAY : SECOND_FOUND;
}

bool second_look(struct second *second, struct second_look *look, const uint8_t key[DIGEST_SIZE],
                 const uint8_t tenant[DIGEST_SIZE], struct memo_model *model, uint32_t ttl_ms,
                 void (*done)(void *data, const struct stored *found, uint32_t age_ms), void *data)
{
    enum second_news news;

    *look = (struct second_look){.stamp.done = on_stamp, .answer.done = on_answer, .second = second, .model = model,
                                 .key = key, .tenant = tenant, .ttl_ms = ttl_ms, .done = done, .data = data};
    list_init(&look->stamp.link);
    list_init(&look->answer.link);
    list_append(&second->looks, &look->link);
    look->known = memo_model_stamp(model);
    news = look_send(second, look);
    if (news == SECOND_FOUND)
        return true;
    look_leave(look);
    second_tell(second, news, BYTES_NONE);
    return false;
}

void second_look_away(struct second_look *look)
{
    if (look->second)
        look_leave(look);
}

/* --- its life --- */

/* The owner hears of each state once, and of a server that refuses us even after it was away. */
static void on_redis(void *data, enum redis_news news, struct bytes text)
{
    struct second *second = data;

    if (news == REDIS_READY) {
        second->told_down = second->told_refused = false;
        second_tell(second, SECOND_UP, text);
    } else if (news == REDIS_REFUSED && !second->told_refused) {
        second->told_down = second->told_refused = true;
        second_tell(second, SECOND_DOWN, text);
    } else if ((news == REDIS_LOST || news == REDIS_TIMED_OUT) && !second->told_down) {
        second->told_down = true;
        second_tell(second, SECOND_DOWN, text);
    }
}

struct second *second_new(uv_loop_t *loop, struct memo *memo, const struct second_config *config,
                          void (*news)(void *data, enum second_news news, struct bytes text), void *data)
{
    struct second *second = ALLOC_NEW(struct second);

    second->memo = memo;
    second->config = *config;
    if (second->config.redis.reply_bytes == 0)
        second->config.redis.reply_bytes = config->value_bytes + REPLY_BYTES;
    if (second->config.redis.queue_bytes == 0)
        second->config.redis.queue_bytes = 2 * config->value_bytes + QUEUE_BYTES;
    second->digest = digest_new(config->secret);
    second->news = news;
    second->data = data;
    list_init(&second->looks);
    list_init(&second->errands);
    buffer_init(&second->name);
    buffer_init(&second->value);
    second->redis = redis_new(loop, &second->config.redis, on_redis, second);
    return second;
}

static void on_closed(void *data)
{
    struct second *second = data;
    void (*closed)(void *data) = second->closed;
    void *closed_data = second->closed_data;

    for (uint32_t i = 0; i < second->model_count; i++)
        alloc_free((void *)(uintptr_t)second->models[i].key.data);
    alloc_free(second->models);
    buffer_deinit(&second->name);
    buffer_deinit(&second->value);
    digest_free(second->digest);
    alloc_free(second);
    if (closed)
        closed(closed_data);
}

void second_close(struct second *second, void (*closed)(void *data), void *data)
{
    LIST_EACH(&second->looks, node)
        look_leave(LIST_ENTRY(node, struct second_look, link));
    second_drop_errands(second);
    second->news = NULL;
    second->closed = closed;
    second->closed_data = data;
    redis_close(second->redis, on_closed, second);
}

bool second_is_up(const struct second *second)
{
    return redis_is_ready(second->redis);
}
