"""A dry run tells what would be done, and nothing is done: what it tells is what then really happens."""

import json
import re

import pytest
from admit_world import Key, connected, entries, error, limited, places, tokens_question, usage
from conftest import house_config
from harness import Gateway, backend, echo, port_of, question, reserved
from memory_world import CHAT, GOODFIRE, LOGITS, Swarm, counts, key, mirrored, nonce, remembering, seeded, until, verdict
from provider_kinds import KINDS
from redis_world import Redis
from test_10_variants import CONTROLLER

EXPLAIN = "/v1/explain"
GOODFIRE_LOGITS = "/api/inference/v1/chat-attribution/compute-logits"
DRY = [("x-embergate-explain", "1")]
VARIANTS = [
    {"name": "pirate", "model": "goodfire", "controller": "pirate.json"},
    {"name": "pirate-lora", "model": "llama-server", "controller": "pirate.json", "lora": [{"id": 0, "scale": 0.8}]},
    {"name": "pirate-adapter", "model": "vllm", "controller": "pirate.json", "adapter": "pirate-there"},
    {"name": "echo-pirate", "model": "echo", "controller": "pirate.json"},
]


@pytest.fixture(scope="module")
def house(providers):
    config = house_config(providers, variants=VARIANTS, cache={"when": "repeatable"})
    config["models"].append({"name": "set", "backends": ["vllm", "openai"], "upstream": "tiny",
                             "defaults": {"temperature": 0.25}, "fixed": {"seed": 11}, "aliases": ["also-set"]})
    config["models"].append({"name": "mixed", "backends": ["openai", "goodfire", "local"], "upstream": "tiny"})
    with Gateway(files={"pirate.json": CONTROLLER}, **config) as gateway:
        yield gateway


def explain(gateway, body, path=None, headers=(), **more):
    answer = gateway.ask(EXPLAIN + (f"?path={path}" if path else ""), body, headers=headers, **more)
    assert answer.status == 200, (answer.status, answer.body[:500])
    assert answer.header("content-type").startswith("application/json") and answer.header("x-request-id")
    return answer.json()


def asked(told):
    return [one["backend"] for one in told["candidates"] if one["asked"]]


def spans(told, name="body"):
    return [one[name] for one in told["candidates"] if name in one]


def posts(provider):
    return [one for one in provider.requests if one.method == "POST"]


# --- what is sent -----------------------------------------------------------------------------------------------------

BODIES = [
    {}, {"stream": True}, {"seed": 7}, {"temperature": 0, "max_tokens": 9}, {"n": 2, "stop": ["a", "b"]},
    {"stream": True, "stream_options": {"include_usage": True}}, {"unheard_of": {"deep": [1, None, "é"]}, "user": "me"},
]


@pytest.mark.parametrize("more", BODIES, ids=lambda more: "+".join(more) or "plain")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_is_what_is_sent(house, providers, kind, more):
    """Byte for byte: the text of the body stands in the explanation."""
    body = question(kind, mirrored(), **more)
    raw = house.ask(EXPLAIN, body)
    told = raw.json()
    assert not providers[kind].chats()
    answer = house.chat(body)
    first = told["candidates"][0]
    if "n" in more and answer.status == 400:    # what this kind cannot do is refused before anything is sent
        assert not first["asked"] and first["why"] == answer.json()["error"]["message"] and "body" not in first
        assert kind in ("goodfire", "llama-server", "ollama") and not posts(providers[kind])
        return
    assert answer.status == 200, answer.body
    sent = posts(providers[kind])[-1]
    assert (first["backend"], first["kind"], first["steering"]) == (kind, kind, "none")
    assert (first["method"], first["path"]) == (sent.method, sent.path)
    assert first["body"] == sent.json and sent.body in raw.body
    assert told["request"]["body"] == body and asked(told) == [kind]


