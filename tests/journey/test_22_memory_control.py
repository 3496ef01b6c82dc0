"""What a client may say about the memory, and whose answers it may see."""

import json

import openai
import pytest
from conftest import LLAMA_8B
from harness import Gateway, backend, question
from memory_world import (CHAT, GOODFIRE, LOGITS, Swarm, bearer, control, counts, key, mirrored, nonce, one_model, reason,
                          said, seeded, since, until, verdict, wanted)


@pytest.fixture(scope="module")
def gateway(provider):
    with Gateway(**one_model(provider, model_more={"aliases": [LLAMA_8B]})) as one:
        yield one


def ask(gateway, body, *lines):
    return gateway.chat(body, headers=[("Cache-Control", line) for line in lines])


def aged(gateway, body, seconds):
    """Until the answer that is remembered is SECONDS old."""
    until(lambda: int(ask(gateway, body).header("age") or 0) >= seconds, f"an age of {seconds} s")


# --- each word --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("lines", [["no-cache"], ["max-age=0"], ["No-Cache"], ["foo, NO-CACHE"], ["max-stale", "no-cache"],
                                   ["max-age=0, max-age=9"], [" no-cache ,"], ["max-age=00"],
                                   ["max-age=abc"], ["max-age"], ["max-age=-1"], ["no-cache=\"x, y\""]], ids=str)
def test_no_cache_asks_anew_and_replaces(gateway, provider, lines):
    body = seeded()
    assert verdict(ask(gateway, body)) == "miss"
    provider.next(text="something_newer")
    answer = ask(gateway, body, *lines)
    assert verdict(answer) == "miss" and said(answer) == "something newer" and key(answer)
    again = ask(gateway, body)
    assert verdict(again) == "hit" and again.body == answer.body and len(provider.chats()) == 2


def test_no_cache_that_fails_leaves_what_was_there_or_nothing(gateway, provider):
    body = seeded()
    name = wanted(body)
    ask(gateway, body)
    provider.next(status=500)
    assert ask(gateway, body, "no-cache").status >= 500
    again = ask(gateway, body)
    assert said(again) == name and verdict(again) in ("hit", "miss")


@pytest.mark.parametrize("lines", [["no-store"], ["NO-STORE, max-age=9"], ["max-age=9", "no-store"], ["no-store, no-cache"]],
                         ids=str)
def test_no_store_is_neither_read_nor_remembered(gateway, provider, lines):
    body = seeded()
    for _ in range(2):
        assert reason(ask(gateway, body, *lines)) == "no-store"
    assert verdict(ask(gateway, body)) == "miss" and len(provider.chats()) == 3
    provider.next(text="unheard")
    answer = ask(gateway, body, *lines)
    assert said(answer) == "unheard" and reason(answer) == "no-store"
    assert said(ask(gateway, body)) == wanted(body)


def test_no_store_is_not_joined_and_does_not_join(gateway, provider):
    body = seeded(stream=True)
    provider.hold(at=2)
    with Swarm(gateway) as swarm:
        first = swarm.ask(1, body, headers=control("no-store"))
        second = swarm.ask(1, body)
        provider.wait_chats(2)
        third = swarm.ask(1, body, headers=control("no-store"))
        provider.wait_chats(3)
        provider.release()
        answers = swarm.answers(first + second + third)
    assert [verdict(one) for one in answers] == ["bypass", "miss", "bypass"]
    assert {said(one) for one in answers} == {wanted(body)}


def test_no_cache_does_not_join(gateway, provider):
    body = seeded(stream=True)
    provider.hold(at=2)
    with Swarm(gateway) as swarm:
        guests = swarm.ask(1, body)
        provider.wait_chats(1)
        guests += swarm.ask(1, body, headers=control("no-cache"))
        provider.wait_chats(2)
        guests += swarm.ask(2, body)
        before = len(provider.chats())
        Swarm.wait(guests, b"data: ")
        provider.release()
        answers = swarm.answers(guests)
    assert before == 2 and [verdict(one) for one in answers[:2]] == ["miss", "miss"]
    assert {verdict(one) for one in answers[2:]} <= {"join", "hit"} and {said(one) for one in answers} == {wanted(body)}


@pytest.mark.parametrize("line", ["max-age=1000", "max-age=\"1000\"", "max-age=99999999999999999999", "max-age = 9",
                                  "max-stale=5", "min-fresh=1", "no-transform", "", ",", "\"no-cache\"",
                                  "nocache", "x-no-cache", "no-cache-please", "private"])
def test_words_that_allow_a_hit(gateway, line):
    body = seeded()
    ask(gateway, body)
    answer = ask(gateway, body, line)
    assert verdict(answer) == "hit", "what is not known is passed over"


def test_max_age_of_a_hit(gateway, provider):
    body = seeded()
    ask(gateway, body)
    aged(gateway, body, 2)
    assert verdict(ask(gateway, body, "max-age=1000")) == "hit"
    provider.next(text="newer")
    answer = ask(gateway, body, "max-age=1")
    assert verdict(answer) == "miss" and said(answer) == "newer"
    again = ask(gateway, body, "max-age=1")
    assert verdict(again) == "hit" and said(again) == "newer", "it replaced the old one"
    aged(gateway, body, 2)
    assert ask(gateway, body, "max-age=1, only-if-cached").status == 504
    assert verdict(ask(gateway, body, "max-age=1000, only-if-cached")) == "hit"


