"""Streams at the Goodfire door, byte by byte: that SDK reads HTTP chunks, not events."""

import json

import pytest
from harness import Gateway, backend, question
from memory_world import GOODFIRE

KINDS = ["goodfire", "openai", "vllm", "llama-server", "sglang", "ollama"]
WORDS = "One two three four five"


def stream(house, faults="", model="openai", **more):
    return house.goodfire(question(model, f"[[{faults}]]" if faults else "Hello", stream=True, **more))


def check_form(answer):
    """One event per HTTP chunk, small, ASCII, `data: ` once; every member the SDK insists on."""
    assert answer.status == 200
    assert answer.header("content-type").startswith("text/event-stream")
    assert answer.header("x-accel-buffering") == "no" and answer.header("content-encoding") is None
    index = -1
    for chunk in answer.chunks:
        assert chunk.data.startswith(b"data: ") and chunk.data.endswith(b"\n\n"), chunk.data
        assert chunk.data.count(b"data: ") == 1 and chunk.data.isascii() and chunk.data.count(b"\n") == 2
        assert len(chunk.data) < 1400
        event = json.loads(chunk.data[6:])
        if "error" in event:
            continue
        assert isinstance(event["id"], str) and event["object"] == "chat.completion.chunk"
        assert isinstance(event["system_fingerprint"], str) and "created" in event and isinstance(event["model"], str)
        choice, = event["choices"]
        assert choice["index"] == 0 and "finish_reason" in choice
        assert isinstance(choice["delta"]["role"], str) and isinstance(choice["delta"]["content"], str)
        assert isinstance(choice["gf_token_index"], int)
        assert -1 <= choice["gf_token_index"] <= index + 1, "counted from 0, or a repeat"
        index = max(index, choice["gf_token_index"])
    return answer.objects()


def text_of(events):
    """As the SDK reads: an index that was seen already is skipped."""
    seen, text = set(), ""
    for choice in (event["choices"][0] for event in events if "choices" in event):
        if choice["gf_token_index"] not in seen:
            seen.add(choice["gf_token_index"])
            text += choice["delta"]["content"]
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind(house, kind):
    answer = stream(house, model=kind)
    events = check_form(answer)
    assert answer.complete and b"[DONE]" not in answer.body
    assert text_of(events) == WORDS
    assert {event["model"] for event in events} == {kind}, "the name that was asked for"
    assert len({(event["id"], event["created"], event["system_fingerprint"]) for event in events}) == 1
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["stop"]
    assert events[-1]["choices"][0]["delta"]["content"] == ""


@pytest.mark.parametrize("faults", [
    "+onewrite", "+onechunk", "+crlf", "+cr", "+bom", "+comments", "+id+comments", "+retry", "+event", "+multiline",
    "+nospace", "+emptydata", "+nodone", "+noblank", "+slice=1", "+tcpslice=1", "+usageinfinish", "+norole"])
@pytest.mark.parametrize("kind", ["openai", "goodfire"])
def test_quirks_of_servers(house, kind, faults):
    answer = stream(house, faults, kind)
    assert text_of(check_form(answer)) == WORDS and answer.complete


@pytest.mark.parametrize("text", ["data: x", "data: data: data:  ", "caf\u00e9 \u20ac \U0001f600 \u2028",
                                  "\"quotes\" \\ and /slashes/", "\x01\x1f\x7f", "[DONE]", ""])
@pytest.mark.parametrize("kind", ["openai", "goodfire"])
def test_text_that_would_break_the_reader(house, providers, kind, text):
    providers[kind].next(text=text)
    assert text_of(check_form(stream(house, model=kind))) == text.replace("_", " ")


def test_large_pieces_are_cut_at_characters(house, providers):
    text = "\u20ac\U0001f600e" * 20_000
    providers["openai"].next(text=text)
    events = check_form(stream(house))
    assert text_of(events) == text


@pytest.mark.parametrize("faults", ["+rst_after=3", "+eof_after=3", "+end_after=3", "+errorevent=3", "+badjson=3",
                                    "+nofinish", "+nul", "+badutf8", "+halfevent=3"])
