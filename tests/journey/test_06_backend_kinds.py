"""What exactly reaches each kind of server, and what comes back unchanged."""

import json

import pytest
from conftest import LLAMA_8B, house_config
from harness import Gateway, backend, question
from memory_world import until

LOCAL = ["vllm", "llama-server", "sglang", "ollama"]
OPENAI_SHAPED = ["openai", *LOCAL]
ALL = [*OPENAI_SHAPED, "goodfire"]


def sent(house, providers, kind, **more):
    """What the server of KIND got for a good question with MORE."""
    answer = house.chat(question(kind, **more))
    assert answer.status == 200, answer.body
    return providers[kind].last().json


# --- the head ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ALL)
def test_head_of_the_request(house, providers, kind):
    house.chat(question(kind), headers=[
        ("Authorization", "Bearer client-secret"), ("X-Api-Key", "client-secret"), ("Cookie", "client-secret"),
        ("X-Forwarded-For", "6.6.6.6"), ("X-Request-Id", "client-id"), ("Connection", "authorization, x-evil"),
        ("X-Evil", "client-secret"), ("TE", "trailers"), ("Accept-Encoding", "gzip"), ("User-Agent", "client-agent")])
    seen = providers[kind].last()
    assert seen.version == "HTTP/1.1" and seen.header("host") == f"127.0.0.1:{providers[kind].port}"
    assert seen.header("content-type") == "application/json"
    assert int(seen.header("content-length")) == len(seen.body)
    assert b"client-" not in seen.head and b"6.6.6.6" not in seen.head and b"x-evil" not in seen.head.lower()
    assert {name for name, _ in seen.headers} <= {"host", "content-type", "content-length", "accept", "user-agent",
                                                  "connection"}


@pytest.mark.parametrize("kind", ALL)
def test_path(house, providers, kind):
    sent(house, providers, kind)
    wanted = "/api/inference/v1/chat/completions" if kind == "goodfire" else "/v1/chat/completions"
    assert providers[kind].last().path == wanted


def test_stream_asks_for_an_event_stream(house, providers):
    house.chat(question("openai", stream=True))
    assert "text/event-stream" in providers["openai"].last().header("accept")


def test_key_of_the_backend(provider):
    provider.key = "backend-secret"
    config = {"backends": [backend("one", provider, api_key="${JOURNEY_KEY}")],
              "models": [{"name": "tiny", "backends": ["one"]}]}
    try:
        with Gateway(environment={"JOURNEY_KEY": "backend-secret"}, **config) as gateway:
            assert gateway.chat(headers=[("Authorization", "Bearer client-secret")]).status == 200
            seen = provider.last()
            assert [value for name, value in seen.headers if name == "authorization"] == ["Bearer backend-secret"]
            assert "backend-secret" not in "\n".join(gateway.lines)
    finally:
        provider.key = None


@pytest.mark.parametrize("root", ["", "/v1", "/", "/v1/", "/proxy/v1", "/proxy"])
def test_url_with_and_without_v1(provider, root):
    prefix = "/proxy" if "proxy" in root else ""
    provider.root = prefix
    # A path that does not end in /v1 is taken as it stands by the kind openai, so a local kind is asked here.
    one = {"name": "one", "kind": "vllm", "url": f"http://127.0.0.1:{provider.port}{root}"}
    try:
        with Gateway(backends=[one], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
            assert gateway.chat().status == 200
            assert provider.last().path == prefix + "/v1/chat/completions"
    finally:
        provider.root = ""


# --- bytes -----------------------------------------------------------------------------------------------------------

ODD = (b' {"messages" : [ {"role":"user", "content":"caf\\u00e9 \xe2\x82\xac \\/ \\ud83d\\ude00"} ],\r\n\t"temperature":1.0e0,'
       b'"top_p" :0.90000000000000000001, "unknown_thing":{"a":[1,2.50,-0,1E5],"b":null},"model":"tiny", "seed":7 } ')


def test_original_bytes_when_nothing_has_to_change(provider):
    with Gateway(backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
        assert gateway.ask("/v1/chat/completions", ODD).status == 200
        assert provider.last().body == ODD
        asked = ODD.replace(b'"seed":7', b'"stream":true,"stream_options":{"include_usage":true}')
        assert gateway.ask("/v1/chat/completions", asked).status == 200
        assert provider.last().body == asked


def test_only_the_models_name_changes(house, providers):
    asked = ODD.replace(b'"model":"tiny"', b'"model":"openai"')
    assert house.ask("/v1/chat/completions", asked).status == 200
    assert providers["openai"].last().body == ODD


def test_numbers_keep_their_digits_wherever_the_body_is_rewritten(house, providers):
    for kind in OPENAI_SHAPED:
        asked = ODD.replace(b'"model":"tiny"', b'"model":"%s"' % kind.encode())
        assert house.ask("/v1/chat/completions", asked).status == 200
        body = providers[kind].last().body
        assert b"0.90000000000000000001" in body and b"2.50" in body and b"1E5" in body
        assert b'caf\\u00e9 \xe2\x82\xac' in body


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang"])
def test_answers_pass_byte_for_byte(house, providers, kind):
    """Whole bodies and the payloads of events, extra members included."""
    from provider_kinds import Reply, compact
    body = {"id": "x-1", "object": "chat.completion", "created": 5, "model": "their-name", "strange": {"a": 1.50},
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": {
                "role": "assistant", "content": "caf\u00e9 \U0001f600", "reasoning_content": "hm", "refusal": None}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "more": [1]}}
    providers[kind].pages["/v1/chat/completions"] = Reply(body=body)
    assert house.chat(question(kind)).body.decode() == compact(body)
    chunk = {**body, "object": "chat.completion.chunk", "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": "caf\u00e9", "odd": [1]}, "finish_reason": None}]}
    del chunk["usage"]
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "matched_stop": 5}]}
    providers[kind].pages["/v1/chat/completions"] = Reply(events=[chunk, last])
    assert house.chat(question(kind, stream=True)).events() == [compact(chunk), compact(last), "[DONE]"]


