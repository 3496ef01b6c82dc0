"""The SDKs of both houses ask the same question: one call, and each reads its own words."""

import json
import threading
import uuid

import goodfire
import openai
import pytest
import provider_model as model
from conftest import LLAMA_8B
from goodfire.features.features import Feature
from harness import Gateway, run_async
from memory_world import LOGITS, counts, nonce, one_model, page, since, verdict
from provider_kinds import KINDS

WORDS = "One two three four five"


@pytest.fixture(scope="module")
def gateways(providers):
    """One gateway per kind: its model has the name that the Goodfire SDK insists on."""
    running = {}
    for kind in KINDS:
        config = one_model(providers[kind], workers=2, model_more={"aliases": [LLAMA_8B]},
                           backend_more={"seeds": True} if kind == "sglang" else {})
        running[kind] = Gateway(**config)
    yield running
    for gateway in running.values():
        assert gateway.stop() == 0


def openai_of(gateway):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-openai", max_retries=0)


def goodfire_of(gateway):
    return goodfire.Client(api_key="sk-goodfire", base_url=gateway.url)


def text_of(answer, stream):
    if not stream:
        message = answer.choices[0].message
        return message["content"] if isinstance(message, dict) else message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


def asked(gateway, provider):
    """What of the question the gateway passed on, as an OpenAI client says it."""
    body = dict(provider.chats()[0].json)
    for name in ("model", "stream", "stream_options", "top_k", "min_p", "controller"):
        body.pop(name, None)
    if "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    return body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_both_sdks_one_call(gateways, providers, kind, stream):
    gateway, provider = gateways[kind], providers[kind]
    messages, before = [{"role": "user", "content": nonce()}], counts(gateway)
    ours = goodfire_of(gateway).chat.completions
    assert text_of(ours.create(messages, model=LLAMA_8B, stream=stream), stream) == WORDS
    same = asked(gateway, provider)
    # vLLM's stop strings that are special tokens were dropped on the way; the question was asked with them.
    same["stop"] = ["<|eot_id|>", "<|begin_of_text|>"]
    with openai_of(gateway) as client:
        for _ in range(2):
            answer = client.chat.completions.create(model="tiny", stream=stream, **same)
            assert text_of(answer, stream) == WORDS
    assert text_of(ours.create(messages, model=LLAMA_8B, stream=stream), stream) == WORDS
    assert len(provider.chats()) == 1
    assert since(gateway, before) == {"misses": 1, "stored": 1, "hits": 3}
    with openai_of(gateway) as client:
        other = client.chat.completions.create(model="tiny", stream=stream, **{**same, "seed": 43})
        assert text_of(other, stream) == WORDS and len(provider.chats()) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_goodfire_sdk_insists_on(gateways, providers, kind):
    """Answers that were made for an OpenAI client: indices from 0 without gaps, text in each event, a string of a
    fingerprint."""
    gateway, text = gateways[kind], nonce()
    messages = [{"role": "system", "content": ""}, {"role": "user", "content": text}]
    goodfire_of(gateway).chat.completions.create([{"role": "user", "content": text}], model=LLAMA_8B)
    same = asked(gateway, providers[kind])
    same["stop"] = ["<|eot_id|>", "<|begin_of_text|>"]
    assert messages[1] in same["messages"]
    with openai_of(gateway) as client:
        list(client.chat.completions.create(model="tiny", stream=True, **same))
    chunks = list(goodfire_of(gateway).chat.completions.create([messages[1]], model=LLAMA_8B, stream=True))
    assert len(providers[kind].chats()) == 2, "one whole, one stream"
    assert [one.choices[0].gf_token_index for one in chunks] == list(range(len(chunks)))
    assert "".join(one.choices[0].delta.content for one in chunks) == WORDS
    assert all(isinstance(one.system_fingerprint, str) for one in chunks) and chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("kind", KINDS)
