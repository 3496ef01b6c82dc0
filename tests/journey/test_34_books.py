"""After whatever became of them all: no place is held, and what was charged is what the provider says it cost. An answer
that was not told to its end is charged as its question's estimate and a token for each event; one of which nothing
came, not at all."""

import os
import random

import pytest
from admit_world import COST, Key, entries, free, limited, places, statuses, usage, used
from harness import Gateway, question
from memory_world import GOODFIRE, Swarm, mirrored, nonce, seeded, until

SEED = int(os.environ.get("EMBERGATE_STORM_SEED", random.randrange(1 << 32)))
ROUNDS = int(os.environ.get("EMBERGATE_STORM_ROUNDS", 1))
LARGE = {"tokens_per_day": "1000m", "tokens_per_month": "1000m", "concurrent": 1000}
# Only the silence that is meant is short.
SLOW = {"connect": "20s", "first_byte": "20s", "between_bytes": "20s", "total": "60s"}
SILENT, STALLED = {**SLOW, "first_byte": "700ms"}, {**SLOW, "between_bytes": "1s"}
# With everything at once: who is not silent has this much time, and a whole answer that never comes takes all of it.
HASTY = {"connect": "5s", "first_byte": "5s", "between_bytes": "5s", "total": "10s"}


def booked(provider, cache="never", patience=None, **more):
    """Two teams of a key each, and books for every scope."""
    keys = [Key("alice", team="red", quota=LARGE), Key("bob", team="blue", quota=LARGE)]
    config = limited(provider, LARGE, model={"quota": LARGE, "price": {"input": 1, "output": 2}},
                     place={"quota": LARGE, **({"timeouts": patience} if patience else {})}, keys=entries(*keys),
                     teams=[{"name": name, "quota": LARGE} for name in ("red", "blue")], workers=2,
                     cache={"when": cache}, **more)
    return keys, Gateway(**config)


def charged(gateway):
    """What every scope says alike, once nothing is under way."""
    gateway.wait("exchanges", 0, 30)
    gateway.wait("calls", 0, 30)
    free(gateway, 30)
    seen = usage(gateway)
    for limit in ("tokens_per_day", "tokens_per_month"):
        def told(kind, name, limit=limit):
            return seen[(kind, name)][limit]["used"]

        total = told("gateway", "")
        assert told("key", "alice") + told("key", "bob") == total, seen
        assert told("team", "red") + told("team", "blue") == total, seen
        assert told("model", "tiny") == total, seen
        assert told("backend", "one") <= total, seen
    return total


# --- one by one ----------------------------------------------------------------------------------------------------

