"""Everything a client can do wrong (F1 to F22): it harms nobody else, and nothing is left over."""

import json
import re
import time

import pytest
from harness import AT_ONCE, Gateway, backend, echo, in_half, question, request_bytes

WORDS = "One two three four five"
CHAT = "/v1/chat/completions"


def config_for(provider, **more):
    return {"backends": [backend("one", provider), echo()],
            "models": [{"name": "tiny", "backends": ["one"]}, {"name": "echo", "backends": ["local"]}], **more}


@pytest.fixture(scope="module")
def gateway(provider):
    with Gateway(**config_for(provider)) as one:
        yield one


# --- F1, F2, F3: the client leaves -----------------------------------------------------------------------------

def phase_before_first_byte(provider):
    provider.always = {"hang": ""}
    return True, lambda client: provider.wait_chats(1)


def phase_after_the_upstreams_head(provider):
    provider.always = {"stall_after": "0"}
    return True, lambda client: provider.wait(lambda: provider.chats() and provider.last().stalled)


def phase_in_the_middle(provider):
    provider.always = {"stall_after": "3"}
    return True, lambda client: client.until(b" two")


def phase_whole_answer(provider):
    provider.always = {"hang": ""}
    return False, lambda client: provider.wait_chats(1)


PHASES = [phase_before_first_byte, phase_after_the_upstreams_head, phase_in_the_middle, phase_whole_answer]


