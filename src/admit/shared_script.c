/*
 * One rate is one time (GCRA): when all that was taken will have been given back, in whole microseconds and, so that
 * no rate is rounded, a rest in parts of the rate. A scope's books are twelve numbers in one string, read and written
 * as a whole: two commands of Redis for each scope, its expiry among them.
 *
 *    1 when they were written      2, 3 requests: time, rest      4, 5 tokens: time, rest
 *    6 end of the day    7 its tokens    8 its money       9 end of the month    10 its tokens    11 its money
 *   12 until when its leases' key lasts, if there is one and it was not made anew
 *
 * Redis' clock may step back, most of all when another server takes over: the rates' times then step with it, so
 * nobody waits for what the clock lost. Lua prints large numbers with 14 digits: none is ever turned into text but by
 * Redis itself, which takes 17.
 */
#include "admit/shared_script.h"

#include <assert.h>
#include <endian.h>
#include <math.h>

#define MINUTE_US UINT64_C(60000000)
#define RATE_MOST UINT64_C(300000000000)    /* a minute of it in microseconds is below 2^64 */

static const char books_text[] =
    "local floor, max = math.floor, math.max\n"
    "local DAY = 86400000000\n"
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"

    /* The first day of the month of a day, in days since 1970. */
    "local function month_start(day)\n"
    "  local z = day + 719468\n"
    "  local doe = z - floor(z / 146097) * 146097\n"
    "  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)\n"
    "  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))\n"
    "  local month = floor((5 * doy + 2) / 153)\n"
    "  return day - doy + floor((153 * month + 2) / 5)\n"
    "end\n"

    "local function load(key)\n"
    "  local text = redis.call('GET', key)\n"
    "  local b\n"
    "  if text and #text == 96 then\n"
    "    b = {struct.unpack('<dddddddddddd', text)}\n"
    "    local back = b[1] - now\n"
    "    if back > 0 then b[2], b[4] = b[2] - back, b[4] - back end\n"
    "  else\n"
    "    b = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}\n"
    "  end\n"
    "  b[1], b[13] = now, false\n"
    "  if b[6] <= now then b[6], b[7], b[8] = (floor(now / DAY) + 1) * DAY, 0, 0 end\n"
    "  if b[9] <= now then\n"
    "    b[9], b[10], b[11] = month_start(month_start(floor(now / DAY)) + 31) * DAY, 0, 0\n"
    "  end\n"
    "  return b\n"
    "end\n"

    "local function save(key, b)\n"
    "  local ends = max(b[2], b[4], now)\n"
    "  if b[7] + b[8] > 0 then ends = max(ends, b[6]) end\n"
    "  if b[10] + b[11] > 0 then ends = max(ends, b[9]) end\n"
    "  redis.call('SET', key, struct.pack('<dddddddddddd', unpack(b, 1, 12)),\n"
    "             'PX', floor((ends - now) / 1000) + 1001)\n"
    "end\n"

    "local function numbers(text) return {struct.unpack('<' .. string.rep('d', #text / 8), text)} end\n";

/*
 * KEYS: the take's, then books and leases of each scope. ARGV: the take's id; the lease, tokens, money, and of each
 * scope: for requests and for tokens the rate, what is wanted (time, rest) and what is possible at once (time, rest);
 * how many at once; tokens a day, a month, money a day, a month. 0 limits nothing.
 * Gives: 1 (0: refused, -1: this take was given up before it came), the scope and the limit that refuse for longest,
 * for how long, now, and of each scope how far its rates' times are ahead.
 */