def test_logits(gateways, providers, kind):
    gateway, provider = gateways[kind], providers[kind]
    messages = [{"role": "user", "content": nonce()}]
    first = goodfire_of(gateway).chat.logits(messages, model=LLAMA_8B, top_k=5).logits
    calls = len([one for one in provider.requests if one.method == "POST"])
    assert goodfire_of(gateway).chat.logits(messages, model=LLAMA_8B, top_k=5).logits == first and len(first) == 5
    # What a Goodfire server says is told as it is, and in our own words at our own door: two answers.
    raw = gateway.ask(LOGITS, {"model": LLAMA_8B, "messages": messages, "top_k": 5})
    assert raw.json()["logits"] == first and verdict(raw) == ("miss" if kind == "goodfire" else "hit")
    calls += kind == "goodfire"
    assert len([one for one in provider.requests if one.method == "POST"]) == calls
    assert set(first) <= {model.detokenize([number]) for number in model.VOCABULARY}


def test_many_programs_at_once(gateways, providers):
    gateway, provider, text = gateways["vllm"], providers["vllm"], nonce()
    messages, results = [{"role": "user", "content": text}], []
    provider.hold(at=2)

    def run(number):
        if number % 2:
            answer = goodfire_of(gateway).chat.completions.create(messages, model=LLAMA_8B, stream=True, system_prompt="")
            results.append(text_of(answer, True))
        else:
            with openai_of(gateway) as client:
                results.append(text_of(client.chat.completions.create(
                    model="tiny", messages=messages, stream=True, seed=42, temperature=0.6, top_p=0.9,
                    max_completion_tokens=2048, stop=["<|eot_id|>", "<|begin_of_text|>"]), True))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    gateway.wait("streams", 12)
    provider.release()
    for thread in threads:
        thread.join()
    assert results == [WORDS] * 12
    seen = {json.dumps(one.json["messages"]) for one in provider.chats()}
    assert len(provider.chats()) == len(seen), "each question once"


def test_async_clients_share_too(gateways, providers):
    gateway, provider = gateways["openai"], providers["openai"]
    text = nonce()

    async def both():
        async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="k") as client:
            import asyncio
            answers = await asyncio.gather(*(client.chat.completions.create(
                model="tiny", messages=[{"role": "user", "content": text}], temperature=0) for _ in range(20)))
        return {answer.choices[0].message.content for answer in answers}

    assert run_async(both()) == {WORDS} and len(provider.chats()) == 1


# --- steering ---------------------------------------------------------------------------------------------------------

def steered(value=0.5, label="pirates", index=3):
    variant = goodfire.Variant(LLAMA_8B)
    variant.set(Feature(uuid=uuid.uuid4(), label=label, index_in_sae=index), value)
    return variant


def test_the_same_steering_is_the_same_question(gateways, providers):
    """The SDK makes up a name for the controller and an id for each feature: they change nothing."""
    gateway, provider = gateways["goodfire"], providers["goodfire"]
    messages = [{"role": "user", "content": nonce()}]
    ours = goodfire_of(gateway).chat.completions
    for variant in (steered(), steered(), steered(label="other words")):
        assert ours.create(messages, model=variant).choices[0].message["content"] == WORDS
    assert len(provider.chats()) == 1 and provider.last().json["controller"]["interventions"][0]["value"] == 0.5
    for variant in (steered(0.6), steered(-0.5), steered(index=4), LLAMA_8B):
        ours.create(messages, model=variant)
    assert len(provider.chats()) == 5, "each other steering is a question of its own"
    for variant in (steered(0.6), LLAMA_8B, goodfire.Variant(LLAMA_8B)):
        ours.create(messages, model=variant)
    assert len(provider.chats()) == 5


def test_steered_streams_and_logits(gateways, providers):
    gateway, provider = gateways["goodfire"], providers["goodfire"]
    messages, client = [{"role": "user", "content": nonce()}], goodfire_of(gateways["goodfire"])
    for _ in range(2):
        assert text_of(client.chat.completions.create(messages, model=steered(), stream=True), True) == WORDS
        client.chat.logits(messages, model=steered())
    posts = [one.path for one in provider.requests if one.method == "POST"]
    assert len(posts) == 2 and all(one.json["controller"]["interventions"] for one in provider.requests)
    client.chat.logits(messages, model=LLAMA_8B)
    assert len(provider.requests) == 3 and page(gateway)["counts"]["hits"] >= 2


def test_a_refused_steering_is_refused_each_time(gateways, providers):
    for _ in range(2):
        with pytest.raises(goodfire.api.exceptions.RequestFailedException):
            goodfire_of(gateways["openai"]).chat.completions.create([{"role": "user", "content": "x"}], model=steered())
    assert providers["openai"].chats() == []