def test_ollamas_ids_are_made_unique(house, providers):
    ids = {house.chat(question("ollama")).json()["id"] for _ in range(3)}
    assert len(ids) == 3 and all(name.startswith("chatcmpl-") and len(name) > 20 for name in ids)
    chunks = house.chat(question("ollama", stream=True)).objects()
    assert len({chunk["id"] for chunk in chunks}) == 1 and chunks[0]["id"] not in ids


# --- names and values ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, name", [("vllm", "max_completion_tokens"), ("sglang", "max_completion_tokens"),
                                        ("llama-server", "max_tokens"), ("ollama", "max_tokens"),
                                        ("goodfire", "max_completion_tokens")])
@pytest.mark.parametrize("asked", ["max_tokens", "max_completion_tokens"])
def test_output_limit(house, providers, kind, name, asked):
    body = sent(house, providers, kind, **{asked: 77})
    assert body[name] == 77
    other = {"max_tokens", "max_completion_tokens"} - {name}
    assert not other & set(body) or body[other.pop()] == 77


@pytest.mark.parametrize("kind", ["llama-server", "ollama", "vllm", "sglang"])
def test_max_completion_tokens_wins_over_max_tokens(house, providers, kind):
    body = sent(house, providers, kind, max_tokens=5, max_completion_tokens=9)
    assert body["max_tokens" if kind in ("llama-server", "ollama") else "max_completion_tokens"] == 9


@pytest.mark.parametrize("kind, wanted", [
    ("llama-server", {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0}),
    ("vllm", {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0}),
    ("sglang", {"temperature": 1, "top_p": 1, "top_k": -1, "min_p": 0}),
    ("ollama", {"temperature": 1, "top_p": 1}),
])
def test_sampling_defaults_are_explicit(house, providers, kind, wanted):
    body = sent(house, providers, kind)
    assert {name: body[name] for name in wanted} == wanted


@pytest.mark.parametrize("kind", LOCAL)
def test_what_the_client_says_stays(house, providers, kind):
    body = sent(house, providers, kind, temperature=0.25, top_p=0.5)
    assert (body["temperature"], body["top_p"]) == (0.25, 0.5)
    if kind != "ollama":
        body = sent(house, providers, kind, top_k=5, min_p=0.1)
        assert (body["top_k"], body["min_p"]) == (5, 0.1)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_top_p_zero_is_greedy(house, providers, kind):
    """They refuse top_p 0; the same is meant by temperature 0."""
    body = sent(house, providers, kind, top_p=0, temperature=0.7)
    assert body["temperature"] == 0 and body.get("top_p", 1) == 1


@pytest.mark.parametrize("kind", ALL)
def test_nulls_are_dropped(house, providers, kind):
    nothing = {name: None for name in ("temperature", "top_p", "n", "stop", "seed", "presence_penalty", "logprobs",
                                       "frequency_penalty", "logit_bias", "max_tokens", "stream", "user", "strange")}
    body = sent(house, providers, kind, **nothing)
    assert None not in body.values() or kind == "goodfire" and {k for k, v in body.items() if v is None} <= {"stop"}


