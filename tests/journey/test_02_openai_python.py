"""The OpenAI Python SDK, as its users use it, against the echo and each kind of server.

run.sh runs this file twice: with the newest SDK and with an old one.
"""

import asyncio
import time

import openai
import pytest
from harness import Gateway, backend, run_async

KINDS = ["openai", "vllm", "llama-server", "sglang", "ollama", "goodfire"]
WORDS = "One two three four five"
MESSAGES = [{"role": "user", "content": "Hello"}]
OLD = openai.__version__.startswith("1.")


def client_of(gateway, **more):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="sk-test", **more)


@pytest.fixture(scope="module")
def client(house):
    with client_of(house, max_retries=0) as one:
        yield one


def streamed(stream):
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    return text, reasons, chunks


@pytest.mark.parametrize("kind", KINDS)
def test_completion(client, kind):
    answer = client.chat.completions.create(model=kind, messages=MESSAGES)
    assert answer.choices[0].message.content == WORDS
    assert answer.choices[0].finish_reason == "stop"
    assert answer._request_id.startswith("req_")


@pytest.mark.parametrize("kind", KINDS)
def test_stream(client, kind):
    text, reasons, chunks = streamed(client.chat.completions.create(model=kind, messages=MESSAGES, stream=True))
    assert (text, reasons) == (WORDS, ["stop"])
    assert all(chunk.choices for chunk in chunks), "the usage chunk is kept from who did not ask"


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama"])
def test_stream_usage(client, kind):
    _, _, chunks = streamed(client.chat.completions.create(model=kind, messages=MESSAGES, stream=True,
                                                           stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 12


@pytest.mark.parametrize("kind", KINDS)
def test_async_completion_and_stream(house, kind):
    async def both():
        async with openai.AsyncOpenAI(base_url=house.url + "/v1", api_key="k", max_retries=0) as client:
            whole = await client.chat.completions.create(model=kind, messages=MESSAGES)
            text = ""
            async for chunk in await client.chat.completions.create(model=kind, messages=MESSAGES, stream=True):
                text += chunk.choices[0].delta.content or ""
            return whole.choices[0].message.content, text

    assert run_async(both()) == (WORDS, WORDS)


def test_echo(client):
    whole = client.chat.completions.create(model="echo", messages=MESSAGES)
    text, reasons, _ = streamed(client.chat.completions.create(model="echo", messages=MESSAGES, stream=True))
    assert "Hello" in text and text == whole.choices[0].message.content and reasons == ["stop"]


def test_many_at_once(house):
    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=house.url + "/v1", api_key="k", max_retries=0) as client:
            async def one(number):
                stream = await client.chat.completions.create(
                    model="echo", messages=[{"role": "user", "content": f"question {number}"}], stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            return await asyncio.gather(*(one(number) for number in range(100)))

    texts = run_async(all_of_them())
    assert all(f"question {number}" in text for number, text in enumerate(texts))


def test_models(client):
    names = {model.id for model in client.models.list()}
    assert {"echo", *KINDS} <= names
    assert client.models.retrieve("vllm").id == "vllm"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_sdk_at_goodfires_path(house):
    """OpenAI SDKs are pointed at Goodfire's path as well; what comes back satisfies both."""
    with openai.OpenAI(base_url=house.url + "/api/inference/v1", api_key="k", max_retries=0) as client:
        assert client.chat.completions.create(model="vllm", messages=MESSAGES).choices[0].message.content == WORDS
        text, reasons, _ = streamed(client.chat.completions.create(model="vllm", messages=MESSAGES, stream=True))
        assert (text, reasons) == (WORDS, ["stop"])


# --- errors ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama"])
@pytest.mark.parametrize("status, error", [
    (400, openai.BadRequestError), (422, openai.BadRequestError), (401, openai.InternalServerError),
    (403, openai.InternalServerError), (404, openai.NotFoundError), (413, openai.BadRequestError),
    (429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError)])
def test_statuses_become_exceptions(client, providers, kind, status, error):
    providers[kind].always = {"status": str(status)}
    if status == 404:
        providers[kind].always["message"] = "The_model_`tiny`_does_not_exist."
    for stream in (False, True):
        with pytest.raises(error) as caught:
            client.chat.completions.create(model=kind, messages=MESSAGES, stream=stream)
        assert set(caught.value.body) >= {"message", "type", "param", "code"}
        assert caught.value.request_id.startswith("req_")
        if status in (400, 422, 413):
            assert f"status {status} as told" in caught.value.body["message"]


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=MESSAGES)
    assert caught.value.code == "model_not_found" and "`nobody`" in caught.value.message


def test_validation(client, providers):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="openai", messages=MESSAGES, temperature=3)
    assert (caught.value.param, caught.value.code) == ("temperature", "decimal_above_max_value")
    assert providers["openai"].chats() == []


