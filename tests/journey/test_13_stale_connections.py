"""Pooled connections that died: asked once more on a fresh one, counted, and never a question twice on one connection."""

import pytest
from conftest import carried_by
from harness import Gateway, backend, question
from memory_world import until
from provider import Provider


@pytest.fixture(params=["http", "https"])
def pair(request):
    with carried_by(request) as provider:
        one = backend("one", provider)
        with Gateway(backends=[one], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
            yield provider, gateway


def never_twice_on_one_connection(provider):
    """Each connection carried every question's bytes at most once."""
    for connection in provider.connections:
        texts = [request.body for request in provider.requests if request.connection is connection]
        assert len(texts) == len(set(texts)), texts


def test_connections_are_reused(pair):
    provider, gateway = pair
    for number in range(5):
        assert gateway.chat(text=f"question {number}").status == 200
    assert len(provider.connections) == 1


def test_streams_leave_their_connection_for_reuse(pair):
    provider, gateway = pair
    for number in range(5):
        assert gateway.chat(text=f"question {number}", stream=True).complete
        gateway.wait("calls", 0)    # the end of the body, behind the end of the answer
    assert len(provider.connections) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_reused_connection_that_dies_without_a_byte(pair, stream):
    provider, gateway = pair
    assert gateway.chat(text="first").status == 200
    provider.drop_reused = True
    answer = gateway.chat(text="second", stream=stream)
    assert answer.status == 200 and answer.complete
    assert gateway.metric("calls_retried_total") == 1
    assert provider.dropped == 1 and len(provider.requests) == 3 and len(provider.connections) == 2
    never_twice_on_one_connection(provider)
    assert gateway.metric("calls_failed_total") == 0


def test_once_and_not_more(pair):
    """The fresh connection dies as well: that is the server's doing, and told."""
    provider, gateway = pair
    assert gateway.chat(text="first").status == 200
    provider.always = {"drop": ""}
    provider.drop_reused = True
    answer = gateway.chat(text="second")
    assert answer.status == 502 and answer.json()["error"]["code"] == "upstream_reset"
    assert len(provider.requests) == 3 and gateway.metric("calls_retried_total") == 1
    never_twice_on_one_connection(provider)


def test_a_fresh_connection_is_not_retried(pair):
    provider, gateway = pair
    provider.always = {"drop": ""}
    assert gateway.chat(text="only").status == 502
    assert len(provider.requests) == 1 and gateway.metric("calls_retried_total") == 0


def test_after_one_byte_nothing_is_asked_again(pair):
    provider, gateway = pair
    assert gateway.chat(text="first").status == 200
    assert not gateway.stepwise(provider, question(text="[[+rst_after=1]]", stream=True)).complete
    assert gateway.chat(text="[[+cl=5]]").status == 502
    assert gateway.metric("calls_retried_total") == 0
    assert len([one for one in provider.requests if b"rst_after" in one.body]) == 1


def test_llama_server_closes_after_every_stream_without_saying_so():
    with Provider("llama-server") as provider:
        one = backend("one", provider)
        with Gateway(backends=[one], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
            for number in range(10):
                answer = gateway.chat(text=f"question {number}", stream=True)
                assert answer.complete and answer.text() == "One two three four five"
            assert len(provider.chats()) == 10
            never_twice_on_one_connection(provider)


def test_many_dead_connections_at_once(pair):
    provider, gateway = pair
    provider.hold()
    clients = [gateway.client() for _ in range(10)]
    for number, client in enumerate(clients):
        client.ask("POST", "/v1/chat/completions", question(text=f"first {number}"), read=False)
    provider.wait_chats(10)
    provider.release()
    assert [client.read_answer().status for client in clients] == [200] * 10
    provider.drop_reused = True
    for number, client in enumerate(clients):
        client.ask("POST", "/v1/chat/completions", question(text=f"second {number}"), read=False)
    assert [client.read_answer().status for client in clients] == [200] * 10
    never_twice_on_one_connection(provider)
    assert len(provider.chats()) == 20 + provider.dropped


def test_server_restarts_on_its_port():
    """All pooled connections are gone at once; the next question finds the new server."""
    first = Provider("openai").__enter__()
    one = backend("one", first)
    with Gateway(backends=[one], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
        assert gateway.chat().status == 200
        first.__exit__()
        assert gateway.chat().status == 502
        with Provider("openai", port=first.port):
            until(lambda: gateway.chat().status == 200, "the new server")