@pytest.mark.parametrize("door", [CHAT, GOODFIRE])
def test_the_header_does_the_same_at_each_door(house, providers, door):
    body = question("goodfire", mirrored(), temperature=0)
    by_header = house.ask(door, body, headers=DRY)
    by_path = house.ask(f"{EXPLAIN}?path={door}", body)
    assert by_header.status == 200 and by_header.json() == by_path.json() and not providers["goodfire"].requests
    told = by_path.json()
    assert told["request"]["dialect"] == ("goodfire" if door == GOODFIRE else "openai")
    assert told["request"]["path"] == door
    house.ask(door, body)
    assert told["candidates"][0]["body"] == providers["goodfire"].last().json
    assert house.ask(door, {**body, "seed": 5}, headers=[("x-embergate-explain", "0")]).json()["choices"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", [LOGITS, GOODFIRE_LOGITS])
def test_the_first_call_of_a_question_for_logits(house, providers, kind, door):
    body = question(kind, nonce(), top_k=5)
    told = explain(house, body, door)
    assert not providers[kind].requests and told["request"]["operation"] == "logits"
    answer = house.ask(door, body)
    assert answer.status == 200, answer.body
    first, sent = told["candidates"][0], providers[kind].requests[0]
    assert (first["method"], first["path"]) == (sent.method, sent.path)
    assert first.get("body") == sent.json
    assert (first["calls"] == "one") == (kind == "goodfire")
    assert told["cache"]["key"] == key(answer)


def test_a_vocabulary_means_logits(house):
    body = question("goodfire", nonce(), filter_vocabulary=[" yes", " no"])
    told = explain(house, body)
    assert told["request"]["operation"] == "logits" and told["request"]["normalised"]["strings"] == 2
    assert explain(house, body, "%2Fv1%2Fchat%2Flogits")["request"]["path"] == LOGITS
    assert house.ask(f"{EXPLAIN}?path={CHAT}", body).json()["request"]["operation"] == "chat"


def test_what_the_configuration_sets(house, providers):
    told = explain(house, question("also-set", mirrored(), max_tokens=5))
    normalised = told["request"]["normalised"]
    assert (normalised["model"], normalised["resolved"], normalised["variant"]) == ("also-set", "set", None)
    assert (normalised["output_limit"], normalised["choices"], normalised["stream"]) == (5, 1, False)
    assert asked(told) == ["vllm", "openai"]
    assert [(body["model"], body["temperature"], body["seed"]) for body in spans(told)] == [("tiny", 0.25, 11)] * 2
    house.chat(question("also-set", mirrored(), max_tokens=5))
    assert not posts(providers["openai"]) and len(posts(providers["vllm"])) == 1


def test_the_echo_sends_nothing(house):
    told = explain(house, question("echo", nonce()))
    assert told["candidates"][0]["calls"].startswith("none") and told["candidates"][0]["kind"] == "echo"


# --- steering ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, how", [("pirate", "controller"), ("pirate-lora", "lora"), ("pirate-adapter", "adapter"),
                                       ("echo-pirate", "controller")])
def test_how_steering_is_done(house, providers, name, how):
    body = question(name, mirrored())
    told = explain(house, body)
    first = told["candidates"][0]
    assert first["steering"] == how and told["request"]["normalised"]["variant"] == name
    assert ("before" in first) == (how == "lora")
    answer = house.chat(body)
    assert answer.status == 200, answer.body
    if name != "echo-pirate":
        sent = posts(providers[first["kind"]])[-1]
        assert first["body"] == sent.json and first["upstream_model"] == sent.json["model"]


def test_who_cannot_steer_is_ruled_out(house):
    told = explain(house, question("mixed", nonce(), controller=CONTROLLER))
    assert asked(told) == ["goodfire", "local"]
    out = told["candidates"][-1]
    assert out["backend"] == "openai" and not out["asked"] and "steering" in out["why"] and "body" not in out


def test_what_a_backend_cannot_do_is_why(house):
    """The others are asked, and this one says no before anything is sent."""
    body = question("mixed", nonce(), tools=[{"type": "function", "function": {"name": "f"}}])
    told = explain(house, body)
    why = {one["backend"]: one for one in told["candidates"]}["goodfire"]
    if not why["asked"]:
        assert why["why"] and "body" not in why
    assert asked(told)[0] == "openai"


# --- health -----------------------------------------------------------------------------------------------------------

def test_who_is_down_is_left_alone(provider):
    models = [{"name": "tiny", "backends": ["gone", "good"]}, {"name": "lonely", "backends": ["gone"]}]
    with reserved() as nobody:
        gone = {"name": "gone", "kind": "openai", "url": f"http://127.0.0.1:{port_of(nobody)}"}

        def seen():
            """What was told of the one that is gone, until it is down."""
            with Gateway(backends=[gone, backend("good", provider)], models=models) as gateway:
                assert asked(explain(gateway, question())) == ["gone", "good"]
                assert gateway.chat().status == 200

                def left_alone():
                    """A rest lasts a second: it may be over before it is explained, and then another one begins."""
                    assert gateway.chat(question("lonely")).status in (502, 503)
                    first, second = explain(gateway, question())["candidates"]
                    return first["backend"] == "good" and (first, second)

                told = set()
                while "down" not in told:
                    good, bad = until(left_alone, "a rest")
                    assert (good["health"], good["asked"]) == ("good", True)
                    assert bad["backend"] == "gone" and bad["health"] in ("resting", "down")
                    assert bad["asked"] == (bad["health"] == "resting") and bad["why"]
                    told.add(bad["health"])
                return told

        # It is down after five failures: on a busy machine each rest before may have gone by unseen.
        until(lambda: "resting" in seen(), "a rest before it is down", 30)


