"""Waiting for a place instead of a refusal: in turns between teams, bounded in number and in time, and told of meanwhile."""

import signal
import threading
import time

import goodfire
import pytest
from admit_world import (COST, NO_KEY, RATE, Key, entries, error, free, keys_text, limited, places, statuses, usage,
                         write)
from harness import Gateway, backend, question
from memory_world import GOODFIRE, Swarm, seeded, until, verdict
from redis_world import Redis

WORDS = "One two three four five"


def queueing(provider, length=100, longest="20s", concurrent=1, place=False, **more):
    """A queue in front of the model, or of the backend (PLACE)."""
    limits = {"quota": {"concurrent": concurrent}, "queue": {"length": length, "longest": longest}}
    return Gateway(**limited(provider, model={} if place else limits, place=limits if place else {}, **more))


def waiting(gateway, count, timeout=10):
    """Until COUNT have ever begun to wait."""
    gateway.wait("queued_total", count, timeout)


def order(provider, count):
    """What the provider was asked, in the order of arrival."""
    return [request.json["messages"][-1]["content"] for request in provider.wait_chats(count, 30)[:count]]


def one_by_one(swarm, gateway, asks, so_far=0):
    """Each of ASKS (question, headers) waits before the next one comes."""
    guests = []
    for number, (body, headers) in enumerate(asks, 1):
        guests += swarm.ask(1, body, headers=headers)
        waiting(gateway, so_far + number)
    return guests


@pytest.mark.parametrize("place", [False, True])
def test_who_waits_is_served(provider, place):
    with queueing(provider, concurrent=2, place=place) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(12, question(stream=True))
        provider.wait_chats(2)
        waiting(gateway, 10)
        assert len(provider.chats()) == 2 and list(places(gateway).values()) == [2]
        provider.release()
        answers = swarm.answers(guests)
        assert statuses(answers) == {200: 12} and {answer.text() for answer in answers} == {WORDS}
        waits = [answer.header("x-embergate-queue-wait-ms") for answer in answers]
        assert sum(wait is not None for wait in waits) >= 9, waits
        assert all(int(wait) >= 0 for wait in waits if wait)
        free(gateway)


def test_first_come_first_served(provider):
    with queueing(provider) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, question(text="0"))
        provider.wait_chats(1)
        guests += one_by_one(swarm, gateway, [(question(text=str(number)), ()) for number in range(1, 12)])
        provider.release()
        swarm.answers(guests)
        assert order(provider, 12) == [str(number) for number in range(12)]


def test_the_wait_is_told(provider):
    with queueing(provider) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        began = time.monotonic()
        second = swarm.ask(1, question())
        waiting(gateway, 1)
        time.sleep(0.15)
        provider.release()
        first, second = swarm.answers(guests + second)
        assert first.header("x-embergate-queue-wait-ms") is None
        assert 140 <= int(second.header("x-embergate-queue-wait-ms")) <= (time.monotonic() - began) * 1000


# --- turns ------------------------------------------------------------------------------------------------------------

def teams(**weights):
    """A key of each team, and the configuration of both."""
    keys = {name: Key(f"key-{name}", team=name) for name in weights}
    return keys, {"keys": entries(*keys.values()),
                  "teams": [{"name": name, "weight": weight} for name, weight in weights.items()]}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", [False, True])
def test_one_team_does_not_starve_another(provider, workers, place):
    """Sixty of one team wait; the one of another that comes then has its turn within two service times."""
    keys, config = teams(many=1, one=1)
    with queueing(provider, place=place, workers=workers, **config) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(61, question(text="many"), headers=keys["many"].head)
        provider.wait_chats(1)
        waiting(gateway, 60)
        guests += swarm.ask(1, question(text="one"), headers=keys["one"].head)
        waiting(gateway, 61)
        provider.release()
        answers = swarm.answers(guests)
        assert statuses(answers) == {200: 62}
        assert order(provider, 62).index("one") <= 2
        free(gateway)


def test_weights(provider):
    keys, config = teams(heavy=3, light=1)
    with queueing(provider, **config) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, question(text="first"), headers=keys["light"].head)
        provider.wait_chats(1)
        for name in ("light", "heavy"):
            guests += swarm.ask(20, question(text=name), headers=keys[name].head)
        waiting(gateway, 40)
        provider.release()
        swarm.answers(guests)
        turns = order(provider, 41)[1:]
        for upto in (8, 16, 24):
            assert abs(turns[:upto].count("heavy") - upto * 3 / 4) <= 3, turns


