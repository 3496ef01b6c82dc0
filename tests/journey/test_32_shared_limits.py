"""The same limits over several gateways and one real Redis: exactly what is permitted passes, whichever gateway is asked;
what a killed one held comes back; and without Redis each limit does as it says."""

import itertools
import re
import signal
import threading
import time

import pytest
from admit_world import (BUDGET, COST, RATE, Key, entries, error, free, limited, own_usage, places, statuses,
                         tokens_question, until, usage, used, connected)
from harness import AT_ONCE, FAKETIME, Gateway, backend, question
from memory_world import Swarm, seeded, verdict, wait_joins
from redis_world import Redis, Talk, Wire

SLOW = {"requests_per_minute": 1}
_prefixes = itertools.count(1)


@pytest.fixture(scope="module")
def redis():
    with Redis() as one:
        yield one


def shared(redis, prefix=None, deadline="5s", **more):
    """Redis for the limits, with a deadline that a busy machine keeps."""
    return {"redis": {"url": getattr(redis, "url", redis), "deadline": deadline,
                      "prefix": prefix or f"test{next(_prefixes)}"}, "gateways": 2, **more}


class Several:
    """COUNT gateways of one configuration."""

    def __init__(self, count, redis, provider, quota=None, workers=1, ready=True, admission=None, environments=(), **more):
        admission = admission or shared(redis)
        self.gateways = [Gateway(environment=environment, **limited(
            provider, quota, admission=dict(admission), workers=workers, **more))
            for environment, _ in itertools.zip_longest(environments, range(count))]
        self.workers = workers
        if ready:
            connected(*self.gateways, workers=workers)

    def __enter__(self):
        return self.gateways

    def __exit__(self, *how):
        for gateway in self.gateways:
            gateway.__exit__(*how)


def ask_all(gateways, each, body=None, headers=()):
    """EACH clients of every gateway at one time: all answers."""
    swarms = [Swarm(gateway).__enter__() for gateway in gateways]
    try:
        threads, guests = [], [[] for _ in gateways]
        for swarm, mine in zip(swarms, guests):
            threads.append(threading.Thread(target=lambda swarm=swarm, mine=mine: mine.extend(
                swarm.ask(each, body or question(), headers=headers))))
            threads[-1].start()
        for thread in threads:
            thread.join()
        return [answer for swarm, mine in zip(swarms, guests) for answer in swarm.answers(mine)]
    finally:
        for swarm in swarms:
            swarm.__exit__()


def undegraded(answers):
    assert not [answer for answer in answers if answer.header("x-embergate-admission")], "decided without Redis"


# --- exactness ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("burst", [1, 7, 40])
def test_exactly_the_burst_passes(provider, redis, burst):
    with Several(2, redis, provider, {**SLOW, "requests_burst": burst}, workers=2) as gateways:
        answers = ask_all(gateways, burst + 10)
        undegraded(answers)
        assert statuses(answers) == {200: burst, 429: burst + 20}
        for answer in answers:
            assert answer.header("x-ratelimit-limit-requests") == "1"
            assert 0 <= int(answer.header("x-ratelimit-remaining-requests")) < burst
            if answer.status == 429:
                assert error(answer) == RATE and 0 < int(answer.header("retry-after-ms")) <= 60000
        left = sorted(int(answer.header("x-ratelimit-remaining-requests")) for answer in answers if answer.status == 200)
        assert left == list(range(burst))


def test_all_or_nothing_over_both(provider, redis):
    """Every scope there is; one refuses, and none of the others is charged."""
    key = Key("alice", team="red", quota={**SLOW, "requests_burst": 50, "tokens_per_day": 90000, "concurrent": 50})
    with Several(2, redis, provider, {**SLOW, "requests_burst": 50}, model={"quota": {**SLOW, "requests_burst": 6}},
                 place={"quota": {"concurrent": 50}}, keys=entries(key),
                 teams=[{"name": "red", "quota": {**SLOW, "requests_burst": 50}}]) as gateways:
        answers = ask_all(gateways, 10, headers=key.head)
        undegraded(answers)
        assert statuses(answers) == {200: 6, 429: 14}
        assert {answer.header("x-ratelimit-remaining-requests") for answer in answers if answer.status == 429} == {"0"}


