"""The request log, row by row: each way a request can end makes one line, and the line says what it was."""

import re
import signal
import socket
import socketserver
import threading
from dataclasses import dataclass, field

import pytest
from admit_world import Key, Stranger, entries
from conftest import SHORT
from harness import PATIENCE, Client, Gateway, backend, echo, port_of, question, request_bytes, reserved
from log_world import PARTS, Watch
from memory_world import CHAT, GOODFIRE, LOGITS, Swarm, control, counts, seeded, until, wait_joins
from provider_kinds import Reply
from test_10_variants import CONTROLLER

ABSENT = object()
SOME = object()
# Of every line.
FIELDS = {"seq", "run", "time", "id", "client", "dialect", "operation", "attempts", "status", "outcome", "bytes_in", "bytes_out",
          "events", "total_ms"}
# What only those have who asked a backend.
ASKED = ("backend", "upstream_model", "tries", "finish_reason", "prompt_tokens", "completion_tokens", "tokens_estimated",
         "cost", "connect_ms", "first_byte_ms", "gap_p50_ms", "lag_ms")
NOBODY = {"attempts": 0, "events": 0, **{name: ABSENT for name in ASKED}}
UNCACHED = {"cache": ABSENT, "cache_reason": ABSENT, "cache_key": ABSENT}
GOOD = {"status": 200, "outcome": "ok", "reason": ABSENT, "phase": ABSENT}
# What the provider counts.
MEASURED = {"prompt_tokens": 7, "completion_tokens": 5, "tokens_estimated": ABSENT}
FEATURES = "/api/inference/v1/features/search?q=x"


# --- the houses: gateways that rows are asked of ----------------------------------------------------------------------

NOBODY_THERE = reserved()
# The silence that is meant, and enough for whatever speaks.
SILENCE = {**SHORT, "connect": "20s", "first_byte": "3s"}


def deaf_port():
    """Of a server that knows no TLS, and says so at once."""
    class Deaf(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(4096)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Deaf)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def plain_house(providers):
    dead = f"http://127.0.0.1:{port_of(NOBODY_THERE)}/v1"
    one = providers["openai"]
    return {
        "backends": [backend("one", one, timeouts=SILENCE), backend("gf", providers["goodfire"]),
                     backend("llama", providers["llama-server"]), echo(),
                     {"name": "dead", "kind": "openai", "url": dead},
                     {"name": "nowhere", "kind": "openai", "url": "http://no-such-host.invalid/v1"},
                     {"name": "tls", "kind": "openai", "url": f"https://127.0.0.1:{deaf_port()}/v1"}],
        "models": [{"name": "tiny", "aliases": ["small"], "backends": ["one"], "price": {"input": 1, "output": 2}},
                   {"name": "gf", "backends": ["gf"], "upstream": "tiny"},
                   {"name": "llama", "backends": ["llama"], "upstream": "tiny"},
                   {"name": "echo", "backends": ["local"]},
                   {"name": "never", "backends": ["one"], "upstream": "tiny", "cache": {"when": "never"}},
                   {"name": "dead", "backends": ["dead"]}, {"name": "nowhere", "backends": ["nowhere"]},
                   {"name": "tls", "backends": ["tls"]},
                   {"name": "pair", "backends": ["dead", "llama"], "upstream": "tiny"},
                   {"name": "mixed", "backends": ["one", "llama"], "upstream": "tiny"}],
        "variants": [{"name": "polite", "model": "llama", "lora": [{"id": 0, "scale": 0.5}]}],
        "cache": {"when": "repeatable"}, "limits": {"body_bytes": "64k", "header_bytes": "8k", "event_bytes": "64k"},
        "timeouts": {"header": "500ms", "body": "500ms", "client_stall": "500ms"},
    }


def patient_house(providers):
    """Nobody is hurried."""
    config = plain_house(providers)
    del config["timeouts"]
    return config


ALICE = Key("alice", team="red", models=["tiny"], metadata={"project": "x"})


def keyed_house(providers):
    return {"backends": [backend("one", providers["openai"])], "keys": entries(ALICE), "teams": [{"name": "red"}],
            "models": [{"name": "tiny", "backends": ["one"]}, {"name": "other", "backends": ["one"], "upstream": "tiny"}]}


def limited_house(providers):
    quotas = {"slow": {"requests_per_minute": 1, "requests_burst": 1}, "words": {"tokens_per_minute": 1, "tokens_burst": 20},
              "single": {"concurrent": 1}, "poor": {"tokens_per_day": 20}}
    models = [{"name": name, "backends": ["one"], "upstream": "tiny", "quota": quota} for name, quota in quotas.items()]
    models += [{"name": name, "backends": ["one"], "upstream": "tiny", "quota": {"concurrent": 1},
                "queue": {"length": 1, "longest": longest}} for name, longest in (("queue", "20s"), ("hasty", "300ms"))]
    return {"backends": [backend("one", providers["openai"])], "models": models, "cache": {"when": "repeatable"}}


