"""Backends that answer byte for byte what a test says: what once broke the gateway, or held something for ever."""

import contextlib
import json
import socket
import threading

import pytest
from harness import Gateway, port_of, question, reserved
from memory_world import until

CHUNK = 'data: {"id":"x","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Backend:
    """A listening socket; `serve` is called with each connection, in a thread, after one request was read."""

    def __init__(self, serve, port=0):
        self.serve, self.asked = serve, 0
        self.holder = None if port else reserved()      # keeps the port for who comes after us
        self.port = port or port_of(self.holder)
        self.socket = socket.create_server(("127.0.0.1", self.port))
        self.hold = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with contextlib.suppress(OSError), connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            while length and len(body) < int(length[0].split(b":")[1]):
                body += connection.recv(65536)
            self.asked += 1
            self.serve(self, connection)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hold.set()
        self.socket.close()
        if self.holder:
            self.holder.close()


def gateway_for(*backends, **more):
    names = [f"b{number}" for number in range(len(backends))]
    return Gateway(backends=[{"name": name, "kind": "openai", "url": backend.url}
                             for name, backend in zip(names, backends)],
                   models=[{"name": "tiny", "backends": names}], **more)


def stream_of(*pieces, then=None):
    def serve(backend, connection):
        connection.sendall(HEAD)
        for piece in pieces:
            connection.sendall(chunk(piece))
        if then:
            then(backend)
        connection.sendall(b"0\r\n\r\n")
    return serve


GOOD = (CHUNK % ("hi", "null")).encode() + (CHUNK % ("", '"stop"')).encode() + b"data: [DONE]\n\n"


@pytest.mark.parametrize("tail", [b"data: \xff\xfe\n\n", b"data: {broken\n\n", b"data: " + b"x" * 200000, b"\0\0\0"])
def test_nothing_counts_after_the_end(tail):
    with Backend(stream_of(GOOD + tail)) as backend, gateway_for(backend) as gateway:
        for _ in range(3):
            answer = gateway.chat(question(stream=True))
            assert answer.complete and answer.text() == "hi"
        gateway.wait("calls", 0)


def test_an_end_that_never_comes_is_not_waited_for():
    with Backend(stream_of(GOOD, then=lambda backend: backend.hold.wait())) as backend, \
            gateway_for(backend, timeouts={"between_bytes": "5m"}) as gateway:
        assert gateway.chat(question(stream=True)).complete
        gateway.wait("calls", 0)
        assert not backend.hold.is_set()


def test_an_answer_larger_than_the_high_water_ends():
    large = (CHUNK % ("x" * 300000, "null")).encode()
    with Backend(stream_of(large + GOOD)) as backend, gateway_for(backend) as gateway:
        for _ in range(3):
            answer = gateway.chat(question(stream=True))
            assert answer.complete and len(answer.text()) == 300002
        gateway.wait("calls", 0)


@pytest.mark.parametrize("size", [10, 100000])
def test_a_last_event_without_its_blank_line(size):
    def serve(backend, connection):
        last = (CHUNK % ("x" * size, '"stop"')).encode()[:-1]
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + last)

    with Backend(serve) as backend, gateway_for(backend) as gateway:
        answer = gateway.chat(question(stream=True))
        assert answer.complete and len(answer.text()) == size
        gateway.wait("calls", 0)


def whole(backend, connection):
    body = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": str(backend.port)}, "finish_reason": "stop"}]}).encode()
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                       b"connection: close\r\n\r\n%s" % (len(body), body))


def test_a_backend_that_was_down_is_asked_again():
    with Backend(whole) as first, Backend(whole) as second, gateway_for(first, second) as gateway:
        first.socket.close()
        for _ in range(8):
            assert gateway.chat().status == 200
        with Backend(whole, port=first.port) as again:
            until(lambda: gateway.chat().status == 200 and again.asked > 0, "the first to be asked")
            answers = [gateway.chat() for _ in range(5)]
            assert [answer.status for answer in answers] == [200] * 5, [answer.body for answer in answers]
            assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == [str(again.port)] * 5


