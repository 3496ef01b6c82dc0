"""What a line holds: times that add up, bodies as far as they are wanted, and no secret."""

import base64
import hashlib
import json
import re
import secrets
import time
import urllib.parse

import pytest
from admit_world import Key, Stranger, entries, limited
from harness import Gateway, backend, echo, question
from log_world import PARTS, Collector, fence
from memory_world import CHAT, GOODFIRE, LOGITS, Swarm, mirrored, seeded, until
from redis_world import Redis

WORDS = "One two three four five"


# --- times --------------------------------------------------------------------------------------------------------------

def timings(answer):
    """{name: milliseconds} of Server-Timing."""
    header = answer.header("server-timing")
    found = re.findall(r"([a-z-]+);dur=(\d+\.\d{3})(?:, |$)", header)
    assert ", ".join(f"{name};dur={value}" for name, value in found) == header, header
    names = [name.replace("-", "_") for name, _ in found]
    assert names[-1] == "total" and names[:-1] == [name for name in (
        "auth", "body", "parse", "claim", "limit", "queue", "connect", "first_byte", "answer") if name in names], header
    return {name: float(value) for name, (_, value) in zip(names, found)}


def close(a, b):
    """Within 5 % or 50 microseconds."""
    return abs(a - b) <= max(0.05, 0.05 * max(a, b))


def timed(gateway, body, path=CHAT, **more):
    """(answer, record, milliseconds until the head as the client saw it)."""
    with gateway.client() as client:
        began = time.monotonic()
        client.ask("POST" if body is not None else "GET", path, body, read=False, **more)
        answer = client.read_head()
        measured = (time.monotonic() - began) * 1000
        client.read_body(answer)
    return answer, gateway.wait_record(answer), measured


@pytest.fixture(scope="module")
def gateway(providers):
    dead = {"name": "dead", "kind": "openai", "url": "http://127.0.0.1:1/v1"}
    config = {"backends": [backend("one", providers["openai"]), backend("two", providers["vllm"]), dead, echo(pace="1ms")],
              "models": [{"name": "tiny", "backends": ["one"]}, {"name": "echo", "backends": ["local"]},
                         {"name": "dead", "backends": ["dead"]}, {"name": "pair", "backends": ["dead", "two"]}],
              "cache": {"when": "repeatable"}, "log": {"flush": "20ms"}}
    with Gateway(**config) as one:
        yield one


HEARD = seeded()
TIMED = {
    "whole": question(), "stream": question(stream=True), "slow": question(text="[[+ttfb=150]]", stream=True),
    "many": question(text="[[+tokens=500]]", stream=True), "echo": question("echo", stream=True), "miss": HEARD, "hit": HEARD,
    "refused": b"{", "500": question(text="[[+status=500+ttfb=100]]"), "dead": question("dead"), "failover": question("pair"),
    "large": question(text="x" * 500_000), "page": None,
}


@pytest.mark.parametrize("name", TIMED)
def test_parts_add_up(gateway, name):
    answer, record, measured = timed(gateway, TIMED[name], CHAT if TIMED[name] is not None else "/v1/models")
    told = timings(answer)
    total = told.pop("total")
    assert close(sum(told.values()), total), told
    assert total <= measured, "the client saw less"
    raw = record.raw
    # The line tells the same parts, and they are the time until the head.
    assert {part: raw[f"{part}_ms"] for part in PARTS if f"{part}_ms" in raw} == told
    assert close(sum(told.values()), raw["ttft_ms"]), raw
    assert raw["ttft_ms"] <= raw["total_ms"]
    assert total >= 100 or name not in ("slow", "500")


def test_most_of_what_the_client_sees_is_told(gateway):
    """Between the request's first byte and the head of its answer: with a slow backend only the sockets are left out."""
    def most():
        answer, _, measured = timed(gateway, question(text="[[+ttfb=400]]"))
        return measured - timings(answer)["total"] < 150

    until(most, "most of it to be told")


@pytest.mark.parametrize("what, words", [("first_byte", "+ttfb=150"), ("first_byte", "+ttfb=150+status=500")])
def test_a_backends_time_is_the_backends(gateway, what, words):
    for stream in (False, True):
        def the_rest_is_little(stream=stream):
            raw = timed(gateway, question(text=f"[[{words}]]", stream=stream))[1].raw
            assert raw[f"{what}_ms"] >= 145, raw
            return raw["total_ms"] - raw[f"{what}_ms"] < 100

        until(the_rest_is_little, "nearly all of it to be the backend's")


