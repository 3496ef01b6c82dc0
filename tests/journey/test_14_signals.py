"""The end of the process: streams are finished, newcomers are told, and nothing is cut in silence."""

import signal
import socket
import time

import pytest
from harness import Gateway, backend, echo, question

CHAT = "/v1/chat/completions"
WORDS = "One two three four five"


def config(provider, **timeouts):
    return {"backends": [backend("one", provider), echo(pace="20ms")],
            "models": [{"name": "tiny", "backends": ["one"]}, {"name": "echo", "backends": ["local"]}],
            "timeouts": timeouts}


def start(provider, **timeouts):
    gateway = Gateway(**config(provider, **timeouts))
    gateway.expect_end = True
    return gateway


def begin(gateway, text="Hello", model="tiny"):
    client = gateway.client()
    client.ask("POST", CHAT, question(model, text, stream=True), read=False)
    answer = client.read_head()
    assert answer.status == 200
    return client, answer


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_p1_idle_ends_at_once(provider, how):
    with start(provider, drain="60s", idle="60s") as gateway:
        idle = gateway.client()
        assert idle.ask("GET", "/healthz").status == 200
        assert gateway.stop(how, timeout=30) == 0


def test_p1_streams_are_finished(provider):
    with start(provider) as gateway:
        provider.hold(at=3)
        streams = [begin(gateway) for _ in range(20)]
        whole = gateway.client()
        provider.wait_chats(20)
        assert whole.ask("GET", "/healthz").status == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert whole.wait_end() == "fin", "the worker drains"
        provider.release()
        for client, answer in streams:
            client.read_body(answer)
            assert answer.complete and answer.text() == WORDS and answer.events()[-1] == "[DONE]"
            assert client.wait_end() == "fin", "the connection is not kept"
        whole.close()
        assert gateway.process.wait(10) == 0


def test_p1_readyz_says_so_and_newcomers_are_refused(provider):
    with start(provider) as gateway:
        provider.hold(at=3)
        client, answer = begin(gateway)
        kept = gateway.client()
        assert kept.ask("GET", "/readyz").status == 200
        busy = gateway.client()
        busy.send(b"GET /readyz HT")        # a connection in the middle of a head stays for its answer
        gateway.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        refused = False
        while not refused and time.monotonic() < deadline:
            try:
                socket.create_connection(gateway.addresses[0], timeout=1).close()
            except OSError:
                refused = True
        assert refused, "the listener is closed"
        # The idle one was closed in order.
        assert kept.wait_end() == "fin"
        busy.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        told = busy.read_answer()
        assert told.status == 503 and told.header("connection") == "close"
        provider.release()
        client.read_body(answer)
        assert answer.complete
        assert gateway.process.wait(10) == 0


def test_p1_answers_while_draining_close(provider):
    """A request that was under way is answered, with `Connection: close`."""
    with start(provider) as gateway:
        provider.hold()
        client = gateway.client()
        client.ask("POST", CHAT, question(), read=False)
        provider.wait_chats(1)
        idle = gateway.client()
        assert idle.ask("GET", "/healthz").status == 200
        gateway.process.send_signal(signal.SIGTERM)
        assert idle.wait_end() == "fin", "the worker drains"
        provider.release()
        answer = client.read_answer()
        assert answer.status == 200 and answer.header("connection") == "close"
        assert gateway.process.wait(10) == 0


def test_p1_the_drain_time_ends(provider):
    """What is not done by then gets the error event and no clean end; the process is gone in time."""
    with start(provider, drain="1s") as gateway:
        provider.hold(at=3)
        streams = [begin(gateway) for _ in range(5)]
        whole = gateway.client()
        whole.ask("POST", CHAT, question("tiny", "[[+hang]]"), read=False)
        provider.wait_chats(6)
        for client, _ in streams:
            client.until(b" two")
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        for client, answer in streams:
            rest = b""
            client.wait_end()
            rest = client.input
            assert b'"error"' in rest and b"[DONE]" not in rest and not rest.endswith(b"0\r\n\r\n")
        try:
            assert whole.read_answer().status in (503, 504)
        except EOFError:
            assert whole.ended
        assert gateway.process.wait(10) == 0
        assert 0.8 < time.monotonic() - began
        assert provider.last().wait_ended()


def test_p1_second_signal_is_now(provider):
    with start(provider, drain="60s") as gateway:
        provider.hold(at=3)
        client, _ = begin(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_line("(?i)drain|stop|shut|term")
        began = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(10)
        assert time.monotonic() - began < 5
        client.wait_end()
        assert b"[DONE]" not in client.input and not client.input.endswith(b"0\r\n\r\n")


def test_p1_a_line_for_every_request(provider):
    with start(provider, drain="1s") as gateway:
        done = [gateway.chat(question()).header("x-request-id") for _ in range(5)]
        provider.hold(at=3)
        cut = [begin(gateway)[1].header("x-request-id") for _ in range(3)]
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        gateway._join()
        ids = [record["id"] for record in gateway.log()]
        for name in done + cut:
            assert ids.count(name) == 1, name


def test_p1_many_paced_streams(provider):
    """As G17: every stream that fits into the drain time ends with [DONE]."""
    with start(provider, drain="20s") as gateway:
        streams = [begin(gateway, f"some words for stream {number}", "echo") for number in range(100)]
        gateway.process.send_signal(signal.SIGTERM)
        for client, answer in streams:
            client.read_body(answer)
            assert answer.complete and answer.events()[-1] == "[DONE]"
        assert gateway.process.wait(10) == 0


def test_signals_that_mean_nothing_here(provider):
    """SIGPIPE never kills; writing to clients that left is the daily bread."""
    with Gateway(**config(provider)) as gateway:
        gateway.process.send_signal(signal.SIGPIPE)
        assert gateway.chat(question()).status == 200


def test_second_signal_is_no_good_end_for_http_1_0(provider):
    """Such a stream has nothing but its connection's end to be complete by."""
    with start(provider) as gateway:
        client = gateway.client()
        body = b'{"model":"echo","stream":true,"messages":[{"role":"user","content":"%s"}]}' % (b"word " * 2000)
        client.send(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        client.until(b"word")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_line("(?i)draining")
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 1
        assert client.wait_end() == "rst"
