"""What is remembered: repeatable answers, byte for byte, and nothing else."""

import json
import time

import pytest
from conftest import LLAMA_8B
from harness import Gateway, backend, echo, question
from memory_world import (FULL, GOODFIRE, LOGITS, control, counts, key, mirrored, nonce, one_model, page, purge, reason,
                          remembering, said, seeded, told_again, until, verdict, wanted)
from provider_kinds import KINDS

CHAT = "/v1/chat/completions"
CONTROLLER = {"interventions": [], "scopes": [], "name": "c", "nonzero_strength_threshold": None,
              "min_nudge_entropy": None, "max_nudge_entropy": None}


@pytest.fixture(scope="module")
def house(providers):
    """One model per kind, all with a memory of the usual kind, and some that differ."""
    one = {"backends": ["openai"], "upstream": "tiny"}
    config = {
        "backends": [echo(), backend("sure", providers["sglang"], seeds=True),
                     *(backend(kind, provider) for kind, provider in providers.items())],
        "models": [{"name": "echo", "backends": ["local"]},
                   *({"name": kind, "backends": [kind], "upstream": "tiny"} for kind in providers),
                   {"name": "sure", "backends": ["sure"], "upstream": "tiny"},
                   {"name": "again", "aliases": [LLAMA_8B], **one},
                   {"name": "never", **one, "cache": {"when": "never"}},
                   {"name": "always", **one, "cache": {"when": "always"}},
                   {"name": "cold", **one, "defaults": {"temperature": 0}},
                   {"name": "sown", **one, "fixed": {"seed": 11}},
                   {"name": "warm", **one, "fixed": {"temperature": 0.9}}],
        "cache": {"when": "repeatable", "memory": "32m"},
    }
    with Gateway(**config) as gateway:
        yield gateway


def calls(providers):
    return sum(len([one for one in provider.requests if one.method == "POST"]) for provider in providers.values())


def twice(gateway, body, path=CHAT):
    return gateway.ask(path, body), gateway.ask(path, body)


def misses_then_hits(gateway, body, path=CHAT):
    first, second = twice(gateway, body, path)
    assert (verdict(first), verdict(second)) == ("miss", "hit"), (body, first.body[:300])
    assert key(first) and key(first) == key(second)
    return first, second


# --- a hit is what the miss was ----------------------------------------------------------------------------------

@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("door", [CHAT, GOODFIRE], ids=["openai", "goodfire"])
@pytest.mark.parametrize("kind", [*KINDS, "echo"])
def test_a_hit_is_the_miss_byte_for_byte(house, providers, kind, door, stream):
    began = time.monotonic() - 1    # whole seconds, by the wall's clock
    first, second = misses_then_hits(house, question(kind, mirrored(), temperature=0, stream=stream), door)
    assert first.header("age") is None and 0 <= int(second.header("age")) <= time.monotonic() - began
    told = {"x-request-id", "x-embergate-cache", "age", "date", "x-pad", "server-timing"}
    assert [one for one in first.headers if one[0] not in told] == [one for one in second.headers if one[0] not in told]
    assert first.header("x-request-id") != second.header("x-request-id")
    assert first.complete and second.complete
    if (door == GOODFIRE) == (kind == "goodfire") and not (door == GOODFIRE and stream):
        assert first.body == second.body
    else:
        # Told in Goodfire's words, or from them: each telling has an id and a time of its own.
        assert told_again(first) == told_again(second) != first.body
    assert kind == "echo" or calls(providers) == 1
    assert house.wait_record(first)["cache"] == "miss" and house.wait_record(second)["cache"] == "hit"


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_always_remembered(house, providers, kind):
    body = question(kind, nonce(), top_k=5)
    first, _ = misses_then_hits(house, body, LOGITS)
    before = calls(providers)
    assert house.ask(LOGITS, body).body == first.body and calls(providers) == before
    assert verdict(house.ask(LOGITS, {**body, "top_k": 4})) == "miss"
    filtered = {**body, "filter_vocabulary": [" yes", " no"]}
    assert verdict(house.ask(LOGITS, filtered)) == "miss"
    assert verdict(house.ask(LOGITS, {**body, "filter_vocabulary": [" no", " yes"]})) == "hit", "their order is none"


