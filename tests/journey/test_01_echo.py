"""The echo over raw HTTP: every page of the house, its heads and its manners."""

import re

import pytest
from harness import Gateway, echo, question

REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")


@pytest.fixture(scope="module")
def gateway():
    with Gateway(backends=[echo()], models=[{"name": "echo", "aliases": ["second-name"], "backends": ["local"]}]) as one:
        yield one


def test_completion(gateway):
    answer = gateway.chat(model="echo", text="Hello, gateway")
    assert answer.status == 200
    assert answer.header("content-type").startswith("application/json")
    assert REQUEST_ID.fullmatch(answer.header("x-request-id"))
    body = answer.json()
    assert body["object"] == "chat.completion" and body["model"] == "echo"
    assert body["id"].startswith("chatcmpl-") and isinstance(body["created"], int)
    choice, = body["choices"]
    assert choice["index"] == 0 and choice["finish_reason"] == "stop" and "logprobs" in choice
    assert choice["message"]["role"] == "assistant" and "Hello, gateway" in choice["message"]["content"]
    assert set(body["usage"]) >= {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_same_question_same_answer(gateway):
    first, second = (gateway.chat(model="echo", text="twice").json() for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["id"] != second["id"]


def test_stream(gateway):
    answer = gateway.chat(model="echo", text="Hello there, stream", stream=True)
    assert answer.status == 200 and answer.complete
    assert answer.header("content-type") == "text/event-stream; charset=utf-8"
    assert answer.header("cache-control") == "no-cache, no-transform"
    assert answer.header("x-accel-buffering") == "no"
    assert answer.events()[-1] == "[DONE]"
    chunks = answer.objects()
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    whole = gateway.chat(model="echo", text="Hello there, stream").json()
    assert answer.text() == whole["choices"][0]["message"]["content"]


def test_stream_usage_when_asked(gateway):
    body = question("echo", "count", stream=True, stream_options={"include_usage": True})
    chunks = gateway.chat(body).objects()
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] > 0
    assert [chunk for chunk in gateway.chat(model="echo", text="count", stream=True).objects()
            if chunk.get("usage")] == []


def test_max_tokens_ends_with_length(gateway):
    body = gateway.chat(model="echo", text="one two three four five six", max_tokens=2).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


def test_models(gateway):
    listing = gateway.ask("/v1/models").json()
    assert listing["object"] == "list"
    assert {"echo", "second-name"} <= {model["id"] for model in listing["data"]}
    for model in listing["data"]:
        assert model["object"] == "model" and isinstance(model["created"], int) and model["owned_by"]
        assert gateway.ask("/v1/models/" + model["id"]).json() == model


def test_model_unknown(gateway):
    answer = gateway.ask("/v1/models/nobody")
    assert answer.status == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_on_both_doors(gateway, path):
    for address in (None, gateway.admin):
        answer = gateway.ask(path, address=address)
        assert answer.status == 200


def test_metrics_only_on_admin(gateway):
    assert gateway.ask("/metrics").status == 404
    answer = gateway.ask("/metrics", address=gateway.admin)
    assert answer.status == 200 and answer.header("content-type").startswith("text/plain; version=0.0.4")
    assert "embergate_requests_total{" in answer.body.decode()


@pytest.mark.parametrize("path", ["/healthz", "/v1/models"])
def test_head_has_no_body(gateway, path):
    with gateway.client() as client:
        head = client.ask("HEAD", path)
        assert head.status == 200 and head.body == b""
        same = client.ask("GET", path)
        assert same.status == 200 and int(head.header("content-length")) == len(same.body)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat/completions/", "/V1/models", "/v1//models", "/v1/./models",
                                  "/v1/models%2f", "/v1/%6dodels", "/v1/models;x", "/v1/chat/completion",
                                  "/v1/models/..", "/metrics", "/api/inference/v1/features/search?query=x"])
def test_unknown_paths_are_404(gateway, path):
    answer = gateway.ask(path)
    assert answer.status == 404
    assert REQUEST_ID.fullmatch(answer.header("x-request-id"))
    assert answer.json().get("error") or answer.json().get("detail")


def test_no_such_path_wording(gateway):
    error = gateway.ask("/v1/x", {"a": 1}).json()["error"]
    assert error == {"message": "Invalid URL (POST /v1/x)", "type": "invalid_request_error", "param": None,
                     "code": None}


@pytest.mark.parametrize("method, path, allow", [
    ("GET", "/v1/chat/completions", {"POST"}),
    ("GET", "/api/inference/v1/chat/completions", {"POST"}),
    ("POST", "/v1/models", {"GET", "HEAD"}),
    ("PUT", "/v1/chat/completions", {"POST"}),
    ("DELETE", "/v1/models/echo", {"GET", "HEAD"}),
])
def test_wrong_method_is_405_with_allow(gateway, method, path, allow):
    answer = gateway.ask(path, method=method)
    assert answer.status == 405
    assert allow <= set(re.split(r",\s*", answer.header("allow")))
    error = answer.json()["error"] if path.startswith("/v1") else None
    assert error is None or (error["code"], error["type"]) == ("method_not_supported", "invalid_request_error")


def test_request_ids_are_our_own_and_differ(gateway):
    answers = [gateway.ask("/v1/models", headers=[("X-Request-Id", "mine")]) for _ in range(5)]
    ids = {answer.header("x-request-id") for answer in answers}
    assert len(ids) == 5 and all(REQUEST_ID.fullmatch(name) for name in ids)


def test_one_line_per_request(gateway):
    answer = gateway.chat(model="echo", text="Hello")
    record = gateway.wait_record(answer)
    assert record["method"] == "POST" and record["path"] == "/v1/chat/completions"
    assert record["model"] == "echo" and record["backend"] == "local" and record["dialect"] == "openai"
    assert record["status"] == "200" and record["outcome"] == "ok" and record["attempts"] == "1"
    refused = gateway.chat(model="nobody")
    assert gateway.wait_record(refused)["outcome"] == "refused"
    assert len([one for one in gateway.log() if one["id"] == answer.header("x-request-id")]) == 1


def test_keep_alive_serves_many(gateway):
    before = gateway.metric("connections_total")
    with gateway.client() as client:
        for turn in range(20):
            answer = client.ask("POST", "/v1/chat/completions", question("echo", f"turn {turn}", stream=turn % 2 == 0))
            assert answer.status == 200 and answer.complete
            assert answer.header("connection") != "close"
    # Each look at the metrics is a connection too.
    assert gateway.metric("connections_total") - before <= 3


def test_http_1_0_gets_no_chunks(gateway):
    body = b'{"model":"echo","messages":[{"role":"user","content":"old"}],"stream":true}'
    with gateway.client() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = client.read_answer()
        assert answer.status == 200 and answer.header("transfer-encoding") is None
        assert answer.complete and answer.events()[-1] == "[DONE]"


def test_logits(gateway):
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}], "top_k": 3}
    first, second = (gateway.ask("/v1/chat/logits", body) for _ in range(2))
    assert first.status == 200
    assert len(first.json()["logits"]) == 3 and first.json()["logits"] == second.json()["logits"]


def test_paced_echo_gives_tokens_as_they_come():
    with Gateway(backends=[echo(pace="60ms")], models=[{"name": "echo", "backends": ["local"]}]) as gateway:
        raw = gateway.wait_record(gateway.chat(model="echo", text="one two three four five", stream=True)).raw
        assert raw["total_ms"] - raw["ttft_ms"] >= 200 and raw["gap_p50_ms"] >= 50, raw