# `four` and the words in brackets: a token for every four bytes, and four for the message.
def prompt_of(text):
    return -(-len(text) // 4) + 4


@pytest.mark.parametrize("fault, events", [
    ("+stall_after=3", 3),              # the provider's patience is over
    ("+stall_after=1", 1),
    ("+end_after=2", 2),
    ("+errorevent=2", 2),
    ("+badjson=2", 2),
    ("+hang", None),
    ("+status=503", None),
    ("+drop", None),
    ("+nousage", 7),                    # a good end without a word of what it cost: all events
])
def test_a_stream_that_ended_early(provider, fault, events):
    keys, gateway = booked(provider, patience=STALLED if "stall" in fault else SILENT if "hang" in fault else SLOW)
    with gateway:
        text = f"four [[{fault}]]"
        gateway.chat(question(text=text, stream=True), headers=keys[0].head)
        assert charged(gateway) == (0 if events is None else prompt_of(text) + events)


@pytest.mark.parametrize("fault", ["+hang", "+status=503", "+drop", "+notjson", "+html", "+cl=9"])
def test_a_whole_answer_that_failed(provider, fault):
    keys, gateway = booked(provider, patience={**SLOW, "total": "1s"})
    with gateway:
        assert gateway.chat(question(text=f"[[{fault}]]"), headers=keys[0].head).status != 200
        assert charged(gateway) == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_left_before_anything_came(provider, how, stream):
    keys, gateway = booked(provider)
    with gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(2, question(stream=stream), headers=keys[0].head)
        provider.wait_chats(2)
        swarm.leave(guests, how)
        assert charged(gateway) == 0


def test_left_in_the_middle(provider):
    keys, gateway = booked(provider)
    with gateway, Swarm(gateway) as swarm:
        text = "four [[+stall_after=4]]"
        guests = swarm.ask(1, question(text=text, stream=True), headers=keys[0].head)
        swarm.wait(guests, b" three")
        swarm.leave(guests)
        assert charged(gateway) == prompt_of(text) + 4


def test_joined_and_all_left_in_the_middle(provider):
    """The last one to leave ends it; it is charged once."""
    keys, gateway = booked(provider, "repeatable")
    with gateway, Swarm(gateway) as swarm:
        text = "four [[+stall_after=4]]"
        guests = swarm.ask(3, seeded(text, stream=True), headers=keys[0].head)
        swarm.wait(guests, b" three")
        swarm.leave(guests[:1])
        gateway.wait("exchanges", 2)
        assert used(gateway, "tokens_per_day") > COST, "still an estimate"
        swarm.leave(guests[1:])
        assert len(provider.chats()) == 1 and charged(gateway) == prompt_of(text) + 4


def test_retried_on_a_stale_connection_is_charged_once(provider):
    keys, gateway = booked(provider)
    with gateway:
        assert gateway.chat(headers=keys[0].head).status == 200
        provider.drop_reused = True
        assert gateway.chat(headers=keys[1].head).status == 200
        assert charged(gateway) == 2 * COST


# --- all at once ---------------------------------------------------------------------------------------------------

def body_of(chance, text, cache):
    make = seeded if cache != "never" and chance.random() < .7 else question
    return make(text=text, stream=chance.random() < .6)


@pytest.mark.parametrize("cache", ["never", "repeatable"])
def test_a_storm_of_good_answers_to_the_token(provider, cache):
    """Hits, joins, misses, refusals of the provider, and clients that stay."""
    chance = random.Random(SEED)
    keys, gateway = booked(provider, cache)
    with gateway, Swarm(gateway) as swarm:
        guests = []
        for _ in range(30 * ROUNDS):
            text = chance.choice([mirrored(), mirrored("+gap=3"), mirrored("+ttfb=20"), f"{nonce()} [[+status=500]]",
                                  f"{nonce()} [[+status=429]]"])
            body = body_of(chance, text, cache)
            for _ in range(chance.choice([1, 1, 3, 6])):
                guests += swarm.ask(1, body, path=chance.choice(["/v1/chat/completions", GOODFIRE]),
                                    headers=chance.choice(keys).head)
        swarm.answers(guests)
        good = sum("+status" not in request.body.decode() for request in provider.chats())
        total = charged(gateway)
        assert total == good * COST, f"seed {SEED}: {good} good answers of {len(provider.chats())}"


@pytest.mark.parametrize("cache", ["never", "repeatable"])
def test_a_storm_of_everything(provider, cache):
    """Every way to end, on either side, at random points."""
    chance = random.Random(SEED + 1)
    faults = ["", "", "+gap=3", "+ttfb=30", "+rst_after=2", "+eof_after=3", "+stall_after=2", "+stall_after=0", "+hang",
              "+status=500", "+status=429", "+errorevent=2", "+drop", "+end_after=3", "+badjson=2", "+nousage"]
    keys, gateway = booked(provider, cache, HASTY)
    with gateway, Swarm(gateway) as swarm:
        asked, guests = {}, []
        for number in range(60 * ROUNDS):
            name, fault = nonce(), chance.choice(faults)
            text = mirrored(fault, name)
            body = body_of(chance, text, cache)
            group = []
            for _ in range(chance.choice([1, 1, 2, 5])):
                group += swarm.ask(1, body, path=chance.choice(["/v1/chat/completions", GOODFIRE]),
                                   headers=chance.choice(keys).head)
            asked[name] = [text, fault, False]
            guests += group
            if chance.random() < .5:
                asked[name][2] = True
                swarm.leave(chance.sample(group, chance.randint(1, len(group))), chance.choice(["close", "reset"]))
            if number % 7 == 0:
                old = chance.choice(guests)
                for known in asked.values():
                    known[2] = known[2] or known[0].encode() in old.request
                swarm.leave([old], "reset")
        stays = [guest for guest in guests if not guest.left]
        swarm.answers(stays, 60)
        total = charged(gateway)
        least = most = 0
        for request in provider.chats():
            text, fault, left = next(known for name, known in asked.items() if name in request.body.decode())
            seen = prompt_of(text) + request.written
            if not left and fault in ("", "+gap=3", "+ttfb=30"):
                least, most = least + COST, most + COST
            elif not any(word in fault for word in ("+status", "+hang", "+drop", "+stall_after=0")):
                # Whole answers without a word of what they cost are charged as estimated.
                most += max(COST, seen, prompt_of(text) + 1024 if fault == "+nousage" else 0)
        assert least <= total <= most, f"seed {SEED}: {least} <= {total} <= {most}"
        assert not any(places(gateway).values())
        # And it still serves.
        assert gateway.chat(headers=keys[0].head).status == 200


def test_a_storm_in_a_queue(provider):
    """Waiting, leaving, being refused and being served, with few places: none is lost."""
    chance = random.Random(SEED + 2)
    keys = [Key("alice", team="red"), Key("bob", team="blue")]
    limits = {"quota": {**LARGE, "concurrent": 3}, "queue": {"length": 20, "longest": "400ms"}}
    with Gateway(**limited(provider, {**LARGE, "concurrent": 15}, model=limits, keys=entries(*keys), workers=2,
                           place={"timeouts": SLOW}, cache={"when": "repeatable"})) as gateway, Swarm(gateway) as swarm:
        provider.always = {"ttfb": "5"}
        for _ in range(ROUNDS):
            guests = []
            for _ in range(100):
                text = mirrored(chance.choice(["", "+gap=2", "+rst_after=2", "+status=500"]))
                guests += swarm.ask(chance.choice([1, 1, 2]), body_of(chance, text, "repeatable"),
                                    headers=chance.choice(keys).head)
                if chance.random() < .4:
                    swarm.leave(chance.sample(guests, 1), chance.choice(["close", "reset"]))
            stays = [guest for guest in guests if not guest.left]
            told = statuses(answer for answer in swarm.answers(stays) if answer.complete)
            assert set(told) <= {200, 429, 502}, told
            gateway.wait("exchanges", 0, 20)
            free(gateway, 20)
        until(lambda: gateway.chat(headers=keys[0].head).status == 200, "an answer")


