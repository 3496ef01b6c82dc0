"""Limits and budgets of one gateway: exactly what is permitted passes, every answer tells what is left, a refusal has
its dialect's form, and what was estimated is settled."""

import json
import os
import re
import time

import goodfire
import goodfire.api.exceptions as goodfire_errors
import openai
import pytest
from admit_world import (BUDGET, COST, OUTPUT, PROMPT, RATE, RATE_OF_TOKENS, Key, entries, error, free, limited, limiting,
                         own_usage, passes, places, statuses, tokens_question, usage, used)
from harness import Gateway, backend, echo, question
from memory_world import CHAT, GOODFIRE, Swarm, seeded, until, verdict, wait_joins
from test_04_openai_node import pytestmark as needs_node
from test_04_openai_node import run as run_node

MESSAGES = [{"role": "user", "content": "Hello"}]
DAY, MONTH = 24 * 3600 * 1000, 31 * 24 * 3600 * 1000
# A rate that gives nothing back while a test runs.
SLOW = {"requests_per_minute": 1}


def openai_client(gateway, key="none", **more):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key=getattr(key, "text", key), **more)


def seconds_of(text):
    """A duration as the header tells it: 1h2m3s, or 250ms."""
    units = {"h": 3600, "m": 60, "s": 1, "ms": .001}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|[hms])", text))


# --- rates -----------------------------------------------------------------------------------------------------------

RATES = [(1, 1), (1, 7), (2, 30), (60, 10), (600, 20), (6000, 1), (60, None)]


@pytest.fixture(scope="module")
def rated(providers):
    """A model for each of RATES, in a gateway of two workers."""
    models = []
    for rate, burst in RATES:
        quota = {"requests_per_minute": rate, **({"requests_burst": burst} if burst else {})}
        models.append({"name": f"m-{rate}-{burst}", "backends": ["one"], "upstream": "tiny", "quota": quota})
    with Gateway(backends=[backend("one", providers["openai"])], models=models, workers=2) as gateway:
        yield gateway