def test_nobody_overtakes(provider):
    """Who comes when a place has just been given back waits behind those who were there."""
    with queueing(provider) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        early = swarm.ask(1, question(text="0"))
        provider.wait_chats(1)
        early += one_by_one(swarm, gateway, [(question(text=str(number)), ()) for number in range(1, 6)])
        provider.always = {"ttfb": "20"}
        provider.release()
        late = []
        while len(provider.chats()) < 4:
            late += swarm.ask(1, question(text="late"))
        swarm.answers(early + late)
        asked = order(provider, 6)
        assert asked == [str(number) for number in range(6)]


# --- bounds -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [1, 2])
def test_so_many_wait_and_no_more(provider, workers):
    with queueing(provider, length=5, workers=workers) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        guests += swarm.ask(15, question())
        until(lambda: sum(guest.ended is not None for guest in guests) == 10, "ten refusals")
        refused = [guest.answer() for guest in guests if guest.ended]
        assert {error(answer) for answer in refused} == {RATE}
        assert all(int(answer.header("retry-after-ms")) > 0 for answer in refused)
        assert len(provider.chats()) == 1
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 6, 429: 10}
        free(gateway)


def test_so_long_and_no_longer(provider):
    with queueing(provider, longest="300ms") as gateway, Swarm(gateway) as swarm:
        provider.hold()
        running = swarm.ask(1, question())
        provider.wait_chats(1)
        began = time.monotonic()
        guests = [*swarm.ask(1, question()), *swarm.ask(1, question(stream=True)), *swarm.ask(1, question(), path=GOODFIRE)]
        answers = swarm.answers(guests)
        assert time.monotonic() - began >= 0.3
        assert [error(answer) for answer in answers[:2]] == [RATE] * 2 and answers[2].status == 429
        assert len(provider.chats()) == 1 and list(places(gateway).values()) == [1]
        provider.release()
        assert statuses(swarm.answers(running)) == {200: 1}
        assert gateway.chat().status == 200, "whoever comes later does not wait behind those who gave up"
        free(gateway)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_gives_up_the_place_in_the_queue(provider, how, stream):
    with queueing(provider, length=1, workers=2) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        stays = swarm.ask(1, question(text="first"))
        provider.wait_chats(1)
        leaver = swarm.ask(1, question(text="leaver", stream=stream))
        waiting(gateway, 1)
        assert gateway.chat().status == 429
        swarm.leave(leaver, how)
        gateway.wait("exchanges", 1)
        stays += swarm.ask(1, question(text="second"))
        waiting(gateway, 2)
        provider.release()
        assert statuses(swarm.answers(stays)) == {200: 2}
        assert order(provider, 2) == ["first", "second"]
        free(gateway)


def test_many_leave_while_places_come_free(provider):
    """Turns that are offered to somebody who is just going are not lost."""
    provider.always = {"ttfb": "2"}
    with queueing(provider, workers=2, concurrent=2) as gateway, Swarm(gateway) as swarm:
        guests = swarm.ask(90, question())
        for at in range(0, 90, 3):
            swarm.leave(guests[at:at + 1], "reset")
        stays = [guest for guest in guests if not guest.left]
        assert statuses(swarm.answers(stays)) == {200: 60}
        free(gateway)


def test_refused_for_another_reason_in_the_queue(provider):
    """A turn that ends in a refusal goes on to the next one."""
    with queueing(provider, admission={"quota": {"requests_per_minute": 1, "requests_burst": 3}}) as gateway, \
            Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        guests += swarm.ask(7, question())
        waiting(gateway, 7)
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 3, 429: 5}
        free(gateway)
        assert usage(gateway)[("gateway", "")]["requests_per_minute"]["used"] == 3


@pytest.mark.parametrize("stays", ["one", "two"])
def test_a_place_beside_the_one_that_is_waited_for(providers, stays):
    """All wait in front of one backend; the place of one STAYS taken, and each place of the other wakes the next."""
    first, second = providers["openai"], providers["vllm"]
    limits = {"quota": {"concurrent": 1}, "queue": {"length": 100, "longest": "20s"}}
    config = {"backends": [backend("one", first, **limits), backend("two", second, **limits)],
              "models": [{"name": "tiny", "backends": ["one", "two"]}]}
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        first.hold()
        second.hold()
        at_first = swarm.ask(1, question())
        first.wait_chats(1)
        at_second = swarm.ask(1, question())
        second.wait_chats(1)
        guests = swarm.ask(40, question())
        waiting(gateway, 40)
        began = time.monotonic()
        (second if stays == "one" else first).release()
        assert statuses(swarm.answers(guests)) == {200: 40}
        waited = time.monotonic() - began
        # As many that find a place at once.
        began = time.monotonic()
        assert statuses(gateway.chat() for _ in range(40)) == {200: 40}
        assert waited < time.monotonic() - began + 2, "not one at each look of a tenth of a second"
        (first if stays == "one" else second).release()
        assert statuses(swarm.answers(at_first + at_second)) == {200: 2}
        free(gateway)