def test_far_above_the_limit(provider, redis):
    """As fast as it goes: never more than the burst and what time gave back."""
    rate, burst = 600, 5
    with Several(2, redis, provider, {"requests_per_minute": rate, "requests_burst": burst}) as gateways:
        passed, began = 0, time.monotonic()
        while time.monotonic() - began < 1.5:
            answers = ask_all(gateways, 5)
            undegraded(answers)
            passed += statuses(answers).get(200, 0)
        took = time.monotonic() - began
        assert burst <= passed <= burst + took * rate / 60 + 1, (passed, took)


def test_below_the_limit_nobody_is_refused(provider, redis):
    """At nine tenths of the rate. A late test catches up within the burst."""
    rate = 1200
    with Several(2, redis, provider, {"requests_per_minute": rate, "requests_burst": 10}) as gateways:
        clients, answers, began = [gateway.client() for gateway in gateways], [], time.monotonic()
        for number in range(36):
            due = began + number * 60 / (.9 * rate)
            time.sleep(max(0, due - time.monotonic()))
            began = max(began, time.monotonic() - number * 60 / (.9 * rate) - .2)
            answers.append(clients[number % 2].ask("POST", "/v1/chat/completions", question()))
        assert statuses(answers) == {200: 36}
        undegraded(answers)


@pytest.mark.skipif(not FAKETIME, reason="libfaketimeMT is not installed")
def test_a_clock_that_is_an_hour_off(provider, redis, tmp_path):
    offset = tmp_path / "offset"
    offset.write_text("+1h")
    faked = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
             "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
             "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:exitcode=99"}
    with Several(2, redis, provider, {**SLOW, "requests_burst": 9, "tokens_per_day": 500}, environments=(faked,)) as gateways:
        body = tokens_question(20)
        assert statuses(ask_all(gateways, 4, body)) == {200: 8}
        offset.write_text("-1h")
        assert statuses(ask_all(gateways, 4, body)) == {200: 1, 429: 7}


def test_tokens_and_budgets_are_shared(provider, redis):
    """Each answer costs twelve of fifty: the fourth leaves two, which are not enough for a fifth."""
    with Several(2, redis, provider, {"tokens_per_day": 50, "concurrent": 9}) as gateways:
        body = tokens_question(10)
        for number in range(4):
            assert gateways[number % 2].chat(body).status == 200
            until(lambda: gateways[0].metric("calls") == 0, "it to be settled")
            time.sleep(.02)
        answer = until(lambda: [answer for answer in [gateways[1].chat(body)] if answer.status != 200], "a refusal")[0]
        assert error(answer) == BUDGET and answer.header("x-should-retry") == "false"
        assert gateways[0].goodfire(body).status == 402


@pytest.mark.parametrize("workers", [1, 2])
def test_concurrent_over_both(provider, redis, workers):
    with Several(2, redis, provider, {"concurrent": 5}, workers=workers) as (one, two), Swarm(one) as here, Swarm(two) as there:
        provider.hold()
        guests = here.ask(6, question()) + there.ask(6, question())
        until(lambda: sum(guest.ended is not None for guest in guests) == 7, "seven refusals")
        assert len(provider.wait_chats(5)) == 5
        assert {error(guest.answer()) for guest in guests if guest.ended} == {RATE}
        stays = [guest for guest in guests if not guest.ended]
        # One that leaves makes room at the other gateway.
        mine = [guest for guest in stays if guest in here.guests]
        (here if mine else there).leave((mine or stays)[:1])
        more = until(lambda: [guest for guest in there.ask(1, question())
                              if len(provider.wait_chats(5)) == 6 or until(lambda: guest.ended or len(provider.chats()) == 6,
                                                                          "it") and not guest.ended], "a place")
        provider.release()
        stays = [guest for guest in stays if not guest.left] + more
        assert statuses(here.answers(stays)) == {200: 5}


def test_hits_are_refunded(provider, redis):
    with Several(2, redis, provider, {"tokens_per_day": 3 * COST, "concurrent": 9}, cache={"when": "repeatable"}) as gateways:
        body = seeded(max_tokens=5)
        answers = [gateways[0].chat(body) for _ in range(12)]
        assert statuses(answers) == {200: 12} and verdict(answers[-1]) == "hit"