def test_a_hit_asks_nobody_even_when_nobody_is_there(provider):
    with remembering(provider) as gateway:
        body = seeded()
        name = wanted(body)
        assert said(gateway.chat(body)) == name
        provider.always = {"status": "500"}
        assert said(gateway.chat(body)) == name
        assert gateway.chat(seeded()).status >= 500


def test_the_usage_event_is_for_those_who_asked(house, providers):
    body = seeded(model="vllm", stream=True)
    with_usage = {**body, "stream_options": {"include_usage": True}}
    plain, asked, again = house.chat(body), house.chat(with_usage), house.chat(body)
    assert [verdict(one) for one in (plain, asked, again)] == ["miss", "hit", "hit"] and calls(providers) == 1
    assert plain.body == again.body and all(chunk["choices"] for chunk in plain.objects())
    assert asked.objects()[-1]["usage"]["total_tokens"] == 12 and asked.objects()[-1]["choices"] == []
    assert asked.events()[:-2] == plain.events()[:-1]


# --- what is repeatable -------------------------------------------------------------------------------------------

SEEDED = {"seed": 7, "temperature": 0.8}
REPEATABLE = [(kind, change) for kind in ["openai", "vllm", "llama-server", "ollama", "goodfire"]
              for change in (SEEDED, {"temperature": 0}, {"top_p": 0})]
REPEATABLE += [(kind, {"top_k": 1}) for kind in ("vllm", "llama-server")] + [("sure", SEEDED)]


@pytest.mark.parametrize("kind, change", REPEATABLE)
def test_repeatable(house, kind, change):
    misses_then_hits(house, question(kind, mirrored(), **change))


ONCE = [(kind, change) for kind in KINDS for change in ({}, {"temperature": 0.5}, {"seed": -1}, {"seed": None})]
ONCE += [("sglang", SEEDED), ("llama-server", {"seed": 2 ** 32 - 1}), ("llama-server", {"seed": 2 ** 33 - 1}),
         ("warm", {"temperature": 0})]


@pytest.mark.parametrize("kind, change", ONCE)
def test_not_repeatable(house, kind, change):
    first, second = twice(house, question(kind, mirrored(), **change))
    assert verdict(first) == verdict(second) == "bypass" and key(first) is None and first.header("age") is None
    usable = change.get("seed", -1) in (None, -1)
    assert reason(first) in (("no-seed", "unusable-seed") if usable else ("unusable-seed",))
    assert said(first) and house.wait_record(first)["cache"] == "bypass"


def test_a_policy_per_model(house, providers):
    assert reason(house.chat(seeded(model="never"))) == "never"
    assert reason(house.ask(LOGITS, question("never"))) == "never"
    misses_then_hits(house, question("always", mirrored()))


@pytest.mark.parametrize("model", ["cold", "sown"])
def test_what_the_file_says_makes_it_repeatable(house, model):
    misses_then_hits(house, question(model, mirrored()))


ODD_TOOL = [{"type": "web_search"}]
SCOPED = {**CONTROLLER, "scopes": [{
    "conditionals": {"conditionals": [{"left_hand": {"features": [{"uuid": "0" * 32, "label": "x", "index_in_sae": 3}]},
                                       "right_hand": 0.5, "operator": ">"}], "operator": "AND"},
    "controller": CONTROLLER, "is_active": False, "event_name": "abort"}]}


@pytest.mark.parametrize("model, change, why", [
    ("openai", {"web_search_options": {}}, "web-search"), ("openai", {"store": True}, "store"),
    ("openai", {"modalities": ["text", "audio"], "audio": {"voice": "ash", "format": "wav"}}, "audio"),
    ("openai", {"tools": ODD_TOOL}, "server-tools"), ("goodfire", {"controller": SCOPED}, "event-name")])