static const char take_text[] =
    "local p = numbers(ARGV[2])\n"
    "local lease, tokens, money = p[1], p[2], p[3]\n"
    "local count = (#KEYS - 1) / 2\n"
    "local books, out = {}, {1, 0, 0, 0, now}\n"

    "local function refuse(scope, limit, wait)\n"
    "  if out[1] == 1 or wait > out[4] then out[1], out[2], out[3], out[4] = 0, scope, limit, wait end\n"
    "end\n"

    "local function rate(b, at, o, scope, limit)\n"
    "  local parts, whole, more = p[o], p[o + 1], p[o + 2]\n"
    "  if parts == 0 or whole == 0 and more == 0 then return end\n"
    "  local time, rest = b[at], b[at + 1]\n"
    "  if time < now then time, rest = now, 0 elseif rest >= parts then time, rest = time + 1, 0 end\n"
    "  local over = time - now\n" /* more than is ever possible at once waits for everything */
    "  if rest > 0 then over = over + 1 end\n"
    "  time, rest = time + whole, rest + more\n"
    "  if rest >= parts then time, rest = time + 1, rest - parts end\n"
    "  b[at], b[at + 1], b[13] = time, rest, true\n"
    "  if whole < p[o + 3] or whole == p[o + 3] and more <= p[o + 4] then\n"
    "    over = time - now - p[o + 3]\n"
    "    if rest > p[o + 4] then over = over + 1 end\n"
    "  end\n"
    "  if over > 0 then refuse(scope, limit, over) end\n"
    "end\n"

    "local function budget(b, at, most, amount, scope, limit, ends)\n"
    "  if most == 0 or amount == 0 then return end\n"
    "  b[at], b[13] = b[at] + amount, true\n"
    "  if b[at] > most then refuse(scope, limit, ends - now) end\n"
    "end\n"

    "for i = 1, count do\n"
    "  local o = 15 * i - 11\n"
    "  local b = load(KEYS[2 * i])\n"
    "  books[i] = b\n"
    "  out[2 * i + 4], out[2 * i + 5] = max(b[2] - now, 0), max(b[4] - now, 0)\n"
    "  local most = p[o + 10]\n"
    "  if most > 0 then\n"
    "    local set = KEYS[2 * i + 1]\n"
    "    local held = redis.call('ZCARD', set)\n"
    "    if held >= most then\n"
    "      redis.call('ZREMRANGEBYSCORE', set, '-inf', now)\n"
    "      held = redis.call('ZCARD', set)\n"
    "      if held >= most then refuse(i, 2, 0) end\n"
    "    end\n"
    "    if held == 0 then b[12] = 0 end\n"
    "  end\n"
    "  rate(b, 2, o, i, 0)\n"
    "  rate(b, 4, o + 5, i, 1)\n"
    "  budget(b, 7, p[o + 11], tokens, i, 3, b[6])\n"
    "  budget(b, 10, p[o + 12], tokens, i, 4, b[9])\n"
    "  budget(b, 8, p[o + 13], money, i, 5, b[6])\n"
    "  budget(b, 11, p[o + 14], money, i, 6, b[9])\n"
    "end\n"

    "if out[1] == 1 and not redis.call('SET', KEYS[1], 1, 'PX', 86400000, 'NX') then out[1] = -1 end\n"
    "if out[1] == 1 then\n"
    "  for i = 1, count do\n"
    "    local b = books[i]\n"
    "    if p[15 * i - 1] > 0 then\n"
    "      local set = KEYS[2 * i + 1]\n"
    "      redis.call('ZADD', set, now + lease, ARGV[1])\n"
    "      if b[12] < now + lease then\n"
    "        redis.call('PEXPIRE', set, floor(lease / 1000) * 3)\n"
    "        b[12] = now + lease * 3 - 1000\n"
    "      end\n"
    "    end\n"
    "    if b[13] then save(KEYS[2 * i], b) end\n"
    "    out[2 * i + 4], out[2 * i + 5] = max(b[2] - now, 0), max(b[4] - now, 0)\n"
    "  end\n"
    "end\n"
    "return struct.pack('<' .. string.rep('d', #out), unpack(out))\n";

/*
 * KEYS as above. ARGV: the lease's id; what is done (0: a take is settled, 1: it is undone; under a name of its own:
 * 2: something is added that no take asked for, 3: a part of a take is undone), the ends of the take's day and month,
 * tokens and money more or less than was taken, and of each scope: for requests and for tokens the rate, the time
 * more or less (time, rest) and the rate's time as the take left it; whether it has leases; whether tokens of the
 * day, of the month, money of the day, of the month are counted. Gives 1 when it did something.
 *
 * What time has given back already is not given back again: an old estimate would make room for a second burst. All
 * is read before the take's key is touched: a value that is not ours ends the script, which is tried again later.
 */