def test_asked_at_one_time_and_charged_once(provider, redis):
    """All of them ask Redis before one of them has begun: those who then join do not pay for it."""
    with Several(2, redis, provider, {"tokens_per_day": 100 + 3 * COST, "concurrent": 50},
                 cache={"when": "repeatable"}) as (one, two), Swarm(one) as swarm:
        provider.hold()
        guests = swarm.ask(6, seeded(stream=True, max_tokens=1))
        provider.wait_chats(1)
        wait_joins(one, 5)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 6} and len(provider.chats()) == 1
        one.wait("exchanges", 0)
        # What is left for another one: all but what one answer costs.
        until(lambda: two.chat(tokens_question(100 + 2 * COST)).status == 200, "what one answer left", 3)


# --- what is told ----------------------------------------------------------------------------------------------------

def test_who_joins_gives_its_place_back(provider, redis):
    """All of them have a lease of the backend before one of them has begun: those who then join need none."""
    quota = {"quota": {**SLOW, "requests_burst": 50, "concurrent": 50}}
    slow = {"now": 0}
    with Wire(redis, lambda: slow["now"]) as wire, \
            Several(1, wire, provider, place=quota, cache={"when": "repeatable"}) as (one,), Swarm(one) as swarm:
        slow["now"] = .3
        provider.hold()
        guests = swarm.ask(8, seeded(stream=True))
        provider.wait_chats(1)
        one.wait("exchanges", 8)
        slow["now"] = 0
        until(lambda: places(one) == {("backend", "one"): 1}, "one place: joins need none")
        assert used(one, "requests_per_minute", "backend", "one") == 1
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 8} and len(provider.chats()) == 1
        free(one)


def test_a_failover_is_charged_where_it_was_answered(providers, redis):
    quota = {"quota": {"tokens_per_day": 9000, "concurrent": 5}}
    second = providers["vllm"]
    config = {"backends": [backend("one", second, **quota) | {"url": "http://127.0.0.1:1"}, backend("two", second, **quota)],
              "models": [{"name": "tiny", "backends": ["one", "two"]}], "admission": shared(redis)}
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        connected(gateway)
        second.hold()
        guests = swarm.ask(1, question())
        second.wait_chats(1)
        until(lambda: places(gateway) == {("backend", "one"): 0, ("backend", "two"): 1}, "the place to have moved")
        second.release()
        assert statuses(swarm.answers(guests)) == {200: 1}
        free(gateway)
        until(lambda: [used(gateway, "tokens_per_day", "backend", name) for name in ("one", "two")] == [0, COST],
              "the charge")


def test_pages_tell_what_all_gateways_used(provider, redis):
    key = Key("alice", quota={**SLOW, "requests_burst": 9, "tokens_per_day": 500, "concurrent": 5})
    with Several(2, redis, provider, keys=entries(key)) as (one, two), Swarm(one) as swarm:
        assert one.chat(tokens_question(10), headers=key.head).status == 200
        assert two.chat(tokens_question(10), headers=key.head).status == 200
        provider.hold()
        swarm.ask(1, tokens_question(100), headers=key.head)
        provider.wait_chats(3)
        wanted = {"requests_per_minute": 3, "tokens_per_day": 2 * COST + 100, "concurrent": 1}

        def told(gateway):
            lines, = (scope["limits"] for scope in own_usage(gateway, key)["scopes"])
            return {line["limit"]: line["used"] for line in lines}

        for gateway in (one, two):
            assert told(gateway) == wanted
            assert {name: line["used"] for name, line in usage(gateway)[("key", "alice")].items()} == wanted
        provider.release()


# --- a gateway dies ------------------------------------------------------------------------------------------------

def test_a_killed_gateways_places_come_back(provider, redis):
    with Several(2, redis, provider, {"concurrent": 4}, admission=shared(redis, lease="3s")) as (one, two), \
            Swarm(one) as here, Swarm(two) as there:
        one.expect_end = True
        provider.hold()
        here.ask(3, question())
        provider.wait_chats(3)
        stay = there.ask(1, question())
        provider.wait_chats(4)
        assert two.chat().status == 429
        one.process.kill()
        one.process.wait()
        assert two.chat().status == 429, "not before the lease is over"
        # Its own lease is renewed meanwhile: exactly three come back.
        until(lambda: there.ask(1, question()) and len(provider.chats()) >= 7, "three places", 10)
        until(lambda: sum(guest.ended is None for guest in there.guests) == 4, "four that are held")
        assert len(provider.chats()) == 7
        assert two.chat().status == 429
        provider.release()
        assert statuses(there.answers(stay)) == {200: 1}


