"""The status page's numbers: those of /metrics, once a second for whoever looks, and nobody waits for a slow one."""

import json
import re
import signal
import time

import pytest
from admit_world import Key, entries
from conftest import house_config
from harness import PATIENCE, Client, Gateway, backend, echo, question
from provider import Provider

KEYS = [Key("alice"), Key("team:b@night"), Key("idle")]
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u2028\\"


@pytest.fixture(scope="module")
def gateway(provider):
    with Gateway(backends=[echo(), backend("one", provider)], workers=2, keys=entries(*KEYS),
                 models=[{"name": "tiny", "backends": ["one"]}, {"name": HOSTILE, "backends": ["local"]}],
                 cache={"when": "repeatable", "memory": "32m"}) as running:
        yield running


@pytest.fixture(scope="module")
def plain():
    """No keys, no requests."""
    with Gateway(backends=[echo()], models=[{"name": "it's", "backends": ["local"]}]) as running:
        yield running


def status(gateway):
    answer = gateway.ask("/status.json", address=gateway.admin)
    assert answer.status == 200 and answer.header("content-type") == "application/json"
    return answer.json()


def samples(gateway):
    """Every sample of /metrics: [(name, labels, value)]."""
    text = gateway.ask("/metrics", address=gateway.admin).body.decode()
    found = []
    for name, labels, value in re.findall(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$", text, re.M):
        pairs = {key: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m.group(1), m.group(1)), said)
                 for key, said in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)}
        found.append((name, pairs, float(value)))
    return found


def total(rows, name, **labels):
    return sum(value for one, pairs, value in rows
               if one == name and all(test(pairs.get(key, "")) if callable(test) else pairs.get(key) == test
                                      for key, test in labels.items()))


def quantile(rows, name, q):
    """As Prometheus has it, over all labels."""
    buckets = {}
    for one, pairs, value in rows:
        if one == name + "_bucket":
            bound = float(pairs["le"].replace("+Inf", "inf"))
            buckets[bound] = buckets.get(bound, 0) + value
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank = q * buckets[bounds[-1]]
    at = next(i for i, bound in enumerate(bounds) if buckets[bound] >= rank)
    low, below = (bounds[at - 1], buckets[bounds[at - 1]]) if at else (0, 0)
    return low if bounds[at] == float("inf") else low + (bounds[at] - low) * (rank - below) / (buckets[bounds[at]] - below)


def load(gateway, watching=0):
    for number in range(6):
        for key in KEYS[:1 + number % 2]:
            assert gateway.chat(question("tiny", f"number {number % 4}", temperature=0, stream=number % 2 == 0),
                                headers=key.head).status == 200
    assert gateway.chat(question(HOSTILE, "Hello"), headers=KEYS[1].head).status == 200
    assert gateway.chat(question("tiny", "bad [[+status=400]]"), headers=KEYS[0].head).status == 400
    gateway.wait("exchanges", watching)     # for the order of the last two
    assert gateway.chat(question("nobody"), headers=KEYS[0].head).status == 404
    gateway.wait("exchanges", watching)


# --- the page ---------------------------------------------------------------------------------------------------------

def test_before_the_first_request(plain):
    page = status(plain)
    assert page["totals"] == dict.fromkeys(page["totals"], 0)
    assert page["models"] == page["keys"] == page["failures"] == []
    assert page["times"]["duration"]["p50"] is None and set(page["times"]["duration"]["counts"]) == {0}
    assert page["door"]["model"] == "it's" and page["door"]["keys"] is False
    assert page["door"]["listen"][0]["host"] == "127.0.0.1"
    assert page["ready"] is True and page["workers"] == 1 and abs(page["now"] / 1000 - time.time()) < 60
    assert [(one["name"], one["kind"], one["state"]) for one in page["backends"]] == [("local", "echo", "good")]


