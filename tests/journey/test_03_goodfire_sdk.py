"""The Goodfire SDK 0.3.5, synchronous and asynchronous, against the echo, a Goodfire server and each local kind."""

import json
import uuid

import goodfire
import goodfire.api.exceptions as errors
import pytest
import provider_model as model
from conftest import LLAMA_8B, LLAMA_70B
from goodfire.features.features import Feature, FeatureGroup
from harness import run_async

KINDS = ["goodfire", "openai", "vllm", "llama-server", "sglang", "ollama"]
EXACT = ["goodfire", "vllm", "llama-server", "sglang"]
WORDS = "One two three four five"
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def client(house):
    return goodfire.Client(api_key="sk-test", base_url=house.url)


def joined(stream):
    chunks = list(stream)
    return "".join(chunk.choices[0].delta.content for chunk in chunks), chunks


@pytest.mark.parametrize("kind", KINDS)
def test_completion(client, kind):
    answer = client.chat.completions.create(MESSAGES, model=kind)
    assert answer.choices[0].message["content"] == WORDS and answer.choices[0].message["role"] == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert isinstance(answer.system_fingerprint, str) and answer.id


@pytest.mark.parametrize("kind", KINDS)
def test_stream(client, kind):
    text, chunks = joined(client.chat.completions.create(MESSAGES, model=kind, stream=True))
    assert text == WORDS
    indices = [chunk.choices[0].gf_token_index for chunk in chunks]
    assert indices == list(range(len(chunks))), "counted from 0, none skipped"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1 and len({chunk.created for chunk in chunks}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_async(house, kind):
    async def both():
        client = goodfire.AsyncClient(api_key="k", base_url=house.url)
        whole = await client.chat.completions.create(MESSAGES, model=kind)
        text = ""
        async for chunk in await client.chat.completions.create(MESSAGES, model=kind, stream=True):
            text += chunk.choices[0].delta.content
        return whole.choices[0].message["content"], text

    assert run_async(both()) == (WORDS, WORDS)


@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_70B])
def test_echo_has_goodfires_names(client, name):
    answer = client.chat.completions.create(MESSAGES, model=name)
    assert "Hello" in answer.choices[0].message["content"] and answer.model == name
    text, _ = joined(client.chat.completions.create(MESSAGES, model=name, stream=True))
    assert text == answer.choices[0].message["content"]


def test_what_the_server_gets(client, providers):
    """The SDK's own members reach a Goodfire server as they were sent."""
    client.chat.completions.create(MESSAGES, model="goodfire")
    seen = providers["goodfire"].last()
    assert seen.path == "/api/inference/v1/chat/completions"
    assert seen.json["model"] == "tiny" and "controller" not in seen.json
    assert [message["role"] for message in seen.json["messages"]] == ["system", "user"]
    assert {name: seen.json[name] for name in ("max_completion_tokens", "top_p", "temperature", "stop", "seed")} == {
        "max_completion_tokens": 2048, "top_p": 0.9, "temperature": 0.6, "seed": 42,
        "stop": ["<|eot_id|>", "<|begin_of_text|>"]}


@pytest.mark.parametrize("text", ["data: inside", "tab\tquote\" back\\slash", "caf\u00e9 \u20ac \U0001f600",
                                  "[DONE]", "data:_no_space", "line\nbreak\r\nboth"])
def test_any_text_survives_the_clients_parser(client, providers, text):
    """`data: ` and non-ASCII text would break the SDK if they stood in a payload as they are."""
    for kind in ("openai", "goodfire"):
        providers[kind].next(text=text.replace(" ", "_"))
        wanted = text.replace("_", " ")
        got, _ = joined(client.chat.completions.create(MESSAGES, model=kind, stream=True))
        assert got == wanted
        providers[kind].next(text=text.replace(" ", "_"))
        assert client.chat.completions.create(MESSAGES, model=kind).choices[0].message["content"] == wanted