HOUSES = {"plain": plain_house, "patient": patient_house, "keyed": keyed_house, "limited": limited_house}


@pytest.fixture(scope="module")
def houses(providers):
    running = {}

    def get(name):
        if name not in running:
            running[name] = Gateway(**HOUSES[name](providers), log={"flush": "20ms"}).__enter__()
        return running[name]

    yield get
    for gateway in running.values():
        gateway.__exit__(None, None, None)


# --- one row -----------------------------------------------------------------------------------------------------------

@dataclass
class Row:
    name: str
    expect: dict
    body: object = None
    path: str = CHAT
    house: str = "plain"
    method: str = None
    headers: list = field(default_factory=list)
    raw: bytes = None           # instead of a request
    before: list = field(default_factory=list)      # bodies that are asked first, unwatched
    always: dict = field(default_factory=dict)      # faults of the provider
    pages: dict = field(default_factory=dict)
    secret: bool = False        # asked from an address of its own
    after: int = 0              # a stream: what befalls it does so when the client has so many events


def check_line(record, expect):
    raw = record.raw
    wrong = {}
    for name, value in expect.items():
        got = raw.get(name, ABSENT)
        if value is SOME:
            good = got is not ABSENT
        elif callable(value):
            good = got is not ABSENT and value(got)
        else:
            good = got == value if value is not ABSENT else got is ABSENT
        if not good:
            wrong[name] = "is not there" if got is ABSENT else got
    assert not wrong, f"{wrong} in {raw}"


def check_form(record):
    """What is true of any line."""
    raw = record.raw
    assert FIELDS <= set(raw), raw
    assert re.fullmatch(r"req_[0-9a-f]{32}", raw["id"]) and raw["client"].startswith("127.")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", raw["time"])
    assert ("reason" in raw) == (raw["outcome"] not in ("ok", "client_left", "client_stalled", "cut")), raw
    assert ("phase" in raw) == (raw["outcome"] != "ok"), raw
    assert raw["outcome"] in ("ok", "refused", "client_left", "client_stalled", "cut", raw.get("reason")), raw
    assert sum(raw.get(f"{part}_ms", 0) for part in PARTS) <= raw["total_ms"] + 0.01, raw
    if "tries" in raw:
        # A backend that cannot do what is wanted is not asked.
        asked = [one for one in raw["tries"] if one["outcome"] not in ("unsupported", "steering")]
        assert raw["attempts"] >= len(asked) and all(one["ms"] <= raw["total_ms"] for one in raw["tries"]), raw


def check_answer(record, answer):
    """The line is of this answer."""
    assert record["id"] == answer.header("x-request-id") and record.raw["status"] == answer.status
    assert answer.header("x-embergate-cache") == record.raw.get("cache")
    assert answer.header("x-embergate-cache-reason") == record.raw.get("cache_reason")
    assert answer.header("x-embergate-cache-key") == record.raw.get("cache_key")
    assert record.raw["bytes_out"] > len(answer.body)


def send(gateway, row, provider):
    if row.after:
        return gateway.stepwise(provider, row.body, row.after)
    with (Stranger(gateway) if row.secret else Client(gateway.addresses[0])) as client:
        if row.raw is not None:
            return client.send(row.raw).read_answer()
        return client.ask(row.method or ("GET" if row.body is None else "POST"), row.path, row.body,
                          [*row.headers, ("Connection", "close")])


def refusal(name, status, reason, phase, body=None, asked=NOBODY, cached=UNCACHED, **more):
    expect = {"status": status, "outcome": "refused", "reason": reason, "phase": phase, **asked, **cached,
              **more.pop("expect", {})}
    return Row(name, expect, body, **more)


def post(head, body=b""):
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body


BAD_HTTP = {"operation": "none", "method": ABSENT, "path": ABSENT, "model": ABSENT, "bytes_in": 0}
CHAT_OF_TINY = {"operation": "chat", "model": "tiny", "method": "POST", "path": CHAT}

