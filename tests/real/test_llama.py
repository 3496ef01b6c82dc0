"""Real SDKs through the gateway to a real llama-server: what it says directly is what they must get."""

import math

import goodfire
import openai
import pytest
from conftest import GOODFIRE_NAME
from harness import Gateway

MESSAGES = [{"role": "user", "content": "Say something, please."}]
SAMPLING = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0}


def direct(server, **body):
    status, reply = server.ask("/v1/chat/completions", {"messages": MESSAGES, **SAMPLING, **body})
    assert status == 200, reply
    return reply["choices"][0]["message"]["content"]


def distribution(server, **body):
    """Every next token's log-probability, asked of the server itself."""
    status, template = server.ask("/apply-template", {"messages": MESSAGES})
    assert status == 200
    status, reply = server.ask("/completion", {"prompt": template["prompt"], "n_predict": 1, "temperature": 0,
                                               "n_probs": 704, "logit_bias": [[65, 100]], **body})
    assert status == 200
    return {entry["token"]: entry["logprob"] for entry in reply["completion_probabilities"][0]["top_logprobs"]
            if entry["token"]}


@pytest.fixture(scope="module")
def client(gateway):
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def goodfire_client(gateway):
    return goodfire.Client(api_key="k", base_url=gateway.url)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_openai_gets_what_the_server_says(client, server, seed):
    answer = client.chat.completions.create(model="tiny", messages=MESSAGES, seed=seed, max_tokens=20)
    assert answer.choices[0].message.content == direct(server, seed=seed, max_tokens=20)
    assert answer.choices[0].finish_reason in ("stop", "length") and answer.usage.completion_tokens > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_openai_streams_it(client, server, seed):
    pieces, finishes, usage = [], [], None
    for chunk in client.chat.completions.create(model="tiny", messages=MESSAGES, seed=seed, max_tokens=20, stream=True,
                                                stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        pieces += [choice.delta.content or "" for choice in chunk.choices]
        finishes += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
    assert "".join(pieces).rstrip("\ufffd") == direct(server, seed=seed, max_tokens=20).rstrip("\ufffd")
    assert len(finishes) == 1 and usage.completion_tokens > 0


def test_goodfire_completes_and_streams(goodfire_client):
    create = goodfire_client.chat.completions.create
    whole = create(MESSAGES, model=GOODFIRE_NAME, temperature=0, max_completion_tokens=12)
    streamed = create(MESSAGES, model=GOODFIRE_NAME, temperature=0, max_completion_tokens=12, stream=True)
    text = "".join(chunk.choices[0].delta.content for chunk in streamed)
    assert whole.choices[0].message["content"].rstrip("\ufffd") == text.rstrip("\ufffd")


def test_goodfire_logits_are_the_servers(goodfire_client, server):
    told = distribution(server)
    best = sorted(told.items(), key=lambda pair: -pair[1])[:5]
    logits = goodfire_client.chat.logits(MESSAGES, model=GOODFIRE_NAME, top_k=5).logits
    assert [token for token, _ in best] == list(logits)
    assert all(math.isclose(logits[token], value, abs_tol=1e-5) for token, value in best)


def test_filtered_logits_and_probabilities(gateway, server):
    told = distribution(server)
    words = ["Yes", " the", "a", "no such token at all"]
    reply = gateway.ask("/v1/chat/logits", {"model": "tiny", "messages": MESSAGES, "filter_vocabulary": words}).json()
    assert reply["scale"] == "logprob" and reply["unanswered"] == words[3:]
    assert all(math.isclose(reply["logits"][word], told[word], abs_tol=1e-4) for word in words[:3])
    reply = gateway.ask("/v1/chat/logits", {"model": "tiny", "messages": MESSAGES, "top_k": 3, "scale": "prob"}).json()
    assert reply["scale"] == "prob"
    assert all(math.isclose(value, math.exp(told[token]), rel_tol=1e-4) for token, value in reply["logits"].items())


def test_a_variant_is_its_adapter(gateway, server):
    plain = gateway.ask("/v1/chat/logits", {"model": "tiny", "messages": MESSAGES, "top_k": 5}).json()["logits"]
    steered = gateway.ask("/v1/chat/logits", {"model": "steered", "messages": MESSAGES, "top_k": 5}).json()["logits"]
    told = distribution(server, lora=[{"id": 0, "scale": 1}])
    assert steered != plain
    assert all(math.isclose(value, told[token], abs_tol=1e-4) for token, value in steered.items())
    answer = gateway.chat({"model": "steered", "messages": MESSAGES, "temperature": 0, "max_tokens": 12}).json()
    assert answer["choices"][0]["message"]["content"] == direct(
        server, temperature=0, max_tokens=12, lora=[{"id": 0, "scale": 1}])


def test_an_adapter_that_is_not_loaded_is_refused(gateway):
    answer = gateway.chat({"model": "broken", "messages": MESSAGES})
    assert answer.status == 400 and answer.json()["error"]["code"] == "unsupported_steering"


def test_steering_it_cannot_do_is_refused(goodfire_client):
    variant = goodfire.Variant(GOODFIRE_NAME)
    variant.set(goodfire.Feature(uuid="00000000-0000-0000-0000-000000000001", label="pirate", index_in_sae=1), 0.5)
    with pytest.raises(goodfire.api.exceptions.RequestFailedException, match="cannot do this steering"):
        goodfire_client.chat.completions.create(MESSAGES, model=variant)


def test_errors_are_the_servers(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "word " * 40000}])
    assert refused.value.code == "context_length_exceeded"


def test_a_stream_that_is_left_ends_at_the_server(client, gateway, server):
    stream = client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True, max_tokens=20000,
                                            extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    gateway.wait("calls", 0)
    gateway.wait_for(lambda: "cancel task" in server.log(), "the server to notice")


def test_its_url_alone_is_enough(server):
    with Gateway(arguments=["--backend", server.url + "/v1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
                 text=False) as gateway:
        assert [model["id"] for model in gateway.ask("/v1/models").json()["data"]] == ["tiny"]
        assert gateway.chat({"model": "tiny", "messages": MESSAGES, "max_tokens": 3}).status == 200
        # Known for a llama-server: only that kind answers a filter exactly.
        reply = gateway.ask("/v1/chat/logits", {"model": "tiny", "messages": MESSAGES, "filter_vocabulary": ["Yes"]})
        assert list(reply.json()["logits"]) == ["Yes"]
