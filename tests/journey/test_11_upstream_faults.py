"""Everything a backend can do wrong (U1 to U15): the client hears the truth, in time, and nothing is left over."""

import os
import socket
import time

import pytest
from conftest import SHORT, carried_by
from harness import AT_ONCE, Gateway, backend, question
from provider import Provider

WORDS = "One two three four five"
PATIENT = {"connect": "20s", "first_byte": "20s", "between_bytes": "20s", "total": "60s"}
# Bytes a server may not pass to our clients.
SECRETS = (b"X-Provider-Secret", b"nginx", b"do-not-forward")


@pytest.fixture(scope="module", params=["http", "https"])
def provider(request):
    with carried_by(request) as one:
        yield one


@pytest.fixture(scope="module")
def gateway(provider):
    """One provider as often as there is a silence to be waited for."""
    places = {"tiny": PATIENT, "silent": {**PATIENT, "first_byte": SHORT["first_byte"]},
              "stalled": {**PATIENT, "between_bytes": SHORT["between_bytes"]}}
    with Gateway(backends=[backend(name, provider, timeouts=timeouts) for name, timeouts in places.items()],
                 models=[{"name": name, "backends": [name], "upstream": "tiny"} for name in places],
                 limits={"answer_bytes": "256k", "event_bytes": "64k"}) as one:
        yield one


def ask(gateway, faults, stream=False, model="tiny"):
    return gateway.chat(question(model, f"[[{faults}]]", stream=stream))


def begun(gateway, provider, faults, model="tiny"):
    """A stream whose faults begin when the client has its first event: what breaks before is refused with a status."""
    return gateway.stepwise(provider, question(model, f"[[{faults}]]", stream=True))


def refused(gateway, answer, status, code=None):
    """A refusal in the OpenAI shape, with a line in the log and no call left."""
    assert answer.status == status, (answer.status, answer.body)
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and (code is None or error["code"] == code), error
    record = gateway.wait_record(answer)
    assert record["status"] == str(status) and record["outcome"] != "ok"
    assert not any(secret in answer.body or secret in repr(answer.headers).encode() for secret in SECRETS)
    gateway.quiet()


def broken(gateway, answer, code=None):
    """A stream that was cut: an error event, no [DONE], no last chunk."""
    assert answer.status == 200 and not answer.complete and b"[DONE]" not in answer.body
    error = answer.objects()[-1]["error"]
    assert code is None or error["code"] == code, error
    assert gateway.wait_record(answer)["outcome"].lower().startswith("upstream")
    gateway.quiet()


def refused_or_broken(gateway, answer, status, code=None):
    """For faults met before any event: the head of the stream may have been sent already."""
    if answer.status == 200:
        broken(gateway, answer, code)
    else:
        refused(gateway, answer, status, code)


# --- U1, U2: no connection ------------------------------------------------------------------------------------

def one_backend(url, **more):
    return {"backends": [{"name": "one", "kind": "vllm", "url": url, "timeouts": PATIENT, **more}],
            "models": [{"name": "tiny", "backends": ["one"]}]}


@pytest.mark.parametrize("stream", [False, True])
def test_u1_refused(stream):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with Gateway(**one_backend(f"http://127.0.0.1:{closed.getsockname()[1]}/v1")) as gateway:
            refused(gateway, gateway.chat(question(stream=stream)), 502, "upstream_connect")
            assert gateway.goodfire(question(stream=stream)).status == 500


def test_u1_name_that_does_not_exist():
    with Gateway(**one_backend("http://no-such-host.invalid/v1")) as gateway:
        began = time.monotonic()
        answer = gateway.chat()
        assert answer.status == 502 and answer.json()["error"]["code"] in ("upstream_dns", "upstream_connect")
        assert time.monotonic() - began < 8


def test_u1_name_lookup_does_not_block_the_loop():
    with Gateway(**one_backend("http://no-such-host.invalid/v1")) as gateway, gateway.client() as waiting:
        waiting.ask("POST", "/v1/chat/completions", question(), read=False)
        began = time.monotonic()
        assert gateway.ask("/healthz").status == 200
        assert time.monotonic() - began < AT_ONCE / 2, "half of what a resolver waits for a silent server"
        assert waiting.read_answer().status == 502