REFUSALS = [
    refusal("bad JSON", 400, "bad_json", "understand", b"{not json", expect={"operation": "chat", "bytes_in": 9}),
    refusal("bad JSON, Goodfire", 422, "bad_json", "understand", b"{", path=GOODFIRE, expect={"dialect": "goodfire"}),
    refusal("invalid", 400, "invalid", "understand", {"model": "tiny"}, expect={"operation": "chat"}),
    refusal("invalid value", 400, "invalid", "understand", question(temperature="hot"), expect={"model": "tiny"}),
    # Found out while the question is put into the backend's words; nobody is asked.
    refusal("unsupported", 400, "unsupported", "deliver", {**question("gf"), "response_format": {"type": "json_object"}},
            expect={"model": "gf", "backend": "gf", "upstream_model": "tiny", "cache": "bypass", "cache_reason": SOME, "tries": lambda tries: [
                (one["backend"], one["outcome"], "status" in one) for one in tries] == [("gf", "unsupported", False)]}),
    refusal("steering", 422, "steering", "choose", question("tiny", controller=CONTROLLER), path=GOODFIRE,
            expect={"model": "tiny", "dialect": "goodfire"}),
    refusal("no model", 404, "no_model", "choose", question("nobody"), expect={"model": "nobody"}),
    refusal("no model's page", 404, "no_model", "page", path="/v1/models/nobody",
            expect={"operation": "page", "path": "/v1/models/nobody"}),
    refusal("no path", 404, "no_path", "page", path="/nowhere?secret=1",
            expect={"operation": "none", "path": "/nowhere", "method": "GET"}),
    refusal("no method", 405, "no_method", "page", method="PUT", path=CHAT, expect={"method": "PUT", "operation": "chat"}),
    refusal("bad HTTP", 400, "bad_http", "page", raw=b"NONSENSE\r\n\r\n", expect=BAD_HTTP),
    refusal("two lengths", 400, "bad_http", "page", raw=post(b"Content-Length: 5\r\nContent-Length: 6\r\n"), expect=BAD_HTTP),
    refusal("bad chunk", 400, "bad_http", "body", raw=post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n"),
            expect={"operation": "chat", "path": CHAT, "bytes_in": 0}),
    refusal("slow head", 408, "http_timeout", "page", raw=b"POST /v1/chat/completions HTTP/1.1\r\nHo", expect=BAD_HTTP),
    refusal("slow body", 408, "http_timeout", "body", raw=post(b"Content-Length: 100\r\n", b"{"),
            expect={"operation": "chat", "path": CHAT, "bytes_in": 1, "body_ms": lambda ms: ms > 400}),
    refusal("too large", 413, "too_large", "body", raw=post(b"Content-Length: 65537\r\n"), expect={"bytes_in": 0}),
    refusal("too large in chunks", 413, "too_large", "body",
            raw=post(b"Transfer-Encoding: chunked\r\n", b"8000\r\n%b\r\n" % (b" " * 0x8000) * 3),
            expect={"bytes_in": lambda size: size <= 65536}),
    refusal("bad expect", 417, "bad_expect", "page", raw=post(b"Expect: miracles\r\nContent-Length: 1\r\n"), expect=BAD_HTTP),
    refusal("head too large", 431, "head_too_large", "page", raw=post(b"X-Big: " + b"x" * 9000 + b"\r\n"), expect=BAD_HTTP),
    refusal("not implemented", 501, "not_implemented", "page", raw=post(b"Transfer-Encoding: gzip\r\n"), expect=BAD_HTTP),
    refusal("HTTP version", 505, "http_version", "page", raw=b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", expect=BAD_HTTP),
    refusal("no key", 401, "no_key", "authenticate", question(), house="keyed",
            expect={"key": ABSENT, "team": ABSENT, "model": ABSENT, "path": CHAT, "bytes_in": 0}),
    refusal("wrong key", 401, "no_key", "authenticate", question(), house="keyed", headers=Key("x").head,
            secret=True, expect={"key": ABSENT, "team": ABSENT}),
    refusal("not allowed", 403, "not_allowed", "choose", question("other"), house="keyed", headers=ALICE.head,
            expect={"key": "alice", "team": "red", "model": "other", "metadata": {"project": "x"}}),
    refusal("rate of requests", 429, "rate_limited", "limit", question("slow"), house="limited", before=[question("slow")],
            expect={"model": "slow", "queue_ms": ABSENT, "queue_position": ABSENT}),
    refusal("rate of tokens", 429, "rate_limited", "limit", question("words", max_tokens=15), house="limited",
            before=[question("words", max_tokens=15)], expect={"model": "words"}),
    refusal("no budget", 429, "no_budget", "limit", question("poor", max_tokens=100), house="limited", expect={"model": "poor"}),
    refusal("no budget, Goodfire", 402, "no_budget", "limit", question("poor", max_tokens=100), house="limited", path=GOODFIRE,
            expect={"dialect": "goodfire"}),
    refusal("not cached", 504, "not_cached", "claim", seeded(), headers=control("only-if-cached"),
            cached={"cache": "miss", "cache_reason": ABSENT, "cache_key": SOME}, expect=CHAT_OF_TINY),
    refusal("not to be cached", 504, "not_cached", "look", question(), headers=control("only-if-cached"),
            cached={"cache": "bypass", "cache_reason": "no-seed", "cache_key": ABSENT}),
]

BYPASS = {"cache": "bypass", "cache_key": ABSENT}
ONCE = {"attempts": 1, "tries": ABSENT, "backend": "one", "upstream_model": "tiny"}
COST = {"cost": lambda cost: abs(cost - 17e-6) < 1e-9}
FREE = {"cost": 0}
HEARD, HEARD_STREAM = seeded(), seeded(stream=True)
STREAMED = {"stream": True, "events": 8, "gap_p50_ms": SOME, "gap_p99_ms": SOME, "gap_max_ms": SOME, "ttft_ms": SOME}
WHOLE = {"stream": ABSENT, "events": 1, "gap_p50_ms": ABSENT}

ANSWERS = [
    Row("whole", {**GOOD, **CHAT_OF_TINY, **ONCE, **MEASURED, **COST, **WHOLE, "cache": "bypass", "cache_reason": "no-seed",
                  "cache_key": ABSENT, "finish_reason": "stop", "connect_ms": SOME, "first_byte_ms": SOME}, question()),
    Row("stream", {**GOOD, **CHAT_OF_TINY, **ONCE, **MEASURED, **COST, **STREAMED, "finish_reason": "stop"},
        question(stream=True, text="[[+gap=2]]")),
    Row("cut by length", {**GOOD, "finish_reason": "length"}, question(text="[[+finish=length]]")),
    Row("Goodfire's door", {**GOOD, **ONCE, **MEASURED, "dialect": "goodfire", "path": GOODFIRE, "finish_reason": "stop"},
        question(), GOODFIRE),
    Row("Goodfire's backend counts nothing", {**GOOD, "backend": "gf", "tokens_estimated": True, "completion_tokens": 6,
                                              "prompt_tokens": 5, "cost": ABSENT}, question("gf", "four", stream=True)),
    Row("a provider that does not count", {**GOOD, **ONCE, "tokens_estimated": True, "prompt_tokens": SOME,
                                           "completion_tokens": SOME}, question(text="[[+nousage]]", stream=True)),
    Row("echo", {**GOOD, "backend": "local", "attempts": 1, "tokens_estimated": ABSENT, "connect_ms": ABSENT},
        question("echo")),
    Row("alias", {**GOOD, "model": "small", "upstream_model": "tiny"}, question("small")),
    Row("variant", {**GOOD, "model": "polite", "variant": "polite", "backend": "llama", "steered": True}, question("polite")),
    Row("miss", {**GOOD, **ONCE, **COST, "cache": "miss", "cache_reason": ABSENT, "cache_key": SOME}, seeded()),
    Row("hit by its words", {**GOOD, "cache": "hit", "attempts": 0, "backend": "one", "tries": ABSENT, "upstream_model": "tiny",
                             "prompt_tokens": 7, "completion_tokens": 5, **FREE, "cache_key": SOME, "connect_ms": ABSENT,
                             "first_byte_ms": ABSENT, "finish_reason": "stop", "model": "tiny"}, HEARD, before=[HEARD]),
    Row("hit by its meaning", {**GOOD, "cache": "hit", "attempts": 0, "backend": "one", **FREE},
        {**dict(reversed(HEARD_STREAM.items()))}, before=[HEARD_STREAM]),
    Row("bypass: no-store", {**GOOD, **ONCE, **BYPASS, "cache_reason": "no-store"}, seeded(), headers=control("no-store")),
    Row("bypass: policy", {**GOOD, **BYPASS, "cache_reason": "never"}, seeded(model="never")),
    Row("bypass: no seed", {**GOOD, **BYPASS, "cache_reason": "no-seed"}, question(temperature=1)),
    Row("pass", {**GOOD, **BYPASS, "cache_reason": "pass", "operation": "pass", "backend": "gf", "attempts": 1,
                 "dialect": "goodfire", "path": FEATURES.split("?")[0], "model": ABSENT, "prompt_tokens": ABSENT}, path=FEATURES),
    Row("logits", {**GOOD, "operation": "logits", "backend": "llama", "model": "llama", "attempts": SOME,
                   "cost": ABSENT}, question("llama", top_k=3), LOGITS),
    Row("failover", {**GOOD, "backend": "llama", "attempts": 2, "tries": lambda tries: [
        (one["backend"], one["outcome"], one.get("status")) for one in tries] == [
            ("dead", "upstream_connect", None), ("llama", "ok", 200)]}, question("pair")),
    Row("failover after a 500", {**GOOD, "backend": "llama", "attempts": 2, "tries": lambda tries: [
        (one["backend"], one["outcome"], one.get("status")) for one in tries] == [
            ("one", "upstream_failed", 500), ("llama", "ok", 200)]}, question("mixed"), always={"status": "500"}),
    Row("explain", {**GOOD, **NOBODY, **UNCACHED, "operation": "explain", "model": "tiny", "path": "/v1/explain"},
        question(), "/v1/explain"),
    Row("explain by a header", {**GOOD, **NOBODY, "operation": "explain", "path": CHAT}, question(),
        headers=[("x-embergate-explain", "1")]),
    Row("models", {**GOOD, **NOBODY, **UNCACHED, "operation": "page", "path": "/v1/models", "method": "GET", "bytes_in": 0},
        path="/v1/models"),
    Row("a model", {**GOOD, **NOBODY, "operation": "page"}, path="/v1/models/tiny", method="HEAD"),
    Row("usage", {**GOOD, **NOBODY, "operation": "page", "key": "alice", "team": "red"}, path="/v1/usage", house="keyed",
        headers=ALICE.head),
    Row("key and team", {**GOOD, "key": "alice", "team": "red", "metadata": {"project": "x"}}, question(), house="keyed",
        headers=ALICE.head),
    Row("the client's id", {**GOOD, "client_id": "mine-1"}, question(), headers=[("X-Request-Id", "mine-1")]),
]


def fault(name, status, reason, body, tries=None, **more):
    """TRIES: (backend, outcome, status) of each."""
    tries = tries or [("one", reason, SOME)]

    def told(got):
        return len(got) == len(tries) and all(
            one["backend"] == place and one["outcome"] == outcome and (answered is SOME or one.get("status") == answered)
            for one, (place, outcome, answered) in zip(got, tries))

    expect = {"status": status, "outcome": reason, "reason": reason, "phase": "deliver", "attempts": len(tries),
              "tries": told, "backend": tries[-1][0], **more.pop("expect", {})}
    return Row(name, expect, body, **more)


NO_TOKENS = {"prompt_tokens": ABSENT, "completion_tokens": ABSENT, "cost": ABSENT, "events": 0, "finish_reason": ABSENT}
PART = {"status": 200, "prompt_tokens": SOME, "completion_tokens": SOME, "tokens_estimated": True, "cost": SOME,
        "stream": True, "finish_reason": ABSENT}
# The wait for a backend is not the gateway's own time.
WAITED = {"first_byte_ms": lambda ms: ms > 800, "answer_ms": ABSENT}


def faulty(words, **more):
    return question("tiny", f"[[{words}]]", **more)


FAULTS = [
    fault("refused connection", 502, "upstream_connect", question("dead"), [("dead", "upstream_connect", None)],
          expect=NO_TOKENS),
    fault("refused connection, Goodfire", 500, "upstream_connect", question("dead"), [("dead", "upstream_connect", None)],
          path=GOODFIRE),
    fault("no such name", 502, "upstream_dns", question("nowhere"), [("nowhere", "upstream_dns", None)], expect=NO_TOKENS),
    fault("no TLS there", 502, "upstream_tls", question("tls"), [("tls", "upstream_tls", None)], expect=NO_TOKENS),
    fault("silence before the head", 504, "upstream_timeout", faulty("+hang", stream=True), [("one", "upstream_timeout", None)],
          expect={**NO_TOKENS, **WAITED}),
    fault("silence in the stream", 200, "upstream_timeout", faulty("+stall_after=3", stream=True),
          [("one", "upstream_timeout", 200)], expect={**PART, "events": 3, "completion_tokens": 3}),
    fault("closed before a byte", 502, "upstream_reset", faulty("+drop"), expect=NO_TOKENS),
    fault("reset in the stream", 200, "upstream_reset", faulty("+rst_after=3", stream=True),
          [("one", "upstream_reset", 200)], expect={**PART, "events": 3}, after=3),
    fault("end without a finish", 200, "upstream_reset", faulty("+end_after=3", stream=True), expect=PART, after=3),
    fault("no JSON", 502, "upstream_bad", faulty("+notjson"), [("one", "upstream_bad", 200)], expect=NO_TOKENS),
    fault("a page of HTML", 502, "upstream_bad", faulty("+html"), [("one", "upstream_bad", 200)]),
    fault("a broken event", 200, "upstream_bad", faulty("+badjson=3", stream=True), [("one", "upstream_bad", 200)],
          expect=PART, after=3),
    fault("an error in the stream", 200, "upstream_failed", faulty("+errorevent=3", stream=True),
          [("one", "upstream_failed", 200)], expect=PART, after=3),
    fault("500", 502, "upstream_failed", faulty("+status=500"), [("one", "upstream_failed", 500)], expect=NO_TOKENS),
    fault("503", 503, "overloaded", faulty("+status=503"), [("one", "overloaded", 503)]),
    fault("503 while loading", 503, "upstream_loading", faulty("+status=503+message=Loading_model"),
          [("one", "upstream_loading", 503)]),
    fault("504", 504, "upstream_timeout", faulty("+status=504"), [("one", "upstream_timeout", 504)]),
    fault("429", 429, "upstream_busy", faulty("+status=429"), [("one", "upstream_busy", 429)]),
    fault("401", 502, "upstream_auth", faulty("+status=401"), [("one", "upstream_auth", 401)]),
    fault("402", 429, "upstream_quota", faulty("+status=402"), [("one", "upstream_quota", 402)]),
    fault("429 for want of money", 429, "upstream_quota", question(), [("one", "upstream_quota", 429)],
          pages={CHAT: Reply(status=429, body={"error": {"message": "pay", "type": "insufficient_quota", "param": None,
                                                         "code": "insufficient_quota"}})}),
    fault("400", 400, "upstream_refused", faulty("+status=400"), [("one", "upstream_refused", 400)]),
    # It is the backend that has no such model: not this gateway's refusal.
    fault("404", 404, "no_model", faulty("+status=404+message=no_such_model"), [("one", "no_model", 404)]),
    fault("too large an event", 200, "upstream_bad", faulty("+giant=100000+gap=10", stream=True), expect={"status": SOME}),
]


@pytest.mark.parametrize("row", [*REFUSALS, *ANSWERS, *FAULTS], ids=lambda row: row.name.replace(" ", "-"))
def test_one_line(houses, providers, row):
    gateway, one = houses(row.house), providers["openai"]
    for body in row.before:
        assert gateway.chat(body).status == 200
    one.always, one.pages = row.always, row.pages
    with Watch(gateway) as watch:
        answer = send(gateway, row, one)
    record = watch.only
    check_form(record)
    check_answer(record, answer)
    check_line(record, row.expect)
    if isinstance(row.body, dict) and record["phase"] != "authenticate":
        assert record.raw["bytes_in"] == len(request_bytes("POST", "/", row.body).split(b"\r\n\r\n", 1)[1])


def test_health_is_no_request(houses):
    """Probes and scrapes make no lines."""
    gateway = houses("plain")
    with Watch(gateway) as watch:
        for path, address in (("/healthz", None), ("/readyz", None), ("/healthz", gateway.admin), ("/metrics", gateway.admin)):
            assert gateway.ask(path, address=address).status == 200
    assert watch.records == []


def test_half_a_head_is_no_request(houses):
    gateway = houses("plain")
    with Watch(gateway) as watch:
        client = gateway.client()
        client.send(b"GET /v1/models HT")
        client.close()
    assert watch.records == []


# --- limits that need company ---------------------------------------------------------------------------------------

def holding(gateway, provider, swarm, model):
    provider.hold()
    guests = swarm.ask(1, question(model))
    provider.wait_chats(1)
    return guests


def test_concurrent(houses, provider_of):
    gateway, one = houses("limited"), provider_of("openai")
    with Swarm(gateway) as swarm, Watch(gateway) as watch:
        guests = holding(gateway, one, swarm, "single")
        refused = gateway.chat(question("single"))
        one.release()
        swarm.answers(guests)
    first, second = watch.records
    check_answer(first, refused)
    check_line(first, {"status": 429, "outcome": "refused", "reason": "rate_limited", "phase": "limit", **NOBODY,
                       "queue_position": ABSENT})
    check_line(second, GOOD)


def test_queue(houses, provider_of):
    """One waits, one finds the queue full."""
    gateway, one = houses("limited"), provider_of("openai")
    with Swarm(gateway) as swarm, Watch(gateway) as watch:
        before = gateway.metric("queued_total")
        guests = holding(gateway, one, swarm, "queue")
        guests += swarm.ask(1, question("queue", stream=True))
        gateway.wait("queued_total", before + 1)
        refused = gateway.chat(question("queue"))
        one.release()
        swarm.answers(guests)
    full, holder, waiter = watch.records
    check_answer(full, refused)
    check_line(full, {"status": 429, "outcome": "refused", "reason": "rate_limited", "phase": "limit", **NOBODY})
    check_line(holder, {**GOOD, "queue_ms": ABSENT, "queue_position": ABSENT})
    check_line(waiter, {**GOOD, "queue_ms": SOME, "queue_position": 1})
    check_answer(waiter, guests[1].answer())


def test_patience_is_over(houses, provider_of):
    gateway, one = houses("limited"), provider_of("openai")
    with Swarm(gateway) as swarm, Watch(gateway) as watch:
        guests = holding(gateway, one, swarm, "hasty")
        refused = gateway.chat(question("hasty"))
        one.release()
        swarm.answers(guests)
    check_answer(watch.records[0], refused)
    check_line(watch.records[0], {"status": 429, "reason": "rate_limited", "phase": "limit", **NOBODY, "queue_position": 1,
                                  "queue_ms": lambda ms: ms >= 290})
    assert watch.records[0].raw.get("limit_ms", 0) < 200


def test_too_many_guesses(houses):
    gateway = houses("keyed")
    number = next(Stranger.numbers)
    address = (f"127.9.{number >> 8}.{number & 255}", 0)
    with Watch(gateway) as watch:
        answers = []
        while len(answers) < 200 and (not answers or answers[-1].status == 401):
            client = Stranger.__new__(Stranger)
            client.socket = socket.create_connection(gateway.addresses[0], PATIENCE, address)
            client.input, client.ended = b"", None
            with client:
                answers.append(client.ask("POST", CHAT, question(), Key("guess").head))
    assert len(watch.records) == len(answers)
    for record, answer in zip(watch.records, answers):
        check_answer(record, answer)
    check_line(watch.records[-1], {"status": 429, "outcome": "refused", "reason": "rate_limited", "phase": "authenticate",
                                   "key": ABSENT, **NOBODY})


def test_join(houses, provider_of):
    gateway, one = houses("plain"), provider_of("openai")
    with Swarm(gateway) as swarm, Watch(gateway) as watch:
        one.hold()
        body, joins = seeded(stream=True), counts(gateway)["joins"]
        guests = swarm.ask(1, body)
        one.wait_chats(1)
        guests += swarm.ask(1, body)
        wait_joins(gateway, joins + 1)
        one.release()
        swarm.answers(guests)
    made, = [record for record in watch.records if record["cache"] == "miss"]
    joined, = [record for record in watch.records if record["cache"] == "join"]
    check_line(made, {**GOOD, **ONCE, **COST, "prompt_tokens": 7, "completion_tokens": 5})
    check_line(joined, {**GOOD, "attempts": 0, "tries": ABSENT, "backend": "one", **FREE, "prompt_tokens": 7,
                        "cache_key": made["cache_key"]})
    for record, guest in zip((made, joined), guests):
        check_answer(record, guest.answer())


# --- clients that leave ---------------------------------------------------------------------------------------------

@pytest.fixture
def provider_of(providers):
    return providers.get


LEFT = {"outcome": "client_left", "reason": ABSENT}


def leave_in_body(gateway, one):
    client = gateway.client()
    client.send(post(b"Content-Length: 100\r\n", b"{" * 40))
    gateway.wait("exchanges", 1)
    return client.close


def leave_before_first_byte(gateway, one):
    one.always = {"hang": ""}
    client = gateway.client()
    client.ask("POST", CHAT, question(stream=True), read=False)
    one.wait_chats(1)
    return client.reset


def leave_in_stream(gateway, one):
    one.always = {"stall_after": "3"}
    client = gateway.client()
    client.ask("POST", CHAT, question(stream=True), read=False)
    client.until(b" two")
    return client.close


def leave_by_half(gateway, one):
    one.always = {"stall_after": "3"}
    client = gateway.client()
    client.ask("POST", CHAT, question(stream=True), read=False)
    client.until(b" two")
    return lambda: client.socket.shutdown(socket.SHUT_WR)


def leave_in_echo(gateway, one):
    client = gateway.client(receive_buffer=4096)
    client.ask("POST", CHAT, question("echo", "word " * 10_000, stream=True), read=False)
    client.until(b"word")
    return client.reset


CALLED = {"attempts": 1, "backend": "one"}
LEAVERS = [
    (leave_in_body, {"phase": "body", "status": 0, **NOBODY, **UNCACHED, "bytes_in": 40, "bytes_out": 0, "model": ABSENT}),
    (leave_before_first_byte, {**CALLED, "phase": "deliver", "status": 0, "bytes_out": 0, "events": 0, "model": "tiny",
                               "prompt_tokens": ABSENT, "first_byte_ms": SOME}),
    (leave_in_stream, {**CALLED, "phase": "deliver", "status": 200, "events": 3, "completion_tokens": 3,
                       "tokens_estimated": True, "bytes_out": SOME, "finish_reason": ABSENT}),
    (leave_by_half, {**CALLED, "phase": "deliver", "status": 200, "events": 3}),
    (leave_in_echo, {"backend": "local", "phase": "deliver", "status": 200}),
]


@pytest.mark.parametrize("begin, expect", LEAVERS, ids=[begin.__name__ for begin, _ in LEAVERS])
def test_leavers(houses, provider_of, begin, expect):
    gateway = houses("patient")
    with Watch(gateway) as watch:
        leave = begin(gateway, provider_of("openai"))
        leave()
        gateway.quiet()
    check_form(watch.only)
    check_line(watch.only, {**LEFT, **expect})


def test_leaving_the_queue(houses, provider_of):
    gateway, one = houses("limited"), provider_of("openai")
    with Swarm(gateway) as swarm, Watch(gateway) as watch:
        before = gateway.metric("queued_total")
        guests = holding(gateway, one, swarm, "queue")
        waiter = swarm.ask(1, question("queue"))
        gateway.wait("queued_total", before + 1)
        swarm.leave(waiter)
        gateway.wait("exchanges", 1)
        one.release()
        swarm.answers(guests)
    check_line(watch.records[0], {**LEFT, "phase": "limit", "status": 0, **NOBODY, "queue_position": 1, "queue_ms": SOME})


def test_leaving_while_joined(houses, provider_of):
    gateway, one = houses("plain"), provider_of("openai")
    with Swarm(gateway) as swarm, Watch(gateway) as watch:
        one.hold()
        body, joins = seeded(stream=True), counts(gateway)["joins"]
        leader = swarm.ask(1, body)
        one.wait_chats(1)
        joiner = swarm.ask(1, body)
        wait_joins(gateway, joins + 1)
        swarm.leave(joiner)
        gateway.wait("exchanges", 1)
        one.release()
        swarm.answers(leader)
    left, stayed = watch.records
    check_line(left, {**LEFT, "phase": "deliver", "status": 0, "cache": "join", "attempts": 0, "tries": ABSENT})
    check_line(stayed, {**GOOD, "cache": "miss", "attempts": 1})


def test_the_leader_leaves(houses, provider_of):
    """Its answer is made for those who joined."""
    gateway, one = houses("plain"), provider_of("openai")
    with Swarm(gateway) as swarm, Watch(gateway) as watch:
        one.hold()
        body, joins = seeded(stream=True), counts(gateway)["joins"]
        leader = swarm.ask(1, body)
        one.wait_chats(1)
        joiner = swarm.ask(1, body)
        wait_joins(gateway, joins + 1)
        swarm.leave(leader)
        gateway.wait("exchanges", 1)
        one.release()
        swarm.answers(joiner)
    left, stayed = watch.records
    check_line(left, {**LEFT, "cache": "miss", "status": 0, "phase": "deliver", "attempts": 1})
    check_line(stayed, {**GOOD, "cache": "join", "attempts": 0, "backend": "one"})


def test_a_client_that_stalls(houses, provider_of):
    gateway = houses("plain")
    with Watch(gateway) as watch:
        client = gateway.client(receive_buffer=4096)
        before = gateway.metric("clients_stalled_total")
        client.ask("POST", CHAT, question("tiny", "[[+flood]]", stream=True), read=False)
        gateway.wait("clients_stalled_total", before + 1)
        client.close()
    check_form(watch.only)
    check_line(watch.only, {"outcome": "client_stalled", "reason": ABSENT, "phase": "deliver", "status": 200, **CALLED})


# --- the end --------------------------------------------------------------------------------------------------------

def ending(provider, **timeouts):
    gateway = Gateway(backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"]}], timeouts=timeouts)
    gateway.expect_end = True
    return gateway


def begin(gateway, **more):
    client = gateway.client()
    client.ask("POST", CHAT, question(**more), read=False)
    return client


def lines_of(gateway):
    """After the end: {id: record}."""
    gateway._join()
    ids = [record["id"] for record in gateway.log()]
    assert len(ids) == len(set(ids))
    return {record["id"]: record for record in gateway.log()}


def test_drained(provider):
    """What is under way is finished; its line is written before the end."""
    with ending(provider) as gateway:
        provider.hold(at=3)
        client = begin(gateway, stream=True)
        head = client.read_head()
        provider.wait_chats(1)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_line("draining")
        provider.release()
        client.read_body(head)
        assert head.complete and gateway.process.wait(10) == 0
        lines = lines_of(gateway)
        assert list(lines) == [head.header("x-request-id")]
        check_line(*lines.values(), GOOD)


def test_drain_time_is_over(provider):
    with ending(provider, drain="500ms") as gateway:
        provider.hold(at=3)
        stream = begin(gateway, stream=True)
        head = stream.read_head()
        whole = begin(gateway, text="[[+hang]]")
        body = gateway.client()
        body.send(post(b"Content-Length: 100\r\n", b"{"))
        gateway.wait("exchanges", 3)
        provider.wait_chats(2)
        gateway.process.send_signal(signal.SIGTERM)
        answers = [whole.read_answer(), body.read_answer()]
        assert gateway.process.wait(10) == 0
        lines = lines_of(gateway)
        assert len(lines) == 3
        draining = {"outcome": "draining", "reason": "draining"}
        check_line(lines[head.header("x-request-id")], {**draining, "status": 200, "phase": "deliver", "attempts": 1})
        check_line(lines[answers[0].header("x-request-id")], {**draining, "status": 503, "phase": "deliver", "attempts": 1})
        check_line(lines[answers[1].header("x-request-id")], {**draining, "status": 503, "attempts": 0})


def test_second_signal(provider):
    with ending(provider, drain="60s") as gateway:
        provider.hold(at=3)
        stream = begin(gateway, stream=True)
        head = stream.read_head()
        begin(gateway, text="[[+hang]]")
        provider.wait_chats(2)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_line("draining")
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(10) == 1
        lines = lines_of(gateway)
        assert len(lines) == 2
        for name, record in lines.items():
            check_line(record, {"outcome": "cut", "phase": "deliver", "attempts": 1,
                                "status": 200 if name == head.header("x-request-id") else 0})


def test_many_at_once(houses):
    """Each once, in two dialects, over kept connections."""
    gateway = houses("plain")
    with Watch(gateway) as watch, gateway.client() as client:
        client.send(b"".join(request_bytes("POST", (CHAT, GOODFIRE)[n % 2], question("echo", f"w{n}", stream=n % 3 == 0))
                             for n in range(100)))
        ids = [client.read_answer().header("x-request-id") for _ in range(100)]
    assert [record["id"] for record in watch.records] == ids
    assert until(lambda: [record.raw["seq"] for record in watch.records] == list(
        range(watch.records[0].raw["seq"], watch.records[0].raw["seq"] + 100)), "numbers without gaps")