# --- only-if-cached --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stream", [False, True])
def test_only_if_cached(gateway, provider, stream):
    body = seeded(stream=stream)
    answer = ask(gateway, body, "only-if-cached")
    error = answer.json()["error"]
    assert answer.status == 504 and error["code"] == "not_cached" and error["message"] and "type" in error
    assert answer.header("x-should-retry") == "false" and answer.header("content-type").startswith("application/json")
    told = gateway.ask(GOODFIRE, body, headers=control("only-if-cached"))
    assert told.status == 504 and told.json()["detail"]
    assert provider.chats() == []
    ask(gateway, body)
    assert verdict(ask(gateway, body, "only-if-cached")) == "hit" and len(provider.chats()) == 1


@pytest.mark.parametrize("line", ["only-if-cached, no-cache", "only-if-cached, max-age=0", "no-store, only-if-cached"])
def test_words_that_contradict_each_other_ask_nobody(gateway, provider, line):
    body = seeded()
    ask(gateway, body)
    assert ask(gateway, body, line).status == 504 and len(provider.chats()) == 1


def test_only_if_cached_of_what_is_never_remembered(gateway, provider):
    answer = ask(gateway, question(text=mirrored()), "only-if-cached")
    assert answer.status == 504 and answer.json()["error"]["code"] == "not_cached" and provider.chats() == []
    assert gateway.ask(LOGITS, question(text=nonce()), headers=control("only-if-cached")).status == 504
    assert provider.requests == []


def test_only_if_cached_joins(gateway, provider):
    body = seeded(stream=True)
    provider.hold(at=2)
    with Swarm(gateway) as swarm:
        guests = swarm.ask(1, body)
        provider.wait_chats(1)
        guests += swarm.ask(1, body, headers=control("only-if-cached"))
        Swarm.wait(guests, b"data: ")
        provider.release()
        answers = swarm.answers(guests)
    assert [verdict(one) for one in answers] == ["miss", "join"] and {said(one) for one in answers} == {wanted(body)}


def test_the_openai_sdk_reads_it(gateway, provider):
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="k") as client:
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(**seeded(stream=stream), extra_headers=dict(control("only-if-cached")))
            assert caught.value.status_code == 504 and caught.value.code == "not_cached"
    assert provider.chats() == []
    until(lambda: len([one for one in gateway.log() if one["status"] == "504" and one["path"] == CHAT]) >= 2, "the log")


def test_the_goodfire_sdk_reads_it(gateway, provider, monkeypatch):
    import goodfire
    import goodfire.api.exceptions as errors
    from goodfire.api.chat.client import AsyncChatAPICompletions, ChatAPICompletions
    for ours in (AsyncChatAPICompletions, ChatAPICompletions):
        monkeypatch.setattr(ours, "_get_headers", lambda self, usual=ours._get_headers: {
            **usual(self), "Cache-Control": "only-if-cached"})
    client = goodfire.Client(api_key="k", base_url=gateway.url)
    messages = [{"role": "user", "content": nonce()}]
    for stream in (False, True):
        with pytest.raises((errors.ServerErrorException, errors.RequestFailedException)):
            list(client.chat.completions.create(messages, model=LLAMA_8B, stream=stream))
    assert provider.chats() == []


# --- whose answers -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def parted(provider):
    models = [{"name": scope, "backends": ["one"], "upstream": "tiny", "cache": {"scope": scope}}
              for scope in ("tenant", "team", "shared")]
    with Gateway(backends=[backend("one", provider)], models=models, cache={"when": "repeatable"}) as one:
        yield one


@pytest.mark.parametrize("door", [CHAT, GOODFIRE])
def test_tenants_do_not_share(parted, provider, door):
    body = seeded(model="tenant")

    def by(name):
        answer = parted.ask(door, body, headers=bearer(name) if name else [])
        return verdict(answer), key(answer)

    names = ["sk-one", "sk-two", "sk-one2", "SK-ONE", None]
    first = [by(name) for name in names]
    assert [outcome for outcome, _ in first] == ["miss"] * 5 and len({name for _, name in first}) == 5
    assert [by(name)[0] for name in names] == ["hit"] * 5 and len(provider.chats()) == 5
    assert not any("sk-" in line.lower() for line in parted.lines), "keys are not told"


@pytest.mark.parametrize("scope", ["team", "shared"])
def test_a_team_shares(parted, provider, scope):
    body = seeded(model=scope)
    answers = [parted.chat(body, headers=headers) for headers in (bearer("sk-one"), bearer("sk-two"), [])]
    assert [verdict(one) for one in answers] == ["miss", "hit", "hit"] and len(provider.chats()) == 1


def test_tenants_do_not_join_each_other(parted, provider):
    body = seeded(model="tenant", stream=True)
    provider.hold(at=2)
    with Swarm(parted) as swarm:
        guests = [swarm.ask(2, body, headers=bearer(name)) for name in ("sk-a", "sk-b")]
        provider.wait_chats(2)
        Swarm.wait(guests[0] + guests[1], b"data: ")
        assert len(provider.chats()) == 2
        provider.release()
        for pair in guests:
            assert sorted(verdict(one) for one in swarm.answers(pair)) == ["join", "miss"]


def test_every_word_is_counted(gateway, provider):
    before = counts(gateway)
    body = seeded()
    for line in ("only-if-cached", "max-age=5", "no-cache", "no-store", "max-age=5"):
        ask(gateway, body, line)
    now = since(gateway, before)
    assert now["hits"] == 1 and now["bypasses"] == 1 and now["stored"] == 2 and now["misses"] in (2, 3), json.dumps(now)