# --- the memory -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [*KINDS, "echo"])
def test_the_key_is_the_key(house, kind):
    body = question(kind, mirrored(), temperature=0)
    cache = explain(house, body)["cache"]
    assert cache["repeatable"] and cache["reason"] is None and cache["now"] == "absent"
    answer = house.chat(body)
    assert verdict(answer) == "miss" and cache["key"] == key(answer) and re.fullmatch("[0-9a-f]{64}", cache["key"])
    again = explain(house, body)["cache"]
    assert again["now"] == "hit" and {**again, "now": 0} == {**cache, "now": 0}


REASONS = [({}, "no-seed"), ({"seed": -1}, "unusable-seed"), ({"seed": 1, "store": True}, None)]


@pytest.mark.parametrize("more, why", REASONS)
def test_why_not(house, more, why):
    body = question("openai", mirrored(), **more)
    cache = explain(house, body)["cache"]
    answer = house.chat(body)
    assert not cache["repeatable"] and cache["key"] is None and cache["now"] is None
    assert cache["reason"] == answer.header("x-embergate-cache-reason") and why in (None, cache["reason"])
    control = [("Cache-Control", "no-store")]
    assert explain(house, seeded(model="openai"), headers=control)["cache"]["reason"] == "no-store"


def test_parts_tell_what_differs(house):
    one = explain(house, question("vllm", "a", seed=1, temperature=0.5, odd=3, user="me"))["cache"]
    same = explain(house, question("vllm", "a", seed=1, temperature=0.50, odd=3.0, user="you"))["cache"]
    assert one["key"] == same["key"]
    other = explain(house, question("vllm", "b", seed=2, temperature=0.5, odd=3))["cache"]
    assert one["key"] != other["key"] and len(one["parts"]) == len(other["parts"])
    differ = [(a["part"], a.get("name")) for a, b in zip(one["parts"], other["parts"]) if a != b]
    assert differ == [("messages", None), ("member", "seed")]
    assert [part["part"] for part in one["parts"]][:4] == ["version", "operation", "scope", "candidate"]
    assert {part["name"]: part["value"] for part in one["parts"] if part["part"] == "member"} \
        == {"seed": 1, "temperature": 0.5, "odd": 3}


def test_long_values_and_many_members(house):
    body = question("vllm", "a", seed=1, long="x" * 1000, **{f"m{number}": number for number in range(1000)})
    parts = explain(house, body)["cache"]["parts"]
    members = [part for part in parts if part["part"] == "member"]
    assert [set(part) for part in members if part["name"] == "long"] == [{"part", "name", "digest"}]
    assert len(members) == 256 and parts[-1] == {"part": "more", "count": 1002 - 256}


def test_joins_are_seen_and_not_made(provider):
    with remembering(provider) as gateway, Swarm(gateway) as swarm:
        body = seeded(stream=True)
        provider.hold()
        guests = swarm.ask(1, body)
        provider.wait_chats(1)
        assert explain(gateway, body)["cache"]["now"] == "join"
        assert counts(gateway)["joins"] == 0
        provider.release()
        swarm.answers(guests)


def test_nothing_is_counted_called_or_remembered(provider):
    quota = {"requests_per_minute": 1, "requests_burst": 50, "tokens_per_day": 100000, "concurrent": 3}
    with Gateway(**limited(provider, quota, cache={"when": "repeatable"})) as gateway:
        body = seeded()
        before, books = counts(gateway), usage(gateway)
        for _ in range(20):
            explain(gateway, body)
            assert gateway.chat(body, headers=DRY).status == 200
        assert counts(gateway) == before and not provider.requests and not any(places(gateway).values())
        assert [[line["used"] for line in lines.values()] for lines in usage(gateway).values()] == \
            [[line["used"] for line in lines.values()] for lines in books.values()]
        first = gateway.chat(body)
        assert verdict(first) == "miss" and first.header("x-ratelimit-remaining-requests") == "49"
        before = counts(gateway)
        explain(gateway, body)
        assert counts(gateway) == before
        assert verdict(gateway.chat(body)) == "hit" and len(posts(provider)) == 1


# --- limits -----------------------------------------------------------------------------------------------------------