@pytest.mark.parametrize("kind", ["openai", "goodfire"])
def test_broken_streams(house, providers, kind, faults):
    # That somebody speaks is no event of its own here.
    answer = house.stepwise(providers[kind], question(kind, f"[[{faults}]]", stream=True), 2, 1, GOODFIRE)
    check_form(answer)
    assert "error" in answer.objects()[-1]
    assert house.wait_record(answer)["outcome"].lower().startswith("upstream")
    house.quiet()


def test_whole_answers_have_what_the_sdk_insists_on(house):
    for kind in KINDS:
        answer = house.goodfire(question(kind))
        body = answer.json()
        assert isinstance(body["system_fingerprint"], str) and isinstance(body["id"], str) and "created" in body
        assert body["object"] == "chat.completion" and body["model"] in (kind, "tiny")
        choice, = body["choices"]
        assert choice["message"]["content"] == WORDS and choice["message"]["role"] == "assistant"
        assert choice["finish_reason"] == "stop"


def test_members_of_a_goodfire_server_pass(house, providers):
    """gf_event_names tells that a condition fired."""
    from provider_kinds import Reply
    message = {"role": "assistant", "content": "Arr"}
    body = {"id": "g", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "f",
            "gf_event_names": ["11111111-2222"], "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    providers["goodfire"].pages["/api/inference/v1/chat/completions"] = Reply(body=body)
    assert house.goodfire(question("goodfire")).json()["gf_event_names"] == ["11111111-2222"]
    event = {**body, "object": "chat.completion.chunk", "choices": [
        {"index": 0, "delta": message, "gf_token_index": 0, "finish_reason": None}]}
    last = {**event, "gf_event_names": None, "choices": [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "gf_token_index": 1, "finish_reason": "stop"}]}
    providers["goodfire"].pages["/api/inference/v1/chat/completions"] = Reply(events=[event, last])
    events = stream(house, model="goodfire").objects()
    assert events[0]["gf_event_names"] == ["11111111-2222"] and text_of(events) == "Arr"


def test_openai_client_of_a_goodfire_server(house):
    answer = house.chat(question("goodfire", stream=True))
    assert answer.complete and answer.events()[-1] == "[DONE]" and answer.text() == WORDS
    chunks = answer.objects()
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)


def test_keepalive_is_a_repeated_index(provider):
    config = {"backends": [backend("one", provider)], "models": [{"name": "tiny", "backends": ["one"]}],
              "timeouts": {"keepalive": "100ms"}}
    with Gateway(**config) as gateway:
        for point in (0, 3):
            before = gateway.metric("keepalives_total")
            provider.hold(at=point)
            with gateway.client() as client:
                client.ask("POST", "/api/inference/v1/chat/completions", question(stream=True), read=False)
                gateway.wait("keepalives_total", lambda count: count >= before + 3)
                provider.release()
                answer = client.read_answer()
                events = check_form(answer)
                indices = [event["choices"][0]["gf_token_index"] for event in events]
                repeats = [index for at, index in enumerate(indices) if index in indices[:at]]
                assert len(repeats) >= 2 and len(set(repeats)) == 1
                assert repeats[0] == (-1 if point == 0 else 1) and len({event["id"] for event in events}) == 1
                assert text_of(events) == WORDS and answer.complete


def test_keepalives_do_not_show_in_the_sdk(provider):
    import goodfire
    config = {"backends": [backend("one", provider)], "models": [{"name": "tiny", "backends": ["one"]}],
              "timeouts": {"keepalive": "50ms"}}
    with Gateway(**config) as gateway:
        provider.next(gap=200)
        client = goodfire.Client(api_key="k", base_url=gateway.url)
        chunks = list(client.chat.completions.create([{"role": "user", "content": "x"}], model="tiny", stream=True))
        assert "".join(chunk.choices[0].delta.content for chunk in chunks) == WORDS
        assert gateway.metric("keepalives_total") >= 5
        assert len([chunk for chunk in chunks if chunk.choices[0].gf_token_index == -1]) <= 1