def test_a_slow_body_is_the_clients(gateway):
    body = json.dumps(question("echo")).encode()
    with gateway.client() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)))
        gateway.wait("exchanges", 1)
        time.sleep(0.15)        # the measured pause
        client.send(body)
        record = gateway.wait_record(client.read_answer())
    assert record.raw["body_ms"] >= 145


def test_the_queues_time(providers):
    config = limited(providers["openai"], model={"quota": {"concurrent": 1}, "queue": {"length": 9, "longest": "20s"}})
    with Gateway(**config) as gateway, Swarm(gateway) as swarm:
        providers["openai"].hold()
        guests = swarm.ask(1, question())
        providers["openai"].wait_chats(1)
        waiter = swarm.ask(1, question())
        gateway.wait("queued_total", 1)
        time.sleep(0.15)        # the measured wait
        providers["openai"].release()
        answer = swarm.answers(guests + waiter)[1]
        told = timings(answer)
        assert told["queue"] >= 145 and told["queue"] >= int(answer.header("x-embergate-queue-wait-ms")) - 1
        assert close(sum(told.values()) - told["total"], told["total"])
        assert gateway.wait_record(answer).raw["queue_ms"] == told["queue"]


def test_no_server_timing(providers):
    with Gateway(backends=[backend("one", providers["openai"])], models=[{"name": "tiny", "backends": ["one"]}],
                 server_timing=False) as gateway:
        answer = gateway.chat()
        assert answer.header("server-timing") is None and gateway.wait_record(answer).raw["first_byte_ms"] > 0


def test_gaps(gateway, providers):
    """As the client got them: twenty milliseconds each, and once as long as the provider was held. A busy machine may
    hold up the client, the provider or the gateway alone: then they differ."""
    until(lambda: alike(*gaps_of(gateway, providers["openai"])), "gaps that are the client's", 20)


def gaps_of(gateway, one):
    """The record of a stream with gaps, and the gaps that its client saw, the shortest first."""
    with Swarm(gateway) as swarm:
        one.hold(at=20)
        guest, = swarm.ask(1, question(text="[[+tokens=40+gap=20]]", stream=True))
        one.wait(lambda: one.waiting)
        time.sleep(0.3)         # the longest gap
        one.release()
        answer, = swarm.answers([guest])
    raw = gateway.wait_record(answer).raw
    arrivals = [when * 1000 for when, _ in guest.arrivals]
    assert raw["events"] >= 42 and raw["gap_p50_ms"] <= raw["gap_p99_ms"] <= raw["gap_max_ms"] >= 280, raw
    return raw, sorted(b - a for a, b in zip(arrivals, arrivals[1:]))