def test_u1_unix_socket_that_is_not_there():
    with Gateway(**one_backend("unix:/nonexistent/llama.sock")) as gateway:
        refused(gateway, gateway.chat(), 502, "upstream_connect")


def test_u2_connect_hangs():
    """A listener whose queue is full and that never accepts."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        with Gateway(**one_backend(f"http://127.0.0.1:{full.getsockname()[1]}/v1",
                                   timeouts={**PATIENT, "connect": "1s"})) as gateway:
            began = time.monotonic()
            refused(gateway, gateway.chat(), 502, "upstream_connect")
            assert 0.8 < time.monotonic() - began
        for filler in fillers:
            filler.close()


def test_u1_failover_only_before_anything_was_sent(providers):
    dead = {"name": "dead", "kind": "vllm", "url": "http://127.0.0.1:1/v1"}
    config = {"backends": [dead, backend("live", providers["vllm"]), backend("spare", providers["openai"])],
              "models": [{"name": "tiny", "backends": ["dead", "live", "spare"]}]}
    with Gateway(**config) as gateway:
        answer = gateway.chat(question(stream=True))
        assert answer.text() == WORDS and gateway.metric("failovers_total") == 1
        answer = gateway.stepwise(providers["vllm"], question("tiny", "[[+rst_after=3]]", stream=True), 3)
        broken(gateway, answer)
        assert providers["openai"].chats() == [], "an answer that began is never begun again elsewhere"


# --- U1: TLS --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["good", "expired", "wrongname", "self"])
def test_u1_certificates(certificates, name):
    with Provider("vllm", tls=(certificates / f"{name}.pem", certificates / f"{name}.key")) as provider:
        with Gateway(**one_backend(provider.url + "/v1", ca_file=str(certificates / "ca.pem"))) as gateway:
            answer = gateway.chat()
            if name == "good":
                assert answer.status == 200
                assert gateway.chat(question(stream=True)).text() == WORDS
            else:
                refused(gateway, answer, 502, "upstream_tls")
                assert provider.requests == [], "nothing was told to a server nobody vouches for"


def test_u1_no_fall_back_to_plain_text():
    with Provider("openai") as provider, Gateway(**one_backend(f"https://127.0.0.1:{provider.port}/v1", timeouts=SHORT)) as gateway:
        # A server that waits for the rest of our hello is one that does not accept in time.
        answer = gateway.chat()
        assert answer.status == 502 and answer.json()["error"]["code"] in ("upstream_tls", "upstream_connect")
        assert provider.chats() == []


# --- U3, U4: silence ---------------------------------------------------------------------------------------------

def test_u3_nothing_comes(gateway, provider):
    began = time.monotonic()
    answer = ask(gateway, "+hang", stream=True, model="silent")
    refused_or_broken(gateway, answer, 504, "upstream_timeout")
    assert 1.2 < time.monotonic() - began
    assert provider.last().wait_ended()


def test_u3_head_but_no_event(gateway):
    answer = ask(gateway, "+stall_after=0", stream=True, model="stalled")
    refused_or_broken(gateway, answer, 504, "upstream_timeout")


def test_u3_whole_answer_is_bounded_by_the_total(provider):
    places = {"tiny": {**PATIENT, "first_byte": "200ms"}, "brief": {**PATIENT, "total": "1s"}}
    with Gateway(backends=[backend(name, provider, timeouts=timeouts) for name, timeouts in places.items()],
                 models=[{"name": name, "backends": [name], "upstream": "tiny"} for name in places]) as gateway:
        answer = ask(gateway, "+ttfb=500")
        assert answer.status == 200, "a whole answer may take longer than a stream's first byte"
        began = time.monotonic()
        refused(gateway, ask(gateway, "+hang", model="brief"), 504, "upstream_timeout")
        assert 0.8 < time.monotonic() - began
        assert provider.last().wait_ended()


def test_u4_stall_in_the_middle(gateway, provider):
    answer = begun(gateway, provider, "+stall_after=3", model="stalled")
    broken(gateway, answer, "upstream_timeout")
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in answer.objects()[:-1]) == "One two"
    assert provider.last().wait_ended()


# --- U5, U6, U7, U8: streams (more in test_07) ----------------------------------------------------------------------

@pytest.mark.parametrize("faults", ["+rst_after=1", "+rst_after=3", "+eof_after=3", "+cutevent=4"])
def test_u5_cut(gateway, provider, faults):
    broken(gateway, begun(gateway, provider, faults), "upstream_reset")


def test_u5_every_one_of_many_is_visible(gateway, provider):
    for number in range(60):
        answer = begun(gateway, provider, f"+{('rst_after', 'eof_after', 'end_after')[number % 3]}={1 + number % 5}")
        assert not answer.complete and b"[DONE]" not in answer.body and "error" in answer.objects()[-1]
    gateway.quiet()


@pytest.mark.parametrize("faults", ["+end_after=3", "+nofinish", "+nofinish+nodone", "+close+end_after=3"])
def test_u6_end_without_a_finish(gateway, provider, faults):
    broken(gateway, begun(gateway, provider, faults))


def test_u6_missing_done_alone_is_fine(gateway):
    answer = ask(gateway, "+nodone", stream=True)
    assert answer.complete and answer.text() == WORDS and answer.events()[-1] == "[DONE]"


@pytest.mark.parametrize("faults", ["+nul", "+badutf8", "+badjson=2", "+nul+slice=1", "+badutf8+slice=1"])
def test_u7_malformed_events(gateway, provider, faults):
    broken(gateway, begun(gateway, provider, faults))


def test_u8_giant_event(gateway, provider):
    before = gateway.memory()
    broken(gateway, begun(gateway, provider, "+giant=8000000"), "bad_upstream_body")
    assert gateway.memory() - before < 20_000_000


def test_u8_giant_answer(gateway):
    refused(gateway, ask(gateway, "+giant=8000000"), 502, "bad_upstream_body")


# --- U9 to U15: whole answers --------------------------------------------------------------------------------------

@pytest.mark.parametrize("faults, stream", [
    ("+html", False), ("+notjson", False), ("+empty", False), ("+badutf8", False), ("+html+close", False),
    ("+html", True), ("+html+close", True)])
def test_u9_not_an_answer(gateway, faults, stream):
    refused_or_broken(gateway, ask(gateway, faults, stream), 502, "bad_upstream_body")


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"object": "error", "message": "flat"}, [1], "text", None])
def test_u9_json_that_is_no_answer(gateway, provider, body):
    from provider_kinds import Reply
    provider.pages["/v1/chat/completions"] = Reply(body=body)
    refused(gateway, gateway.chat(), 502)


def test_u9_a_stream_was_asked_for_and_did_not_come(gateway, provider):
    from provider_kinds import Reply, chat
    provider.pages["/v1/chat/completions"] = Reply(body=chat("openai", {"model": "m"}, {}, 1).body)
    refused(gateway, gateway.chat(question(stream=True)), 502, "bad_upstream_body")


@pytest.mark.parametrize("status, told", [(500, 502), (502, 502), (503, 503), (504, 504), (529, 502), (424, 502),
                                          (408, 504), (418, 502), (409, 502)])
def test_u10_statuses(gateway, status, told):
    answer = ask(gateway, f"+status={status}")
    assert answer.status == told or (status in (418, 409, 529) and answer.status in (400, 502, 503))
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_u10_one_other_backend_is_asked(providers):
    config = {"backends": [backend("one", providers["vllm"]), backend("two", providers["openai"]),
                           backend("three", providers["sglang"])],
              "models": [{"name": "tiny", "backends": ["one", "two", "three"]}]}
    for kind in ("vllm", "openai", "sglang"):
        providers[kind].always = {"status": "500"}
    with Gateway(**config) as gateway:
        assert gateway.chat().status == 502
        asked = [len(providers[kind].chats()) for kind in ("vllm", "openai", "sglang")]
        assert sum(asked) <= 2, "at most one more try"


@pytest.mark.parametrize("text, seconds", [
    ("3", 3), ("0", None), ("-5", None), ("999999999", 300), ("99999999999999999999999999", None), ("soon", None),
    ("", None), ("1.5", None), ("Wed,_21_Oct_2015_07:28:00_GMT", None), ("Mon,_01_Jan_2035_00:00:00_GMT", 300),
    ("3,_4", None)])
def test_u11_retry_after(gateway, text, seconds):
    answer = ask(gateway, f"+status=429+ra={text}")
    assert answer.status == 429
    got = answer.header("retry-after")
    if seconds is not None:
        assert int(got) == seconds or (seconds == 300 and 0 < int(got) <= 300)
    else:
        assert got is None or 0 <= int(got) <= 300
    assert answer.header("retry-after-ms") is None or int(answer.header("retry-after-ms")) <= 300_000


@pytest.mark.parametrize("faults, status", [("+cl=5", 502), ("+2cl", 502), ("+clte", None)])
def test_u12_wrong_lengths(gateway, faults, status):
    """Short: broken. Both framings: whatever is made of it, the client's framing is our own."""
    answer = ask(gateway, faults)
    if answer.status == 200:
        assert status is None and answer.complete and answer.header("transfer-encoding") is None
        assert answer.json()["choices"]
    else:
        refused(gateway, answer, 502)


