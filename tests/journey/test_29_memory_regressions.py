"""What once went wrong in the memory, and must not again. Old and broken answers are written into Redis by hand: nothing
here waits for one to age."""

import asyncio
import hashlib
import itertools
import re
import socket
import struct
import subprocess
import time

import pytest
from harness import Gateway, backend, port_of, question, reserved
from memory_world import (CHAT, GOODFIRE, Swarm, cache_command, control, counts, key, labelled, mirrored, one_model, page,
                          purge, reason, remembering, said, seeded, until, verdict, wanted)
from redis_world import PREFIX, Redis, Wire, connected

ONLY = control("only-if-cached")
# Freed memory is not held back, to be measured.
FRUGAL = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}


@pytest.fixture(scope="module")
def redis():
    with Redis() as one:
        yield one


def on_redis(provider, redis, cache=None, deadline="5s", workers=1, model_more=None, environment=None, **redis_more):
    """A gateway whose first shelf keeps nothing, unless CACHE says so."""
    cache = {"memory": "0", "redis": {"url": redis.url, "deadline": deadline, **redis_more}, **(cache or {})}
    gateway = Gateway(environment=environment, **one_model(provider, cache=cache, workers=workers, model_more=model_more))
    connected(gateway, workers)
    return gateway


@pytest.fixture(scope="module")
def writer(provider, redis):
    """Puts answers into Redis, for others to find."""
    with on_redis(provider, redis) as one:
        yield one


def asked(gateway, body, headers=()):
    """The verdict, of an answer with the right words."""
    answer = gateway.chat(body, headers=headers)
    assert said(answer).startswith(wanted(body)), answer.body
    return verdict(answer)


# --- answers in Redis, by hand ---------------------------------------------------------------------------------------

CHUNK, USAGE, BODY, LOGITS, RAW = range(5)


class Stored:
    """An answer as it lies there (src/memo/stored.h), taken apart; without a secret anybody can sign it again."""

    def __init__(self, value):
        self.magic, self.label, self.made = value[:8], value[40:112], struct.unpack_from("<Q", value, 112)[0]
        at, self.texts = 120, []
        for _ in range(3):
            size, = struct.unpack_from("<I", value, at)
            self.texts.append(value[at + 4:at + 4 + size])
            at += 4 + size
        self.tokens, (count,) = value[at:at + 17], struct.unpack_from("<I", value, at + 17)     # and the finish
        at, self.events = at + 21, []
        for _ in range(count):
            *event, size = struct.unpack_from("<BBHII", value, at)
            self.events.append([*event, value[at + 12:at + 12 + size]])
            at += 12 + size
        assert at == len(value) and self.value() == value

    def value(self):
        rest = self.label + struct.pack("<Q", self.made)
        rest += b"".join(struct.pack("<I", len(text)) + text for text in self.texts) + self.tokens
        rest += struct.pack("<I", len(self.events))
        rest += b"".join(struct.pack("<BBHII", *event[:4], len(event[4])) + event[4] for event in self.events)
        return self.magic + hashlib.sha256(rest).digest() + rest


def changed(redis, writer, body, change=lambda stored: None, more=b""):
    """The answer to BODY lies in Redis, changed by CHANGE, with MORE behind it. Its name there."""
    answer = writer.chat(body)
    name = f"{PREFIX}:a:{key(answer)}"
    assert verdict(answer) == "miss" and said(answer).startswith(wanted(body))
    stored = Stored(until(lambda: redis.command("GET", name), "the answer to lie in redis"))
    change(stored)
    redis.command("SET", name, stored.value() + more)
    return name


def older(stored):
    stored.made -= 5000


class Held(Wire):
    """Commands that match `mark`, and those behind them on their connection, wait on their way until it is None."""

    def __init__(self, target):
        super().__init__(target)
        self.mark, self.waiting = None, 0

    async def serve(self, reader, writer):
        held = asyncio.StreamReader()
        task = self.loop.create_task(self._hold(reader, held))
        try:
            await super().serve(held, writer)
        finally:
            task.cancel()

    async def _hold(self, reader, held):
        while data := await reader.read(1 << 16):
            if self.mark and re.search(self.mark, data):
                self.waiting += 1
                while self.mark:
                    await asyncio.sleep(0.002)
            held.feed_data(data)
        held.feed_eof()


STORES_ANSWER, STORES, LEARNS = rb"SET\r\n\$\d+\r\nembergate:a", rb"SET\r\n", rb"\*6\r\n\$3\r\nSET\r\n\$\d+\r\nembergate:m"
LOOKS = rb"GET\r\n\$\d+\r\nembergate:a"