def test_outside_influence(house, model, change, why):
    body = seeded(model=model, **change)
    answer = house.ask(GOODFIRE if model == "goodfire" else CHAT, body)
    if answer.status in (400, 422):
        assert why == "server-tools", answer.body
        return
    assert reason(answer) == why and verdict(house.ask(GOODFIRE if model == "goodfire" else CHAT, body)) == "bypass"


def test_passed_through_pages_are_not_remembered(house):
    answer = house.ask("/api/inference/v1/features/search?query=x&model=goodfire")
    assert answer.status == 200 and reason(answer) == "pass"


# --- what is the same question ---------------------------------------------------------------------------------------

TOOL = [{"type": "function", "function": {"name": "f"}}]
SPLIT = [
    {"temperature": 0.6}, {"top_p": 0.5}, {"frequency_penalty": 0.1}, {"presence_penalty": 0.1}, {"seed": 8},
    {"logit_bias": {"5": 1}}, {"stop": "x"}, {"stop": ["x", "y"]}, {"stop": ["y", "x"]}, {"max_tokens": 9}, {"n": 2},
    {"response_format": {"type": "json_object"}}, {"tools": TOOL}, {"tools": TOOL, "tool_choice": "required"},
    {"tools": TOOL, "parallel_tool_calls": False}, {"reasoning_effort": "low"}, {"verbosity": "low"}, {"logprobs": True},
    {"logprobs": True, "top_logprobs": 2}, {"stream": True}, {"a_new_field": 1}, {"a_new_field": 2},
    {"a_new_field": {"deep": [1, {"x": 1}]}}, {"a_new_field": {"deep": [1, {"x": 2}]}}, {"top_k": 3}, {"model": "vllm"},
    {"chat_template_kwargs": {"thinking": True}},
    {"messages": [{"role": "system", "content": "S"}]}, {"messages": [{"role": "user", "content": "S"}]},
    {"messages": [{"role": "user", "content": "S", "name": "n"}]}, {"messages": [{"role": "user", "content": "S "}]},
    {"messages": [{"role": "assistant", "content": "S"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "S"}, {"type": "text", "text": ""}]}]}]
BASE = {"model": "openai", "messages": [{"role": "user", "content": "the same"}], "seed": 7, "temperature": 0.5}


def test_questions_that_differ_have_keys_of_their_own(house):
    keys = {}
    for change in [{}, *SPLIT]:
        answer = house.chat({**BASE, **change})
        assert key(answer), (change, answer.headers, answer.body[:200])
        keys.setdefault(key(answer), []).append(change)
    assert [names for names in keys.values() if len(names) > 1] == []


SAME = [
    {"stream_options": None}, {"user": "u"}, {"safety_identifier": "s"}, {"metadata": {"a": "b"}},
    {"service_tier": "auto"}, {"prompt_cache_key": "k"}, {"store": False}, {"n": 1}, {"n": None}, {"top_p": 1},
    {"top_p": 1.0}, {"frequency_penalty": 0}, {"presence_penalty": 0.0}, {"logit_bias": {}}, {"logprobs": False},
    {"stream": False}, {"temperature": 5e-1}, {"stop": None}, {"max_tokens": None}, {"tools": None}]


@pytest.mark.parametrize("model", ["openai", "vllm", "llama-server"])
def test_questions_that_mean_the_same_share_a_key(house, model):
    base = house.chat({**BASE, "model": model})
    for change in SAME:
        assert key(house.chat({**BASE, "model": model, **change})) == key(base), change
    turned = {name: value for name, value in reversed({**BASE, "model": model}.items())}
    texts = [json.dumps(turned), json.dumps({**BASE, "model": model}, indent=3),
             json.dumps({**BASE, "model": model}).replace("0.5", "50.0e-2").replace("same", "s\\u0061me")]
    for text in texts:
        assert key(house.chat(text.encode())) == key(base), text
    headers = [("User-Agent", "x"), ("X-Stainless-Retry-Count", "1"), ("X-Request-Id", "mine"), ("Accept", "a/b")]
    assert key(house.chat({**BASE, "model": model}, headers=headers)) == key(base)