def test_u12_bytes_after_the_end_are_nobodys_answer(gateway, provider):
    """Too long a body: the rest must not begin the next answer on that connection."""
    ask(gateway, "+cl=-20")
    for number in range(3):
        answer = ask(gateway, f"+text=answer_{number}")
        assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"] == f"answer {number}"


@pytest.mark.parametrize("stream", [False, True])
def test_u13_informational(gateway, stream):
    answer = ask(gateway, "+1xx=3", stream)
    assert answer.status == 200 and answer.complete
    flooded = ask(gateway, "+1xx=5000", stream)
    assert flooded.status in (200, 502)
    gateway.quiet()


@pytest.mark.parametrize("faults", ["+101", "+302", "+302=http://127.0.0.1:1/", "+204"])
@pytest.mark.parametrize("stream", [False, True])
def test_u13_odd_statuses(gateway, provider, faults, stream):
    refused_or_broken(gateway, ask(gateway, faults, stream), 502)
    assert len(provider.chats()) == 1, "no redirect is followed"


@pytest.mark.parametrize("stream", [False, True])
def test_u14_compressed_unasked(gateway, provider, stream):
    refused_or_broken(gateway, ask(gateway, "+gzip", stream), 502, "bad_upstream_body")
    assert provider.last().header("accept-encoding") in (None, "identity")