def test_a_long_answer_keeps_its_place(provider, redis):
    """Longer than its lease."""
    with Several(2, redis, provider, {"concurrent": 1}, admission=shared(redis, lease="3s")) as (one, two), Swarm(one) as swarm:
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            assert two.chat().status == 429
            time.sleep(.1)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 1}
        until(lambda: two.chat().status == 200, "the place")


def test_the_end_gives_everything_back(provider, redis):
    with Several(2, redis, provider, {"concurrent": 2, "tokens_per_day": 90000}) as (one, two), Swarm(one) as swarm:
        one.expect_end = True
        provider.hold()
        guests = swarm.ask(2, question(stream=True))
        provider.wait_chats(2)
        assert two.chat().status == 429
        one.process.send_signal(signal.SIGTERM)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 2}
        assert one.process.wait(20) == 0
        assert [two.chat().status for _ in range(2)] == [200, 200], "at once, not after a lease"


# --- Redis goes away ---------------------------------------------------------------------------------------------------

def told_degraded(answer):
    return answer.header("x-embergate-admission") == "degraded"


def back(gateway):
    until(lambda: not told_degraded(gateway.chat()), "Redis to be asked again", 15)


def lost(gateway, redis, how):
    redis.stop() if how == "stop" else redis.kill()


def found(redis, how):
    redis.cont() if how == "stop" else redis.start()


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("mode", ["open", "local", "closed"])
def test_redis_goes_away(provider, mode, how):
    """Under load: with `open` and `local` no request fails, and none waits for long."""
    quota = {"requests_per_minute": 6000, "requests_burst": 1000, "concurrent": 20, "on_redis_failure": mode}
    with Redis() as redis, Several(2, redis, provider, quota, admission=shared(redis, deadline="50ms"),
                                   workers=2) as gateways:
        back(gateways[0])
        name = {"open": "limits_opened_total", "local": "limits_local_total", "closed": "limits_closed_total"}[mode]
        before = gateways[0].metric(name)
        lost(gateways[0], redis, how)
        answers, longest = [], 0
        for number in range(40):
            began = time.monotonic()
            answers.append(gateways[number % 2].chat())
            longest = max(longest, time.monotonic() - began)
        assert longest < AT_ONCE, longest
        assert all(told_degraded(answer) for answer in answers)
        if mode == "closed":
            assert {error(answer)[0] for answer in answers} <= {429, 503}
            assert all(int(answer.header("retry-after-ms")) > 0 and answer.header("x-should-retry") != "false"
                       for answer in answers)
        else:
            assert statuses(answers) == {200: 40}
        assert gateways[0].metric(name) - before == 20 and gateways[0].metric("limits_degraded_total") >= 20
        # What waits for Redis is given up at the deadline: most are decided at once.
        gateways[0].wait_line("redis of the limits: away")
        found(redis, how)
        # Each worker has a connection of its own; one reply beyond the deadline, and it is left alone for a second.
        until(lambda: not any(told_degraded(answer) or answer.status != 200 for answer in ask_all(gateways, 5)),
              "Redis to be asked by all", 15)


def test_the_local_share(provider):
    """Of a burst of twelve and four places, half for each of two gateways."""
    quota = {**SLOW, "requests_burst": 12, "on_redis_failure": "local"}
    with Redis() as redis, Several(2, redis, provider, quota, admission=shared(redis, deadline="50ms")) as gateways:
        redis.stop()
        answers = ask_all(gateways, 10)
        assert statuses(answers) == {200: 12, 429: 8}
        assert all(told_degraded(answer) for answer in answers)
        redis.cont()


def test_places_of_the_local_share(provider):
    quota = {"concurrent": 4, "on_redis_failure": "local"}
    with Redis() as redis, Several(2, redis, provider, quota, admission=shared(redis, deadline="50ms")) as (one, two), \
            Swarm(one) as swarm:
        redis.stop()
        provider.hold()
        guests = swarm.ask(5, question())
        until(lambda: sum(guest.ended is not None for guest in guests) == 3, "three refusals")
        assert len(provider.wait_chats(2)) == 2
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 2, 429: 3}
        redis.cont()
        back(one)
        back(two)
        assert statuses(one.chat() for _ in range(5)) == {200: 5}