@pytest.mark.parametrize("one, other", [
    ({"max_tokens": 9}, {"max_completion_tokens": 9}), ({"stop": "x"}, {"stop": ["x"]}),
    ({"logit_bias": {"5": 1, "6": 2}}, {"logit_bias": {"6": 2.0, "5": 1}}),
    ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ({"temperature": 1}, {"temperature": None}), ({"temperature": 0, "seed": 1}, {"temperature": 0, "seed": 2}),
    ({"temperature": 0}, {"temperature": 0, "seed": None}), ({"model": "again"}, {"model": LLAMA_8B})])
def test_pairs_that_mean_the_same(house, one, other):
    first, second = (house.chat({**BASE, **change}) for change in (one, other))
    assert key(first) and key(first) == key(second)


def test_what_reaches_the_server_counts(house):
    seeds = [key(house.chat({**BASE, "model": "llama-server", "seed": seed})) for seed in (42, 2 ** 32 + 42, 43)]
    assert seeds[0] == seeds[1] != seeds[2], "it takes seeds modulo 2^32"
    joined = [{"role": "user", "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "same"}]}]
    for model, same in (("ollama", True), ("vllm", False)):
        one, other = (key(house.chat({**BASE, "model": model, **change})) for change in ({}, {"messages": joined}))
        assert (one == other) == same
    steered = [key(house.goodfire({**BASE, "model": "goodfire", "controller": controller}))
               for controller in (None, CONTROLLER, {**CONTROLLER, "name": "another"}, SCOPED)]
    assert steered[0] == steered[1] == steered[2] and steered[3] is None


# --- what is not kept ---------------------------------------------------------------------------------------------

INCOMPLETE = [{"finish": "content_filter"}, {"finish": "abort"}, {"rst_after": 3}, {"eof_after": 3}, {"end_after": 3},
              {"nofinish": True}, {"errorevent": 2}, {"badjson": 2}, {"halfevent": 3}, {"status": 500}, {"status": 400},
              {"status": 429}, {"html": True}]


@pytest.mark.parametrize("fault", INCOMPLETE, ids=lambda fault: next(iter(fault)))
def test_an_answer_that_went_wrong_is_asked_for_again(house, providers, fault):
    body = seeded(mirrored("+tokens=4"), model="vllm", stream=True)
    providers["vllm"].next(**fault)
    assert verdict(house.chat(body)) in ("miss", None)
    again = house.chat(body)
    assert verdict(again) == "miss" and said(again) == wanted(body) + " w1 w2 w3 w4"
    assert verdict(house.chat(body)) == "hit"


@pytest.mark.parametrize("fault", [{"finish": "content_filter"}, {"status": 503}, {"cl": 5}, {"notjson": True}],
                         ids=lambda fault: next(iter(fault)))
def test_a_whole_answer_that_went_wrong_is_asked_for_again(house, providers, fault):
    body = seeded(model="openai")
    providers["openai"].next(**fault)
    house.chat(body)
    assert verdict(house.chat(body)) == "miss" and verdict(house.chat(body)) == "hit"


def test_a_finish_of_its_own_accord_is_kept(house, providers):
    for finish in ("length", "tool_calls"):
        body = seeded(model="openai", stream=True)
        providers["openai"].next(finish=finish)
        misses_then_hits(house, body)


def test_a_question_that_nobody_can_answer_is_not_remembered(house, providers):
    answer = house.chat(seeded(model="ollama", logit_bias={"5": 1}))
    assert answer.status == 400 and verdict(answer) in (None, "bypass") and calls(providers) == 0


# --- time and room ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("replay", ["instant", "paced"])
def test_replay(provider, replay):
    body = seeded(mirrored("+gap=60+tokens=4"), stream=True)
    with remembering(provider, {"replay": replay}) as gateway:
        first, second = gateway.chat(body), gateway.chat(body)
        assert verdict(second) == "hit" and second.body == first.body

        def span(answer):
            raw = gateway.wait_record(answer).raw
            return raw["total_ms"] - raw["ttft_ms"]

        if replay == "paced":
            assert span(second) > 0.7 * span(first) - 50
        else:
            until(lambda: span(gateway.chat(body)) < 0.5 * span(first), "it to come at once")
        whole = {**body, "stream": False}
        assert gateway.chat(whole).body == gateway.chat(whole).body


def test_answers_expire(provider):
    config = one_model(provider, cache={"ttl": "3s"})
    config["models"].append({"name": "long", "backends": ["one"], "upstream": "tiny", "cache": {"ttl": "1h"}})
    with Gateway(**config) as gateway:
        body, kept = seeded(), seeded(model="long")
        gateway.chat(kept)
        misses_then_hits(gateway, body)
        ages = set()

        def gone():
            answer = gateway.chat(body, headers=control("only-if-cached"))
            ages.add(answer.header("age"))
            return answer.status == 504

        until(gone, "the answer to expire")
        assert ages <= {"0", "1", "2", "3", None} and counts(gateway)["expired"] >= 1
        misses_then_hits(gateway, body)
        answer = gateway.chat(kept)
        assert verdict(answer) == "hit" and int(answer.header("age")) >= 1


def test_no_more_is_kept_than_there_is_room_for(provider):
    with remembering(provider, {"memory": "2m"}) as gateway:
        bodies = [seeded(mirrored("+tokens=150"), stream=number % 5 > 0) for number in range(800 if FULL else 120)]
        for body in bodies:
            assert said(gateway.chat(body)).startswith(wanted(body))
            assert page(gateway)["bytes"] <= 2 << 20
        now = page(gateway)
        assert now["counts"]["evicted"] > 0 and 0 < now["entries"] < len(bodies) and now["bytes"] > 1 << 18
        assert now["memory"] == 2 << 20 and gateway.metric("cache_bytes") == now["bytes"]
        assert verdict(gateway.chat(bodies[-1])) == "hit" and now["growing"] == 0 == now["growing_bytes"]


@pytest.mark.parametrize("stream", [False, True])
def test_too_large_to_be_kept_is_relayed_well(provider, stream):
    with remembering(provider, {"entry": "16k"}) as gateway:
        body = seeded(mirrored("+tokens=2000+giant=60000"), stream=stream)
        for turn in range(2):
            answer = gateway.chat(body)
            assert answer.status == 200 and answer.complete and len(answer.body) > 60000 and verdict(answer) == "miss"
        assert stream is False or answer.text().endswith(" w2000")
        assert counts(gateway)["too_large"] == 2 and page(gateway)["entries"] == 0 == page(gateway)["bytes"]
        misses_then_hits(gateway, seeded())


def test_no_room_at_all(provider):
    with remembering(provider, {"memory": "0"}) as gateway:
        body = seeded()
        assert [verdict(one) for one in twice(gateway, body)] == ["miss", "miss"]
        assert page(gateway)["entries"] == 0 and purge(gateway) == 0


def test_without_a_word_in_the_file(provider):
    """The memory is on, for what is repeatable, unless the file says otherwise."""
    with Gateway(text="listen: [127.0.0.1:0]\nadmin: 127.0.0.1:0\nworkers: 1\nbackends:\n  - name: one\n    kind: openai\n"
                      f"    url: {provider.url}\nmodels:\n  - name: tiny\n    backends: [one]\n") as gateway:
        misses_then_hits(gateway, seeded())
        assert reason(gateway.chat(question("tiny", mirrored()))) == "no-seed"