@pytest.mark.parametrize("rate, burst", RATES)
def test_exactly_the_burst_passes(rated, rate, burst):
    """And what time gives back meanwhile."""
    name, burst = f"m-{rate}-{burst}", burst or rate
    began = time.monotonic()
    with Swarm(rated) as swarm:
        guests = swarm.ask(burst + 30, question(name))
        answers = swarm.answers(guests)
    took = time.monotonic() - began
    more = int(took * rate / 60) + 1
    passed = statuses(answers).get(200, 0)
    assert burst <= passed <= burst + (more if rate >= 60 else 0), (passed, more)
    left = [int(answer.header("x-ratelimit-remaining-requests")) for answer in answers]
    assert {answer.header("x-ratelimit-limit-requests") for answer in answers} == {str(rate)}
    assert all(0 <= number < burst for number in left), left
    if rate < 60:
        # Each that was let in has left one less.
        assert sorted(number for number, answer in zip(left, answers) if answer.status == 200) == list(range(burst))
    for answer in answers:
        if answer.status == 200:
            continue
        assert error(answer) == RATE
        wait = int(answer.header("retry-after-ms"))
        # One worker may have looked at the clock before the other one did that was first.
        assert 1 <= wait <= 60000 / rate + took * 1000 and int(answer.header("retry-after")) == -(-wait // 1000)
        assert answer.header("x-should-retry") != "false"


def test_what_is_told_to_wait_is_enough(providers):
    with limiting(providers["openai"], {"requests_per_minute": 600, "requests_burst": 1}) as gateway:
        for _ in range(5):
            answer = gateway.chat()
            if answer.status == 429:
                time.sleep(int(answer.header("retry-after-ms")) / 1000)
                assert gateway.chat().status == 200


def test_a_long_wait_is_not_waited_for(providers):
    """SDKs wait a minute or two at most: what takes longer is told as useless to ask again for."""
    with limiting(providers["openai"], {"tokens_per_minute": 1, "tokens_burst": 1000}) as gateway, Swarm(gateway) as swarm:
        providers["openai"].hold()
        guests = swarm.ask(1, tokens_question(1000))
        providers["openai"].wait_chats(1)
        answer = gateway.chat(tokens_question(1000))
        assert error(answer) == RATE_OF_TOKENS
        assert int(answer.header("retry-after")) <= 60 or answer.header("x-should-retry") == "false"
        providers["openai"].release()
        swarm.answers(guests)


def test_every_answer_tells(providers):
    """Whole, streamed, refused, of either dialect, of a provider's failure."""
    quota = {"requests_per_minute": 1, "requests_burst": 20, "tokens_per_minute": 100000}
    with limiting(providers["openai"], quota) as gateway:
        began = time.monotonic()
        answers = [gateway.chat(), gateway.chat(stream=True), gateway.goodfire(), gateway.goodfire(stream=True),
                   gateway.chat(text="[[+status=500]]")]
        took = time.monotonic() - began
        assert [answer.status for answer in answers] == [200, 200, 200, 200, 502]
        for number, answer in enumerate(answers):
            assert answer.header("x-ratelimit-limit-requests") == "1"
            assert answer.header("x-ratelimit-remaining-requests") == str(19 - number), number
            reset = seconds_of(answer.header("x-ratelimit-reset-requests"))
            assert 60 * (number + 1) - took <= reset <= 60 * (number + 1), (number, reset)
            assert answer.header("x-ratelimit-limit-tokens") == "100000"
            assert 90000 < int(answer.header("x-ratelimit-remaining-tokens")) < 100000
            assert answer.header("x-ratelimit-reset-tokens")
            assert answer.header("x-embergate-admission") is None


def test_without_limits_nothing_is_told(providers):
    with limiting(providers["openai"]) as gateway:
        answer = gateway.chat()
        assert answer.status == 200 and not [name for name, _ in answer.headers if "ratelimit" in name]


# --- refusals ----------------------------------------------------------------------------------------------------------

def test_forms_of_a_rate(providers):
    with limiting(providers["openai"], {**SLOW, "requests_burst": 1}) as gateway:
        began = time.monotonic()
        assert gateway.chat().status == 200
        answer = gateway.chat()
        assert error(answer) == RATE and answer.json()["error"]["param"] is None
        assert 60 - (time.monotonic() - began) <= int(answer.header("retry-after")) <= 60
        other = gateway.goodfire()
        assert other.status == 429 and other.header("retry-after") and other.header("retry-after-ms")
        assert gateway.wait_record(answer)["status"] == "429"
        assert gateway.metric("limits_refused_total") == 2


def test_forms_of_a_budget(providers):
    with limiting(providers["openai"], {"tokens_per_day": 2000}) as gateway:
        answer = gateway.chat(tokens_question(3000))
        assert error(answer) == BUDGET and answer.header("x-should-retry") == "false"
        other = gateway.goodfire(tokens_question(3000))
        assert other.status == 402 and other.header("x-should-retry") == "false"


def test_openai_python(providers):
    """It waits as long as it is told and comes again; it does not for a budget."""
    with limiting(providers["openai"], {"requests_per_minute": 60, "requests_burst": 1},
                  model={"quota": {"tokens_per_day": 2000}}) as gateway:
        with openai_client(gateway, max_retries=2) as client:
            # Whoever asks less than once a second is not refused.
            until(lambda: client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=5).choices and
                  gateway.metric("limits_refused_total"), "a refusal")
            assert gateway.metric("limits_refused_total") == 1, "refused once, and not before the wait was over"
            before = gateway.metric("limits_refused_total")
            with pytest.raises(openai.RateLimitError) as refused:
                client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=5000)
            assert refused.value.code == "insufficient_quota" and refused.value.type == "insufficient_quota"
            assert gateway.metric("limits_refused_total") == before + 1
        with openai_client(gateway, max_retries=0) as client:
            with pytest.raises(openai.RateLimitError) as refused:
                for _ in range(20):
                    client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=5)
            assert refused.value.code == "rate_limit_exceeded"