@pytest.mark.parametrize("stream", [False, True])
def test_u15_header_bomb(gateway, stream):
    before = gateway.memory()
    refused_or_broken(gateway, ask(gateway, "+hdr=4000000", stream), 502)
    assert gateway.memory() - before < 20_000_000


def test_u15_slow_headers(gateway):
    refused_or_broken(gateway, ask(gateway, "+slowhdr=400", stream=True, model="silent"), 504)


def test_u_drop_before_any_byte(gateway, provider):
    refused(gateway, ask(gateway, "+drop"), 502, "upstream_reset")
    assert len(provider.chats()) <= 2


def test_after_all_that_it_works(gateway):
    for stream in (False, True):
        assert ask(gateway, "+tokens=3", stream).status == 200
    assert os.path.exists(f"/proc/{gateway.process.pid}")


# --- U16: all down ---------------------------------------------------------------------------------------------------

def test_u16_nobody_there_is_told_fast():
    config = {"backends": [{"name": name, "kind": "vllm", "url": "http://127.0.0.1:1/v1", "timeouts": PATIENT}
                           for name in ("a", "b", "c")],
              "models": [{"name": "tiny", "backends": ["a", "b", "c"]}]}
    with Gateway(**config) as gateway:
        gateway.chat()
        began = time.monotonic()
        assert gateway.chat().status in (502, 503)
        assert time.monotonic() - began < AT_ONCE