static const char settle_text[] =
    "local p = numbers(ARGV[2])\n"
    "local kind, day, month, tokens, money = p[1], p[2], p[3], p[4], p[5]\n"
    "local count_of_scopes = (#KEYS - 1) / 2\n"
    "local books, fresh = {}, nil\n"

    "local function move(b, at, o)\n"
    "  local parts, whole, more, last = p[o], p[o + 1], p[o + 2], p[o + 3]\n"
    "  if parts == 0 or whole == 0 and more == 0 then return end\n"
    "  local time, rest = b[at], b[at + 1]\n"
    "  if whole < 0 or more < 0 then\n"
    "    if last <= now then return end\n"
    "    if whole < now - last then whole, more = now - last, 0 end\n"
    "  end\n"
    "  if time < now then time, rest = now, 0 end\n"
    "  time, rest = time + whole, rest + more\n"
    "  if rest >= parts then time, rest = time + 1, rest - parts\n"
    "  elseif rest < 0 then time, rest = time - 1, rest + parts end\n"
    "  b[at], b[at + 1], b[13] = time, rest, true\n"
    "end\n"

    "local function count(b, at, counted, amount)\n"
    "  if counted > 0 and amount ~= 0 then b[at], b[13] = max(b[at] + amount, 0), true end\n"
    "end\n"

    "local function moves(o)\n"
    "  return p[o + 1] ~= 0 or p[o + 2] ~= 0 or p[o + 5] ~= 0 or p[o + 6] ~= 0 or\n"
    "         tokens ~= 0 and p[o + 9] + p[o + 10] > 0 or money ~= 0 and p[o + 11] + p[o + 12] > 0\n"
    "end\n"

    "for i = 1, count_of_scopes do\n"
    "  local o = 13 * i - 7\n"
    "  if p[o + 8] > 0 then redis.call('ZREM', KEYS[2 * i + 1], ARGV[1]) end\n"
    "  if moves(o) then books[i] = load(KEYS[2 * i]) end\n"
    "end\n"

    "if kind == 0 then\n"
    "  fresh = redis.call('DEL', KEYS[1]) == 1\n"
    "elseif kind == 1 then\n" /* What is left there stops a take that is still on its way. */
    "  fresh = redis.call('GET', KEYS[1]) == '1'\n"
    "  redis.call('SET', KEYS[1], 0, 'PX', 60000)\n"
    "else\n"
    "  fresh = redis.call('SET', KEYS[1], 1, 'PX', 600000, 'NX')\n"
    "end\n"

    "for i = 1, count_of_scopes do\n"
    "  local o, b = 13 * i - 7, books[i]\n"
    "  if fresh and b then\n"
    "    move(b, 2, o)\n"
    "    move(b, 4, o + 4)\n"
    "    if b[6] == day then count(b, 7, p[o + 9], tokens) count(b, 8, p[o + 11], money) end\n"
    "    if b[9] == month then count(b, 10, p[o + 10], tokens) count(b, 11, p[o + 12], money) end\n"
    "    if b[13] then save(KEYS[2 * i], b) end\n"
    "  end\n"
    "end\n"
    "return fresh and 1 or 0\n";

/*
 * KEYS: sets of leases, one for each lease. ARGV: the lease's time, then the ids. A lease that is not there any more
 * is there again: its request runs.
 */
static const char renew_text[] =
    "local time = redis.call('TIME')\n"
    "local ends = time[1] * 1000000 + time[2] + ARGV[1]\n"
    "local seen = {}\n"
    "for i = 1, #KEYS do\n"
    "  redis.call('ZADD', KEYS[i], ends, ARGV[i + 1])\n"
    "  if not seen[KEYS[i]] then\n"
    "    seen[KEYS[i]] = true\n"
    "    redis.call('PEXPIRE', KEYS[i], math.floor(ARGV[1] / 1000) * 3)\n"
    "  end\n"
    "end\n"
    "return #KEYS\n";

