"""The second shelf: gateways that share a real Redis, and everything that can become of it. No request ever fails, and
none waits longer than the deadline for it."""

import random
import threading
import time

import pytest
from conftest import house_config
from harness import AT_ONCE, Gateway, question
from memory_world import (CHAT, GOODFIRE, LOGITS, Swarm, cache_command, control, counts, mirrored, nonce, one_model, page,
                          purge, said, seeded, told_again, until, verdict,
                          wanted)
from redis_world import Redis, RedisError, Talk, Wire, connected

# What a sanitized build on a busy machine may add to the deadline.
SLACK = AT_ONCE


def redis_cache(redis, memory="0", **more):
    """A memory whose first shelf keeps nothing (unless MEMORY), so that every question looks at the second."""
    return {"memory": memory, "redis": {"url": getattr(redis, "url", redis), **more}}


def gateway_on(provider, redis, cache=None, memory="0", workers=1, ready=True, **redis_more):
    gateway = Gateway(**one_model(provider, cache={**redis_cache(redis, memory, **redis_more), **(cache or {})},
                                  workers=workers))
    if ready:
        connected(gateway, workers)
    return gateway


@pytest.fixture(scope="module")
def redis():
    with Redis() as one:
        yield one


def stored(redis, count, prefix="embergate"):
    """Until COUNT answers lie there: they are written behind the answer."""
    until(lambda: len(redis.answers(prefix)) >= count, f"{count} answers in redis; there are {len(redis.answers(prefix))}")


def ask_all(gateway, bodies, headers=()):
    """All must be answered with their own nonce. The outcomes, and the longest wait."""
    outcomes, longest = [], 0
    for body in bodies:
        began = time.monotonic()
        answer = gateway.chat(body, headers=headers)
        longest = max(longest, time.monotonic() - began)
        assert answer.status == 200, answer.body
        assert said(answer).startswith(wanted(body)), (body, answer.body)
        outcomes.append(verdict(answer))
    return outcomes, longest


def some(count, **more):
    return [seeded(stream=number % 2 == 0, **more) for number in range(count)]


# --- sharing -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["tcp", "unix", "unix url", "password", "user", "database", "prefix", "name"])
def test_two_gateways_share_it(provider, how):
    login = {"password": ("geh eim:/@",), "user": ("tester", "p%40ss")}.get(how, ())
    arguments = {"password": ("--requirepass", login[0] if login else ""),
                 "user": ("--user", "tester", "on", ">p%40ss", "~mine:*", "+get", "+set", "+del", "+ping", "+select", "+keys",
                          "+unlink")}.get(how, ())
    with Redis(*arguments, login=login) as redis:
        more, prefix = {
            "unix": ({"url": f"unix:{redis.unix}"}, None),
            "unix url": ({"url": f"redis+unix:{redis.unix}?db=2"}, None),
            "password": ({"password": login[0] if login else ""}, None),
            "user": ({"username": "tester", "password": "p%40ss", "prefix": "mine"}, "mine"),
            "database": ({"url": f"{redis.url}/3"}, None),
            "prefix": ({"prefix": "a.b:{c}-d"}, "a.b:{c}-d"),
            "name": ({"url": f"redis://localhost:{redis.port}"}, None),
        }.get(how, ({}, None))
        database = {"database": 3, "unix url": 2}.get(how, 0)
        with gateway_on(provider, redis, **more) as one, gateway_on(provider, redis, memory="8m", **more) as two:
            body, began = seeded(mirrored("+tokens=9"), stream=True), time.monotonic() - 1
            first = one.chat(body)
            with Talk(redis.unix) as talk:
                if login:
                    talk.command("AUTH", *login)
                talk.command("SELECT", database)
                name, = until(lambda: talk.command("KEYS", f"{prefix or 'embergate'}:a:*"), "an answer in redis")
                if how != "user":
                    assert 0 < talk.command("PTTL", name) <= 24 * 3600 * 1000
            second, third = two.chat(body), two.chat(body)
            assert verdict(first) == "miss" and len(provider.chats()) == 1
            for answer in (second, third):
                assert verdict(answer) == "hit" and answer.body == first.body
                assert 0 <= int(answer.header("age")) <= time.monotonic() - began
                assert answer.header("x-embergate-cache-key") == first.header("x-embergate-cache-key")
            assert counts(two)["recalled"] == 1 and counts(two)["hits"] >= 1
            assert page(two)["redis"]["configured"] and page(two)["redis"]["up"] == 2