# --- starting, purging, growing old ----------------------------------------------------------------------------------

@pytest.mark.parametrize("taken_by", ["listen", "admin"])
@pytest.mark.parametrize("there", [True, False], ids=["redis", "no redis"])
def test_a_taken_port_ends_the_program_in_good_order(provider, redis, taken_by, there):
    with reserved() as nobody, socket.socket() as taken:
        port = redis.port if there else port_of(nobody)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        config = one_model(provider, cache={"redis": {"url": f"redis://127.0.0.1:{port}"}}, workers=2)
        gateway = Gateway(start=False, **{**config, taken_by: [address] if taken_by == "listen" else address})
        done = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=30, check=False,
                              env=gateway.environment)
        gateway.folder.cleanup()
    assert done.returncode > 0 and done.returncode != 99, (done.returncode, done.stderr)
    assert "cannot listen on 127.0.0.1 port %s" % address.split(":")[1] in done.stderr and "ssertion" not in done.stderr


@pytest.mark.parametrize("mark", [STORES_ANSWER, LEARNS, STORES], ids=["the answer", "the stamp", "whatever is stored"])
@pytest.mark.parametrize("how", ["--key", "--model"])
@pytest.mark.parametrize("memory", ["0", "8m"])
def test_a_purge_wins_over_a_store_on_its_way(provider, how, mark, memory):
    with Redis() as redis, Held(redis) as held, on_redis(provider, held, {"memory": memory}) as gateway, \
            on_redis(provider, redis) as other:
        if mark == STORES_ANSWER:
            changed(redis, gateway, seeded())   # the model has a stamp
        body, fence = seeded(stream=True), seeded()
        held.mark = mark
        answer = gateway.chat(body)
        assert verdict(answer) == "miss"
        until(lambda: held.waiting, "the store to be on its way")
        assert cache_command("purge", how, key(answer) if how == "--key" else "tiny", gateway=gateway)[0] == 0
        if mark == LEARNS and how == "--model":
            until(lambda: redis.command("KEYS", f"{PREFIX}:m:*"), "the purge to be there before it")
        held.mark = None
        # What is stored later by the same worker comes behind it all.
        until(lambda: redis.command("EXISTS", f"{PREFIX}:a:{key(gateway.chat(fence))}"), "a later answer to be there")
        for one in (gateway, other):
            assert one.chat(body, headers=ONLY).status == 504
        assert asked(gateway, body) == "miss" and len(provider.chats()) >= 3


@pytest.mark.parametrize("memory", ["0", "8m"])
def test_a_recalled_answer_of_an_old_model_is_asked_anew(provider, redis, writer, memory):
    body = seeded()
    with on_redis(provider, redis, {"memory": memory}) as gateway:
        provider.next(fingerprint="fp_new")
        asked(gateway, seeded())
        changed(redis, writer, body, lambda stored: stored.texts.__setitem__(2, b"fp_old"))
        assert gateway.chat(body, headers=ONLY).status == 504
        provider.next(fingerprint="fp_new")
        before = len(provider.chats())
        assert asked(gateway, body) == "miss" and len(provider.chats()) == before + 1
        assert page(gateway)["counts"]["recalled"] == 0


@pytest.mark.parametrize("by", ["no seed", "no-store", "audit"])
def test_a_new_fingerprint_is_heard_wherever_it_is_told(provider, by):
    with remembering(provider, {"audit": 1} if by == "audit" else {}) as gateway:
        body = seeded()
        assert asked(gateway, body) == "miss"
        if by != "audit":
            assert asked(gateway, body) == "hit"
        provider.next(fingerprint="fp_other")
        other, headers = {"audit": (body, []), "no seed": (question(text=mirrored()), []),
                          "no-store": (seeded(), control("no-store"))}[by]
        assert asked(gateway, other, headers) == ("hit" if by == "audit" else "bypass")
        gateway.wait("cache_fingerprints_total", 1)
        provider.always = {"fingerprint": "fp_other"}
        assert asked(gateway, body) == "miss"
        assert asked(gateway, body) == "hit" and gateway.metric("cache_fingerprints_total") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_joiner_that_wants_it_younger_asks_anew(provider, redis, writer, stream):
    with Held(redis) as held, on_redis(provider, held) as gateway, Swarm(gateway) as swarm:
        body = seeded(stream=stream)
        changed(redis, writer, body, older)
        held.mark = LOOKS
        leader = swarm.ask(1, body)
        until(lambda: held.waiting, "the leader to look")
        joiners = swarm.ask(1, body, headers=control("max-age=1")) + swarm.ask(1, body, headers=control("max-age=1000"))
        until(lambda: counts(gateway)["joins"] == 2, "two to join")
        provider.next(text="fresher")
        held.mark = None
        old, young, content = swarm.answers(leader + joiners)
        assert verdict(old) == "hit" and int(old.header("age")) >= 5 and said(old) == wanted(body)
        assert verdict(young) == "miss" and said(young) == "fresher" and young.header("age") is None
        assert said(content) == wanted(body) and int(content.header("age")) >= 5
        assert len(provider.chats()) == 2