def test_places_in_two_queues(provider):
    """The model's queue first, then the backend's; all are served and no place is lost."""
    limits = {"quota": {"concurrent": 2}, "queue": {"length": 50, "longest": "20s"}}
    place = {"quota": {"concurrent": 1}, "queue": {"length": 50, "longest": "20s"}}
    with Gateway(**limited(provider, model=limits, place=place, workers=2)) as gateway, Swarm(gateway) as swarm:
        assert statuses(swarm.answers(swarm.ask(30, question()))) == {200: 30}
        free(gateway)


# --- what is told meanwhile ---------------------------------------------------------------------------------------

def test_comments_while_waiting(provider):
    with queueing(provider, timeouts={"keepalive": "100ms"}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        running = swarm.ask(1, question())
        provider.wait_chats(1)
        guests = swarm.ask(1, question(stream=True)) + swarm.ask(1, question())
        waiting(gateway, 2)
        until(lambda: guests[0].data.count(b"\n:") + guests[0].data.count(b"\r\n:") >= 3, "three comments")
        assert not guests[1].data, "a whole answer has no comments"
        assert len(provider.chats()) == 1
        provider.release()
        answers = swarm.answers(running + guests)
        assert statuses(answers) == {200: 3}
        assert answers[1].text() == WORDS and answers[1].events()[-1] == "[DONE]"
        assert answers[1].header("x-embergate-queue-position") in ("1", "2")
        assert int(answers[1].header("x-embergate-queue-wait-ms")) >= 90, "as long as it had waited then"
        free(gateway)


def test_comments_and_then_no_place(provider):
    """The head has been sent: an error event, and no good end."""
    with queueing(provider, longest="1500ms", timeouts={"keepalive": "100ms"}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        running = swarm.ask(1, question())
        provider.wait_chats(1)
        guest, = swarm.ask(1, question(stream=True))
        until(lambda: guest.ended, "the end")
        answer = guest.answer()
        assert answer.status == 200 and not answer.complete and b"\n:" in guest.data
        told, = answer.objects()
        assert told["error"]["code"] == "rate_limit_exceeded" and "[DONE]" not in answer.events()
        provider.release()
        assert statuses(swarm.answers(running)) == {200: 1}
        free(gateway)


def test_comments_and_then_the_client_leaves(provider):
    with queueing(provider, timeouts={"keepalive": "100ms"}, workers=2) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        running = swarm.ask(1, question())
        provider.wait_chats(1)
        guests = swarm.ask(5, question(stream=True))
        until(lambda: all(guest.has(b"\n:") for guest in guests), "comments")
        swarm.leave(guests, "reset")
        gateway.wait("exchanges", 1)
        provider.release()
        assert statuses(swarm.answers(running)) == {200: 1}
        free(gateway)


def test_goodfire_while_waiting(provider):
    """Its SDK knows no comments: what it is sent while it waits must not disturb it."""
    with queueing(provider, timeouts={"keepalive": "100ms"}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        running = swarm.ask(1, question())
        provider.wait_chats(1)
        guest, = swarm.ask(1, question(stream=True), path=GOODFIRE)
        waiting(gateway, 1)
        gateway.wait("keepalives_total", lambda count: count >= 3)
        provider.release()
        swarm.answers([*running, guest])
        assert guest.answer().status == 200 and guest.answer().text() == WORDS, guest.data
        provider.hold()
        running = swarm.ask(1, question())
        provider.wait_chats(3)
        client = goodfire.Client(api_key="none", base_url=gateway.url)
        timer = threading.Timer(0.4, provider.release)
        timer.start()
        chunks = list(client.chat.completions.create([{"role": "user", "content": "x"}], model="tiny", stream=True))
        assert "".join(chunk.choices[0].delta.content for chunk in chunks) == WORDS
        timer.join()
        free(gateway)


# --- with the memory, with others, at the end --------------------------------------------------------------------------

def test_the_same_question_in_the_queue_is_asked_once(provider):
    """Who finds its answer there when its turn comes has not had it made, and is not charged for it."""
    with queueing(provider, workers=2, cache={"when": "repeatable"}, quota={"tokens_per_day": 90000}) as gateway, \
            Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        same = swarm.ask(6, seeded(stream=True))
        waiting(gateway, 6)
        provider.release()
        answers = swarm.answers(same)
        assert statuses(answers + swarm.answers(guests)) == {200: 7} and len(provider.chats()) == 2
        assert {verdict(answer) for answer in answers} <= {"hit", "join", "miss"}
        free(gateway)
        assert usage(gateway)[("gateway", "")]["tokens_per_day"]["used"] == 2 * COST


def test_a_place_that_another_gateway_gives_back(provider):
    """Places are counted in one Redis: what one gateway frees, those who wait at the other are offered."""
    with Redis() as redis:
        config = dict(admission={"redis": {"url": redis.url, "deadline": "2s"}})
        with queueing(provider, **config) as one, queueing(provider, **config) as two, \
                Swarm(one) as here, Swarm(two) as there:
            one.wait_line("redis of the limits: connected")
            two.wait_line("redis of the limits: connected")
            provider.hold()
            first = here.ask(1, question(text="first"))
            provider.wait_chats(1)
            second = there.ask(3, question(text="second"))
            waiting(two, 3)
            provider.release()
            assert statuses(here.answers(first)) == {200: 1}
            assert statuses(there.answers(second, 5)) == {200: 3}


def test_places_of_a_killed_gateway(provider):
    """Nobody gives them back: they end by themselves, and who waits elsewhere is offered them."""
    with Redis() as redis:
        config = dict(admission={"lease": "1s", "redis": {"url": redis.url, "deadline": "2s"}})
        with queueing(provider, **config) as one, queueing(provider, **config) as two, \
                Swarm(one) as here, Swarm(two) as there:
            one.expect_end = True
            for gateway in (one, two):
                gateway.wait_line("redis of the limits: connected")
            provider.hold()
            here.ask(1, question())
            provider.wait_chats(1)
            second = there.ask(1, question())
            waiting(two, 1)
            one.process.kill()
            provider.release()
            assert statuses(there.answers(second, 5)) == {200: 1}


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_while_waiting(provider, workers):
    """They are served in the time that is given to drain."""
    with queueing(provider, workers=workers) as gateway, Swarm(gateway) as swarm:
        gateway.expect_end = True
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        guests += swarm.ask(6, question(stream=True))
        waiting(gateway, 6)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_line("drain|shutting|stopping|SIGTERM|end")
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 7}
        assert gateway.process.wait(20) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_the_end_while_waiting(provider, workers):
    """And when that time is over, all of them are told; nothing is left behind."""
    with queueing(provider, workers=workers, timeouts={"drain": "300ms", "keepalive": "100ms"}) as gateway, \
            Swarm(gateway) as swarm:
        gateway.expect_end = True
        provider.hold()
        guests = swarm.ask(1, question())
        provider.wait_chats(1)
        guests += swarm.ask(4, question()) + swarm.ask(4, question(stream=True))
        waiting(gateway, 8)
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: all(guest.ended for guest in guests), "all to end", 20)
        assert gateway.process.wait(20) == 0
        told = [guest.answer() for guest in guests if guest.data]
        assert all(answer.status in (200, 503) for answer in told), [answer.status for answer in told]
        assert not any("[DONE]" in answer.events() for answer in told)




def test_a_key_that_is_taken_away_while_it_waits(provider):
    """Nobody is let in with a key that is none any more."""
    alice, bob = Key("alice"), Key("bob")
    with queueing(provider, keys_file="keys.yaml", files={"keys.yaml": keys_text(alice, bob)}) as gateway, \
            Swarm(gateway) as swarm:
        provider.hold()
        stays = swarm.ask(1, question(), headers=bob.head)
        provider.wait_chats(1)
        stays += swarm.ask(1, question(), headers=bob.head)
        waiting(gateway, 1)
        gone = swarm.ask(2, question(), headers=alice.head)
        waiting(gateway, 3)
        write(gateway, "keys.yaml", keys_text(bob))
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_line("embergate: 1 keys")
        provider.release()
        assert statuses(swarm.answers(stays)) == {200: 2}
        assert [error(answer) for answer in swarm.answers(gone)] == [NO_KEY] * 2
        free(gateway)
        assert len(provider.chats()) == 2