@pytest.mark.parametrize("door", [CHAT, GOODFIRE])
def test_all_kinds_of_answers_are_shared(providers, redis, door):
    config = {**house_config(providers), "cache": {**redis_cache(redis), "when": "repeatable"}}
    with Gateway(**config) as one, Gateway(**config) as two:
        connected(one)
        connected(two)
        for kind in providers:
            for stream in (False, True):
                body = question(kind, mirrored(), temperature=0, stream=stream)
                first = one.ask(door, body)
                until(lambda: verdict(two.ask(door, body, headers=control("only-if-cached"))) == "hit", "it to be there")
                assert told_again(two.ask(door, body)) == told_again(first) and len(providers[kind].chats()) == 1
                providers[kind].forget()
            ask = question(kind, nonce(), top_k=4)
            first = one.ask(LOGITS, ask)
            until(lambda: verdict(two.ask(LOGITS, ask, headers=control("only-if-cached"))) == "hit", "it to be there")
            assert two.ask(LOGITS, ask).body == first.body


def test_the_age_is_that_of_the_answer(provider, redis):
    with gateway_on(provider, redis, {"ttl": "1h"}) as one, gateway_on(provider, redis, {"ttl": "1s"}) as brief:
        body = seeded()
        one.chat(body)
        until(lambda: int(one.chat(body).header("age") or 0) >= 2, "an age of 2 s")
        assert verdict(one.chat(body, headers=control("max-age=100"))) == "hit"
        assert verdict(brief.chat(body)) == "miss", "older than what this gateway calls good"
        assert verdict(one.chat(body, headers=control("max-age=0"))) == "miss"


def test_another_secret_is_another_memory(provider, redis):
    secrets = ["", "a secret of 16 bytes", "another one of those"]
    body = seeded()
    for secret in secrets:
        cache = {"secret": secret} if secret else {}
        with gateway_on(provider, redis, cache) as one, gateway_on(provider, redis, cache) as two:
            answer = one.chat(body)
            assert verdict(answer) == "miss"
            until(lambda: verdict(two.chat(body, headers=control("only-if-cached"))) == "hit", "it to be there")
    assert len(provider.chats()) == len(secrets)


def test_a_purge_reaches_the_others(provider, redis):
    with gateway_on(provider, redis, memory="8m") as one, gateway_on(provider, redis, memory="8m") as two:
        bodies = some(5)
        ask_all(one, bodies)
        until(lambda: set(ask_all(two, bodies)[0]) == {"hit"}, "both to know all")
        name = one.chat(bodies[0]).header("x-embergate-cache-key")
        assert purge(one, f"?key={name}") == 1 and purge(one, f"?key={name}") == 0
        assert verdict(one.chat(bodies[0])) == "miss", "it is gone from both shelves"
        provider.forget()
        status, out, _ = cache_command("purge", "--model", "tiny", gateway=one)
        assert status == 0 and "5" in out

        def heard():
            """It learns of the purge when it looks at redis next."""
            two.chat(seeded())
            return two.chat(bodies[1], headers=control("only-if-cached")).status == 504

        until(heard, "two to hear of it")
        assert ask_all(two, bodies)[0] == ["miss"] * 5 and counts(two)["voided"] >= 1


def test_a_restarted_gateway_finds_its_answers(provider, redis):
    bodies = some(10)
    with gateway_on(provider, redis, memory="8m", workers=2) as gateway:
        before = len(redis.answers())
        ask_all(gateway, bodies)
        stored(redis, before + 10)
        assert gateway.stop() == 0
        gateway.lines, gateway.addresses, gateway.admin = [], [], None
        gateway.start()
        connected(gateway, 2)
        assert ask_all(gateway, bodies)[0] == ["hit"] * 10 and len(provider.chats()) == 10


def test_what_is_too_large_for_it_stays_here(provider, redis):
    with gateway_on(provider, redis, memory="32m", value="16k") as gateway:
        before = len(redis.answers())
        body = seeded(mirrored("+tokens=500"), stream=True)
        ask_all(gateway, [body])
        ask_all(gateway, some(1))
        stored(redis, before + 1)
        assert len(redis.answers()) == before + 1 and ask_all(gateway, [body])[0] == ["hit"]