def test_models_that_share_answers_have_each_its_own_time(provider, redis, writer):
    models = [{"name": name, "backends": ["one"], "upstream": "tiny", "cache": {"ttl": ttl}}
              for name, ttl in (("tiny", "24h"), ("brief", "1s"))]
    cache = {"when": "repeatable", "memory": "8m", "redis": {"url": redis.url, "deadline": "5s"}}
    with Gateway(backends=[backend("one", provider)], models=models, cache=cache) as gateway:
        connected(gateway)
        body, began = seeded(), time.monotonic()
        first, second = gateway.chat(body), gateway.chat({**body, "model": "brief"})
        assert key(first) == key(second) and verdict(first) == "miss"
        assert verdict(second) == "hit" and second.header("age") == "0" or time.monotonic() - began >= 1
        old = seeded()
        changed(redis, writer, old, older)
        answer = gateway.chat(old)
        assert verdict(answer) == "hit" and int(answer.header("age")) >= 5
        assert verdict(gateway.chat(old)) == "hit" and len(provider.chats()) <= 3
        brief = {**old, "model": "brief"}
        assert gateway.chat(brief, headers=ONLY).status == 504
        answer = gateway.chat(brief)
        assert verdict(answer) == "miss" and key(answer) == key(gateway.chat(old))


@pytest.mark.parametrize("how", ["failing", "cut", "leaving"])
def test_no_cache_that_comes_to_nothing_leaves_what_was_there(provider, how):
    with remembering(provider) as gateway:
        body = seeded(mirrored("+tokens=9"), stream=True)
        first = gateway.chat(body)
        if how == "leaving":
            provider.hold(at=3)
            with Swarm(gateway) as swarm:
                guests = swarm.ask(1, body, headers=control("no-cache"))
                Swarm.wait(guests, b"data: ")
                swarm.leave(guests)
                provider.last().wait_ended()
            provider.release()
        else:
            provider.next(**({"status": 500} if how == "failing" else {"rst_after": 3}))
            answer = gateway.chat(body, headers=control("no-cache"))
            assert b'"error"' in answer.body
        gateway.quiet()
        again = gateway.chat(body, headers=ONLY)
        assert verdict(again) == "hit" and again.body == first.body and len(provider.chats()) == 2
        provider.next(text="newer")
        newer = gateway.chat(body, headers=control("no-cache"))
        assert verdict(newer) == "miss" and newer.text() == "newer"
        again = gateway.chat(body, headers=ONLY)
        assert verdict(again) == "hit" and again.body == newer.body and page(gateway)["entries"] == 1


# --- hits from Redis -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("headers", [[], ONLY], ids=["any", "only-if-cached"])
@pytest.mark.parametrize("memory", ["0", "8m"])
def test_a_replay_from_redis_keeps_the_pace(provider, redis, writer, headers, memory):
    def slow(stored):
        for number, event in enumerate(stored.events):
            event[3] = 150 * number

    body = seeded(mirrored("+tokens=3"), stream=True)
    name = changed(redis, writer, body, slow)
    count = len(Stored(redis.command("GET", name)).events)
    with on_redis(provider, redis, {"replay": "paced", "memory": memory}) as gateway:
        for _ in range(2):
            answer = gateway.chat(body, headers=headers)
            assert verdict(answer) == "hit" and said(answer).startswith(wanted(body)) and count > 3
            # The usage event, the last there, is not for this client; whoever reads late sees the first events closer.
            assert answer.chunks[-1].at - answer.chunks[0].at > 0.15 * (count - 3)
        assert len(provider.chats()) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_hits_from_redis_are_audited(provider, redis, writer, stream):
    same, other = seeded(stream=stream), seeded(stream=stream)
    changed(redis, writer, same)
    changed(redis, writer, other)
    with on_redis(provider, redis, {"audit": 1}) as gateway:
        before = len(provider.chats())
        assert asked(gateway, same) == "hit"
        until(lambda: labelled(gateway, "audit_total").get(("tiny", "same")) == 1, "an audit that found the same")
        provider.next(text="otherwise")
        assert asked(gateway, other) == "hit"
        until(lambda: labelled(gateway, "audit_total").get(("tiny", "different")) == 1, "one that did not")
        assert len(provider.chats()) == before + 2