@pytest.mark.parametrize("path", ["/", "/status"])
def test_the_page(plain, path):
    answer = plain.ask(path, address=plain.admin)
    assert answer.status == 200 and answer.header("content-type") == "text/html; charset=utf-8"
    text = answer.body.decode()
    policy = answer.header("content-security-policy")
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe-eval" not in policy
    # Nothing is loaded, and no text becomes markup.
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|\$\{|localhost)", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text)
    head = plain.ask(path, method="HEAD", address=plain.admin)
    assert head.status == 200 and head.body == b"" and head.header("content-length") == str(len(answer.body))


def test_pages_of_others_may_not_act(plain):
    for origin, status in (("http://evil.example", 400), ("null", 400), ("http://localhost", 200)):
        answer = plain.ask("/cache/purge", b"", address=plain.admin, headers=[("Origin", origin)])
        assert answer.status == status, origin


HOSTS = [("127.0.0.1", 200), ("127.0.0.1:8081", 200), ("[::1]:8081", 200), ("[::1]", 200), ("192.0.2.7", 200),
         ("localhost", 200), ("LocalHost:1", 200), ("wall.localhost", 200), ("wall.INTERNAL", 200), ("embergate:8081", 200),
         ("evil.example", 400), ("evil.example:8081", 400), ("127.0.0.1.evil.example", 400), ("a.notlocalhost", 400),
         ("localhost.evil.example", 400), ("local.com", 400), (".localhost", 400)]


@pytest.mark.parametrize("host, status", HOSTS)
def test_pages_whose_name_was_made_to_point_here(plain, host, status):
    """DNS rebinding: the browser takes it for their own origin. Who asks for a name of theirs is told nothing."""
    for path in ("/status.json", "/metrics", "/usage", "/cache", "/"):
        client = plain.client(plain.admin)
        client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = client.read_answer()
        assert answer.status == status, path
        assert status == 200 or (b"localhost" in answer.body or b"Host" in answer.body)
        client.close()
    ask = plain.client()
    ask.send(b"GET /v1/models HTTP/1.1\r\nHost: gateway.example\r\n\r\n")
    assert ask.read_answer().status == 200, "elsewhere any name will do"
    ask.close()


@pytest.mark.parametrize("path", ["/", "/status", "/status.json", "/status/events"])
def test_only_for_the_administration(plain, path):
    assert plain.ask(path).status == 404
    assert plain.ask(path, {}, address=plain.admin).status == 405


# --- the numbers ------------------------------------------------------------------------------------------------------