@pytest.mark.parametrize("tokens", [0, 1, 150])
def test_length_of_streams(client, providers, tokens):
    providers["openai"].next(tokens=tokens)
    text, chunks = joined(client.chat.completions.create(MESSAGES, model="openai", stream=True))
    assert len(text.split()) == tokens and chunks[-1].choices[0].finish_reason == "stop"


def test_large_event_is_cut_into_small_ones(client, providers):
    """The gateway tells a large text in pieces. (Not too large: the SDK reads 64 KiB at a time and fails when an event
    is cut there, so a burst that it has not read yet may never be larger, whatever a gateway does.)"""
    providers["openai"].next(giant=30000)
    text, chunks = joined(client.chat.completions.create(MESSAGES, model="openai", stream=True))
    assert text.startswith("g" * 30000) and len(chunks) > 10


# --- logits ----------------------------------------------------------------------------------------------------------

def exact(messages):
    values = model.logits(model.template(messages))
    return {model.detokenize([number]): value for number, value in values.items() if number != model.LEAD_BYTE}


def same_but_for_a_constant(got, wanted):
    """Log-probabilities are logits less one constant: differences and order are equal."""
    shift = next(wanted[text] - value for text, value in got.items())
    return all(abs(wanted[text] - value - shift) < 1e-3 for text, value in got.items())


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("top_k", [1, 5, 20])
def test_logits_best(client, kind, top_k):
    got = client.chat.logits(MESSAGES, model=kind, top_k=top_k).logits
    wanted = dict(sorted(exact(MESSAGES).items(), key=lambda item: -item[1])[:top_k])
    assert set(got) == set(wanted) and same_but_for_a_constant(got, wanted)


@pytest.mark.parametrize("kind", EXACT)
def test_logits_of_listed_tokens(client, kind):
    """Also tokens far from the best; the special one by its name; what is no single token is left out."""
    listed = [" yes", " no", "A", "!", "<|eot_id|>", "\u20ac", "Hello world together"]
    got = client.chat.logits(MESSAGES, model=kind, filter_vocabulary=listed, top_k=20).logits
    assert set(got) == set(listed) - {"Hello world together"}
    assert same_but_for_a_constant(got, exact(MESSAGES))


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_logits_of_the_best_twenty_only(client, kind):
    got = client.chat.logits(MESSAGES, model=kind, top_k=5).logits
    wanted = dict(sorted(exact(MESSAGES).items(), key=lambda item: -item[1])[:5])
    assert set(got) == set(wanted) and same_but_for_a_constant(got, wanted)


def test_logits_echo(client):
    assert len(client.chat.logits(MESSAGES, model=LLAMA_8B, top_k=4).logits) == 4


# --- variants --------------------------------------------------------------------------------------------------------

def steered(value=0.5):
    variant = goodfire.Variant(LLAMA_8B)
    variant.set(Feature(uuid=uuid.UUID(int=7), label="pirates", index_in_sae=3), value)
    variant.base_model = "goodfire"
    return variant


def test_variant_reaches_a_goodfire_server_unchanged(client, providers):
    variant = steered()
    client.chat.completions.create(MESSAGES, model=variant)
    joined(client.chat.completions.create(MESSAGES, model=variant, stream=True))
    client.chat.logits(MESSAGES, model=variant)
    for seen in [one for one in providers["goodfire"].requests if one.method == "POST"]:
        controller = seen.json["controller"]
        assert controller["interventions"] == variant.controller.json()["interventions"]
        assert controller["scopes"] == []


