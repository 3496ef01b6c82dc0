"""Streams at the OpenAI door: every way a server may write SSE comes out in the one way all clients read."""

import json
import re

import pytest
from harness import Gateway, backend, echo, question

WORDS = "One two three four five"


def stream(house, faults="", model="openai", **more):
    return house.chat(question(model, f"[[{faults}]]" if faults else "Hello", stream=True, **more))


def check_form(answer):
    """LF, one `data: ` line per event, compact JSON, a blank line; [DONE] last and in one write with the end."""
    assert answer.status == 200 and answer.complete
    assert re.fullmatch(rb"(data: [^\r\n]+\n\n|: [^\r\n]*\n\n|:\n\n)*data: \[DONE\]\n\n", answer.body), answer.body
    for chunk in answer.chunks:
        assert chunk.data.endswith(b"\n\n"), "no event is split over HTTP chunks"


@pytest.mark.parametrize("faults", [
    "+onewrite", "+onechunk", "+crlf", "+cr", "+bom", "+comments", "+id", "+id+comments", "+retry", "+event",
    "+multiline", "+nospace", "+emptydata", "+nodone", "+noblank", "+afterdone", "+slice=1", "+slice=7", "+tcpslice=1",
    "+tcpslice=13", "+crlf+slice=1", "+cr+slice=1", "+bom+slice=1", "+multiline+slice=3", "+close", "+1xx=3",
    "+nousage", "+usageinfinish", "+norole", "+crlf+comments+id+retry+event", "+noblank+nodone+close", "+gap=20"])
def test_good_streams(house, faults):
    answer = stream(house, faults)
    check_form(answer)
    assert answer.text() == WORDS
    assert [chunk["choices"][0]["finish_reason"] for chunk in answer.objects() if chunk["choices"]][-1] == "stop"
    house.quiet()


@pytest.mark.parametrize("model", ["openai", "vllm", "llama-server", "sglang", "ollama"])
@pytest.mark.parametrize("faults", ["", "+slice=1", "+onewrite"])
def test_each_kind(house, model, faults):
    answer = stream(house, faults, model)
    check_form(answer)
    assert answer.text() == WORDS


@pytest.mark.parametrize("model", ["openai", "vllm", "llama-server", "sglang", "ollama"])
def test_usage_is_kept_from_who_did_not_ask(house, model):
    assert all(chunk["choices"] for chunk in stream(house, model=model).objects())
    for options in ({"include_usage": False}, {"include_obfuscation": False}):
        assert all(chunk["choices"] for chunk in stream(house, model=model, stream_options=options).objects())
    chunks = stream(house, model=model, stream_options={"include_usage": True}).objects()
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] == 12


def test_done_and_the_end_come_in_one_write(house):
    """openai-node uses the connection again only then."""
    for faults in ("", "+onewrite", "+nodone"):
        with house.client() as client:
            client.ask("POST", "/v1/chat/completions", question("openai", f"[[{faults or '+keep'}]]", stream=True),
                       read=False)
            client.read_head()
            while b"[DONE]" not in client.input:
                assert client.receive()
            assert client.input.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_the_connection_serves_on_after_a_stream(house):
    with house.client() as client:
        for _ in range(3):
            answer = client.ask("POST", "/v1/chat/completions", question("openai", stream=True))
            assert answer.complete and answer.text() == WORDS


def test_events_are_relayed_the_moment_they_come(house, providers):
    """Each event arrives while the next is still held back at the provider."""
    provider = providers["openai"]
    provider.hold(at=3)
    with house.client() as client:
        client.ask("POST", "/v1/chat/completions", question("openai", stream=True), read=False)
        client.read_head()
        text = b""
        while b" two" not in text:
            text += client.read_chunk().data
        # What comes after is not even said yet.
        assert b" three" not in text and provider.last().written == 3
        provider.release()
        while b" three" not in text:
            text += client.read_chunk().data


def test_the_head_comes_with_the_first_event(house, providers):
    """Until then a failure can still have a status of its own."""
    providers["openai"].hold(at=0)
    with house.client() as client:
        client.ask("POST", "/v1/chat/completions", question("openai", stream=True), read=False)
        providers["openai"].wait(lambda: providers["openai"].waiting)
        house.fence()       # it has read the backend's head
        assert not client.closed() and client.input == b""
        providers["openai"].release()
        assert client.read_answer().text() == WORDS
    answer = stream(house, "+errorevent=0+gap=10")
    assert answer.status == 502 and "the engine died" in answer.json()["error"]["message"]


@pytest.mark.parametrize("size", [1000, 70_000, 900_000])
def test_large_events(house, size):
    answer = stream(house, f"+giant={size}")
    check_form(answer)
    assert answer.text().startswith("g" * size)


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter", "tool_calls"])
def test_finish_reasons_pass(house, finish):
    assert stream(house, f"+finish={finish}").objects()[-1]["choices"][0]["finish_reason"] == finish


def test_tool_calls_pass_unchanged(house, providers):
    from provider_kinds import Reply, compact
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    deltas = [{"role": "assistant", "content": None, "tool_calls": [
                  {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}]},
              {"tool_calls": [{"index": 0, "function": {"arguments": "{\"x\":"}}]},
              {"tool_calls": [{"index": 0, "function": {"arguments": " \"data: y\"}"}}]}]
    events = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    for kind in ("openai", "vllm", "sglang"):
        providers[kind].pages["/v1/chat/completions"] = Reply(events=events)
        assert stream(house, model=kind).events() == [compact(event) for event in events] + ["[DONE]"]