# --- keys ------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def house(providers):
    with Gateway(backends=[backend(kind, one) for kind, one in providers.items()], cache={"when": "repeatable"},
                 models=[{"name": kind, "backends": [kind], "upstream": "tiny"} for kind in providers]) as one:
        yield one


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server"])
@pytest.mark.parametrize("change, unseeded, counts_seed", [
    *(({"temperature": 0, **hot}, False, True) for hot in ({"samplers": ["top_k"]}, {"mirostat": 2}, {"dynatemp_range": 1})),
    ({"temperature": 0, "never_heard_of": 1}, True, True), ({"temperature": 0}, True, False),
    ({"temperature": 0, "repetition_penalty": 1.1}, True, False), ({"temperature": 0, "samplers": None}, True, False)])
def test_greed_that_may_be_undone(house, kind, change, unseeded, counts_seed):
    body = question(kind, mirrored(), **change)
    answers = [house.chat({**body, **({"seed": seed} if seed else {})}) for seed in (0, 1, 2, 1)]
    if unseeded:
        assert verdict(answers[0]) == "miss" and key(answers[0])
    else:
        assert reason(answers[0]) == "no-seed"
    assert key(answers[1]) and (key(answers[1]) != key(answers[2])) == counts_seed
    assert verdict(answers[3]) == "hit" and key(answers[3]) == key(answers[1])


@pytest.mark.parametrize("kind, greed", [("vllm", {"top_k": 1}), ("llama-server", {"top_k": 1}), ("openai", {"top_p": 0})])
def test_one_token_to_choose_from_unless_undone(house, kind, greed):
    body = question(kind, mirrored(), **greed)
    assert verdict(house.chat(body)) == "miss"
    assert reason(house.chat({**body, "never_heard_of": 1})) == "no-seed"
    assert reason(house.chat({**body, "samplers": ["temperature"]})) == "no-seed"


def test_what_else_is_wanted_of_a_stream_is_part_of_the_question(house):
    body = seeded(model="vllm", stream=True)
    plain = house.chat(body)
    for usual in ("include_usage", "include_obfuscation"):
        assert key(house.chat({**body, "stream_options": {usual: False}})) == key(plain), usual
    more = house.chat({**body, "stream_options": {"include_usage": True, "continuous_usage_stats": True}})
    assert verdict(more) == "miss" and key(more) != key(plain)


# --- what is no answer -----------------------------------------------------------------------------------------------

def only(kind, *payloads):
    return lambda events: [[kind, 0, 0, 1, payload] for payload in payloads]


WHOLE = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"forged"},"finish_reason":"stop"}]}'
PIECE = b'{"id":"x","choices":[{"index":0,"delta":{"content":"forged"},"finish_reason":"stop"}]}'
STREAM_LIES = {
    "nothing": only(CHUNK), "cut": lambda events: events[:2], "usage alone": lambda events: events[-1:],
    "no reason": lambda events: [event for event in events if b'"finish_reason":"stop"' not in event[4]],
    "body": only(BODY, WHOLE), "raw": only(RAW, PIECE), "logits": only(LOGITS, b'{"logits":{}}'), "empty": only(CHUNK, b""),
    "text": only(CHUNK, b"oh"), "list": only(CHUNK, b"[]"), "object": only(CHUNK, b"{}"), "half": only(CHUNK, PIECE[:-2]),
    "no delta": only(CHUNK, PIECE, b'{"choices":[{"index":0,"delta":5}]}'),
    "a choice without end": only(CHUNK, PIECE, PIECE.replace(b'"stop"', b"null").replace(b":0", b":1"))}
WHOLE_LIES = {
    "nothing": only(BODY), "chunks": only(CHUNK, PIECE), "raw": only(RAW, WHOLE), "text": only(BODY, b"oh"),
    "empty": only(BODY, b""), "an object": only(BODY, b"{}"), "a list": only(BODY, b"[]"),
    "no choices": only(BODY, b'{"choices":[]}'), "no message": only(BODY, b'{"choices":[{"index":0}]}'),
    "no reason": only(BODY, WHOLE.replace(b'"stop"', b"null"))}