/*
 * KEYS: books and leases of each scope. Writes nothing. Gives of each: how far the rates' times are ahead, the leases
 * that have not ended, tokens of the day and of the month, money of the day and of the month, how long until the day
 * and the month are over.
 */
static const char peek_text[] =
    "local out = {}\n"
    "for i = 1, #KEYS, 2 do\n"
    "  local b = load(KEYS[i])\n"
    "  local held = redis.call('ZCOUNT', KEYS[i + 1], string.format('(%.0f', now), '+inf')\n"
    "  for _, n in ipairs({max(b[2] - now, 0), max(b[4] - now, 0), held, b[7], b[10], b[8], b[11], b[6] - now,\n"
    "                      b[9] - now}) do out[#out + 1] = n end\n"
    "end\n"
    "return struct.pack('<' .. string.rep('d', #out), unpack(out))\n";

#define TEXT_SIZE 8192

/* The books' functions go in front of the scripts that need them. */
struct bytes shared_script_text(enum shared_script script)
{
    static const struct {
        struct bytes head, body;
    } parts[SCRIPTS] = {
        [SCRIPT_TAKE] = {{books_text, sizeof(books_text) - 1}, {take_text, sizeof(take_text) - 1}},
        [SCRIPT_SETTLE] = {{books_text, sizeof(books_text) - 1}, {settle_text, sizeof(settle_text) - 1}},
        [SCRIPT_RENEW] = {{"", 0}, {renew_text, sizeof(renew_text) - 1}},
        [SCRIPT_PEEK] = {{books_text, sizeof(books_text) - 1}, {peek_text, sizeof(peek_text) - 1}},
    };
    static _Thread_local char text[TEXT_SIZE];
    struct bytes head = parts[script].head, body = parts[script].body;

    static_assert(sizeof(books_text) + sizeof(take_text) <= TEXT_SIZE, "room for the longest script");
    static_assert(sizeof(books_text) + sizeof(settle_text) <= TEXT_SIZE, "room for the longest script");
    memcpy(text, head.data, head.size);
    memcpy(text + head.size, body.data, body.size);
    return (struct bytes){text, head.size + body.size};
}

/* --- numbers --- */

uint64_t span_rate(uint64_t rate)
{
    return rate < RATE_MOST ? rate : RATE_MOST;
}

struct span span_of(uint64_t amount, uint64_t rate)
{
    uint64_t part;

    rate = span_rate(rate);
    if (amount / rate >= SHARED_MOST / MINUTE_US)
        return (struct span){SHARED_MOST, 0};
    part = amount % rate * MINUTE_US;
    return (struct span){amount / rate * MINUTE_US + part / rate, part % rate};
}

uint64_t span_amount(uint64_t us, uint64_t rate)
{
    rate = span_rate(rate);
    if (us / MINUTE_US >= SHARED_MOST / rate)
        return SHARED_MOST;
    return us / MINUTE_US * rate + (us % MINUTE_US * rate + MINUTE_US - 1) / MINUTE_US;
}

void pack_number(struct buffer *out, int64_t number)
{
    double value = (double)number;
    uint64_t bits;
    char *at = buffer_reserve(out, sizeof(bits));

    memcpy(&bits, &value, sizeof(bits));
    bits = htole64(bits);
    memcpy(at, &bits, sizeof(bits));
    out->size += sizeof(bits);
}

unsigned unpack_numbers(struct bytes reply, int64_t *ret, unsigned most)
{
    unsigned count = (unsigned)(reply.size / sizeof(uint64_t));

    if (reply.size % sizeof(uint64_t) || reply.size / sizeof(uint64_t) > most)
        return 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t bits;
        double value;

        memcpy(&bits, reply.data + i * sizeof(bits), sizeof(bits));
        bits = le64toh(bits);
        memcpy(&value, &bits, sizeof(value));
        if (!(fabs(value) < 9e15))
            return 0;
        ret[i] = (int64_t)value;
    }
    return count;
}