@pytest.mark.parametrize("form", ["errorevent", "namederror", "errortext", "flaterror", "errorline"])
def test_error_in_a_stream_is_raised(client, providers, form):
    """Each form an upstream may use arrives in the only form all clients understand."""
    seen = ""
    providers["openai"].hold(at=1)
    with pytest.raises(openai.APIError) as caught:
        for chunk in client.chat.completions.create(
                model="openai", messages=[{"role": "user", "content": f"[[+{form}=3]]"}], stream=True):
            providers["openai"].release()
            seen += chunk.choices[0].delta.content or ""
    assert seen == "One two" and "the engine died" in str(caught.value)


@pytest.mark.parametrize("cut", ["rst_after", "eof_after", "end_after", "cutevent", "halfevent"])
def test_cut_streams_are_never_silent(client, cut):
    """Rule 4 of wire.md 0.1: the SDKs take a truncated stream for a complete one."""
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="openai", messages=[
            {"role": "user", "content": f"[[+{cut}=3+gap=15]]"}], stream=True))


# --- retries --------------------------------------------------------------------------------------------------------

def attempts(house, provider, faults, times=5, retries=2):
    """How often the SDK asked the gateway when the provider fails with FAULTS; and how long it took."""
    house.wait_record(house.ask("/v1/models"))
    before = len(house.log())
    provider.always = faults
    began = time.monotonic()
    with client_of(house, max_retries=retries) as client:
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model="openai", messages=MESSAGES)
    seconds = time.monotonic() - began
    house.wait_record(house.ask("/v1/models"))
    return len([one for one in house.log()[before:] if one["path"] == "/v1/chat/completions"]), seconds


def test_429_with_retry_after_ms_is_waited_for(house, providers):
    provider = providers["openai"]
    for _ in range(2):
        provider.next(status=429, ram=30, ra=1)
    began = time.monotonic()
    with client_of(house, max_retries=2) as client:
        assert client.chat.completions.create(model="openai", messages=MESSAGES).choices[0].message.content == WORDS
    assert time.monotonic() - began < 30
    assert len(provider.chats()) == 3


def test_429_passes_the_wait_on(house, providers):
    providers["openai"].always = {"status": "429", "ra": "7"}
    answer = house.chat(model="openai")
    assert answer.status == 429
    assert answer.header("retry-after") == "7" and answer.header("retry-after-ms") == "7000"


def test_400_is_asked_once(house, providers):
    count, _ = attempts(house, providers["openai"], {"status": "400"})
    assert count == 1


def test_500_is_asked_again(house, providers):
    count, _ = attempts(house, providers["openai"], {"status": "500"})
    assert count == 3


def test_refusals_that_will_not_change_say_so(house):
    for body in ({"model": "nobody", "messages": MESSAGES}, {"model": "openai", "messages": []},
                 {"model": "vllm", "messages": MESSAGES, "controller": {"interventions": [
                     {"mode": "nudge", "value": 1, "features": {"features": [{"index_in_sae": 1}]}}], "scopes": []}}):
        answer = house.ask("/v1/chat/completions", body)
        assert answer.status in (400, 404) and answer.header("x-should-retry") == "false"


def test_500_with_x_should_retry_false_is_asked_once(house, providers):
    """An upstream that refuses our key will refuse it again."""
    count, seconds = attempts(house, providers["openai"], {"status": "401"})
    assert count == 1 and seconds < 5


def test_connection_closed_before_any_answer_is_retried(providers):
    """The SDK tries again when the gateway goes away; here: a backend that cannot be reached at all."""
    provider = providers["openai"]
    dead = {**backend("dead", provider), "url": "http://127.0.0.1:1/v1"}
    config = {"backends": [dead, backend("live", provider)],
              "models": [{"name": "both", "backends": ["dead", "live"], "upstream": "tiny"},
                         {"name": "openai", "backends": ["dead"], "upstream": "tiny"}]}
    with Gateway(**config) as gateway, client_of(gateway, max_retries=1) as client:
        assert client.chat.completions.create(model="both", messages=MESSAGES).choices[0].message.content == WORDS
        gateway.wait("failovers_total", 1)
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="openai", messages=MESSAGES)
        assert caught.value.status_code == 502 and caught.value.code == "upstream_connect"


def test_raw_response_has_the_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="vllm", messages=MESSAGES)
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers.get("x-provider-secret") is None
    assert raw.parse().choices[0].message.content == WORDS


def test_old_sdk_reuses_the_connection_after_a_stream(house):
    """1.69 drains a stream and uses the connection again; the newest closes it whatever we do."""
    if not OLD:
        pytest.skip("only SDKs before 3.6")
    before = house.metric("connections_total")
    with client_of(house, max_retries=0) as client:
        for _ in range(5):
            list(client.chat.completions.create(model="echo", messages=MESSAGES, stream=True))
    assert house.metric("connections_total") - before <= 2


def test_leaving_a_stream_early_ends_the_call(house, providers):
    provider = providers["openai"]
    with client_of(house, max_retries=0) as client:
        with client.chat.completions.create(model="openai", messages=[
                {"role": "user", "content": "[[+stall_after=3]]"}], stream=True) as stream:
            assert next(iter(stream)).choices
    assert provider.last().wait_ended()
    house.wait("calls", 0)