def test_variant_with_a_condition_reaches_a_goodfire_server(client, providers):
    variant = steered()
    feature = Feature(uuid=uuid.UUID(int=9), label="ships", index_in_sae=4)
    variant.set_when(FeatureGroup([feature]) > 0.5, {feature: 0.3})
    wanted = variant.controller.json()["scopes"][0]["conditionals"]
    client.chat.completions.create(MESSAGES, model=variant)
    assert providers["goodfire"].last().json["controller"]["scopes"][0]["conditionals"] == wanted


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama"])
def test_plain_variant_is_no_steering(client, providers, kind):
    """A Variant without edits sends an empty controller: that asks for nothing."""
    variant = goodfire.Variant(kind)
    assert client.chat.completions.create(MESSAGES, model=variant).choices[0].message["content"] == WORDS
    assert "controller" not in providers[kind].last().json


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama"])
def test_steering_a_server_that_cannot_steer_is_refused(client, providers, kind):
    variant = steered()
    variant.base_model = kind
    for ask in (lambda: client.chat.completions.create(MESSAGES, model=variant),
                lambda: list(client.chat.completions.create(MESSAGES, model=variant, stream=True)),
                lambda: client.chat.logits(MESSAGES, model=variant)):
        with pytest.raises(errors.RequestFailedException) as caught:
            ask()
        assert "controller" in str(caught.value) or "steer" in str(caught.value)
    assert [one for one in providers[kind].requests if one.method == "POST"] == []


def test_echo_shows_the_steering(client):
    variant = steered()
    variant.base_model = LLAMA_8B
    plain = client.chat.completions.create(MESSAGES, model=LLAMA_8B).choices[0].message["content"]
    assert client.chat.completions.create(MESSAGES, model=variant).choices[0].message["content"] != plain


# --- errors ----------------------------------------------------------------------------------------------------------

def test_validation_is_request_failed_with_the_exact_text(client):
    with pytest.raises(errors.RequestFailedException) as caught:
        client.chat.completions.create(MESSAGES, model="vllm", top_p=1.1)
    detail, = json.loads(str(caught.value))["detail"]
    assert detail == {"type": "less_than_equal", "loc": ["body", "top_p"],
                      "msg": "Input should be less than or equal to 1", "input": 1.1, "ctx": {"le": 1.0}}
    assert '"ctx":{"le":1.0}' in str(caught.value)


def test_unknown_model_is_a_literal_error(client):
    with pytest.raises(errors.RequestFailedException) as caught:
        client.chat.completions.create(MESSAGES, model="nobody")
    detail, = json.loads(str(caught.value))["detail"]
    assert detail["type"] == "literal_error" and detail["loc"] == ["body", "model"] and detail["input"] == "nobody"
    assert detail["msg"].startswith("Input should be ") and f"'{LLAMA_8B}'" in detail["msg"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status, error", [
    (400, errors.RequestFailedException), (422, errors.RequestFailedException),
    (401, errors.ServerErrorException), (500, errors.ServerErrorException)])
def test_upstream_statuses(client, providers, kind, status, error):
    providers[kind].always = {"status": str(status)}
    with pytest.raises(error):
        client.chat.completions.create(MESSAGES, model=kind)
    with pytest.raises(error):
        list(client.chat.completions.create(MESSAGES, model=kind, stream=True))


def test_overload_is_429_and_the_sdk_comes_again(client, providers):
    """5xx is never retried by this SDK, 429 is: a loading or full server is told as 429."""
    for told in ({"status": 503}, {"status": 429}):
        providers["llama-server"].next(**told)
        before = len(providers["llama-server"].chats())
        answer = client.chat.completions.create(MESSAGES, model="llama-server")
        assert answer.choices[0].message["content"] == WORDS
        assert len(providers["llama-server"].chats()) - before == 2


def test_cut_stream_is_an_exception(client, providers):
    for kind in ("goodfire", "openai"):
        for cut in ("rst_after", "eof_after", "end_after", "errorevent"):
            providers[kind].next(**{cut: 3, "gap": 15})
            with pytest.raises(errors.ServerErrorException):
                list(client.chat.completions.create(MESSAGES, model=kind, stream=True))


# --- everything else ---------------------------------------------------------------------------------------------

def test_other_calls_pass_through_to_a_goodfire_server(client, providers):
    features = client.features.search("pirates", model="goodfire", top_k=3)
    assert [feature.label for feature in features] == ["pirates"]
    seen = providers["goodfire"].requests[-1]
    assert seen.path.startswith("/api/inference/v1/features/search?") and "query=pirates" in seen.path