@pytest.mark.parametrize("kind", LOCAL)
def test_developer_becomes_system(house, providers, kind):
    body = sent(house, providers, kind, messages=[{"role": "developer", "content": "be brief"},
                                                  {"role": "user", "content": "hi"}])
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_developer_stays_for_openai(house, providers):
    body = sent(house, providers, "openai", messages=[{"role": "developer", "content": "be brief"}])
    assert body["messages"][0]["role"] == "developer"


@pytest.mark.parametrize("kind", ["ollama", "goodfire"])
def test_text_parts_are_joined(house, providers, kind):
    body = sent(house, providers, kind, messages=[{"role": "user", "content": [
        {"type": "text", "text": "one \u20ac"}, {"type": "text", "text": " two\\n"}]}])
    assert body["messages"] == [{"role": "user", "content": "one \u20ac two\\n"}]


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang"])
def test_parts_stay_where_they_are_understood(house, providers, kind):
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert sent(house, providers, kind, messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == parts


@pytest.mark.parametrize("seed, wanted", [(42, 42), (2 ** 32 + 42, 42), (-2, 2 ** 32 - 2)])
def test_seed_on_llama_server(house, providers, seed, wanted):
    assert sent(house, providers, "llama-server", seed=seed)["seed"] % 2 ** 32 == wanted


@pytest.mark.parametrize("kind", ALL)
def test_seed_travels(house, providers, kind):
    assert sent(house, providers, kind, seed=42)["seed"] == 42


@pytest.mark.parametrize("kind", OPENAI_SHAPED)
def test_usage_is_always_asked_for_in_streams(house, providers, kind):
    house.chat(question(kind, stream=True))
    assert providers[kind].last().json["stream_options"]["include_usage"] is True
    assert "stream_options" not in sent(house, providers, kind)


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang"])
def test_unknown_fields_travel(house, providers, kind):
    extra = {"chat_template_kwargs": {"thinking": False}, "some_new_option": [1, {"x": "y"}]}
    body = sent(house, providers, kind, **extra)
    assert {name: body[name] for name in extra} == extra


def test_fields_for_openai_alone(house, providers):
    private = {"store": True, "metadata": {"a": "b"}, "safety_identifier": "u1", "prompt_cache_key": "k",
               "service_tier": "auto"}
    assert private.items() <= sent(house, providers, "openai", **private).items()
    for kind in LOCAL:
        assert not set(private) & set(sent(house, providers, kind, **private))


def test_tools_travel(house, providers):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    for kind in OPENAI_SHAPED:
        assert sent(house, providers, kind, tools=tools)["tools"] == tools


def test_custom_logit_processor_is_never_forwarded(house, providers):
    """It would run code on the server."""
    answer = house.chat(question("sglang", custom_logit_processor="cGlja2xl"))
    assert answer.status == 400 or "custom_logit_processor" not in providers["sglang"].last().json


@pytest.mark.parametrize("change, param", [({"logit_bias": {"5": 10}}, "logit_bias"), ({"n": 3}, "n")])
def test_what_ollama_cannot_do_is_refused(house, providers, change, param):
    answer = house.chat(question("ollama", **change))
    if answer.status == 200:
        assert param == "n" and len(answer.json()["choices"]) == 3
    else:
        assert answer.status == 400 and answer.json()["error"]["param"] == param
        assert providers["ollama"].chats() == []


@pytest.mark.parametrize("change, param", [
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"), ({"logprobs": True}, "logprobs"),
    ({"n": 2}, "n")])
def test_what_goodfire_cannot_do_is_refused(house, providers, change, param):
    answer = house.chat(question("goodfire", **change))
    assert answer.status == 400 and answer.json()["error"]["param"] == param
    assert providers["goodfire"].chats() == []


def test_goodfire_gets_only_what_it_knows(house, providers):
    body = sent(house, providers, "goodfire", stop="END", user="u", store=False, temperature=0.3)
    assert set(body) <= {"model", "messages", "stream", "max_completion_tokens", "top_p", "temperature", "stop", "seed"}
    assert body["stop"] == ["END"] and body["temperature"] == 0.3


@pytest.mark.parametrize("kind", ALL)
def test_system_prompt_goes_first(house, providers, kind):
    answer = house.goodfire({**question(kind), "system_prompt": "Be \"kind\"."})
    assert answer.status == 200, answer.body
    body = providers[kind].last().json
    assert body["messages"] == [{"role": "system", "content": "Be \"kind\"."}, {"role": "user", "content": "Hello"}]
    assert "system_prompt" not in body


@pytest.mark.parametrize("kind", OPENAI_SHAPED)
def test_goodfires_special_stops(house, providers, kind):
    """vLLM holds back as many characters as the longest stop string: special tokens end the answer anyway."""
    house.goodfire({**question(kind), "stop": ["<|eot_id|>", "<|begin_of_text|>", "END"]})
    stop = providers[kind].last().json["stop"]
    assert stop == ["END"] if kind == "vllm" else "END" in stop


# --- the model's own settings --------------------------------------------------------------------------------------

def test_defaults_and_fixed(provider):
    models = [{"name": "mine", "aliases": [LLAMA_8B], "backends": ["one"], "upstream": "tiny",
               "defaults": {"temperature": 0.7, "max_tokens": 512}, "fixed": {"top_p": 0.5}}]
    with Gateway(backends=[backend("one", provider)], models=models) as gateway:
        for name in ("mine", LLAMA_8B):
            gateway.chat(question(name))
            body = provider.last().json
            assert (body["model"], body["temperature"], body["max_tokens"], body["top_p"]) == ("tiny", 0.7, 512, 0.5)
            gateway.chat(question(name, temperature=0.1, max_tokens=3, top_p=1))
            body = provider.last().json
            assert (body["temperature"], body["max_tokens"], body["top_p"]) == (0.1, 3, 0.5)


def test_all_models_of_the_backends_when_the_file_names_none(providers):
    config = {"backends": house_config({"vllm": providers["vllm"]})["backends"][1:]}
    with Gateway(**config) as gateway:
        until(lambda: gateway.chat(question("tiny")).status == 200, "the list of the backend")
        assert providers["vllm"].last().json["model"] == "tiny"
        assert "tiny" in {model["id"] for model in gateway.ask("/v1/models").json()["data"]}
        assert gateway.chat(question("other")).status == 404


def test_failover_in_the_order_of_the_file(providers):
    first, second = providers["vllm"], providers["openai"]
    config = {"backends": [backend("first", first), backend("second", second)],
              "models": [{"name": "tiny", "backends": ["first", "second"]}]}
    with Gateway(**config) as gateway:
        assert gateway.chat().status == 200 and len(first.chats()) == 1 and second.chats() == []
        first.next(status=503)
        answer = gateway.chat()
        assert answer.status == 200 and len(second.chats()) == 1
        assert gateway.wait_record(answer)["backend"] == "second"
        assert json.loads(second.last().body)["model"] == "tiny"


# --- members that would get round the gateway -------------------------------------------------------------------

def test_the_third_name_of_the_limit_is_one_of_them(providers):
    config = {"backends": [backend("one", providers["llama-server"])],
              "models": [{"name": "tiny", "backends": ["one"], "fixed": {"max_tokens": 5}},
                         {"name": "free", "backends": ["one"]}]}
    with Gateway(**config) as gateway:
        for model, more, limit in [("tiny", {"max_tokens": 100}, 5), ("free", {}, 500), ("free", {"max_tokens": 9}, 9)]:
            assert gateway.chat(question(model, n_predict=500, **more)).status == 200
            seen = providers["llama-server"].last().json
            assert "n_predict" not in seen and seen["max_tokens"] == limit


def test_a_clients_own_adapters_are_looked_for(house, providers):
    assert sent(house, providers, "llama-server", lora=[{"id": 0, "scale": 1}])["lora"] == [{"id": 0, "scale": 1}]
    before = len(providers["llama-server"].chats())
    answer = house.chat(question("llama-server", lora=[{"id": 9, "scale": 1}]))
    assert answer.status == 400 and answer.json()["error"]["code"] == "unsupported_steering"
    assert len(providers["llama-server"].chats()) == before


def test_nulls_in_messages_are_dropped(house, providers):
    history = [{"role": "user", "content": "Hello"},
               {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": None, "audio": None},
               {"role": "user", "content": "Go on"}]
    for kind in LOCAL:
        answer = house.chat({"model": kind, "messages": history})
        assert answer.status == 200
        assert providers[kind].last().json["messages"][1] == {"role": "assistant", "content": "Hi"}


def test_no_seed_is_no_seed(house, providers):
    for kind in LOCAL:
        assert "seed" not in sent(house, providers, kind, seed=-1)


@pytest.mark.parametrize("more", [{"top_k": 1}, {"min_p": 0.5}])
def test_what_ollama_would_ignore_is_refused(house, more):
    answer = house.chat(question("ollama", **more))
    assert answer.status == 400 and answer.json()["error"]["param"] == list(more)[0]