def test_several_choices(house, providers):
    from provider_kinds import Reply
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}

    def chunk(index, delta, finish=None):
        return {**base, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    events = [chunk(0, {"role": "assistant", "content": ""}), chunk(1, {"role": "assistant", "content": ""}),
              chunk(1, {"content": "b"}), chunk(0, {"content": "a"}), chunk(0, {}, "stop"), chunk(1, {}, "length")]
    providers["openai"].pages["/v1/chat/completions"] = Reply(events=events)
    answer = stream(house, n=2)
    check_form(answer)
    assert answer.objects() == events
    # One choice without an end is no complete answer.
    providers["openai"].pages["/v1/chat/completions"] = Reply(events=events[:-1])
    assert not house.stepwise(providers["openai"], question("openai", n=2, stream=True)).complete


# --- what is broken ends visibly -------------------------------------------------------------------------------

@pytest.mark.parametrize("faults", [
    "+rst_after=3", "+eof_after=3", "+end_after=3", "+cutevent=3", "+halfevent=3", "+errorevent=3", "+namederror=3",
    "+errortext=3", "+flaterror=3", "+errorline=3", "+badjson=3", "+nul", "+badutf8", "+nofinish", "+nofinish+nodone",
    "+finish=abort", "+finish=error", "+giant=1200000", "+rst_after=3+slice=1"])
def test_broken_streams(house, providers, faults):
    answer = house.stepwise(providers["openai"], question("openai", f"[[{faults}]]", stream=True))
    assert answer.status == 200 and not answer.complete, "no last chunk"
    assert b"[DONE]" not in answer.body
    last = answer.objects()[-1]
    assert set(last) == {"error"} and set(last["error"]) == {"message", "type", "param", "code"}
    record = house.wait_record(answer)
    assert record["outcome"].lower().startswith("upstream") and record["status"] == "200"
    house.quiet()


def test_what_was_said_before_the_break_arrives(house, providers):
    answer = house.stepwise(providers["openai"], question("openai", "[[+rst_after=4]]", stream=True), 4)
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in answer.objects()[:-1])
    assert said == "One two three" and answer.objects()[-1]["error"]["code"] == "upstream_reset"


@pytest.mark.parametrize("faults", ["+errorevent=2", "+badjson=2", "+nofinish"])
def test_what_breaks_at_once_is_an_error_in_either_form(house, faults):
    """All in one write: a refusal with a status while nothing has left, else a cut stream; never a good end."""
    answer = stream(house, faults + "+onewrite")
    assert b"[DONE]" not in answer.body
    if answer.status == 200:
        assert not answer.complete and "error" in answer.objects()[-1]
    else:
        assert answer.status == 502 and answer.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize("model", ["openai", "vllm", "llama-server", "sglang", "ollama"])
def test_no_finish_is_an_error_for_each_kind(house, model):
    assert not stream(house, "+nofinish+gap=15", model).complete


# --- silence --------------------------------------------------------------------------------------------------------

def test_keepalives_are_comments(provider):
    config = {"backends": [backend("one", provider)], "models": [{"name": "tiny", "backends": ["one"]}],
              "timeouts": {"keepalive": "100ms"}}
    with Gateway(**config) as gateway:
        provider.hold(at=2)
        with gateway.client() as client:
            client.ask("POST", "/v1/chat/completions", question(stream=True), read=False)
            answer = client.read_head()
            gateway.wait("keepalives_total", lambda count: count >= 3)
            provider.release()
            client.read_body(answer)
            assert answer.body.count(b"\n\n:") >= 1 or answer.body.startswith(b":")
            check_form(answer)
            assert answer.text() == WORDS
            assert all(re.fullmatch(rb":[^\n\r]*\n\n", chunk.data)
                       for chunk in answer.chunks if chunk.data.startswith(b":"))


def test_keepalives_before_the_first_event(provider):
    config = {"backends": [backend("one", provider)], "models": [{"name": "tiny", "backends": ["one"]}],
              "timeouts": {"keepalive": "100ms"}}
    with Gateway(**config) as gateway:
        provider.hold(at=0)
        with gateway.client() as client:
            client.ask("POST", "/v1/chat/completions", question(stream=True), read=False)
            answer = client.read_head()
            assert client.read_chunk().data.startswith(b":")
            provider.release()
            client.read_body(answer)
            assert answer.text() == WORDS and answer.complete


def test_comments_of_the_upstream_keep_it_alive():
    """A server that only pings is not silent: the timer between bytes counts bytes."""
    from provider import Provider
    with Provider("llama-server") as provider:
        # Longer than its gaps, shorter than all of them.
        one = backend("one", provider, timeouts={"between_bytes": "1500ms"})
        with Gateway(backends=[one], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
            provider.next(gap=300)
            answer = gateway.chat(question(stream=True))
            assert answer.complete and answer.text() == WORDS


def test_many_streams_at_once():
    with Gateway(backends=[echo(pace="5ms")], models=[{"name": "echo", "backends": ["local"]}]) as gateway:
        clients = [gateway.client() for _ in range(200)]
        for number, client in enumerate(clients):
            client.ask("POST", "/v1/chat/completions", question("echo", f"stream number {number}", stream=True),
                       read=False)
        for number, client in enumerate(clients):
            answer = client.read_answer()
            assert answer.complete and f"number {number}" in answer.text()
        gateway.quiet()
        assert json.loads(answer.events()[0])["object"] == "chat.completion.chunk"