def lines(told):
    return {(line["scope"], line["name"], line["limit"]): line for line in told["limits"]}


def test_limits_are_what_is_charged(provider):
    alice = Key("alice", team="red", quota={"requests_per_minute": 1, "requests_burst": 10, "tokens_per_day": 5000})
    with Gateway(**limited(provider, {"tokens_per_month": 20000, "money_per_day": 1}, keys=entries(alice),
                           model={"price": {"input": 2, "output": 10}},
                           place={"quota": {"concurrent": 2}})) as gateway, Swarm(gateway) as swarm:
        body = tokens_question(1000)
        told = explain(gateway, body, headers=alice.head)
        assert told["key"] == {"name": "alice", "team": "red"}
        charge = told["charge"]
        assert charge["prompt_tokens"] + charge["output_tokens"] == 1000 and charge["estimated"] is True
        assert charge["cost"] == pytest.approx((charge["prompt_tokens"] * 2 + charge["output_tokens"] * 10) / 1e6)
        provider.hold()
        guests = swarm.ask(1, body, headers=alice.head)
        provider.wait_chats(1)
        taken = lines(explain(gateway, body, headers=alice.head))
        books = usage(gateway)
        want = {"requests_per_minute": 1, "tokens_per_day": 1000, "tokens_per_month": 1000, "concurrent": 1,
                "money_per_day": charge["cost"]}
        assert set(taken) == {("key", "alice", "requests_per_minute"), ("key", "alice", "tokens_per_day"),
                              ("gateway", "", "tokens_per_month"), ("gateway", "", "money_per_day"),
                              ("backend", "one", "concurrent")}
        for (kind, name, limit), line in taken.items():
            assert lines(told)[kind, name, limit]["used"] == 0 and line["used"] == want[limit], line
            assert books[kind, name][limit]["used"] == line["used"] and line["would_pass"]
        provider.release()
        swarm.answers(guests)


def test_what_would_not_pass(provider):
    quota = {"requests_per_minute": 1, "requests_burst": 1, "tokens_per_minute": 1000, "tokens_per_day": 1500}
    with Gateway(**limited(provider, quota)) as gateway:
        def passing(tokens):
            return {line["limit"]: line["would_pass"] for line in explain(gateway, tokens_question(tokens))["limits"]}
        assert passing(1500) == {"requests_per_minute": True, "tokens_per_minute": True, "tokens_per_day": True}
        assert passing(1501) == {"requests_per_minute": True, "tokens_per_minute": True, "tokens_per_day": False}
        assert error(gateway.chat(tokens_question(1501)))[0] == 429
        assert gateway.chat(tokens_question(900)).status == 200
        assert passing(100)["requests_per_minute"] is False
        assert gateway.chat(tokens_question(100)).status == 429


def test_a_hit_costs_its_request_alone(provider):
    with Gateway(**limited(provider, {"tokens_per_day": 5000, "concurrent": 1},
                           cache={"when": "repeatable"})) as gateway:
        body = seeded()
        assert explain(gateway, body)["charge"]["output_tokens"] == 1024
        gateway.chat(body)
        charge = explain(gateway, body)["charge"]
        assert (charge["requests"], charge["prompt_tokens"], charge["output_tokens"], charge["cost"]) == (1, 0, 0, 0)


def test_the_one_with_room_is_asked(providers):
    """As a question then does: the first backend's only place is taken."""
    backends = [backend("one", providers["openai"], quota={"concurrent": 1}), backend("two", providers["vllm"])]
    with Gateway(backends=backends, models=[{"name": "tiny", "backends": ["one", "two"]}]) as gateway, \
            Swarm(gateway) as swarm:
        assert asked(explain(gateway, question())) == ["one", "two"]
        providers["openai"].hold()
        guests = swarm.ask(1, question())
        providers["openai"].wait_chats(1)
        assert asked(explain(gateway, question())) == ["two", "one"]
        gateway.chat()
        assert len(posts(providers["vllm"])) == 1
        providers["openai"].release()
        swarm.answers(guests)


def test_limits_that_redis_keeps(provider):
    with Redis() as redis:
        admission = {"redis": {"url": redis.url, "deadline": "5s"}}
        quota = {"requests_per_minute": 1, "requests_burst": 10, "concurrent": 4}
        with Gateway(**limited(provider, quota, admission=admission)) as gateway:
            connected(gateway)
            assert lines(explain(gateway, question()))["gateway", "", "requests_per_minute"]["used"] == 0
            for number in range(1, 4):
                assert gateway.chat().status == 200
                told = explain(gateway, question())
                assert lines(told)["gateway", "", "requests_per_minute"]["used"] == number
            assert "limits_degraded" not in told
            redis.kill()
            until(lambda: "limits_degraded" in explain(gateway, question()), "word that Redis is away")