def test_many_wait_for_one_look(provider, redis):
    """R11: a stampede on one key is one look at redis, and one call when it is not there."""
    with gateway_on(provider, redis, workers=2) as gateway, Swarm(gateway) as swarm:
        body = seeded(stream=True)
        provider.hold()
        redis.stop()
        guests = swarm.ask(50, body)
        provider.wait_chats(1)
        redis.cont()
        provider.release()
        answers = swarm.answers(guests)
        assert {said(answer) for answer in answers} == {wanted(body)} and len(provider.chats()) == 1


# --- what becomes of it ------------------------------------------------------------------------------------------

def test_r1_absent_at_start(provider):
    redis = Redis()
    with gateway_on(provider, redis, ready=False) as gateway:
        bodies = some(20)
        outcomes, longest = ask_all(gateway, bodies)
        assert set(outcomes) == {"miss"} and longest < SLACK
        assert gateway.metric("redis_up") == 0 and page(gateway)["redis"]["configured"]
        assert gateway.ask("/readyz").status == 200
        with redis:
            connected(gateway)
            ask_all(gateway, bodies)
            until(lambda: set(ask_all(gateway, bodies)[0]) == {"hit"}, "it to be used")


def test_r2_killed_and_back(provider):
    with Redis() as redis, gateway_on(provider, redis) as gateway:
        bodies = some(10)
        ask_all(gateway, bodies)
        stored(redis, 10)
        assert set(ask_all(gateway, bodies)[0]) == {"hit"}
        failed, ending, longest = [], threading.Event(), [0]

        def go_on():
            while not ending.is_set():
                try:
                    longest[0] = max(longest[0], ask_all(gateway, random.sample(bodies, 2))[1])
                except AssertionError as error:
                    failed.append(error)

        threads = [threading.Thread(target=go_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            redis.kill()
            gateway.wait("redis_up", 0)
            redis.start()
            connected(gateway)
        ending.set()
        for thread in threads:
            thread.join()
        assert not failed, failed[0]
        assert longest[0] < SLACK
        ask_all(gateway, bodies)
        until(lambda: set(ask_all(gateway, bodies)[0]) == {"hit"}, "it to be used again")
        told = [line for line in gateway.lines if "redis" in line.lower() and not line.startswith("request ")]
        assert 2 <= len(told) <= 40, "one line per change, not per request"


def test_r3_it_hangs(provider):
    with Redis() as redis, gateway_on(provider, redis, deadline="50ms") as gateway:
        bodies = some(40)
        ask_all(gateway, bodies)
        stored(redis, 40)
        redis.stop()
        outcomes, longest = ask_all(gateway, bodies[:10])
        assert set(outcomes) == {"miss"} and longest < 0.05 + SLACK
        timeouts = gateway.metric("redis_timeouts_total")
        assert timeouts >= 1 and gateway.metric("redis_up") < 2
        # It is not asked for a while: nobody waits for it.
        began = time.monotonic()
        away = gateway.metric("redis_away_total")
        ask_all(gateway, bodies[10:20])
        if time.monotonic() - began < 0.9:
            assert gateway.metric("redis_timeouts_total") == timeouts and gateway.metric("redis_away_total") >= away + 10
        redis.cont()
        connected(gateway)
        until(lambda: set(ask_all(gateway, bodies[20:])[0]) == {"hit"}, "it to be used again")


def test_r7_slow(provider, redis):
    """Each request waits for it no longer than the deadline, or is answered from it."""
    with Wire(redis, delay=lambda: random.choice([0.01, 0.03, 0.2])) as wire, \
            gateway_on(provider, wire, deadline="50ms") as gateway:
        waits, began = [], time.monotonic()
        while time.monotonic() - began < 1.5:
            waits.append(ask_all(gateway, some(4))[1])
        assert max(waits) < 0.05 + SLACK, waits


def test_r5_no_room(provider):
    with Redis("--maxmemory-policy", "noeviction") as redis, gateway_on(provider, redis) as gateway:
        kept = some(5)
        ask_all(gateway, kept)
        stored(redis, 5)
        redis.command("CONFIG", "SET", "maxmemory", "1")
        failed = gateway.metric("redis_store_failed_total")
        assert set(ask_all(gateway, some(5))[0]) == {"miss"}
        gateway.wait("redis_store_failed_total", failed + 5)
        assert ask_all(gateway, kept)[0] == ["hit"] * 5, "reading goes on"
        redis.command("CONFIG", "SET", "maxmemory", "0")
        until(lambda: ask_all(gateway, some(1)) and len(redis.answers()) > 5, "writing to go on")


def test_r5_a_replica_and_its_dead_master(provider):
    with Redis() as redis, gateway_on(provider, redis) as gateway:
        kept = some(5)
        ask_all(gateway, kept)
        stored(redis, 5)
        redis.command("REPLICAOF", "127.0.0.1", "1")
        bodies = some(5)
        assert set(ask_all(gateway, bodies + bodies)[0]) == {"miss"}, "READONLY"
        gateway.wait("redis_store_failed_total", lambda count: count >= 1)
        redis.command("CONFIG", "SET", "replica-serve-stale-data", "no")
        with pytest.raises(RedisError, match="MASTERDOWN"):
            redis.command("GET", "x")
        assert set(ask_all(gateway, kept)[0]) == {"miss"}, "MASTERDOWN"
        redis.command("CONFIG", "SET", "replica-serve-stale-data", "yes")
        redis.command("REPLICAOF", "NO", "ONE")

        def again():
            ask_all(gateway, kept)
            return set(ask_all(gateway, kept)[0]) == {"hit"}

        until(again, "it to be used again", 15)


def test_r6_failover(provider):
    """One dies, its replica takes over under the same name."""
    with Redis() as first, Redis() as second, Wire(first) as wire, gateway_on(provider, wire) as gateway:
        second.command("REPLICAOF", "127.0.0.1", first.port)
        bodies = some(10)
        ask_all(gateway, bodies)
        until(lambda: len(second.answers()) == 10, "the replica to have all")
        first.kill()
        ask_all(gateway, bodies[:3])
        second.command("REPLICAOF", "NO", "ONE")
        wire.target = second
        connected(gateway)
        until(lambda: set(ask_all(gateway, bodies)[0]) == {"hit"}, "the second to be used")
        # Back, in order: the second becomes a replica of the first, and refuses to be written to.
        first.start()
        first.command("REPLICAOF", "127.0.0.1", second.port)
        until(lambda: len(first.answers()) >= 10, "the first to have all")
        first.command("REPLICAOF", "NO", "ONE")
        second.command("REPLICAOF", "127.0.0.1", first.port)
        wire.target = first
        fresh = some(3)
        until(lambda: "miss" not in ask_all(gateway, fresh)[0], "writing to go on at the first", 20)


@pytest.mark.parametrize("word", ["NOPERM", "WRONGPASS", "NOAUTH"])
def test_r5_refused(provider, word):
    """It answers, and will not serve us: told once, not asked for ever, no request fails."""
    login = () if word == "NOPERM" else ("right",)
    with Redis(*(("--requirepass", "right") if login else ()), login=login) as redis:
        more = {"password": "wrong"} if word == "WRONGPASS" else {}
        with gateway_on(provider, redis, ready=word == "NOPERM", **more) as gateway:
            if word == "NOPERM":
                redis.command("ACL", "SETUSER", "default", "-get", "-set", "-mget")
            bodies = some(10)
            outcomes, longest = ask_all(gateway, bodies + bodies)
            assert set(outcomes) == {"miss"} and longest < SLACK
            gateway.wait_line(word)
            before = len([line for line in gateway.lines if word in line])
            ask_all(gateway, bodies)
            told = [line for line in gateway.lines if word in line]
            assert len(told) - before <= 3 and not any("wrong" in line.replace("WRONG", "") for line in told), told
            if word == "NOPERM":
                redis.command("ACL", "SETUSER", "default", "+@all")
            else:
                redis.command("CONFIG", "SET", "requirepass", "wrong" if more else "")
                redis.login = ("wrong",) if more else ()

            def again():
                ask_all(gateway, bodies)
                return set(ask_all(gateway, bodies)[0]) == {"hit"}

            until(again, "it to be used when it serves us", 20)