@pytest.mark.parametrize("mode", ["open", "local"])
def test_redis_goes_away_while_they_run(provider, mode):
    """What Redis counted is settled with it when it is back; what was used meanwhile is added."""
    quota = {"concurrent": 6, "tokens_per_day": 1000, "on_redis_failure": mode}
    with Redis() as redis, Several(2, redis, provider, quota,
                                   admission=shared(redis, deadline="50ms", lease="2s")) as (one, two), Swarm(one) as swarm:
        provider.hold()
        guests = swarm.ask(2, tokens_question(30))
        provider.wait_chats(2)
        redis.stop()
        guests += swarm.ask(1, tokens_question(30))
        provider.wait_chats(3)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 3}
        redis.cont()
        back(two)

        # Three answers of twelve, and those that back() asked.
        def fits(tokens):
            return two.chat(tokens_question(tokens, stream=True)).status == 200

        spent = COST * len(provider.chats())
        until(lambda: one.metric("exchanges") == 0, "silence")
        assert not fits(1001 - spent), "all that was used is counted"
        until(lambda: fits(1000 - spent), "nothing more is", 5)


def test_redis_absent_at_start(provider):
    redis = Redis()
    quota = {**SLOW, "requests_burst": 30, "on_redis_failure": "open"}
    began = time.monotonic()
    with Several(2, redis, provider, quota, ready=False) as gateways:
        assert time.monotonic() - began < 10
        for gateway in gateways:
            answer = gateway.chat()
            assert answer.status == 200 and told_degraded(answer)
            gateway.wait_line("redis of the limits: away")
        with redis:
            for gateway in gateways:
                back(gateway)
            answers = ask_all(gateways, 30)
            assert 20 <= statuses(answers)[200] <= 30


@pytest.mark.parametrize("what", ["SCRIPT FLUSH", "FLUSHALL", "CLIENT KILL TYPE normal", "restart"])
def test_redis_forgets(provider, what):
    """Its scripts, its books, its connections: nobody is refused for it."""
    quota = {**SLOW, "requests_burst": 40, "concurrent": 90, "tokens_per_day": 90000, "on_redis_failure": "open"}
    with Redis() as redis, Several(2, redis, provider, quota, admission=shared(redis, deadline="2s")) as gateways:
        assert statuses(gateway.chat() for gateway in gateways * 5) == {200: 10}
        if what == "restart":
            redis.kill()
            redis.start()
        else:
            redis.command(*what.split())
        assert statuses(gateway.chat() for gateway in gateways * 5) == {200: 10}
        for gateway in gateways:
            back(gateway)
        rest = statuses(ask_all(gateways, 25)).get(200, 0)
        if what in ("SCRIPT FLUSH", "CLIENT KILL TYPE normal"):
            assert rest <= 30 - len(gateways)
        assert rest >= 10


def test_a_slow_redis(provider, redis):
    """Slower than the deadline: decided without it; what it says too late is given back."""
    slow = {"now": 0}
    quota = {**SLOW, "requests_burst": 200, "concurrent": 3, "on_redis_failure": "open"}
    with Wire(redis, lambda: slow["now"]) as wire, \
            Several(1, wire, provider, quota, admission=shared(wire, deadline="100ms", lease="5s")) as (gateway,):
        back(gateway)
        slow["now"] = .3
        answers = [gateway.chat() for _ in range(6)]
        assert statuses(answers) == {200: 6}
        slow["now"] = 0
        back(gateway)
        # Had a late place been kept, fewer than three would be free now.
        with Swarm(gateway) as swarm:
            provider.hold()
            before = len(provider.chats())
            guests = swarm.ask(3, question())
            provider.wait_chats(before + 3)
            provider.release()
            assert statuses(swarm.answers(guests)) == {200: 3}


# --- Redis answers with errors ---------------------------------------------------------------------------------------

REFUSING = {
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}


def told(gateway):
    """What its log says of Redis since it was connected."""
    return [line.split("redis of the limits: ")[1] for line in gateway.lines if "redis of the limits: " in line][1:]


def said(redis, code):
    """How often Redis has said CODE, as its own statistics tell."""
    text = redis.command("INFO", "errorstats").decode()
    return next((int(line.split("=")[1]) for line in text.split() if line.startswith(f"errorstat_{code}:")), 0)