# --- who may ------------------------------------------------------------------------------------------------------------

def test_refusals_come_as_they_would(house):
    for body, path in (({"model": "openai"}, CHAT), ({"model": "openai"}, GOODFIRE), (question("nobody"), CHAT),
                       (question("nobody"), GOODFIRE), (question("openai", temperature=9), CHAT),
                       (question("openai", top_k=-3), LOGITS), (question("openai", controller=CONTROLLER), CHAT)):
        real, dry, told = house.ask(path, body), house.ask(path, body, headers=DRY), house.ask(f"{EXPLAIN}?path={path}", body)
        assert real.status == dry.status == told.status >= 400 and real.body == dry.body == told.body
    assert house.ask(EXPLAIN, b"{").status == 400 and house.ask(EXPLAIN, b"[]").status == 400
    assert house.ask(EXPLAIN).status == 405 and house.ask(EXPLAIN, method="GET").header("allow") == "POST"
    assert house.ask(EXPLAIN, question(), address=house.admin).status == 404
    for path in ("/v1/models", "/nowhere", "", "/api/inference/v1/chat/tokenize", EXPLAIN):
        answer = house.ask(f"{EXPLAIN}?path={path}", question("openai"))
        assert error(answer)[0] == 400 and answer.json()["error"]["param"] == "path"


def test_what_is_passed_on_is_not_explained(house, providers):
    answer = house.ask("/api/inference/v1/chat/tokenize", question("goodfire"), headers=DRY)
    assert answer.status == 422 and not providers["goodfire"].requests


def test_keys_are_asked_for_and_never_told(provider):
    alice, bob = Key("alice", models=["tiny"]), Key("bob", models=["other"])
    secret = "sk-upstream-secret"
    models = [{"name": "tiny", "backends": ["one", "two"]}, {"name": "other", "backends": ["one"]}]
    backends = [backend("one", provider, api_key=secret), backend("two", provider, pass_through_key=True)]
    with Gateway(backends=backends, models=models, keys=entries(alice, bob), cache={"when": "repeatable"}) as gateway:
        assert gateway.ask(EXPLAIN, question()).status == 401
        assert gateway.ask(EXPLAIN, question(), headers=bob.head).status == 403
        answer = gateway.ask(EXPLAIN, seeded(), headers=alice.head)
        assert answer.status == 200 and alice.text.encode() not in answer.body and secret.encode() not in answer.body
        assert alice.digest.encode() not in answer.body
        assert [one["api_key"] for one in answer.json()["candidates"]] == ["the configuration's", "the client's"]
        record = gateway.wait_record(answer)
        assert (record["operation"], record["key"], record["status"]) == ("explain", "alice", "200")
        assert record["cache"] == record["backend"] == "-" and not provider.requests


# --- size -----------------------------------------------------------------------------------------------------------------

def test_large_bodies_are_told_once(provider):
    backends = [backend(f"b{number}", provider) for number in range(20)]
    config = {"backends": backends, "models": [{"name": "tiny", "backends": [one["name"] for one in backends]}],
              "limits": {"answer_bytes": "1m"}}
    with Gateway(**config) as gateway:
        body = question(text="x" * 600000)
        answer = gateway.ask(EXPLAIN, body)
        told = answer.json()
        assert told["candidates"][0]["body"] == body and len(answer.body) < 1500000
        assert all(one["body_bytes"] >= 600000 for one in told["candidates"][1:])
        assert len(asked(told)) == 20


def test_echo_alone():
    with Gateway(backends=[echo()]) as gateway:
        told = explain(gateway, question("echo"))
        assert asked(told) == ["local"] and told["limits"] == [] and told["key"] is None
        assert json.dumps(told)


@pytest.mark.parametrize("told", ["yes", "on", "01", "1,1", "2"])
def test_a_wish_that_is_not_understood_is_not_done_for_real(provider, told):
    with remembering(provider) as gateway:
        before = len(provider.requests)
        assert gateway.chat(headers=[("x-embergate-explain", told)]).status == 400
        assert gateway.chat(headers=[("x-embergate-explain", "0"), ("x-embergate-explain", "1")]).status == 400
        assert len(provider.requests) == before
        assert "candidates" in gateway.chat(headers=[("x-embergate-explain", "TRUE")]).json()
        assert "choices" in gateway.chat(headers=[("x-embergate-explain", "0")]).json()