@pytest.mark.parametrize("door", [CHAT, "/api/inference/v1/chat/completions"])
@pytest.mark.parametrize("leave", ["close", "reset", "half"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__[6:])
def test_f1_f2_f3_the_upstream_is_left_within_100_ms(gateway, provider, phase, leave, door):
    stream, ready = phase(provider)

    def delay():
        provider.requests.clear()
        with gateway.client() as client:
            client.ask("POST", door, question(stream=stream), read=False)
            ready(client)
            left = time.monotonic()
            if leave == "half":
                import socket
                client.socket.shutdown(socket.SHUT_WR)
            else:
                getattr(client, leave)()
            request = provider.last()
            request.wait_ended()
            assert request.answered is None
            return request.ended_at - left

    in_half(delay, 0.1)
    gateway.quiet()


def test_f2_before_dispatch(gateway, provider):
    """A client that leaves while its body is still coming never bothers a backend."""
    body = json.dumps(question()).encode()
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        client = gateway.client()
        client.send(request_bytes("POST", CHAT, body)[:-len(body)] + body[:cut])
        gateway.wait("exchanges", lambda count: count >= 1)
        client.close()
        gateway.quiet()
    assert provider.chats() == []


def test_f2_left_before_it_was_read(gateway, provider):
    """Sent and gone in one breath: at most a call that is cancelled at once."""
    for _ in range(20):
        client = gateway.client()
        client.ask("POST", CHAT, question("tiny", "[[+hang]]"), read=False)
        client.reset()
    gateway.fence()         # all have been accepted
    gateway.quiet()
    for request in provider.chats():
        assert request.wait_ended()


def test_f1_is_counted_and_logged(gateway, provider):
    before = gateway.metrics()
    with gateway.client() as client:
        client.ask("POST", CHAT, question("tiny", "[[+stall_after=3]]", stream=True), read=False)
        identity = client.read_head().header("x-request-id")
        client.until(b" two")
    assert gateway.wait_record(identity)["outcome"] == "client_left"
    now = gateway.metrics()
    assert now["clients_left_total"] - before["clients_left_total"] == 1
    assert now["calls_cancelled_total"] - before["calls_cancelled_total"] == 1


def test_f1_a_thousand_leave(gateway, provider):
    provider.always = {"stall_after": "3"}
    for _ in range(20):
        clients = [gateway.client() for _ in range(25)]
        for client in clients:
            client.ask("POST", CHAT, question(stream=True), read=False)
        for number, client in enumerate(clients):
            if number % 2:
                client.read_head()
            (client.reset if number % 3 else client.close)()
        gateway.clients.clear()
    gateway.fence()
    gateway.quiet()
    gateway.wait("connections", lambda count: count <= 1)


def test_f1_leaving_an_echo(provider):
    with Gateway(**{**config_for(provider), "backends": [backend("one", provider), echo(pace="50ms")]}) as gateway:
        with gateway.client() as client:
            client.ask("POST", CHAT, question("echo", "word " * 500, stream=True), read=False)
            client.read_head()
            client.read_chunk()
        gateway.quiet()


# --- F4: slow readers ------------------------------------------------------------------------------------------------

def test_f4_a_reader_that_stops_stops_the_upstream(gateway, provider):
    """Of an endless stream only what the buffers hold is taken, and the memory stays."""
    quiet = gateway.memory()
    clients = [gateway.client(receive_buffer=4096) for _ in range(10)]
    for client in clients:
        client.ask("POST", CHAT, question("tiny", "[[+flood]]", stream=True), read=False)
    provider.wait_chats(10)
    gateway.wait("pauses_total", lambda count: count >= 10)

    def taken():
        return [getattr(request, "flooded", 0) for request in provider.chats()]

    # The kernel's queues fill after the pause: wait until nothing moves.
    last, still = taken(), 0
    while still < 4:
        time.sleep(0.1)
        now = taken()
        still, last = (still + 1 if now == last else 0), now
    assert max(last) < 12_000_000, last
    # A sanitizer's own bookkeeping is most of it.
    assert gateway.memory() - quiet < 10 * 2_000_000
    for client in clients:
        client.close()
    for request in provider.chats():
        assert request.wait_ended()
    gateway.quiet()


def test_f4_a_slow_reader_gets_everything(gateway, provider):
    before = gateway.metric("pauses_total")
    with gateway.client(receive_buffer=4096) as client:
        client.ask("POST", CHAT, question("tiny", "[[+tokens=20000]]", stream=True), read=False)
        gateway.wait("pauses_total", lambda count: count > before)
        answer = client.read_answer()
        assert answer.complete and len(answer.text().split()) == 20000


def test_f4_a_reader_without_progress_is_cut(provider):
    with Gateway(**config_for(provider), timeouts={"client_stall": "500ms"}) as gateway:
        client = gateway.client(receive_buffer=4096)
        client.ask("POST", CHAT, question("tiny", "[[+flood]]", stream=True), read=False)
        gateway.wait("clients_stalled_total", 1)
        assert provider.last().wait_ended()
        gateway.quiet()
        gateway.wait("connections", lambda count: count <= 1)


# --- F5, F6, F7: slow senders ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def hasty(provider):
    timeouts = {"header": "500ms", "body": "500ms", "idle": "500ms"}
    with Gateway(**config_for(provider), timeouts=timeouts) as one:
        yield one


def test_f5_slow_headers(hasty):
    """The timer is absolute: dripping does not help."""
    client = hasty.client()
    began = time.monotonic()
    client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
    while not client.closed(within=0.05) and not client.input and time.monotonic() - began < 5:
        try:
            client.send(b"X: y\r\n")
        except OSError:
            break
    assert 0.3 < time.monotonic() - began < 4
    assert b"HTTP/1.1 408 " in client.input or client.ended


def test_f5_silence_in_a_head(hasty):
    with hasty.client() as client:
        client.send(b"GET /v1/models HT")
        assert client.read_answer().status == 408
        assert client.wait_end()


def test_f6_slow_body(hasty, provider):
    with hasty.client() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        answer = client.read_answer()
        assert answer.status == 408 and answer.json()["error"]["code"] == "request_timeout"
        assert client.wait_end()
    assert provider.chats() == []


def test_f6_a_body_that_flows_has_time(provider):
    """1 KB/s and more is progress, past the time for a whole body."""
    body = json.dumps(question("tiny", "x" * 40_000)).encode()
    with Gateway(**config_for(provider), timeouts={"body": "500ms"}) as gateway, gateway.client() as client:
        client.send(request_bytes("POST", CHAT, body)[:-len(body)])
        began = time.monotonic()
        for at in range(0, len(body), 2000):
            client.send(body[at:at + 2000])
            time.sleep(0.06)        # the slow sender itself
        assert time.monotonic() - began > 1
        assert client.read_answer().status == 200


def test_f7_idle_connections_are_closed(hasty):
    with hasty.client() as client:
        assert client.ask("GET", "/healthz").status == 200
        began = time.monotonic()
        assert client.wait_end() == "fin" and client.input == b""
        assert time.monotonic() - began < 5
    with hasty.client() as client:
        assert client.wait_end() == "fin"


def test_f5_honest_clients_do_not_feel_slow_ones(provider):
    with Gateway(**config_for(provider)) as gateway:
        slow = [gateway.client() for _ in range(300)]
        for client in slow:
            client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        for _ in range(20):
            began = time.monotonic()
            assert gateway.chat(question("echo")).status == 200
            assert time.monotonic() - began < AT_ONCE


# --- F8, F9, F10: sizes ------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def small(provider):
    limits = {"body_bytes": "64k", "buffered_bytes": "256k", "header_bytes": "8k", "headers": 50}
    with Gateway(**config_for(provider), limits=limits) as one:
        yield one


def test_f8_a_length_over_the_limit_is_refused_before_the_body(small, provider):
    with small.client() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n")
        answer = client.read_answer()
        assert answer.status == 413 and answer.header("connection") == "close"
        assert answer.json()["error"]["code"] == "request_too_large"


def test_f8_the_answer_is_readable_while_the_body_is_still_being_sent(small):
    with small.client() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        try:
            for _ in range(100):
                client.send(b"x" * 10_000)
        except OSError:
            pass
        assert client.read_answer().status == 413


@pytest.mark.parametrize("door", [CHAT, "/api/inference/v1/chat/completions"])
def test_f8_chunks_are_counted(small, provider, door):
    with small.client() as client:
        client.send(f"POST {door} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        try:
            for _ in range(40):
                client.send(b"1000\r\n" + b" " * 4096 + b"\r\n")
        except OSError:
            pass
        assert client.read_answer().status == 413
    assert provider.chats() == []


def test_f8_exactly_the_limit_is_fine(small, provider):
    head = json.dumps(question("tiny", ""))
    body = head.replace('"content": ""', '"content": "' + "x" * (65536 - len(head)) + '"').encode()
    assert len(body) == 65536
    assert small.ask(CHAT, body).status == 200 and provider.last().json["messages"][0]["content"].count("x") > 65000


def test_f8_all_bodies_together_are_bounded(small):
    clients, before = [], small.metric("requests_refused_total")
    for _ in range(12):
        client = small.client()
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b" " * 59_000)
        clients.append(client)
    small.wait("requests_refused_total", lambda count: count > before)
    assert small.metric("body_bytes") <= 256 * 1024 + 60_000
    statuses = [client.read_answer().status for client in clients if client.closed(within=0.2) or client.input]
    assert statuses and set(statuses) <= {503, 413, 429}
    for client in clients:
        client.close()
    small.wait("body_bytes", 0)
    assert small.chat(question("echo")).status == 200


@pytest.mark.parametrize("head", [b"X-Big: " + b"y" * 9000 + b"\r\n", b"X: y\r\n" * 60,
                                  b"".join(b"X-%d: %s\r\n" % (n, b"z" * 900) for n in range(12))],
                         ids=["one", "many", "sum"])
def test_f9_headers(small, head):
    with small.client() as client:
        client.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        assert client.read_answer().status == 431
        assert client.wait_end()


def test_f9_endless_header(small):
    before = small.memory()
    with small.client() as client:
        try:
            client.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(500):
                client.send(b"y" * 10_000)
        except OSError:
            pass
        assert client.read_answer().status == 431
    assert small.memory() - before < 4_000_000


def test_f9_long_target(small):
    assert small.ask("/v1/models/" + "m" * 8100).status in (404, 431, 414)
    with small.client() as client:
        client.send(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_answer().status in (414, 431, 400)


def test_f10_depth_and_width_are_linear(gateway):
    for body in (b"[" * 3_000_000, b'{"a":' * 1_000_000, b"[1," * 3_000_000, b'{"x":"' + b"\\u0041" * 2_000_000 + b'"}'):
        # What is quadratic would take days.
        with gateway.client(timeout=60) as client:
            assert client.ask("POST", CHAT, body).status == 400


# --- F14: pipelining ------------------------------------------------------------------------------------------------

def test_f14_pipelined_requests_are_answered_in_order(gateway, provider):
    with gateway.client() as client:
        client.send(b"".join(request_bytes("POST", CHAT, question("tiny", f"[[+text=answer_{n}]]", stream=n % 2 == 0))
                             for n in range(6)))
        for number in range(6):
            answer = client.read_answer()
            text = answer.text() if number % 2 == 0 else answer.json()["choices"][0]["message"]["content"]
            assert answer.complete and text == f"answer {number}"
    assert len(provider.chats()) == 6


def test_f14_one_at_a_time(gateway, provider):
    """The second question is not asked while the first is being answered."""
    provider.hold()
    with gateway.client() as client:
        client.send(request_bytes("POST", CHAT, question()) * 3)
        provider.wait_chats(1)
        gateway.wait("exchanges", 1)
        assert len(provider.chats()) == 1
        provider.release()
        assert [client.read_answer().status for _ in range(3)] == [200] * 3


def test_f14_a_flood_of_requests_ahead_is_bounded(gateway, provider):
    provider.hold()
    before = gateway.memory()
    with gateway.client(timeout=1) as client:
        sent = 0
        try:
            while sent < 50_000_000:
                sent += client.socket.send(request_bytes("GET", "/healthz") * 1000 if sent else
                                           request_bytes("POST", CHAT, question()))
        except OSError:
            pass
        assert gateway.memory() - before < 8_000_000
        provider.release()
    gateway.quiet()


def test_f14_nothing_is_read_after_a_refusal_that_closes(gateway, provider):
    with gateway.client() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" +
                    request_bytes("POST", CHAT, question()))
        assert client.read_answer().status == 400
        assert client.wait_end() and client.input == b""
    assert provider.chats() == []


def test_f14_the_next_request_after_a_good_refusal_is_served(gateway):
    with gateway.client() as client:
        client.send(request_bytes("POST", CHAT, b"{not json") + request_bytes("POST", "/nowhere", b"x" * 5000) +
                    request_bytes("GET", "/healthz"))
        assert [client.read_answer().status for _ in range(3)] == [400, 404, 200]


# --- F16 to F22 -------------------------------------------------------------------------------------------------------

def test_f16_control_bytes_never_reach_the_upstreams_head(gateway, provider):
    for model in ("tiny\r\nX-Evil: 1", "tiny\u0000", "../tiny", "tiny?x=http://evil/", "tiny\u007f"):
        answer = gateway.chat(question(model))
        assert answer.status in (400, 404)
    assert provider.requests == []


def test_f16_the_log_is_one_line_whatever_the_client_says(gateway):
    names = ("evil\nrequest id=req_0 forged", "a b=c", "\u001b[31mred", "\u2028", "x" * 5000)
    for name in names:
        asked = gateway.wait_record(gateway.chat(question(name)))
        assert asked["model"] == name[:256]
        page = gateway.ask("/v1/models", headers=[("User-Agent", "a b"), ("X-Request-Id", "x y=z")])
        assert gateway.wait_record(page)["client_id"] == "x y=z"
    assert not any("forged" in line for line in gateway.lines)


def test_f18_request_ids_are_not_taken_over(gateway):
    answer = gateway.ask("/healthz", headers=[("X-Request-Id", "req_" + "0" * 32)])
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.header("x-request-id"))
    assert answer.header("x-request-id") != "req_" + "0" * 32