def test_the_numbers_are_those_of_the_metrics(gateway):
    load(gateway)
    # What the pages themselves move is looked at on both sides of the other look.
    before, page, after = samples(gateway), status(gateway), samples(gateway)
    still = {name for name, labels, value in before if (name, labels, value) in after}
    for name, value in page["metrics"].items():
        if f"embergate_{name}" in still:
            assert total(before, f"embergate_{name}") == value, name
    assert len([name for name in page["metrics"] if f"embergate_{name}" in still]) > 30
    totals = page["totals"]
    assert totals["requests"] == total(before, "embergate_requests_total") > 0
    assert totals["hits"] == total(before, "embergate_requests_total", cache="hit") > 0
    assert totals["joins"] == total(before, "embergate_requests_total", cache="join")
    assert totals["errors"] == total(before, "embergate_requests_total", status=lambda text: text >= "400") > 0
    assert totals["input_tokens"] == total(before, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") > 0
    assert totals["output_tokens"] == total(before, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") > 0
    assert page["memory"]["entries"] == total(before, "embergate_cache_entries")
    assert page["memory"]["hits"] == total(before, "embergate_cache_hits_total")


@pytest.mark.parametrize("name, metric", [("duration", "gen_ai_server_request_duration_seconds"),
                                          ("first_token", "gen_ai_server_time_to_first_token_seconds"),
                                          ("gap", "gen_ai_server_time_per_output_token_seconds"),
                                          ("overhead", "embergate_overhead_seconds"),
                                          ("lag", "embergate_relay_lag_seconds")])
def test_percentiles_can_be_recomputed(gateway, name, metric):
    load(gateway)
    page, rows = status(gateway)["times"][name], samples(gateway)
    assert page["counts"][-1] == total(rows, metric + "_count") > 0
    assert page["sum"] == pytest.approx(total(rows, metric + "_sum") * 1e6)
    for label, q in (("p50", .5), ("p95", .95), ("p99", .99)):
        assert page[label] == pytest.approx(quantile(rows, metric, q) * 1e6), label


def test_lists(gateway):
    load(gateway)
    page = status(gateway)
    models = {one["name"]: one for one in page["models"]}
    assert set(models) == {"tiny", HOSTILE} and models["tiny"]["requests"] > models[HOSTILE]["requests"] > 0
    assert models["tiny"]["errors"] == models["tiny"]["requests"] - total(
        samples(gateway), "embergate_requests_total", model="tiny", outcome="ok")
    keys = [(one["name"], one["requests"]) for one in page["keys"]]
    assert [name for name, _ in keys] == ["alice", "team:b@night"] and keys[0][1] > keys[1][1]
    assert sum(count for _, count in keys) == page["totals"]["requests"]
    latest = page["failures"][:2]
    assert [one["status"] for one in latest] == [404, 400] and all(one["key"] == "alice" for one in latest)
    assert latest[1]["model"] == "tiny" and latest[1]["backend"] == "one"
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", one["id"]) for one in latest)
    assert all(key.text not in json.dumps(page) and key.digest not in json.dumps(page) for key in KEYS)


def test_the_log(gateway):
    load(gateway)
    end = time.monotonic() + PATIENCE
    while (page := status(gateway))["log"]["lines"]["accepted"] < page["totals"]["requests"] \
            or page["log"]["lines"]["waiting_bytes"]:
        assert time.monotonic() < end, (page["log"], page["totals"])
    log, rows = page["log"], samples(gateway)
    assert log["lines"] == {"kept": True, "accepted": page["totals"]["requests"], "waiting_bytes": 0}
    assert [(sink["name"], sink["good"], sink["dropped"]) for sink in log["sinks"]] == [("stdout", True, 0)]
    assert log["sinks"][0]["written"] == log["lines"]["accepted"] == total(rows, "embergate_log_written_total")
    assert log["spans"]["kept"] is False


def test_a_backend_that_is_down_and_a_queue():
    with Provider("openai") as provider:
        url = provider.url
    with Gateway(backends=[{"name": "gone", "kind": "openai", "url": url}],
                 models=[{"name": "tiny", "backends": ["gone"]}]) as gateway:
        end = time.monotonic() + PATIENCE
        while status(gateway)["backends"][0]["state"] == "good":
            assert gateway.chat().status in (502, 503) and time.monotonic() < end
        page = status(gateway)
        assert page["backends"][0]["failed"] >= 1 and page["backends"][0]["ok"] == 0
        assert page["failures"][0]["model"] == "tiny" and page["waiting"] == 0


# --- once a second ----------------------------------------------------------------------------------------------------

def watch(gateway, minor=1, **more):
    client = Client(gateway.admin, **more)
    gateway.clients.append(client)
    client.send(f"GET /status/events HTTP/1.{minor}\r\nHost: x\r\n\r\n".encode())
    answer = client.read_head()
    assert answer.status == 200 and answer.header("content-type") == "text/event-stream; charset=utf-8"
    return client


def event_of(block):
    lines = dict(line.split(b": ", 1) for line in block.strip().split(b"\n"))
    assert b"id" in lines
    return json.loads(lines[b"data"])


def test_events(gateway):
    with watch(gateway) as client:
        began = time.monotonic()
        events = [event_of(client.read_chunk().data) for _ in range(3)]
        assert 1.8 < time.monotonic() - began < 2 + PATIENCE
        load(gateway, watching=1)
        wanted = status(gateway)["totals"]
        end = time.monotonic() + PATIENCE
        while events[-1]["totals"] != wanted:
            events.append(event_of(client.read_chunk().data))
            assert time.monotonic() < end
    assert all(before["now"] < after["now"] for before, after in zip(events, events[1:]))
    assert events[-1]["metrics"]["streams"] == 0 and events[-1]["watching"] == 1
    assert events[-1].keys() == status(gateway).keys()


def test_an_old_client_gets_events_without_chunks(gateway):
    with watch(gateway, minor=0) as client:
        assert event_of(client.until(b"\n\n"))["ready"] is True
        assert event_of(client.until(b"\n\n"))["ready"] is True


def test_who_looks_is_in_no_books(gateway):
    left, lines = gateway.metric("clients_left_total"), status(gateway)["log"]["lines"]["accepted"]
    requests = status(gateway)["totals"]["requests"]
    client = watch(gateway)
    gateway.wait("exchanges", 1)
    assert gateway.metric("streams") == 0
    client.close()
    gateway.wait("exchanges", 0)
    page = status(gateway)
    assert (page["metrics"]["clients_left_total"], page["log"]["lines"]["accepted"], page["totals"]["requests"]) == (
        left, lines, requests)


def test_at_most_32(gateway):
    gateway.wait("exchanges", 0)
    watching = [watch(gateway) for _ in range(32)]
    refused = gateway.ask("/status/events", address=gateway.admin)
    assert refused.status == 503 and "Too many" in refused.json()["error"]["message"]
    assert gateway.ask("/status.json", address=gateway.admin).status == 200
    watching.pop().close()
    gateway.wait("exchanges", 31)
    watching.append(watch(gateway))
    for client in watching:
        assert event_of(client.read_chunk().data)["ready"] is True
        client.close()
    gateway.wait("exchanges", 0)


def test_one_that_does_not_read_gives_up_its_place(gateway):
    """To whoever wants it, a few seconds after it stopped; those that read stay."""
    gateway.wait("exchanges", 0)
    lazy = watch(gateway, receive_buffer=2048)
    watching = [watch(gateway) for _ in range(31)]
    end = time.monotonic() + 2 * PATIENCE
    while len(watching) == 31:
        assert time.monotonic() < end
        for client in watching:
            client.read_chunk()
        newcomer = Client(gateway.admin)
        newcomer.send(b"GET /status/events HTTP/1.1\r\nHost: x\r\n\r\n")
        status_of = newcomer.read_head().status
        assert status_of in (200, 503)
        if status_of == 200:
            watching.append(newcomer)
        else:
            newcomer.close()
    gateway.wait("exchanges", 32)
    for client in watching:
        assert event_of(client.read_chunk().data)["ready"] is True
        client.close()
    lazy.close()
    gateway.wait("exchanges", 0)


def test_a_slow_reader_costs_nothing_and_hears_on(gateway):
    slow = watch(gateway, receive_buffer=4096)
    other = watch(gateway)
    for _ in range(4):
        other.read_chunk()
    memory = gateway.memory()
    for _ in range(4):
        other.read_chunk()
    assert gateway.memory() - memory < 4 << 20
    now = event_of(other.read_chunk().data)["now"]
    heard = [event_of(slow.read_chunk().data)["now"]]
    while heard[-1] < now:
        heard.append(event_of(slow.read_chunk().data)["now"])
    assert heard == sorted(set(heard)), "it hears of the present again"
    slow.close()
    other.close()
    gateway.wait("exchanges", 0)


def test_the_drain_is_told_and_not_held_up(providers):
    with Gateway(**house_config(providers, timeouts={"drain": "60s", "client_stall": "60s"})) as gateway:
        gateway.expect_end = True
        provider = providers["openai"]
        provider.hold(at=3)
        asking = gateway.client()
        asking.ask("POST", "/v1/chat/completions", question("openai", stream=True), read=False)
        answer = asking.read_head()
        client = watch(gateway)
        lazy = watch(gateway, receive_buffer=4096)      # never reads on
        gateway.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while event_of(client.read_chunk().data)["ready"]:
            assert time.monotonic() < end
        provider.release()
        asking.read_body(answer)
        assert answer.complete
        asking.close()
        while (chunk := client.read_chunk()) is not None:
            assert event_of(chunk.data)["ready"] is False
        client.close()
        assert gateway.process.wait(PATIENCE) == 0
        lazy.close()
