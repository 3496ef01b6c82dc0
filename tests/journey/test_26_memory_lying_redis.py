"""A Redis that lies in every way there is: never a wrong answer, never a failed request, never much memory."""

import time

import pytest
from harness import AT_ONCE, Gateway
from memory_world import control, mirrored, one_model, said, seeded, until, verdict, wanted
from redis_world import DEEDS, ERRORS, RAW, LyingRedis, connected

DEADLINE, SLACK = 0.05, AT_ONCE
SECRET = "a secret of the tests"
# Lies that can be true: the answer's own bytes still come, in time or not.
MAY_BE_TRUE = {"twice", "an error more", "drip", "late", "half", "another key", "swapped", "one behind", "greeting", "resp3",
               "refuse", "mute", "loading", "list", "another stamp"}


@pytest.fixture
def liar():
    with LyingRedis() as one:
        yield one


@pytest.fixture
def reader(provider, liar):
    """The first shelf keeps nothing: every question looks at the second. Freed memory is not held back, to be measured.
    One for each lie: who was lied to comes back later each time."""
    cache = {"memory": "0", "secret": SECRET, "redis": {"url": liar.url, "deadline": "50ms", "value": "64k"}}
    environment = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
    with Gateway(environment=environment, **one_model(provider, cache=cache)) as one:
        connected(one)
        yield one


def honest(reader, liar):
    """The liar repents; the gateway finds it again."""
    liar.mode = None
    connected(reader)


@pytest.fixture
def bodies(reader, liar):
    """Questions whose answers lie at the liar's."""
    some = [seeded(mirrored("+tokens=3"), stream=number % 2 == 0) for number in range(8)]

    def all_there():
        for body in some:
            assert said(reader.chat(body)).startswith(wanted(body))
        return len(liar.answers()) == len(some)

    until(all_there, "all to lie there")
    return some


def ask(reader, body):
    began = time.monotonic()
    answer = reader.chat(body)
    assert said(answer).startswith(wanted(body)) and b"wrong-" not in answer.body, (body, answer.body)
    assert answer.body.count(b"nonce-") == 1
    assert time.monotonic() - began < DEADLINE + SLACK
    return verdict(answer)


@pytest.mark.parametrize("mode", [*RAW, *DEEDS])
def test_a_lie_is_a_miss(reader, liar, bodies, mode):
    assert [ask(reader, body) for body in bodies] == ["hit"] * len(bodies), "an honest one is believed"
    before, lies = reader.memory(), liar.lies
    liar.mode = mode
    if mode in ("refuse", "mute", "greeting", "loading"):
        liar.cut()
        reader.wait("redis_up", 0)
        until(lambda: liar.lies > lies, "a lie", 15)
    outcomes = [ask(reader, body) for body in bodies]
    assert liar.lies > lies, "nobody asked"
    assert mode in MAY_BE_TRUE or set(outcomes) == {"miss"}, outcomes
    assert reader.memory() - before < 2 << 20, "nothing grows with what is announced"
    honest(reader, liar)

    until(lambda: {ask(reader, body) for body in bodies} == {"hit"}, "the truth to be believed again", 15)


@pytest.mark.parametrize("word", ERRORS)
def test_every_error_is_a_miss(reader, liar, bodies, word):
    liar.mode = "-" + word
    assert {ask(reader, body) for body in bodies + bodies} == {"miss"} and liar.lies > 0
    fresh = seeded()
    assert ask(reader, fresh) == "miss" and ask(reader, fresh) == "miss"
    honest(reader, liar)
    until(lambda: {ask(reader, body) for body in bodies} == {"hit"}, "it to be used again", 15)


def test_each_bit_counts(reader, liar, bodies):
    """Every byte of what lies there, flipped somewhere: found out each time, and the connection is kept."""
    name = min(liar.answers(), key=lambda one: len(liar.held[one]))
    body = next(one for one in bodies if wanted(one).encode() in liar.held[name])
    connections, found = liar.connections, reader.metric("redis_bad_total")
    places = range(0, len(liar.held[name]), max(1, len(liar.held[name]) // 120))
    for at in places:
        truth = liar.held[name]
        lie = truth[:at] + bytes([truth[at] ^ (1 << at % 8)]) + truth[at + 1:]
        liar.held[name] = lie
        assert ask(reader, body) == "miss", at
        until(lambda lie=lie: liar.held[name] is not lie, "the truth to be written anew")
    assert reader.metric("redis_bad_total") - found == len(places)
    assert liar.connections == connections, "a wrong value is no reason to leave"


def test_an_answer_under_another_name(reader, liar, bodies):
    """Sound values, all of them moved by one."""
    names = liar.answers()
    values = [liar.held[name] for name in names]
    for name, value in zip(names, values[1:] + values[:1]):
        liar.held[name] = value
    assert {ask(reader, body) for body in bodies} <= {"miss", "hit"}
    until(lambda: {ask(reader, body) for body in bodies} == {"hit"}, "all to be written anew")


def test_an_answer_of_another_secret(provider, liar, bodies):
    """Who may write into redis but does not know the secret cannot make an answer that is believed, nor read ours."""
    cache = {"memory": "0", "secret": "another secret of tests", "redis": {"url": liar.url}}
    with Gateway(**one_model(provider, cache=cache)) as other:
        connected(other)
        assert [ask(other, body) for body in bodies] == ["miss"] * len(bodies)
        assert other.chat(seeded(), headers=control("only-if-cached")).status == 504


def test_a_giant_reply_is_left_at_its_first_line(reader, liar, bodies):
    before, connections = reader.memory(), liar.connections
    liar.mode = "giant"
    for body in bodies[:3]:
        assert ask(reader, body) == "miss"
        connected(reader)
    assert liar.connections > connections and reader.memory() - before < 2 << 20


def test_a_lie_told_to_many(reader, liar, bodies):
    """Replies that come in another order, with many questions in flight on one connection."""
    from memory_world import Swarm
    for mode in ("swapped", "one behind", "another key", "an error more", "late"):
        liar.mode = mode
        with Swarm(reader) as swarm:
            guests = [(body, swarm.ask(1, body)[0]) for _ in range(3) for body in bodies]
            for (body, _), answer in zip(guests, swarm.answers([guest for _, guest in guests])):
                assert said(answer).startswith(wanted(body)) and answer.body.count(b"nonce-") == 1
    honest(reader, liar)