def test_f21_the_body_never_chooses_where_to_ask(gateway, provider):
    evil = {"api_base": "http://127.0.0.1:1", "base_url": "http://127.0.0.1:1", "url": "http://127.0.0.1:1",
            "host": "evil", "path": "/evil", "proxy": "http://127.0.0.1:1", "custom_llm_provider": "evil",
            "extra_headers": {"Authorization": "x"}, "api_key": "x"}
    for name, value in evil.items():
        assert gateway.chat(question(**{name: value})).status in (200, 400)
    for request in provider.requests:
        assert request.path == CHAT and request.header("host") == f"127.0.0.1:{provider.port}"
        assert request.header("authorization") is None


def test_f22_connections_over_the_cap_are_told(provider):
    with Gateway(**config_for(provider), limits={"connections": 8}) as gateway:
        clients = [gateway.client() for _ in range(8)]
        for client in clients:
            assert client.ask("GET", "/healthz").status == 200
        with gateway.client() as extra:
            try:
                answer = extra.read_answer()
                assert answer.status == 503 and answer.header("retry-after")
            except EOFError:
                assert extra.ended
        gateway.wait("connections_refused_total", lambda count: count >= 1)
        for client in clients:
            client.close()
        gateway.wait("connections", lambda count: count <= 1)
        assert gateway.chat(question("echo")).status == 200


def test_f22_file_descriptors_run_out(provider):
    """The admin door answers, nobody spins, and all is well once the crowd has gone."""
    with Gateway(**config_for(provider), prefix=["prlimit", "--nofile=80:80"]) as gateway:
        crowd = []
        for _ in range(150):
            try:
                crowd.append(gateway.client(timeout=2))
            except OSError:
                break
        assert gateway.metrics()["connections"] <= 80
        before, began = cpu_seconds(gateway), time.monotonic()
        time.sleep(1)               # the measured second
        assert (cpu_seconds(gateway) - before) / (time.monotonic() - began) < 0.25
        for client in crowd:
            client.close()
        gateway.wait("connections", lambda count: count <= 1)
        for _ in range(5):
            assert gateway.chat(question()).status == 200


def cpu_seconds(gateway):
    with open(f"/proc/{gateway.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_expect_100_continue(gateway, provider):
    body = json.dumps(question()).encode()
    with gateway.client() as client:
        client.send(request_bytes("POST", CHAT, body, [("Expect", "100-continue")])[:-len(body)])
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
        client.send(body)
        assert client.read_answer().status == 200
        # Refused before the body: the final answer comes instead of the 100.
        client.send(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_head().status == 404