@pytest.mark.parametrize("code", REFUSING)
@pytest.mark.parametrize("mode", ["open", "local", "closed"])
def test_redis_takes_nothing_for_a_moment(provider, code, mode):
    """The books are right to the token afterwards, every place is free, and the log has one story of two lines."""
    begin, end = REFUSING[code]
    quota = {"tokens_per_day": 100000, "concurrent": 50, "requests_per_minute": 6000, "on_redis_failure": mode}
    with Redis() as redis, Several(1, redis, provider, quota) as (gateway,), Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(3, tokens_question(5000))
        provider.wait_chats(3)
        redis.command(*begin)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 3}
        answers = [gateway.chat(tokens_question(100)) for _ in range(6)]
        assert statuses(answers) == {429: 6} if mode == "closed" else {200: 6}
        assert all(told_degraded(answer) for answer in answers)
        until(lambda: said(redis, code) >= 3, "it to have refused")
        redis.command(*end)
        back(gateway)
        spent = COST * len(provider.chats())
        until(lambda: used(gateway, "tokens_per_day") == spent and used(gateway, "concurrent") == 0, "the books", 15)
        assert gateway.metric("limits_dropped_total") == 0
        gateway.wait_line("redis of the limits: answers well again", 15)
        first, last = told(gateway)
        assert first.startswith(f"answers with errors; each limit does as its on_redis_failure says: {code} ")
        assert len(first) < 250 and first.isprintable() and last == "answers well again"


def test_what_redis_cannot_take(provider):
    """A value that is not ours, in the place of one key's books: the others do not notice."""
    alice, bob = (Key(name, quota={"tokens_per_day": 100000, "on_redis_failure": "open"}) for name in ("alice", "bob"))
    with Redis() as redis, Several(1, redis, provider, keys=entries(alice, bob), admission=shared(redis, "foreign")) \
            as (gateway,), Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(3, tokens_question(5000), headers=alice.head)
        provider.wait_chats(3)
        redis.command("DEL", "foreign:{q}:key:alice")
        redis.command("RPUSH", "foreign:{q}:key:alice", "x")
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 3}
        for number in range(20):
            answer = gateway.chat(tokens_question(10), headers=bob.head if number % 2 else alice.head)
            assert answer.status == 200 and told_degraded(answer) == (number % 2 == 0)
        gateway.wait("limits_dropped_total", 13, 30)
        counts = re.compile("settlements it was never told of: ([0-9]+): WRONGTYPE ")
        until(lambda: sum(int(line[1]) for line in map(counts.match, told(gateway)) if line) == 13, "the number", 15)
        gateway.wait_line("redis of the limits: answers well again", 15)
        assert told(gateway)[0].startswith("answers with errors; each limit does as its on_redis_failure says: WRONGTYPE ")
        assert len(told(gateway)) < 7, "not a line for each request"
        scopes, = own_usage(gateway, bob)["scopes"]
        assert [line["used"] for line in scopes["limits"]] == [10 * COST]


def test_the_end_does_not_wait_for_a_redis_that_refuses(provider):
    begin, _ = REFUSING["NOREPLICAS"]
    with Redis() as redis, Several(1, redis, provider, {"tokens_per_day": 90000}) as (gateway,), Swarm(gateway) as swarm:
        gateway.expect_end = True
        provider.hold()
        guests = swarm.ask(1, tokens_question(5000))
        provider.wait_chats(1)
        redis.command(*begin)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 1}
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        gateway.wait_line("settlements it was never told of: 1: the gateway ends")


def test_a_password_is_not_told(provider):
    """Redis repeats the words of a command that it does not know."""
    with Redis("--rename-command", "AUTH", "") as redis, \
            Gateway(**limited(provider, {**SLOW, "on_redis_failure": "open"}, admission=shared(
                redis.url.replace("//", "//:hunter2hunter2@")))) as gateway:
        line = gateway.wait_line("redis of the limits: away")
        assert "AUTH" in line and "hunter" not in "".join(gateway.lines)


def test_keys_in_redis_expire(provider, redis):
    prefix = "expiring"
    with Several(1, redis, provider, {**SLOW, "requests_burst": 9, "concurrent": 3, "tokens_per_day": 500},
                 admission=shared(redis, prefix)) as (gateway,), Talk(redis.unix) as talk:
        assert gateway.chat(tokens_question(20)).status == 200
        gateway.wait("exchanges", 0)
        names = talk.command("KEYS", f"{prefix}:*")
        assert names and all(name.startswith(b"expiring:{q}") for name in names)
        assert all(talk.command("PTTL", name) > 0 or talk.command("EXISTS", name) == 0 for name in names)


