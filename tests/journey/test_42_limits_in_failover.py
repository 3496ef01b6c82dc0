"""A backend that cannot be reached sends its questions on to the next one: whose own limits hold for them as for any."""

import signal
import socket

import pytest
from admit_world import (Key, connected, entries, error, free, keys_text, limited, places, statuses, used,
                         write)
from harness import Gateway, backend, question
from memory_world import GOODFIRE, Swarm, seeded, until, wait_joins
from redis_world import Redis

MANY = 8


@pytest.fixture
def nobody():
    """An address where nobody listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(params=["local", "redis"])
def admission(request):
    if request.param == "local":
        yield {}
        return
    with Redis() as redis:
        yield {"redis": {"url": redis.url, "deadline": "10s"}}


def house(provider, nobody, admission, queue=None, first=None, **more):
    """`one`, where nobody is, and `two` with two places."""
    two = backend("two", provider, quota={"concurrent": 2}, **({"queue": queue} if queue else {}))
    gateway = Gateway(backends=[{"name": "one", "kind": "openai", "url": nobody, **(first or {})}, two],
                      models=[{"name": "tiny", "backends": ["one", "two"]}, {"name": "lonely", "backends": ["one"]}],
                      **({"admission": admission} if admission else {}), **more)
    if admission:
        connected(gateway, workers=more.get("workers", 1))
    return gateway


def down(gateway):
    """`one` is known to be down."""
    for _ in range(5):
        assert gateway.chat(question("lonely")).status == 502


@pytest.mark.parametrize("first", [{}, {"quota": {"concurrent": 50}}], ids=["no limits", "its own"])
@pytest.mark.parametrize("known", [False, True], ids=["found out", "known"])
def test_no_more_than_its_places(provider, nobody, admission, known, first):
    with house(provider, nobody, admission, first=first) as gateway, Swarm(gateway) as swarm:
        if known:
            down(gateway)
        provider.hold()
        guests = swarm.ask(MANY, question(stream=True))
        until(lambda: sum(bool(guest.ended) for guest in guests) == MANY - 2, "all but two to be refused")
        provider.wait_chats(2)
        assert len(provider.chats()) == 2 and places(gateway)[("backend", "two")] == 2
        provider.release()
        found = statuses(swarm.answers(guests))
        assert found.pop(200) == 2 and set(found) <= {429, 502} and sum(found.values()) == MANY - 2, found
        free(gateway)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("known", [False, True], ids=["found out", "known"])
def test_who_comes_by_failover_waits_like_others(provider, nobody, admission, known, workers):
    queue = {"length": 50, "longest": "30s"}
    with house(provider, nobody, admission, queue, workers=workers) as gateway, Swarm(gateway) as swarm:
        if known:
            down(gateway)
        provider.hold()
        guests = swarm.ask(MANY, question()) + swarm.ask(MANY, question(stream=True))
        gateway.wait("queued_total", 2 * MANY - 2)
        provider.wait_chats(2)
        assert len(provider.chats()) == 2 and not any(guest.ended for guest in guests)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 2 * MANY}
        free(gateway)


def test_patience_ends_there_too(provider, nobody, admission):
    with house(provider, nobody, admission, {"length": 50, "longest": "300ms"}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(2, question())
        provider.wait_chats(2)
        late = swarm.answers(swarm.ask(2, question()))
        assert all(answer.status in (429, 502) for answer in late) and gateway.metric("queued_total") >= 2
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 2}
        free(gateway)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_leaving_while_it_waits_there(provider, nobody, admission, how):
    with house(provider, nobody, admission, {"length": 50, "longest": "30s"}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(2, question())
        provider.wait_chats(2)
        leavers = swarm.ask(4, question(stream=True))
        gateway.wait("queued_total", lambda count: count >= 4)
        swarm.leave(leavers, how)
        gateway.wait("exchanges", 2)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 2}
        assert gateway.chat().status == 200 and len(provider.chats()) == 3
        free(gateway)


def test_the_end_while_it_waits_there(provider, nobody, admission):
    queue = {"length": 50, "longest": "30s"}
    with house(provider, nobody, admission, queue, timeouts={"drain": "300ms"}) as gateway, Swarm(gateway) as swarm:
        gateway.expect_end = True
        provider.hold()
        guests = swarm.ask(6, question())
        gateway.wait("queued_total", lambda count: count >= 4)
        gateway.process.terminate()
        until(lambda: all(guest.ended for guest in guests), "all to end")
        assert gateway.process.wait(20) == 0


# --- what is charged --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_the_limit_that_is_sent_is_the_one_that_is_reckoned_with(provider, limit):
    """Whatever the client says of a model whose output is fixed; a default where it says nothing."""
    config = limited(provider, {"tokens_per_day": 5000})
    config["models"] = [{"name": "fixed", "backends": ["one"], "fixed": {limit: 50}},
                        {"name": "usual", "backends": ["one"], "defaults": {limit: 70}}]
    with Gateway(**config) as gateway:
        def reckoned(model, **more):
            charge = gateway.ask("/v1/explain", question(model, "four", **more)).json()["charge"]
            return charge["prompt_tokens"] + charge["output_tokens"]

        assert reckoned("fixed", max_tokens=100000) == reckoned("fixed", max_tokens=1) == reckoned("fixed") == 55
        assert reckoned("usual") == 75 and reckoned("usual", max_tokens=20) == 25
        assert gateway.chat(question("fixed", "four", max_tokens=100000)).status == 200
        assert provider.last().json[limit if limit in provider.last().json else "max_tokens"] == 50


def test_a_guest_that_leaves_pays_for_what_it_read(provider):
    """Where joining is charged."""
    config = limited(provider, {"tokens_per_day": 100000}, cache={"when": "repeatable"}, admission={"charge_joined": True})
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        body = seeded("w [[+tokens=6]]", stream=True)
        provider.hold(at=4)
        leader = swarm.ask(1, body)
        provider.wait_chats(1)
        guest = swarm.ask(1, body)
        wait_joins(gateway, 1)
        swarm.wait(leader + guest, b"data: ")
        until(lambda: all(one.data.count(b"\ndata: ") >= 3 for one in leader + guest), "four events at both")
        swarm.leave(guest)
        gateway.wait("exchanges", 1)
        gateway.wait_for(lambda: gateway.log(), "the line of who left")
        left, = gateway.log()
        assert left["cache"] == "join" and int(left["completion_tokens"]) >= 4
        provider.release()
        leader, = swarm.answers(leader)
        free(gateway)
        made = gateway.wait_record(leader)
        tokens = [int(one[name]) for one in (left, made) for name in ("prompt_tokens", "completion_tokens")]
        assert used(gateway, "tokens_per_day") == sum(tokens), tokens


def test_tokens_told_early_are_not_all(provider):
    """A stream that tells one token at its first event, and is left later."""
    with Gateway(**limited(provider, {"tokens_per_day": 100000})) as gateway, Swarm(gateway) as swarm:
        provider.hold(at=8)
        body = question(text="w [[+tokens=20+earlyusage=1]]", stream=True)
        guests = swarm.ask(1, body)
        until(lambda: guests[0].data.count(b"\ndata: ") >= 7, "events")
        swarm.leave(guests)
        gateway.wait("exchanges", 0)
        free(gateway)
        assert used(gateway, "tokens_per_day") >= 7


# --- what is told -----------------------------------------------------------------------------------------------------

def test_every_answer_tells_the_limits(provider, admission):
    """Where Redis counts, as it was last heard."""
    alice = Key("alice", quota={"requests_per_minute": 60, "requests_burst": 10, "tokens_per_minute": 6000})
    with Gateway(**limited(provider, keys=entries(alice), admission=admission)) as gateway:
        if admission:
            connected(gateway)
        assert gateway.chat(headers=alice.head).status == 200
        asks = [("/v1/chat/completions", {"model": "tiny"}, 400), ("/v1/chat/completions", question("no-such"), 404),
                ("/v1/no-such", None, 404), (GOODFIRE, {"model": "tiny"}, 422), ("/v1/models", None, 200),
                ("/v1/usage", None, 200)]
        for path, body, status in asks:
            answer = gateway.ask(path, body, headers=alice.head)
            assert answer.status == status, (path, answer.status, answer.body)
            assert answer.header("x-ratelimit-limit-requests") == "60", path
            assert answer.header("x-ratelimit-remaining-requests") in ("9", "10"), path
            assert answer.header("x-ratelimit-remaining-tokens"), path
        unknown = gateway.ask("/v1/models", headers=[("Authorization", "Bearer nobody")])
        assert unknown.status == 401 and unknown.header("x-ratelimit-limit-requests") is None


def test_a_budget_says_what_can_be_done(provider):
    with Gateway(**limited(provider, {"tokens_per_month": 100})) as gateway:
        large = gateway.chat(question(max_tokens=1000))
        assert "ever" in large.json()["error"]["message"] and large.header("retry-after") is None
        assert gateway.chat(question(text="four", max_tokens=5)).status == 200
        over = gateway.chat(question(text="four", max_tokens=95))
        assert error(over)[0] == 429 and "left" in over.json()["error"]["message"]
        assert over.header("x-should-retry") == "false"


def test_keys_without_a_team_take_turns(provider):
    """Each is a team of its own: twenty of one do not keep another one waiting."""
    alice, bob = Key("alice"), Key("bob")
    config = limited(provider, model={"quota": {"concurrent": 1}, "queue": {"length": 50, "longest": "30s"}},
                     keys=entries(alice, bob))
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(21, question(text="alice"), headers=alice.head)
        provider.wait_chats(1)
        gateway.wait("queued_total", 20)
        guests += swarm.ask(1, question(text="bob"), headers=bob.head)
        gateway.wait("queued_total", 21)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 22}
        order = [request.json["messages"][-1]["content"] for request in provider.wait_chats(22)]
        assert order.index("bob") <= 2, order


# --- waiting there, as told ---------------------------------------------------------------------------------------------

def test_who_waits_there_is_told(provider, nobody, admission):
    """A stream is kept alive; the time is that of a queue, not of a connection. Nobody was asked for who leaves."""
    queue = {"length": 50, "longest": "30s"}
    with house(provider, nobody, admission, queue, timeouts={"keepalive": "100ms"}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(6, question(stream=True))    # so close together that all of them find out
        provider.wait_chats(2)
        gateway.wait("queued_total", 4)
        until(lambda: sum(guest.data.count(b"\n:") >= 2 for guest in guests) == 4, "comments for all who wait")
        waiting = [guest for guest in guests if b"\n:" in guest.data]
        before = gateway.metric("calls_cancelled_total")
        swarm.leave(waiting[:2])
        gateway.wait("exchanges", 4)
        assert gateway.metric("calls_cancelled_total") == before
        provider.release()
        answers = swarm.answers([guest for guest in guests if guest not in waiting[:2]])
        assert statuses(answers) == {200: 4}
        waited = [record for record in map(gateway.wait_record, answers) if float(record.get("queue_ms", 0)) >= 100]
        assert len(waited) == 2, gateway.log()
        assert all(float(record.get("connect_ms", 0)) < 100 for record in waited)
        free(gateway)


def test_who_finds_no_room_there_is_to_come_back(provider, nobody, admission):
    with house(provider, nobody, admission) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(2, question())
        provider.wait_chats(2)
        for _ in range(3):
            answer = gateway.chat()
            assert answer.status == 429 and answer.header("retry-after"), answer.body
        assert gateway.metric("limits_refused_total") == 3
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 2}


def test_one_that_rests_is_not_asked_while_another_is_waited_for(provider, providers):
    """Nor is who waits overtaken by way of it."""
    resting = providers["vllm"]
    one = backend("one", provider, quota={"concurrent": 1}, queue={"length": 50, "longest": "30s"})
    with Gateway(backends=[one, backend("two", resting)], models=[
            {"name": "tiny", "backends": ["one", "two"]}, {"name": "other", "backends": ["two"]}]) as gateway, \
            Swarm(gateway) as swarm:
        resting.next(status="503", ra="60")
        assert gateway.chat(question("other")).status == 503
        asked = len(resting.chats())
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        for number in range(1, 5):
            guests += swarm.ask(1, question())
            gateway.wait("queued_total", number)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 5} and len(resting.chats()) == asked


def test_a_key_taken_away_while_it_waits_there(provider, nobody, admission):
    alice, bob = Key("alice"), Key("bob")
    with house(provider, nobody, admission, {"length": 50, "longest": "30s"}, keys_file="keys.yaml",
               files={"keys.yaml": keys_text(alice, bob)}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        stays = swarm.ask(2, question(), headers=alice.head)
        provider.wait_chats(2)
        gone = swarm.ask(2, question(), headers=bob.head)
        gateway.wait("queued_total", 2)
        write(gateway, "keys.yaml", keys_text(alice))
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_line("embergate: 1 keys")
        provider.release()
        assert statuses(swarm.answers(stays)) == {200: 2}
        assert all(answer.status in (401, 429) for answer in swarm.answers(gone)) and len(provider.chats()) == 2
        free(gateway)