def alike(raw, gaps):
    return (len(gaps) > 20 and raw["gap_p50_ms"] >= 15 and
            abs(raw["gap_p50_ms"] - gaps[len(gaps) // 2]) <= max(4, 0.2 * raw["gap_p50_ms"]) and
            abs(raw["gap_max_ms"] - gaps[-1]) <= max(10, 0.1 * gaps[-1]) and
            raw["lag_ms"] < 100)    # what the provider waits is not ours


@pytest.mark.parametrize("body", [question(), question(stream=True), question(text="[[+ttfb=100]]"), seeded()])
def test_lag_is_ours_alone(gateway, body):
    """From when the backend's bytes were read to the client's socket: never what the backend took."""
    for _ in range(5):
        raw = gateway.wait_record(gateway.chat(body)).raw
        assert raw["lag_ms"] <= raw["total_ms"] - raw.get("first_byte_ms", 0) - raw.get("connect_ms", 0) + 0.05, raw


# --- bodies --------------------------------------------------------------------------------------------------------------

def sha256(data):
    return hashlib.sha256(data).hexdigest()


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def keeping(provider, log=None, model=None, **more):
    return Gateway(backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"], **(model or {})}],
                   log={"flush": "20ms", **(log or {})}, **more)


def kept(raw):
    """How much of the bodies a line holds."""
    names = {name for name in ("request", "answer", "request_hash", "answer_hash") if name in raw}
    return {frozenset(): "none", frozenset({"request_hash", "answer_hash"}): "hash",
            frozenset({"request", "answer", "request_hash", "answer_hash"}): "full"}[frozenset(names)]


@pytest.mark.parametrize("log, model, key, wanted", [
    (None, None, None, "none"), ("hash", None, None, "hash"), ("full", None, None, "full"), ("none", "full", None, "full"),
    ("full", "none", None, "none"), ("full", "hash", None, "hash"), (None, "hash", "full", "full"), ("full", "full", "none", "none"),
    ("none", "none", "hash", "hash"), (None, None, "full", "full")])
def test_who_decides(providers, log, model, key, wanted):
    """The key, then the model, then the log."""
    alice = Key("alice", **({"log_bodies": key} if key else {}))
    other = Key("bob")
    with keeping(providers["openai"], {"bodies": log} if log else None, {"log_bodies": model} if model else None,
                 keys=entries(alice, other)) as gateway:
        for stream in (False, True):
            assert kept(gateway.wait_record(gateway.chat(headers=alice.head, stream=stream)).raw) == wanted
        assert kept(gateway.wait_record(gateway.chat(headers=other.head)).raw) == (model or log or "none")


@pytest.fixture(scope="module")
def full(providers):
    config = {"backends": [backend("one", providers["openai"]), backend("gf", providers["goodfire"]),
                           backend("llama", providers["llama-server"])],
              "models": [{"name": "tiny", "backends": ["one"]}, {"name": "gf", "backends": ["gf"], "upstream": "tiny"},
                         {"name": "llama", "backends": ["llama"], "upstream": "tiny"}],
              "cache": {"when": "repeatable"}, "log": {"bodies": "full", "flush": "20ms"}}
    with Gateway(**config) as one:
        yield one


def record_of(gateway, body, path=CHAT):
    answer = gateway.ask(path, body)
    return answer, gateway.wait_record(answer).raw


@pytest.mark.parametrize("door", [CHAT, GOODFIRE])
@pytest.mark.parametrize("model", ["tiny", "gf"])
def test_streams_are_put_together(full, providers, door, model):
    """A stream and a whole answer that say the same are told alike."""
    told = []
    for stream in (False, True):
        providers["openai" if model == "tiny" else "goodfire"].next(text="gr\u00fc\u00dfe_\U0001f525")
        body = json.dumps(question(model, "\u00e4", stream=stream), ensure_ascii=False).encode()
        answer, raw = record_of(full, body, door)
        assert answer.status == 200
        assert raw["request_hash"] == sha256(body) and raw["request"] == json.loads(body)
        assert raw["answer_hash"] == sha256(compact(raw["answer"]))
        assert [choice["message"]["content"] for choice in raw["answer"]["choices"]] == ["gr\u00fc\u00dfe \U0001f525"]
        told.append((raw["answer"], raw["answer_hash"]))
    assert told[0] == told[1]


def test_choices(full):
    _, raw = record_of(full, question(n=3))
    assert raw["answer"]["choices"] == [
        {"index": number, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
        for number in range(3)]


def test_a_cut_stream_is_what_came(full, providers):
    answer = full.stepwise(providers["openai"], question(text="[[+rst_after=3]]", stream=True), 3)
    raw = full.wait_record(answer).raw
    assert raw["outcome"] == "upstream_reset"
    choice, = raw["answer"]["choices"]
    assert choice["message"]["content"] == "One two" and choice["finish_reason"] is None


def test_logits_and_what_is_passed(full):
    answer, raw = record_of(full, question("llama", top_k=3), LOGITS)
    assert raw["answer"]["logits"].keys() == answer.json()["logits"].keys()
    answer, raw = record_of(full, {"text": "hello", "model": "tiny"}, "/api/inference/v1/chat/tokenize")
    assert raw["operation"] == "pass" and raw["request"] == {"text": "hello", "model": "tiny"}
    assert answer.status != 200 or raw["answer"] == answer.json()


def test_a_hit_tells_the_same(full):
    body = seeded(text=mirrored())
    (_, miss), (_, hit) = record_of(full, body), record_of(full, body)
    assert (miss["cache"], hit["cache"]) == ("miss", "hit")
    for name in ("request", "request_hash", "answer", "answer_hash"):
        assert miss[name] == hit[name]


@pytest.mark.parametrize("body", [b"{not json", b"\xff\xfe\x00", b'{"model": "tiny"}', b'{"model": "nobody", "messages": []}'])
def test_bodies_of_refusals(full, body):
    """What could not be understood is just what one wants to see."""
    answer, raw = record_of(full, body)
    assert 400 <= answer.status < 500 and raw["request_hash"] == sha256(body)
    try:
        assert raw["request"] == json.loads(body)
    except ValueError:
        assert isinstance(raw["request"], str)
    assert "answer" not in raw


def test_white_space_and_line_ends(full):
    body = json.dumps(question(text="a\nb\r\n\u2028c"), indent=3).encode()
    _, raw = record_of(full, body)
    assert raw["request"] == json.loads(body) and raw["request_hash"] == sha256(body)


def test_cut(providers):
    with keeping(providers["openai"], {"bodies": "full", "body": "1k"}) as gateway:
        body = json.dumps(question(text="\u00e4" * 3000 + "[[+tokens=2000]]"), ensure_ascii=False).encode()
        for stream in (b"", b',"stream":true'):
            sent = body[:-1] + stream + b"}"
            answer, raw = record_of(gateway, sent)
            assert answer.status == 200 and raw["request_cut"] and raw["answer_cut"]
            assert isinstance(raw["request"], str) and 1000 < len(raw["request"].encode()) <= 1024
            assert json.loads(body)["messages"][0]["content"][:300] in raw["request"]
            assert isinstance(raw["answer"], str) and "One two three" in raw["answer"]
            assert raw["request_hash"] == sha256(sent) and raw["answer_hash"]
        _, raw = record_of(gateway, question())
        assert "request_cut" not in raw and "answer_cut" not in raw and isinstance(raw["request"], dict)


# --- redaction -------------------------------------------------------------------------------------------------------

REDACT = {"fields": ["user", "messages.*.content", "metadata.mail", "choices.*.message.reasoning_content"], "patterns": ["sk-[A-Za-z0-9]{8,}", "(?i)rosebud"]}
GONE = "[redacted]"


@pytest.fixture(scope="module")
def redacting(providers):
    with keeping(providers["openai"], {"bodies": "full", "redact": REDACT}) as one:
        yield one


def test_fields(redacting):
    body = {**question(text="a secret"), "user": "me@example.com", "metadata": {"mail": "me", "project": "x"}}
    body["messages"] += [{"role": "user", "content": [{"type": "text", "text": "another"}], "name": "joe"}]
    _, raw = record_of(redacting, body)
    asked = raw["request"]
    assert asked["user"] == GONE and asked["metadata"] == {"mail": GONE, "project": "x"}
    assert [message["content"] for message in asked["messages"]] == [GONE, GONE] and asked["messages"][1]["name"] == "joe"
    assert asked["model"] == "tiny"
    assert "request_hash" not in raw and "answer_hash" not in raw, "with it what is hidden could be guessed"


@pytest.mark.parametrize("stream", [False, True])
def test_patterns(redacting, stream):
    """Also in what the model says, wherever it was cut into events."""
    key = "sk-" + secrets.token_hex(8)
    body = {**question(text=f"[[+text=my_{key}_and_RoseBud+slice=3]]", stream=stream), "stop": [f"x{key}-y"],
            "seed": 12345678}
    _, raw = record_of(redacting, body)
    assert raw["request"]["stop"] == [f"x{GONE}-y"] and raw["request"]["seed"] == 12345678
    assert raw["answer"]["choices"][0]["message"]["content"] == f"my {GONE} and {GONE}"
    assert key not in json.dumps(raw)


def test_patterns_see_through_escapes(redacting):
    key = "sk-" + "A" * 12
    body = json.dumps({**question(), "stop": "@"}).replace("@", "".join(f"\\u{ord(c):04x}" for c in key)).encode()
    _, raw = record_of(redacting, body)
    assert raw["request"]["stop"] == GONE


@pytest.fixture(scope="module")
def patterned(providers):
    """Patterns of a fixed length, and no fields."""
    redact = {"patterns": ["eg-[A-Za-z0-9_-]{43}", r"\b[0-9]{16}\b"]}
    with keeping(providers["openai"], {"bodies": "full", "body": "1k", "redact": redact},
                 limits={"answer_bytes": "16k", "body_bytes": "4k"}) as one:
        yield one


SECRET = "eg-" + "Q7" * 21 + "Z"


def test_names_that_are_cut_in_a_secret(patterned):
    """Of a long name the first 256 bytes are told, and nothing of a secret that goes on behind them."""
    for before in range(200, 262, 3):
        name = "x" * before + SECRET + "tail"
        told = ("x" * before + (GONE + "tail" if before + len(SECRET) <= 256 else GONE))[:256]
        body = json.dumps(question(name)).encode()
        raw = patterned.wait_record(patterned.chat(body, headers=[("x-request-id", name)])).raw
        assert told.startswith(raw["model"]) and raw["model"].startswith("x" * min(before, 256))
        assert raw["client_id"] == raw["model"]
        raw = patterned.wait_record(patterned.ask("/" + name[1:])).raw
        assert raw["path"][1:] == told[1:len(raw["path"])] and SECRET[:4] not in json.dumps(raw), raw


def test_numbers(patterned):
    body = {**question(), "seed": 4111111111111111, "max_tokens": 411111111111111, "user": "4111111111111111"}
    _, raw = record_of(patterned, body)
    assert (raw["request"]["seed"], raw["request"]["max_tokens"], raw["request"]["user"]) == (GONE, 411111111111111, GONE)


@pytest.mark.parametrize("how", ["left", "too large"])
def test_half_a_body_is_not_told(patterned, how):
    """It may end in the beginning of a secret."""
    body = json.dumps(question(text="y" * 300 + SECRET)).encode()
    half = body[:body.index(b"Q7Q7") + (20 if how == "left" else 21)]
    with patterned.client() as client:
        if how == "left":
            client.send(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), half))
            patterned.wait_for(lambda: patterned.metric("body_bytes") == len(half), "the half of it")
        else:
            client.send(b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (
                CHAT.encode(), len(half), half))
            patterned.wait_for(lambda: patterned.metric("body_bytes") == len(half), "the half of it")
            client.send(b"2000\r\n" + b"z" * 8192)
            assert client.read_head().status == 413
    raw = until(lambda: [record.raw for record in patterned.log() if record.raw["bytes_in"] == len(half)], "its line")[0]
    assert raw["request"] == GONE and raw["outcome"] == ("client_left" if how == "left" else "refused")


@pytest.fixture(scope="module")
def halved(providers):
    """A secret of which each event brings a word."""
    redact = {"patterns": ["One two three four"]}
    with keeping(providers["openai"], {"bodies": "full", "redact": redact}, cache={"when": "repeatable"}) as one:
        yield one


def in_mid_stream(clients, body):
    """CLIENTS have had half of one answer, whose maker waits."""
    clients[0].ask("POST", CHAT, body, read=False)
    clients[0].until(b" two")
    for client in clients[1:]:
        client.ask("POST", CHAT, body, read=False)
        client.until(b" two")


@pytest.mark.parametrize("how", ["reset", "left", "joiner left", "leader left", "whole"])
def test_half_an_answer_is_not_told(halved, providers, how):
    """It may end in the beginning of a secret, whoever gave it up."""
    one, before = providers["openai"], len(halved.log())
    body = {**question(text="[[+rst_after=3]]" if how == "reset" else "Hi", stream=True), "seed": secrets.randbelow(1 << 30)}
    one.hold(at=3)
    with halved.client() as leader, halved.client() as joiner:
        clients = [leader, joiner] if how.endswith("er left") else [leader]
        in_mid_stream(clients, body)
        if how.endswith("left"):
            clients.pop("joiner" in how).close()
            left = until(lambda: halved.log()[before:], "its line")[0].raw
            assert left["answer"] == GONE and left["outcome"] == "client_left" and left["events"] == 3, left
            before += 1
        one.release()
        if clients:
            clients[0].until(b"[DONE]" if how != "reset" else b"error")
            raw = until(lambda: halved.log()[before:], "its line")[0].raw
            if how == "reset":
                assert raw["answer"] == GONE and raw["outcome"] != "ok", raw
            else:
                assert raw["answer"]["choices"][0]["message"]["content"] == GONE + " five", raw


def test_an_answer_that_is_too_long_to_gather_is_not_told(patterned):
    body = question(text="[[+tokens=200]]", stream=True)
    answer, raw = record_of(patterned, body)
    assert answer.status == 200 and len(answer.body) > 16384
    assert raw["answer"] == GONE and raw["answer_cut"] is True


def test_what_is_no_json_may_hide_a_secret(patterned):
    """Its escapes are nobody's to undo."""
    _, raw = record_of(patterned, json.dumps(question(text=SECRET)).replace("Q", "\\u0051").encode() + b", broken")
    assert raw["request"] == GONE and raw["status"] == 400


@pytest.mark.parametrize("body", [b'{"user": "me@example.com", "messages": "rosebud', b'rosebud sk-0123456789'])
def test_what_is_no_json_is_not_told(redacting, body):
    """Its fields cannot be found."""
    _, raw = record_of(redacting, body)
    assert raw["request"] == GONE


# --- canaries --------------------------------------------------------------------------------------------------------

class Canary:
    """A secret with a core that is found in any of its forms."""

    def __init__(self, name, shape="{}"):
        self.name, self.core = name, secrets.token_hex(12)
        self.text = shape.format(self.core)

    def forms(self):
        data = self.core.encode()
        found = {self.core, data.hex(), self.core[::-1], "".join(f"%{byte:02x}" for byte in data),
                 "".join(f"\\u{byte:04x}" for byte in data), urllib.parse.quote(self.text, safe="")}
        for before in range(3):     # base64 at each place that it may begin
            text = base64.b64encode(b"x" * before + data).decode()
            found.add(text[(0, 2, 3)[before]:len(text.rstrip("=")) - 2])
        return {form.lower() for form in found}

    def find(self, text):
        text = text.lower()
        return [(self.name, text[max(0, text.index(form) - 80):][:200]) for form in self.forms() if form in text]


def pages_of(gateway, key):
    """All that an operator can look at."""
    said = {}
    for path in ("/metrics", "/status.json", "/usage", "/cache", "/", "/healthz", "/readyz"):
        said[path] = gateway.ask(path, address=gateway.admin)
    said["/v1/usage"] = gateway.ask("/v1/usage", headers=key.head)
    said["/v1/models"] = gateway.ask("/v1/models", headers=key.head)
    for path, answer in said.items():
        assert answer.status == 200 and answer.complete, path
    return {path: answer.body.decode() + repr(answer.headers) for path, answer in said.items()}


def test_canaries(providers):
    names = ("key", "wrong_key", "upstream", "prompt", "system", "tool", "answer", "header", "cookie", "agent", "query", "redis",
             "redis_log", "trace_key", "body", "cache_secret", "user", "told")
    canary = {name: Canary(name, {"key": "eg-{}/+=", "upstream": "sk-{}", "redis": "p@ss/{}", "redis_log": "p{}+"}.get(
        name, "{} \u00e9/+" if name in ("prompt", "answer") else "{}")) for name in names}
    text = {name: one.text for name, one in canary.items()}
    alice = Key("alice", text["key"], team="red")
    one = providers["openai"]
    with Redis("--requirepass", text["redis"], login=(text["redis"],)) as redis, \
            Redis("--requirepass", "another", login=("another",)) as refusing, Collector() as collector:
        config = {
            "backends": [backend("one", one, api_key=text["upstream"]),
                         {"name": "dead", "kind": "openai", "url": "http://127.0.0.1:1/v1", "api_key": text["upstream"]}],
            "models": [{"name": "tiny", "backends": ["one"], "price": {"input": 1, "output": 1}},
                       {"name": "dead", "backends": ["dead"]}],
            "keys": entries(alice), "teams": [{"name": "red"}],
            "admission": {"quota": {"requests_per_minute": 1000, "concurrent": 50}},
            "cache": {"when": "repeatable", "secret": text["cache_secret"],
                      "redis": {"url": redis.url, "password": text["redis"]}},
            "log": {"flush": "20ms", "sinks": [{"kind": "stdout"}, {"kind": "file", "path": "requests.log"}, {
                "kind": "redis", "redis": {"url": refusing.url, "password": text["redis_log"]}}]},
            "tracing": {"url": collector.url, "api_key": text["trace_key"]},
        }
        with Gateway(**config) as gateway:
            head = [*alice.head, ("X-Secret", text["header"]), ("Cookie", text["cookie"]), ("User-Agent", text["agent"])]
            body = {"model": "tiny", "seed": 7, "user": text["user"], "messages": [
                {"role": "system", "content": text["system"]}, {"role": "user", "content": text["prompt"]}],
                "tools": [{"type": "function", "function": {"name": "f", "description": text["tool"]}}]}
            one.always = {"text": text["answer"].replace(" ", "_")}
            for stream in (False, True, False):
                answer = gateway.chat({**body, "stream": stream}, head)
                assert answer.status == 200 and canary["answer"].core in answer.body.decode()
                assert gateway.goodfire({**body, "stream": stream, "seed": 8, "tools": None}, head).status == 200
            one.always = {}
            answers = [gateway.chat(body, Key("x", text["wrong_key"]).head), gateway.chat({**body, "model": "dead"}, head),
                       gateway.chat(text["body"].encode() + b"{", head), gateway.chat({**body, "stop": 5}, head),
                       gateway.ask(f"/nowhere?{text['query']}", headers=head),
                       gateway.ask(f"{CHAT}?key={text['query']}", body, headers=head),
                       gateway.ask("/api/inference/v1/features/search?q=" + text["query"], headers=head),
                       gateway.chat({**body, "model": "nobody"}, head)]
            for status in (400, 401, 403, 429, 500, 503):
                one.always = {"status": str(status), "message": f"bad_key_{text['upstream']}" if status in (401, 403) else "no"}
                answers.append(gateway.chat({**body, "seed": status}, head))
            one.always = {}
            with gateway.client() as client:
                client.ask("POST", CHAT, {**body, "seed": 99, "stream": True, "messages": [
                    {"role": "user", "content": "[[+stall_after=3]]"}]}, head, read=False)
                client.until(b" two")
            gateway.quiet()
            explained = gateway.ask("/v1/explain", body, headers=head)
            assert explained.status == 200
            fence(gateway)
            errors = [answer.body.decode() + repr(answer.headers) for answer in answers if answer.status >= 400]
            pages = pages_of(gateway, alice)
            collector.wait(10)
            with open(f"{gateway.folder.name}/requests.log", encoding="utf-8") as file:
                lines = file.read()
        places = {"the log": "\n".join(json.dumps(record.raw) for record in gateway.records), "the file": lines,
                  "stderr": "\n".join(gateway.lines), "spans": b"".join(collector.bodies).decode(), **pages,
                  "errors": "\n".join(errors)}
        assert len(gateway.records) > 15 and len(lines) > 5000
        assert dict(collector.heads[0][1])["authorization"] == f"Bearer {text['trace_key']}"
        # Whoever asks for an explanation is told of their question, and nothing of our keys.
        own = explained.body.decode() + repr(explained.headers)
        found = [(place, *hit) for place, said in places.items() for one in canary.values() for hit in one.find(said)]
        found += [("explain", *hit) for name in ("key", "upstream", "redis", "redis_log", "trace_key", "cache_secret", "header",
                                                 "cookie") for hit in canary[name].find(own)]
        assert not found, found


def test_the_canary_detector():
    """It would find them."""
    one = Canary("x")
    for said in (one.core, one.core.upper(), one.core.encode().hex(), base64.b64encode(b"user:" + one.core.encode()).decode(),
                 base64.b64encode(b"abc" + one.core.encode() + b"d").decode(), "".join(f"%{ord(c):02X}" for c in one.core)):
        assert one.find(f"before {said} after"), said
    assert not one.find(secrets.token_hex(5000))


def test_wrong_keys_have_no_name(providers):
    """Many guesses: no line has any of them, nor a name."""
    alice = Key("alice")
    guesses = [Key("x") for _ in range(5)]
    with keeping(providers["openai"], keys=entries(alice)) as gateway:
        for guess in guesses:
            with Stranger(gateway) as client:
                record = gateway.wait_record(client.ask("POST", CHAT, question(), guess.head))
            assert record["key"] == "-" and record["reason"] == "no_key"
        said = json.dumps([record.raw for record in gateway.records]) + "\n".join(gateway.lines)
        assert not any(guess.text in said or guess.digest in said for guess in guesses)
