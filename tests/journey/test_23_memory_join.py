"""One upstream call serves all who ask at once: over all workers, whoever comes late, leaves early or lags behind."""

import random
import resource
import signal

import pytest
from harness import Gateway, in_half
from memory_world import (CHAT, FULL, GOODFIRE, Swarm, control, counts, mirrored, one_model, page, said, seeded, until,
                          verdict, wait_joins, wanted)

MANY = 1000 if FULL else 200
RELEASE = FULL      # the bounds of a build without sanitizers


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))


@pytest.fixture(scope="module", params=[2, 4], ids=["2 workers", "4 workers"])
def gateway(provider, request):
    with Gateway(**one_model(provider, workers=request.param)) as one:
        yield one


@pytest.fixture(scope="module")
def two(provider):
    with Gateway(**one_model(provider, workers=2)) as one:
        yield one


def first_event(body):
    return wanted(body).encode()


def settled(gateway):
    gateway.wait("streams", 0)
    gateway.wait("calls", 0)
    until(lambda: page(gateway)["growing"] == 0, "nothing to grow")


# --- many at once ------------------------------------------------------------------------------------------------

def test_many_ask_at_once_and_one_is_asked(gateway, provider):
    body, before = seeded(mirrored("+tokens=5"), stream=True), counts(gateway)
    provider.hold(at=3)
    with Swarm(gateway) as swarm:
        guests = swarm.ask(MANY, body)
        Swarm.wait(guests, first_event(body))     # each has what there is, while the rest is held
        assert len(provider.chats()) == 1
        provider.release()
        answers = swarm.answers(guests)
    assert len(provider.chats()) == 1 and {answer.body for answer in answers} == {answers[0].body}
    assert answers[0].complete and answers[0].events()[-1] == "[DONE]"
    assert answers[0].text() == wanted(body) + " w1 w2 w3 w4 w5"
    assert sorted(verdict(answer) for answer in answers) == ["join"] * (MANY - 1) + ["miss"]
    assert len({answer.header("x-embergate-cache-key") for answer in answers}) == 1
    now = counts(gateway)
    assert now["joins"] - before["joins"] == MANY - 1 and now["misses"] - before["misses"] == 1
    assert gateway.chat(body).body == answers[0].body
    settled(gateway)