@pytest.mark.parametrize("stream, lies", [(True, STREAM_LIES), (False, WHOLE_LIES)], ids=["stream", "whole"])
@pytest.mark.parametrize("memory", ["0", "8m"])
def test_what_is_no_answer_is_not_told(provider, redis, writer, stream, lies, memory):
    with on_redis(provider, redis, {"memory": memory}) as gateway:
        asked(gateway, seeded())
        for (what, change), door in itertools.product(lies.items(), (CHAT, GOODFIRE)):
            body, entries = seeded(mirrored("+tokens=3"), stream=stream), page(gateway)["entries"]
            changed(redis, writer, body, lambda stored: setattr(stored, "events", change(stored.events)))
            answer = gateway.ask(door, body, headers=ONLY)
            assert answer.status == 504 and page(gateway)["entries"] == entries, (what, answer.status, answer.body)
            answer = gateway.ask(door, body)
            assert verdict(answer) == "miss" and said(answer).startswith(wanted(body)), (what, answer.body)
            assert b"forged" not in answer.body
        assert counts(gateway)["recalled"] == 0


def test_a_variant_s_answers_are_its_model_s(providers):
    variants = [{"name": "pirate", "model": "llama-server", "lora": [{"id": 0, "scale": 0.8}]}]
    with Gateway(**one_model(providers["llama-server"], model_more={"name": "llama-server", "upstream": "tiny"}),
                 variants=variants) as gateway:
        base, steered = (seeded(model=name) for name in ("llama-server", "pirate"))
        first = gateway.chat(base)
        assert verdict(first) == "miss" and asked(gateway, steered) == "miss"
        assert asked(gateway, base) == asked(gateway, steered) == "hit"
        for query in (f"?model=pirate&key={key(first)}", f"?key={key(first)}&model=llama-server", "?model=&key="):
            answer = gateway.ask("/cache/purge" + query, method="POST", address=gateway.admin)
            assert answer.status == 400, (query, answer.body)
        assert asked(gateway, base) == asked(gateway, steered) == "hit"
        assert purge(gateway, "?model=pirate") == 2
        assert asked(gateway, base) == asked(gateway, steered) == "miss"


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama"])
def test_goodfire_s_words_are_the_same_each_time(house, kind):
    body = question(kind, mirrored("+tokens=4"), temperature=0, stream=True)
    answers = [house.goodfire(body) for _ in range(3)]
    assert [verdict(one) for one in answers] == ["miss", "hit", "hit"]
    assert answers[0].events() == answers[1].events() == answers[2].events() and len(answers[0].events()) > 4


@pytest.mark.parametrize("workers", [1, 2])
def test_a_refusal_is_told_once(provider, workers):
    def told(what):
        return len([line for line in gateway.lines if what in line and not line.startswith("request ")])

    with Redis() as redis, on_redis(provider, redis, workers=workers) as gateway:
        bodies = [seeded() for _ in range(12)]
        assert {asked(gateway, body) for body in bodies} == {"miss"}
        until(lambda: len(redis.answers()) == len(bodies), "all to be stored")
        for turn in (1, 2):
            redis.command("ACL", "SETUSER", "default", "-get", "-set")
            errors, away = gateway.metric("redis_errors_total"), gateway.metric("redis_away_total")
            assert {asked(gateway, body) for body in bodies * 2} == {"miss"}
            gateway.wait("redis_errors_total", errors + 2 * len(bodies))
            assert turn <= told("refuses a look: NOPERM") <= turn * workers, gateway.lines[-40:]
            assert turn <= told("does not store: NOPERM") <= turn * workers and gateway.metric("redis_away_total") == away
            redis.command("ACL", "SETUSER", "default", "+@all")
            until(lambda: {asked(gateway, body) for body in bodies} == {"hit"}, "it to be used again")
            until(lambda: asked(gateway, seeded()) and gateway.metric("redis_stored_total") >= 2 * len(bodies), "stores")
        redis.kill()
        gateway.wait("redis_up", 0)
        away = gateway.metric("redis_away_total")
        assert {asked(gateway, body) for body in bodies} == {"miss"}
        assert gateway.metric("redis_away_total") == away + len(bodies)
        assert told("away, going on without it") == workers + 1 and told("NOPERM") <= 4 * workers


def test_a_large_reply_is_not_gathered(provider, redis, writer):
    def peak():
        with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) * 1024

    bodies = [seeded() for _ in range(4)]
    with on_redis(provider, redis, environment=FRUGAL, value="64k") as gateway:
        assert {asked(gateway, seeded()) for _ in range(20)} == {"miss"}
        for body in bodies:
            changed(redis, writer, body, more=bytes(8 << 20))
        before, high = gateway.memory(), peak()
        for body in bodies:
            assert asked(gateway, body) == "miss"
            connected(gateway)
        assert gateway.memory() - before < 2 << 20 and peak() - high < 2 << 20