@needs_node
def test_openai_node(providers):
    def case(name, **params):
        return {"name": name, "base": gateway.url + "/v1", "params": question(max_tokens=5) | params,
                "options": {"maxRetries": 2}}

    with limiting(providers["openai"], {"requests_per_minute": 120, "requests_burst": 1},
                  model={"quota": {"tokens_per_day": 2000}}) as gateway:
        got = run_node([case("first"), case("second"), case("budget", max_tokens=5000)])
        assert got["first"]["finish"] == "stop" and got["second"]["finish"] == "stop", got
        assert got["budget"]["error"]["name"] == "RateLimitError", got
        assert got["budget"]["error"]["code"] == "insufficient_quota"
        assert gateway.metric("limits_refused_total") in (1, 2), "the second once, the budget once"


def test_goodfire_sdk(providers, monkeypatch):
    """Its own class for each refusal. It comes again six times for a 429, after seconds: time is not waited for here."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with limiting(providers["openai"], {**SLOW, "requests_burst": 1},
                  model={"quota": {"tokens_per_day": 5000}}) as gateway:
        client = goodfire.Client(api_key="none", base_url=gateway.url)
        with pytest.raises(goodfire_errors.InsufficientFundsException):
            client.chat.completions.create(MESSAGES, model="tiny", max_completion_tokens=6000)
        assert gateway.metric("limits_refused_total") == 1
        assert client.chat.completions.create(MESSAGES, model="tiny", max_completion_tokens=5).choices
        with pytest.raises(goodfire_errors.RateLimitException):
            client.chat.completions.create(MESSAGES, model="tiny", max_completion_tokens=5)
        with pytest.raises(goodfire_errors.RateLimitException):
            list(client.chat.completions.create(MESSAGES, model="tiny", max_completion_tokens=5, stream=True))


# --- tokens ----------------------------------------------------------------------------------------------------------

def slow_tokens(burst):
    return {"tokens_per_minute": 1, "tokens_burst": burst}


def test_tokens_are_estimated_before(providers):
    """A held question has taken its estimate; what does not fit beside it is refused."""
    provider = providers["openai"]
    with limiting(provider, slow_tokens(1000)) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, tokens_question(600))
        provider.wait_chats(1)
        assert used(gateway, "tokens_per_minute") == 600
        answer = gateway.chat(tokens_question(401))
        assert error(answer) == RATE_OF_TOKENS, answer.body
        assert answer.header("x-ratelimit-remaining-tokens") == "400"
        assert answer.header("x-ratelimit-limit-tokens") == "1"
        guests += swarm.ask(1, tokens_question(400))
        provider.wait_chats(2)
        assert used(gateway, "tokens_per_minute") == 1000
        provider.release()
        assert statuses(swarm.answers(guests)) == {200: 2}
        until(lambda: used(gateway, "tokens_per_minute") == 2 * COST, "the estimates to be settled")


@pytest.mark.parametrize("body, estimate", [
    ({}, 5 + 1024), ({"max_tokens": 7}, 5 + 7), ({"max_completion_tokens": 9}, 5 + 9), ({"max_tokens": 7, "n": 3}, 5 + 21),
    ({"messages": [{"role": "user", "content": "x" * 400}, {"role": "user", "content": "y" * 401}], "max_tokens": 1},
     201 + 8 + 1),
])
def test_estimates(providers, body, estimate):
    provider = providers["openai"]
    with limiting(provider, {"tokens_per_day": 100000}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, {**question(text="four"), **body})
        provider.wait_chats(1)
        assert used(gateway, "tokens_per_day") == estimate
        provider.release()
        swarm.answers(guests)


def test_default_output_of_a_model(providers):
    provider = providers["openai"]
    with limiting(provider, {"tokens_per_day": 100000}, model={"default_output": 50}) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(1, question(text="four"))
        provider.wait_chats(1)
        assert used(gateway, "tokens_per_day") == 55
        provider.release()
        swarm.answers(guests)


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama"])
@pytest.mark.parametrize("stream", [False, True])
def test_settled_on_what_the_provider_says(providers, kind, stream):
    with limiting(providers[kind], {"tokens_per_day": 100000, "concurrent": 9}) as gateway:
        for number in (1, 2):
            assert gateway.chat(stream=stream).status == 200
            free(gateway)
            assert used(gateway, "tokens_per_day") == number * COST


def test_settled_on_what_was_seen(providers):
    """A Goodfire server tells no usage: of a stream each event is a token, the one that ends it as well."""
    with limiting(providers["goodfire"], {"tokens_per_day": 100000, "concurrent": 9}) as gateway:
        assert gateway.chat(text="four", stream=True).status == 200
        free(gateway)
        assert used(gateway, "tokens_per_day") == 5 + OUTPUT + 1


def test_settled_on_what_an_echo_says():
    with Gateway(backends=[echo()], models=[{"name": "echo", "backends": ["local"]}],
                 admission={"quota": {"tokens_per_day": 100000, "concurrent": 9}}) as gateway:
        total = 0
        for stream in (False, True):
            answer = gateway.chat(question("echo", "one two three", stream=stream,
                                           **({"stream_options": {"include_usage": True}} if stream else {})))
            told = answer.objects()[-1]["usage"] if stream else answer.json()["usage"]
            total += told["total_tokens"]
            free(gateway)
            assert used(gateway, "tokens_per_day") == total > 0


def test_more_than_estimated_is_a_debt(providers):
    with limiting(providers["openai"], slow_tokens(20)) as gateway:
        body = question(text="four", max_tokens=1)
        for _ in range(2):
            assert gateway.chat(body).status == 200
        until(lambda: used(gateway, "tokens_per_minute") == 2 * COST, "the debt")
        answer = gateway.chat(body)
        assert error(answer) == RATE_OF_TOKENS and answer.header("x-ratelimit-remaining-tokens") == "0"


@pytest.mark.parametrize("fault, cost", [("+status=500", 0), ("+status=429", 0), ("+status=400", 0), ("+drop", 0)])
def test_what_failed_costs_no_tokens(providers, fault, cost):
    with limiting(providers["openai"], {"tokens_per_day": 100000, "requests_per_minute": 1, "requests_burst": 5,
                                        "concurrent": 2}) as gateway:
        for stream in (False, True):
            assert gateway.chat(text=f"[[{fault}]]", stream=stream).status != 200
        free(gateway)
        assert used(gateway, "tokens_per_day") == cost and used(gateway, "requests_per_minute") == 2


# --- budgets ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("limit, period", [("tokens_per_day", DAY), ("tokens_per_month", MONTH),
                                           ("money_per_day", DAY), ("money_per_month", MONTH)])
@pytest.mark.parametrize("scope", ["key", "team", "model", "backend", "gateway"])
def test_budgets(providers, scope, limit, period):
    """Three answers of twelve tokens fit, or of what they cost; then a question that might not is refused."""
    money = limit.startswith("money")
    unit = 1000000 if money else 1      # it is reckoned in millionths of the currency, and told in the currency
    price = {"input": 1.5, "output": 2.25}
    cost = (PROMPT * 1500000 + OUTPUT * 2250000 + 999999) // 1000000 if money else COST
    # 5 for the prompt, 5 for the answer.
    estimate = (5 * 1500000 + 5 * 2250000 + 999999) // 1000000 if money else 10
    most = 2 * cost + max(estimate, cost)
    quota = {limit: most / 1000000 if money else most}
    if money:
        quota = {limit: f"{most / 1000000:.6f}"}
    at = {name: {"quota": quota} if name == scope else {} for name in ("key", "team", "model", "backend", "gateway")}
    key = Key("alice", team="research", **at["key"])
    config = limited(providers["openai"], at["gateway"].get("quota"), model={"price": price, **at["model"]},
                     place=at["backend"], keys=entries(key), teams=[{"name": "research", **at["team"]}])
    name = {"key": "alice", "team": "research", "model": "tiny", "backend": "one", "gateway": ""}[scope]
    body = tokens_question(10)
    with Gateway(**config) as gateway:
        for number in range(1, 4):
            assert gateway.chat(body, headers=key.head).status == 200, number
            until(lambda: round(used(gateway, limit, scope, name) * unit) == number * cost, f"{number} to be charged")  # noqa: B023
        answer = gateway.chat(body, headers=key.head)
        assert error(answer) == BUDGET, answer.body
        assert gateway.goodfire(body, headers=key.head).status == 402
        line = usage(gateway)[(scope, name)][limit]
        told = [round(line[name] * unit) for name in ("most", "used", "remaining")]
        assert told == [most, 3 * cost, max(0, most - 3 * cost)]
        assert 0 < line["reset_ms"] <= period


# --- scopes ----------------------------------------------------------------------------------------------------------

SCOPES = ["key", "team", "model", "backend", "gateway"]


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_has_its_own_rate(providers, scope):
    """Who shares the scope shares its burst of three; who does not has none of it."""
    quota = {**SLOW, "requests_burst": 3}
    at = {name: {"quota": quota} if name == scope else {} for name in SCOPES}
    mine = Key("alice", team="research", **at["key"])
    same = {"key": mine}.get(scope, Key("bob", team="research"))
    other = Key("carol", team="other")
    config = {"backends": [backend("one", providers["openai"], **at["backend"]), backend("two", providers["openai"])],
              "models": [{"name": "tiny", "backends": ["one"], **at["model"]},
                         {"name": "second", "backends": ["two"], "upstream": "tiny"}],
              "teams": [{"name": "research", **at["team"]}, {"name": "other"}],
              "keys": entries(*{mine.name: mine, same.name: same, other.name: other}.values()),
              **({"admission": at["gateway"]} if scope == "gateway" else {})}
    with Gateway(**config) as gateway:
        asked = {"key": [mine, mine], "team": [mine, same]}.get(scope, [mine, other])
        passed = [gateway.chat(headers=asked[number % 2].head).status for number in range(5)]
        assert passed == [200, 200, 200, 429, 429]
        # The ones beside it.
        model = "second" if scope in ("model", "backend") else "tiny"
        last = gateway.chat(question(model), headers=other.head).status
        assert last == (429 if scope == "gateway" else 200)


def test_all_or_nothing(providers):
    """What one scope refuses is taken from none of the others."""
    key = Key("alice", team="research", quota={**SLOW, "requests_burst": 9, "concurrent": 9, "tokens_per_day": 90000})
    config = limited(providers["openai"], {**SLOW, "requests_burst": 9, "concurrent": 9},
                     model={"quota": {**SLOW, "requests_burst": 2}}, place={"quota": {"concurrent": 9}},
                     keys=entries(key), teams=[{"name": "research", "quota": {**SLOW, "requests_burst": 9}}], workers=2)
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        assert statuses(swarm.answers(swarm.ask(12, question(), headers=key.head))) == {200: 2, 429: 10}
        free(gateway)
        seen = usage(gateway)
        for scope in (("key", "alice"), ("team", "research"), ("model", "tiny"), ("gateway", "")):
            assert seen[scope]["requests_per_minute"]["used"] == 2, scope
        assert seen[("key", "alice")]["tokens_per_day"]["used"] == 2 * COST


@pytest.mark.parametrize("scope", SCOPES)
def test_concurrent(providers, scope):
    """Exactly three at one time; a place is free again whatever its holder came to."""
    provider = providers["openai"]
    at = {name: {"quota": {"concurrent": 3}} if name == scope else {} for name in SCOPES}
    key = Key("alice", team="research", **at["key"])
    config = limited(provider, at["gateway"].get("quota"), model=at["model"], place=at["backend"], keys=entries(key),
                     teams=[{"name": "research", **at["team"]}], workers=2)
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(10, question(stream=True), headers=key.head)
        until(lambda: sum(guest.ended is not None for guest in guests) == 7, "seven refusals")
        refused = [guest.answer() for guest in guests if guest.ended]
        assert {error(answer) for answer in refused} == {RATE}
        assert {answer.header("retry-after") for answer in refused} == {"1"}
        assert len(provider.wait_chats(3)) == 3 and list(places(gateway).values()) == [3]
        stays = [guest for guest in guests if not guest.ended]
        swarm.leave(stays[:1])
        until(lambda: list(places(gateway).values()) == [2], "a leaver's place")
        provider.release()
        assert statuses(swarm.answers(stays[1:])) == {200: 2}
        free(gateway)


def test_the_next_backend_when_one_is_full(providers):
    first, second = providers["openai"], providers["vllm"]
    config = {"backends": [backend("one", first, quota={"concurrent": 1}), backend("two", second, quota={"concurrent": 2})],
              "models": [{"name": "tiny", "backends": ["one", "two"]}]}
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        first.hold()
        second.hold()
        guests = swarm.ask(1, question())
        first.wait_chats(1)
        guests += swarm.ask(2, question())
        second.wait_chats(2)
        assert places(gateway) == {("backend", "one"): 1, ("backend", "two"): 2}
        assert error(gateway.chat()) == RATE
        first.release()
        second.release()
        assert statuses(swarm.answers(guests)) == {200: 3}
        free(gateway)
        assert len(first.chats()) == 1 and len(second.chats()) == 2


def test_a_failover_keeps_to_the_next_ones_places(providers):
    """Backend `one` cannot be reached: what is asked of `two` instead is counted there."""
    second = providers["vllm"]
    config = {"backends": [backend("one", second, "openai", quota={"concurrent": 9}) | {"url": "http://127.0.0.1:1"},
                           backend("two", second, quota={"concurrent": 2})],
              "models": [{"name": "tiny", "backends": ["one", "two"]}]}
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        second.hold()
        guests = swarm.ask(6, question())
        until(lambda: len(second.chats()) + sum(guest.ended is not None for guest in guests) == 6, "all to be decided")
        told = len(second.chats())
        second.release()
        swarm.answers(guests)
        assert told <= 2, f"{told} at one time where two may"
        assert gateway.metric("failovers_total") <= told, "who may not move is not counted as moved"
        free(gateway)


def test_a_failover_is_charged_where_it_was_answered(providers):
    quota = {"quota": {"tokens_per_day": 9000, "concurrent": 5}}
    config = {"backends": [backend("one", providers["vllm"], **quota) | {"url": "http://127.0.0.1:1"},
                           backend("two", providers["vllm"], **quota)],
              "models": [{"name": "tiny", "backends": ["one", "two"]}]}
    with Gateway(**config) as gateway:
        assert gateway.chat().status == 200
        free(gateway)
        assert [used(gateway, "tokens_per_day", "backend", name) for name in ("one", "two")] == [0, COST]


def test_names_of_a_model_share_its_limits(providers):
    with Gateway(backends=[backend("one", providers["vllm"])],
                 models=[{"name": "tiny", "aliases": ["short"], "backends": ["one"], "quota": {**SLOW, "requests_burst": 3}}],
                 variants=[{"name": "polite", "model": "tiny", "adapter": "polite-lora"}]) as gateway:
        asked = ("tiny", "short", "polite", "short")
        assert [gateway.chat(question(name)).status for name in asked] == [200, 200, 200, 429]


# --- the memory ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("charge", [False, True])
def test_hits(providers, charge):
    """A hit is a request, and costs tokens only where the configuration says so."""
    config = limited(providers["openai"], {"tokens_per_day": 100000, "requests_per_minute": 1, "requests_burst": 9,
                                           "concurrent": 9}, admission={"charge_hits": charge},
                     cache={"when": "repeatable"}, place={"quota": {**SLOW, "requests_burst": 1}})
    with Gateway(**config) as gateway:
        body = seeded(stream=True)
        answers = [gateway.chat(body) for _ in range(4)]
        assert [verdict(answer) for answer in answers] == ["miss", "hit", "hit", "hit"]
        assert answers[-1].header("x-ratelimit-remaining-requests") == "5"
        free(gateway)
        assert used(gateway, "requests_per_minute") == 4
        until(lambda: used(gateway, "tokens_per_day") == (4 if charge else 1) * COST, "the last one to be settled")
        assert used(gateway, "requests_per_minute", "backend", "one") == 1, "a hit asks no backend"


@pytest.mark.parametrize("charge", [False, True])
def test_joins(providers, charge):
    provider = providers["openai"]
    config = limited(provider, {"tokens_per_day": 100000, "requests_per_minute": 1, "requests_burst": 9, "concurrent": 9},
                     admission={"charge_joined": charge}, cache={"when": "repeatable"})
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        provider.hold()
        guests = swarm.ask(4, seeded(stream=True))
        wait_joins(gateway, 3)
        provider.wait_chats(1)
        until(lambda: places(gateway) == {("gateway", ""): 1}, "one place: joins need none")
        provider.release()
        assert sorted(verdict(answer) for answer in swarm.answers(guests)) == ["join"] * 3 + ["miss"]
        free(gateway)
        assert len(provider.chats()) == 1 and used(gateway, "requests_per_minute") == 4
        assert used(gateway, "tokens_per_day") == (4 if charge else 1) * COST


def test_a_leader_that_left_leaves_the_bill_right(providers):
    """The answer is made for those who joined: it is charged once, whoever had begun it."""
    provider = providers["openai"]
    config = limited(provider, {"tokens_per_day": 100000, "concurrent": 9}, cache={"when": "repeatable"})
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        body = seeded(stream=True)
        provider.hold()
        leader = swarm.ask(1, body)
        provider.wait_chats(1)
        joiners = swarm.ask(2, body)
        wait_joins(gateway, 2)
        swarm.leave(leader)
        gateway.wait("exchanges", 2)
        provider.release()
        assert statuses(swarm.answers(joiners)) == {200: 2}
        free(gateway)
        assert used(gateway, "tokens_per_day") == COST


# --- pages ---------------------------------------------------------------------------------------------------------

def test_own_usage(providers):
    quota = {"requests_per_minute": 1, "requests_burst": 5, "concurrent": 4, "tokens_per_day": 5000}
    alice, bob = Key("alice", team="research", quota=quota), Key("bob")
    config = limited(providers["openai"], {"tokens_per_month": 9000}, keys=entries(alice, bob),
                     teams=[{"name": "research", "quota": {"tokens_per_day": 7000}}])
    with Gateway(**config) as gateway:
        assert gateway.chat(tokens_question(100), headers=alice.head).status == 200
        free(gateway)
        page = own_usage(gateway, alice)
        assert (page["key"], page["team"]) == ("alice", "research")
        scopes = {(scope["kind"], scope["name"]): {line["limit"]: line for line in scope["limits"]}
                  for scope in page["scopes"]}
        assert set(scopes) == {("key", "alice"), ("team", "research"), ("gateway", "")}
        lines = scopes[("key", "alice")]
        assert {name: (line["most"], line["used"], line["remaining"]) for name, line in lines.items()} == {
            "requests_per_minute": (1, 1, 4), "concurrent": (4, 0, 4), "tokens_per_day": (5000, COST, 5000 - COST)}
        assert 50000 < lines["requests_per_minute"]["reset_ms"] <= 60000
        assert set(usage(gateway)) == set(scopes)
        assert [scope["kind"] for scope in own_usage(gateway, bob)["scopes"]] == ["gateway"]
        assert gateway.ask("/v1/usage").status == 401
        assert gateway.ask("/usage", headers=alice.head).status == 404, "not on the main listener"
        # Looking costs nothing.
        assert used(gateway, "requests_per_minute", "key", "alice") == 1


def test_pages_are_no_requests(providers):
    key = Key("alice", quota={**SLOW, "requests_burst": 1})
    with Gateway(**limited(providers["openai"], keys=entries(key))) as gateway:
        for path in ("/v1/models", "/v1/models/tiny", "/v1/usage", "/nowhere"):
            for _ in range(3):
                assert gateway.ask(path, headers=key.head).status == (404 if path == "/nowhere" else 200)
        # A question that cannot be understood is not counted either.
        assert gateway.chat({"model": "tiny"}, headers=key.head).status == 400
        assert gateway.chat(question("nobody"), headers=key.head).status == 404
        assert used(gateway, "requests_per_minute", "key", "alice") == 0
        assert gateway.chat(headers=key.head).status == 200


def test_logits_are_limited(providers):
    with limiting(providers["llama-server"], {**SLOW, "requests_burst": 2, "concurrent": 3}) as gateway:
        answers = [gateway.ask("/v1/chat/logits", question(top_k=4)) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429], answers[0].body
        assert answers[0].header("x-ratelimit-remaining-requests") == "1"
        free(gateway)




def test_paths_passed_on_are_limited(providers):
    with limiting(providers["goodfire"], {**SLOW, "requests_burst": 2, "tokens_per_day": 1000}) as gateway:
        answers = [gateway.ask("/api/inference/v1/features/search?q=x") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert [answer.header("x-ratelimit-remaining-requests") for answer in answers] == ["1", "0", "0"]