def test_one_silent_list_does_not_hold_the_others():
    listing = json.dumps({"object": "list", "data": [{"id": "tiny"}]}).encode()

    def both(backend, connection):
        if backend.asked > 1:
            return whole(backend, connection)
        return connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                                  b"connection: close\r\n\r\n%s" % (len(listing), listing))

    with Backend(lambda backend, connection: backend.hold.wait()) as silent, Backend(both) as good, \
            Gateway(backends=[{"name": "silent", "kind": "openai", "url": silent.url},
                              {"name": "good", "kind": "openai", "url": good.url}]) as gateway:
        assert gateway.chat().status == 200
        assert not silent.hold.is_set() and good.asked == 2


def test_the_echo_knows_how_much_it_may_say():
    with Gateway(backends=[{"name": "echo", "kind": "echo", "echo": {"pace": "0ms"}}]) as gateway:
        answer = gateway.chat(question(model="echo", text="word " * 5000, n=64, logprobs=True, top_logprobs=20))
        assert answer.status == 400 and "larger" in answer.json()["error"]["message"]


def test_idle_connections_have_their_time_below_a_hundred():
    with Gateway(backends=[{"name": "echo", "kind": "echo"}], limits={"connections": 20},
                 timeouts={"idle": "1m"}) as gateway, gateway.client() as client:
        client.ask("GET", "/healthz")
        assert not client.closed(within=2.5)


def json_answer(status, body, headers=""):
    data = json.dumps(body).encode()
    return (f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}connection: close\r\n"
            f"content-length: {len(data)}\r\n\r\n").encode() + data


def test_no_credit_is_not_asked_again():
    error = {"error": {"message": "no credit", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}}
    with Backend(lambda backend, connection: connection.sendall(json_answer(429, error))) as backend, \
            gateway_for(backend) as gateway:
        answer = gateway.chat()
        assert answer.status == 429 and answer.header("x-should-retry") == "false"
        assert answer.json()["error"]["type"] == "insufficient_quota"
        assert gateway.goodfire(question("tiny")).status == 402


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_told_with_200_keeps_its_class(stream):
    error = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    event = b"data: " + json.dumps(error).encode() + b"\n\n"
    serve = stream_of(event) if stream else lambda backend, connection: connection.sendall(json_answer(200, error))
    with Backend(serve) as backend, gateway_for(backend) as gateway:
        answer = gateway.chat(question(stream=stream))
        assert answer.status == 400 and answer.json()["error"]["code"] == "context_length_exceeded"


def test_logits_of_a_goodfire_server_are_told_as_ours():
    body = b'{"logits":{" yes":18.750,"no":1e0}}'

    def serve(backend, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
                           b"content-length: %d\r\n\r\n%s" % (len(body), body))

    with Backend(serve) as backend, \
            Gateway(backends=[{"name": "g", "kind": "goodfire", "url": backend.url[:-3]}],
                    models=[{"name": "tiny", "backends": ["g"]}]) as gateway:
        ask = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "filter_vocabulary": [" yes", "other"]}
        answer = gateway.ask("/v1/chat/logits", ask)
        assert b'{" yes":18.750,"no":1e0}' in answer.body, "digits untouched"
        assert answer.json()["scale"] == "logit" and answer.json()["unanswered"] == ["other"]
        assert gateway.ask("/api/inference/v1/chat-attribution/compute-logits", ask).body == body


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_leaving_behind_much_that_was_sent_ahead(how):
    with Backend(lambda backend, connection: backend.hold.wait()) as backend, gateway_for(backend) as gateway:
        client = gateway.client()
        client.ask("POST", "/v1/chat/completions", question(), read=False)
        gateway.wait("calls", 1)
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 8000)
        if how == "half":
            client.socket.shutdown(socket.SHUT_WR)
        else:
            getattr(client, how)()
        gateway.wait("calls", 0)
        assert gateway.metric("clients_left_total") == 1


def test_a_little_ahead_is_answered():
    with Backend(whole) as backend, gateway_for(backend) as gateway, gateway.client() as client:
        client.ask("POST", "/v1/chat/completions", question(), read=False)
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        assert client.read_answer().status == 200
        assert all(client.read_answer().status == 200 for _ in range(500))