def test_many_ask_for_a_whole_answer(gateway, provider):
    body, before = seeded(), counts(gateway)
    provider.hold()
    with Swarm(gateway) as swarm:
        guests = swarm.ask(MANY // 2, body)
        until(lambda: counts(gateway)["joins"] - before["joins"] == MANY // 2 - 1, "all to wait for one")
        provider.release()
        answers = swarm.answers(guests)
    assert len(provider.chats()) == 1 and {answer.body for answer in answers} == {answers[0].body}
    assert said(answers[0]) == wanted(body) and all(answer.complete for answer in answers)


def test_many_without_a_barrier(gateway, provider):
    """Nobody is held: who comes while it grows joins, who comes later hits; one is asked."""
    body = seeded(mirrored("+tokens=20+gap=2"), stream=True)
    with Swarm(gateway) as swarm:
        answers = swarm.answers(swarm.ask(MANY, body))
    assert len(provider.chats()) == 1 and {answer.body for answer in answers} == {answers[0].body}
    assert {verdict(answer) for answer in answers} <= {"miss", "join", "hit"} and answers[0].complete


def test_a_late_comer_has_its_first_event_at_once(gateway, provider):
    body = seeded(mirrored("+tokens=50"), stream=True)
    provider.hold(at=40)
    with Swarm(gateway) as swarm:
        guests = swarm.ask(1, body)
        Swarm.wait(guests, b" w30")

        def delay():
            one, = swarm.ask(1, body)
            Swarm.wait([one], b" w30")
            guests.append(one)
            return one.when(first_event(body)) - one.asked

        in_half(delay, 0.005 if RELEASE else 0.2, times=30)
        provider.release()
        assert {answer.body for answer in swarm.answers(guests)} == {guests[0].answer().body}
    assert len(provider.chats()) == 1


# --- leaving -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["close", "reset"])
def test_who_leaves_harms_nobody(gateway, provider, how):
    chance = random.Random(7)
    body = seeded(mirrored("+tokens=30"), stream=True)
    provider.hold(at=3)
    with Swarm(gateway) as swarm:
        leader = swarm.ask(1, body)
        Swarm.wait(leader, first_event(body))
        others = swarm.ask(60, body)
        Swarm.wait(others, first_event(body))
        leaving = leader + chance.sample(others, 30)
        swarm.leave(leaving, how)
        gateway.wait("streams", 30)
        late = swarm.ask(5, body)                 # the leader is gone, the answer is still there to be joined
        Swarm.wait(late, first_event(body))
        provider.release()
        answers = swarm.answers([guest for guest in others + late if guest not in leaving])
    assert len(provider.chats()) == 1 and (provider.last().ended is None or provider.last().answered)
    assert len(answers) == 35 and {said(answer) for answer in answers} == {answers[0].text()}
    assert answers[0].text().endswith(" w30") and {verdict(answer) for answer in answers} == {"join"}
    assert verdict(gateway.chat(body)) == "hit"
    settled(gateway)


@pytest.mark.parametrize("stream", [True, False])
def test_the_last_one_to_leave_ends_the_call(gateway, provider, stream):
    def delay():
        body, before = seeded(stream=stream), counts(gateway)
        provider.requests.clear()
        provider.hold(at=2 if stream else "head")
        with Swarm(gateway) as swarm:
            guests = swarm.ask(12, body)
            until(lambda: counts(gateway)["joins"] - before["joins"] == 11, "eleven to join")
            if stream:
                Swarm.wait(guests, first_event(body))
            swarm.leave(guests[:-1])
            gateway.wait("exchanges", 1)
            assert provider.last().ended is None, "somebody still reads"
            swarm.leave(guests[-1:])
            provider.last().wait_ended()
            took = provider.last().ended_at - guests[-1].left
        provider.release()
        settled(gateway)
        again = gateway.chat(body)
        assert verdict(again) == "miss" and said(again) == wanted(body), "what nobody heard to its end is not kept"
        assert not RELEASE or took < 0.1
        return took

    in_half(delay, 0.1)


def test_leaving_and_joining_in_one_breath(gateway, provider):
    """The last reader leaves as the next one comes: it joins or asks anew, and is answered."""
    for _ in range(30):
        body = seeded(mirrored("+tokens=3+gap=3"), stream=True)
        with Swarm(gateway) as swarm:
            first = swarm.ask(2, body)
            Swarm.wait(first[:1], b"HTTP/1.1")
            swarm.leave(first)
            answer, = swarm.answers(swarm.ask(1, body))
        assert said(answer) == wanted(body) + " w1 w2 w3" and verdict(answer) in ("join", "miss", "hit")
    settled(gateway)


# --- failing -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fault, status", [({"status": 500}, 502), ({"status": 429}, 429), ({"status": 400}, 400)],
                         ids=["500", "429", "400"])
@pytest.mark.parametrize("stream", [True, False])
def test_failure_before_the_first_event_reaches_all(two, provider, fault, status, stream):
    body, before = seeded(stream=stream), counts(two)
    provider.hold()
    provider.next(**fault)
    with Swarm(two) as swarm:
        guests = swarm.ask(20, body) + swarm.ask(20, body, path=GOODFIRE)
        until(lambda: counts(two)["joins"] - before["joins"] == 39, "all to wait")
        provider.release()
        answers = swarm.answers(guests)
    assert len(provider.chats()) == 1
    assert {answer.status for answer in answers[:20]} == {status} and all("error" in one.json() for one in answers[:20])
    assert len({answer.status for answer in answers[20:]}) == 1 and all("detail" in one.json() for one in answers[20:])
    assert answers[20].status >= 400
    assert verdict(two.chat(body)) == "miss" and verdict(two.chat(body)) == "hit"


@pytest.mark.parametrize("fault", ["rst_after", "end_after", "errorevent"])
def test_failure_after_the_first_event_is_seen_by_all(two, provider, fault):
    body = seeded(mirrored("+tokens=4"), stream=True)
    provider.hold(at=2)
    provider.next(**{fault: 3})
    with Swarm(two) as swarm:
        guests = swarm.ask(20, body)
        Swarm.wait(guests, first_event(body))
        provider.release()
        answers = swarm.answers(guests)
    assert len(provider.chats()) == 1
    for answer in answers:
        assert answer.status == 200 and not answer.complete and b"[DONE]" not in answer.body
        assert "error" in answer.objects()[-1], answer.body
    assert verdict(two.chat(body)) == "miss" and verdict(two.chat(body)) == "hit"
    settled(two)


# --- at their own pace, in their own words -----------------------------------------------------------------------

def test_a_slow_reader_holds_nobody_back(two, provider):
    body = seeded(mirrored("+tokens=6000"), stream=True)
    provider.hold(at=3)
    with Swarm(two) as swarm, two.client(receive_buffer=4096) as slow, two.client(receive_buffer=4096) as lead:
        lead.ask("POST", CHAT, body, read=False)
        head = lead.read_head()
        slow.ask("POST", CHAT, body, read=False)
        late = slow.read_head()
        guests = swarm.ask(10, body)
        Swarm.wait(guests, first_event(body))
        provider.release()
        answers = swarm.answers(guests)
        assert all(said(answer).endswith(" w6000") for answer in answers), "while two have not read a byte"
        for client, answer in ((slow, late), (lead, head)):
            client.read_body(answer)
            assert answer.complete and answer.body == answers[0].body
    assert len(provider.chats()) == 1


def test_a_large_answer_is_let_go_and_relayed(provider):
    """More than is kept: it goes on for those who read it, and a newcomer asks anew."""
    with Gateway(**one_model(provider, cache={"entry": "32k"}, workers=2)) as gateway, Swarm(gateway) as swarm:
        body = seeded(mirrored("+tokens=3000"), stream=True)
        provider.hold(at=3)
        guests = swarm.ask(10, body)
        Swarm.wait(guests, first_event(body))
        provider.move(at=1500)
        Swarm.wait(guests, b" w1000")
        newcomer = swarm.ask(1, body)
        provider.wait_chats(2)
        provider.release()
        answers = swarm.answers(guests + newcomer)
        assert all(said(answer).endswith(" w3000") for answer in answers)
        assert {answer.body for answer in answers[:10]} == {answers[0].body} and verdict(answers[10]) == "miss"
        assert len(provider.chats()) == 2 and page(gateway)["entries"] == 0


def test_who_stalls_halts_nobody_in_a_large_answer(provider):
    """More than is kept, and two read nothing, the leader one of them: they are lost, the others read on."""
    with Gateway(**one_model(provider, cache={"entry": "32k"}, workers=2, timeouts={"client_stall": "10m"})) as gateway:
        body = seeded(mirrored("+tokens=16000"), stream=True)
        provider.hold(at=3)
        with (Swarm(gateway) as swarm, gateway.client(receive_buffer=4096) as lead,
              gateway.client(receive_buffer=4096) as join):
            lead.ask("POST", CHAT, body, read=False)
            head = lead.read_head()
            join.ask("POST", GOODFIRE, body, read=False)
            late = join.read_head()
            guests = swarm.ask(3, body)
            Swarm.wait(guests, first_event(body))
            provider.release()
            answers = swarm.answers(guests)
            assert {said(answer) for answer in answers} == {answers[0].text()}, "while two have not read a byte"
            assert answers[0].text().endswith(" w16000")
            for client, answer in ((lead, head), (join, late)):
                client.read_body(answer)
                last = answer.body.rstrip().rsplit(b"\n\n", 1)[-1]
                assert not answer.complete and client.ended and b"[DONE]" not in answer.body
                assert b"error" in last and b"too slowly" in last and b"w16000" not in answer.body, last
        assert len(provider.chats()) == 1
        settled(gateway)


@pytest.mark.parametrize("leads", [CHAT, GOODFIRE], ids=["openai leads", "goodfire leads"])
@pytest.mark.parametrize("kind", ["openai", "goodfire", "vllm", "ollama"])
@pytest.mark.parametrize("stream", [True, False])
def test_both_dialects_share_one_answer(providers, kind, leads, stream):
    body = seeded(mirrored("+tokens=3"), temperature=0.5, top_p=0.9, max_completion_tokens=64, stream=stream)
    provider, words = providers[kind], wanted(body) + " w1 w2 w3"
    doors = [leads, CHAT if leads == GOODFIRE else GOODFIRE]
    with Gateway(**one_model(provider, workers=2)) as gateway, Swarm(gateway) as swarm:
        provider.hold(at=2 if stream else "head")
        first = swarm.ask(1, body, path=doors[0])
        provider.wait_chats(1)
        others = swarm.ask(3, body, path=doors[1])
        if stream:
            Swarm.wait(others, first_event(body))
        else:
            wait_joins(gateway, 3)
        provider.release()
        answers = swarm.answers(first + others) + [gateway.ask(door, body) for door in doors]
        assert len(provider.chats()) == 1
        assert [verdict(one) for one in answers] == ["miss", "join", "join", "join", "hit", "hit"]
        assert {said(one) for one in answers} == {words}
        for door, answer in zip([doors[0], *[doors[1]] * 3, *doors], answers):
            if door == CHAT:
                assert not stream or answer.events()[-1] == "[DONE]"
            elif stream:
                chunks = answer.objects()
                assert [one["choices"][0]["gf_token_index"] for one in chunks] == list(range(len(chunks)))
                assert all(one["choices"][0]["delta"]["content"] is not None for one in chunks)


# --- the end of the process --------------------------------------------------------------------------------------

@pytest.mark.parametrize("leader", ["stays", "leaves"])
def test_a_shared_answer_is_finished_before_the_end(provider, leader):
    gateway = Gateway(**one_model(provider, workers=4))
    gateway.expect_end = True
    body = seeded(mirrored("+tokens=5"), stream=True)
    with gateway, Swarm(gateway) as swarm:
        provider.hold(at=3)
        first = swarm.ask(1, body)
        Swarm.wait(first, first_event(body))
        guests = swarm.ask(40, body)
        Swarm.wait(guests, first_event(body))
        if leader == "leaves":
            swarm.leave(first)
            gateway.wait("streams", 40)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_line("(?i)draining")
        provider.release()
        answers = swarm.answers(guests + (first if leader == "stays" else []))
        assert {said(answer) for answer in answers} == {wanted(body) + " w1 w2 w3 w4 w5"}
        assert gateway.process.wait(15) == 0
    assert len(provider.chats()) == 1


def test_the_drain_time_ends_for_all_readers(provider):
    gateway = Gateway(**one_model(provider, workers=4, timeouts={"drain": "500ms"}))
    gateway.expect_end = True
    body = seeded(stream=True)
    with gateway, Swarm(gateway) as swarm:
        provider.hold(at=3)
        guests = swarm.ask(40, body)
        Swarm.wait(guests, first_event(body))
        gateway.process.send_signal(signal.SIGTERM)
        for answer in swarm.answers(guests):
            assert b'"error"' in answer.body and b"[DONE]" not in answer.body and not answer.complete
        assert gateway.process.wait(15) == 0
    assert provider.last().wait_ended()


def test_a_storm_of_joining_and_leaving(two, provider):
    """Few questions, many clients, all orders; whoever stays is answered in full."""
    chance = random.Random(11)
    bodies = [seeded(mirrored("+tokens=8+gap=2"), stream=number % 3 != 0) for number in range(8)]
    with Swarm(two) as swarm:
        for _ in range(60 if FULL else 15):
            asked = [(body, swarm.ask(chance.randrange(1, 4), body, path=chance.choice([CHAT, GOODFIRE]), headers=headers))
                     for body in chance.sample(bodies, 5)
                     for headers in [control("no-cache") if chance.random() < 0.2 else []]]
            guests = [(body, guest) for body, some in asked for guest in some]
            leaving = [guest for _, guest in guests if chance.random() < 0.4]
            swarm.leave(leaving, chance.choice(["close", "reset"]))
            for body, guest in guests:
                if guest not in leaving:
                    answer, = swarm.answers([guest])
                    assert said(answer).startswith(wanted(body)) and said(answer).endswith(" w8")
    settled(two)
