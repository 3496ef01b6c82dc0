"""W3C Trace Context from client to backend, and requests as spans at an OpenTelemetry collector."""

import json
import re
import statistics
import time

import pytest
from harness import Gateway, backend, question
from log_world import Collector, attributes, settled, wait_sinks
from memory_world import CHAT, GOODFIRE, LOGITS, Swarm, seeded, until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
IDS = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


def config_for(provider, tracing=None, **more):
    return {"backends": [backend("one", provider)], "log": {"flush": "20ms"},
            "models": [{"name": "tiny", "backends": ["one"], "price": {"input": 1, "output": 2}}],
            **({"tracing": tracing} if tracing else {}), **more}


@pytest.fixture(scope="module")
def collector():
    with Collector() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(provider):
    """Without tracing of its own."""
    with Gateway(**config_for(provider, cache={"when": "repeatable"})) as one:
        yield one


@pytest.fixture(scope="module")
def traced(provider, collector):
    with Gateway(**config_for(provider, {"url": collector.url, "service": "house", "api_key": "let-me-in"})) as one:
        yield one


def upstream(request):
    """(trace, span, flags) that the backend was given."""
    header = request.header("traceparent")
    assert sum(name == "traceparent" for name, _ in request.headers) == 1 and IDS.fullmatch(header), header
    return IDS.fullmatch(header).groups()


def parent(text, state=None):
    return [("traceparent", text), *([("tracestate", state)] if state else [])]


# --- passed on ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags", ["00", "01"])
@pytest.mark.parametrize("door", [CHAT, GOODFIRE])
@pytest.mark.parametrize("stream", [False, True])
def test_ours_is_the_parent_there(gateway, provider, door, stream, flags):
    answer = gateway.ask(door, question(stream=stream), headers=parent(f"00-{TRACE}-{SPAN}-{flags}", "vendor=1,other=a:b"))
    record = gateway.wait_record(answer)
    trace, span, told = upstream(provider.last())
    assert (trace, told) == (TRACE, flags) and span != SPAN
    assert provider.last().header("tracestate") == "vendor=1,other=a:b"
    assert (record["trace_id"], record["span_id"], record["parent_id"]) == (TRACE, span, SPAN)


def test_each_request_is_a_span_of_its_own(gateway, provider):
    for _ in range(20):
        gateway.chat(headers=parent(PARENT))
    spans = [upstream(request)[1] for request in provider.chats()]
    assert len(set(spans)) == 20


GOOD = [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later", f"00-{TRACE}-{SPAN}-03", f"00-{TRACE}-{SPAN}-ff"]
BAD = ["", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01",
       f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-0G",
       f"00_{TRACE}_{SPAN}_01", f"00-{TRACE[:-1]}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01.later", "x" * 5000]


@pytest.mark.parametrize("text", GOOD)
def test_good_ones(gateway, provider, text):
    record = gateway.wait_record(gateway.chat(headers=parent(text)))
    trace, span, flags = upstream(provider.last())
    assert trace == TRACE == record["trace_id"] and span == record["span_id"] and flags == "01"


@pytest.mark.parametrize("text", BAD)
def test_bad_ones_are_not_gone_on_with(gateway, provider, text):
    """Without tracing of our own there is no trace then; a tracestate without its parent means nothing."""
    record = gateway.wait_record(gateway.chat(headers=parent(text, "vendor=1")))
    assert provider.last().header("traceparent") is None and provider.last().header("tracestate") is None
    assert record["trace_id"] == record["span_id"] == record["parent_id"] == "-"


@pytest.mark.parametrize("text", BAD)
def test_bad_ones_are_replaced(traced, provider, text):
    record = traced.wait_record(traced.chat(headers=parent(text, "vendor=1")))
    trace, span, flags = upstream(provider.last())
    assert trace != TRACE and flags == "01" and provider.last().header("tracestate") is None
    assert (record["trace_id"], record["span_id"], record["parent_id"]) == (trace, span, "-")


def test_twice_is_bad(gateway, provider):
    assert gateway.chat(headers=parent(PARENT) * 2).status == 200
    assert provider.last().header("traceparent") is None


def test_a_tracestate_in_two_lines(gateway, provider):
    """Is one list; half of it is none."""
    gateway.chat(headers=[*parent(PARENT, "a=1"), ("tracestate", "b=2")])
    assert provider.last().header("tracestate") in ("a=1,b=2", "a=1, b=2", None)


@pytest.mark.parametrize("state, kept", [("a=1", True), ("a=" + "x" * 500, True), ("a=" + "x" * 511, False), ("a=\u00e9", False)])
def test_tracestate(gateway, provider, state, kept):
    """Kept as it is, or left out as a whole; the trace goes on."""
    assert gateway.chat(headers=parent(PARENT, state)).status == 200
    assert provider.last().header("tracestate") == (state if kept else None)
    assert upstream(provider.last())[0] == TRACE


def test_nothing_is_invented(gateway, provider):
    record = gateway.wait_record(gateway.chat())
    assert provider.last().header("traceparent") is None and record["trace_id"] == "-"


def test_no_trace_is_the_requests_own(traced, provider):
    """A trace that begins here has the request's id."""
    answer = traced.chat()
    record = traced.wait_record(answer)
    trace, span, _ = upstream(provider.last())
    assert trace == answer.header("x-request-id")[4:] == record["trace_id"] and span == record["span_id"]
    assert record["parent_id"] == "-"


def test_a_trace_is_no_part_of_the_question(gateway, provider):
    """The memory does not care."""
    body = seeded()
    first, second = (gateway.chat(body, parent(f"00-{TRACE[:-1]}{digit}-{SPAN}-01")) for digit in "12")
    assert (first.header("x-embergate-cache"), second.header("x-embergate-cache")) == ("miss", "hit")
    records = [gateway.wait_record(answer) for answer in (first, second)]
    assert [record["trace_id"][-1] for record in records] == ["1", "2"] and len(provider.chats()) == 1


def test_passed_through(providers):
    one = providers["goodfire"]
    with Gateway(backends=[backend("one", one)], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
        assert gateway.ask("/api/inference/v1/features/search?q=x", headers=parent(PARENT, "a=1")).status == 200
        assert upstream(one.requests[-1])[0] == TRACE and one.requests[-1].header("tracestate") == "a=1"


def test_logits(providers):
    """Each of the questions behind one that is asked for."""
    one = providers["llama-server"]
    with Gateway(backends=[backend("one", one)], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
        assert gateway.ask(LOGITS, question(top_k=3), headers=parent(PARENT)).status == 200
        assert one.requests and {upstream(request)[0] for request in one.requests if request.method == "POST"} == {TRACE}


def test_failover_keeps_the_span(providers):
    dead = {"name": "dead", "kind": "openai", "url": "http://127.0.0.1:1/v1"}
    with Gateway(backends=[dead, backend("one", providers["openai"])],
                 models=[{"name": "tiny", "backends": ["dead", "one"]}]) as gateway:
        record = gateway.wait_record(gateway.chat(headers=parent(PARENT)))
        assert upstream(providers["openai"].last())[:2] == (TRACE, record["span_id"])


# --- spans --------------------------------------------------------------------------------------------------------------

def span_of(collector, answer_or_trace):
    trace = answer_or_trace if isinstance(answer_or_trace, str) else answer_or_trace.header("x-request-id")[4:]

    def find():
        found = [span for _, span in collector.spans() if span["traceId"] == trace]
        assert len(found) <= 1, found
        return found
    return until(find, f"the span of {trace}")[0]


def check_span(span):
    assert {"traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "status"} <= set(span)
    assert set(span) <= {"traceId", "spanId", "parentSpanId", "traceState", "flags", "name", "kind", "startTimeUnixNano",
                         "endTimeUnixNano", "attributes", "status"}, span
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and re.fullmatch("[0-9a-f]{16}", span["spanId"])
    assert span["kind"] == 2 and isinstance(span["startTimeUnixNano"], str)
    assert 0 <= int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) < 60e9
    assert abs(int(span["startTimeUnixNano"]) / 1e9 - time.time()) < 60


@pytest.mark.parametrize("stream", [False, True])
def test_a_span(traced, provider, collector, stream):
    trace = f"{TRACE[:-2]}{'a' if stream else 'b'}0"
    answer = traced.chat(stream=stream, headers=parent(f"00-{trace}-{SPAN}-01"))
    record = traced.wait_record(answer).raw
    span = span_of(collector, trace)
    check_span(span)
    assert span["parentSpanId"] == SPAN and span["spanId"] == record["span_id"] == upstream(provider.last())[1]
    assert span["name"] == "chat tiny" and span["status"].get("code", 0) != 2
    told = attributes(span)
    wanted = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "tiny", "gen_ai.response.model": "tiny",
              "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 5, "gen_ai.response.finish_reasons": ["stop"],
              "http.request.method": "POST", "http.response.status_code": 200, "url.path": CHAT,
              "embergate.backend": "one", "embergate.cache": "bypass", "embergate.id": answer.header("x-request-id")}
    assert {name: told.get(name) for name in wanted} == wanted
    assert all(told[f"embergate.{name}"] == record[name] for name in ("first_byte_ms", "answer_ms", "ttft_ms"))
    milliseconds = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6
    assert abs(milliseconds - record["total_ms"]) < 0.01
    resource, _ = next(pair for pair in collector.spans() if pair[1]["traceId"] == trace)
    assert resource["service.name"] == "house"


def test_a_cut_name_shows_nothing_of_a_secret(provider):
    secret = "eg-" + "Q7" * 21 + "Z"
    log = {"flush": "20ms", "redact": {"patterns": ["eg-[A-Za-z0-9_-]{43}"]}}
    with Collector() as collector, Gateway(**config_for(provider, {"url": collector.url}, log=log)) as gateway:
        span = span_of(collector, gateway.chat(question("x" * 230 + secret + "tail")))
    told = attributes(span)
    name = "x" * 230 + "[redacted]"
    assert told["gen_ai.request.model"] == name and span["name"] == "chat " + name


def test_how_they_are_sent(traced, collector):
    span_of(collector, traced.chat())
    for path, head in collector.heads:
        assert path == "/v1/traces" and head["content-type"] == "application/json"
        assert head["authorization"] == "Bearer let-me-in"


@pytest.mark.parametrize("body, status, reason", [
    (b"{", 400, "bad_json"), (question("nobody"), 404, "no_model"), (question(text="[[+status=500]]"), 502, "upstream_failed"),
    (question(text="[[+rst_after=3]]", stream=True), 200, "upstream_reset")])
def test_failures(traced, provider, collector, body, status, reason):
    span = span_of(collector, traced.stepwise(provider, body, 3) if status == 200 else traced.chat(body))
    check_span(span)
    assert span["status"] == {"code": 2, "message": reason}
    told = attributes(span)
    assert told["http.response.status_code"] == status and told["error.type"] == reason


def test_a_client_that_leaves(traced, provider, collector):
    with traced.client() as client:
        client.ask("POST", CHAT, question(text="[[+stall_after=3]]", stream=True), read=False)
        head = client.read_head()
        client.until(b" two")
    told = attributes(span_of(collector, head))
    assert told["embergate.outcome"] == "client_left" and told["embergate.phase"] == "deliver"


@pytest.mark.parametrize("sample, headers, wanted", [
    (0, None, 0), (1, None, 40), (0, "01", 40), (1, "00", 0), (0.5, None, None)])
def test_samples(provider, sample, headers, wanted):
    """The client's word counts; where there is none, the share of the configuration."""
    with Collector() as collector:
        with Gateway(**config_for(provider, {"url": collector.url, "sample": sample})) as gateway:
            for number in range(40):
                answer = gateway.chat(headers=parent(f"00-{TRACE[:-2]}{number:02x}-{SPAN}-{headers}") if headers else ())
                assert gateway.wait_record(answer)["trace_id"] != "-"
            flags = [upstream(request)[2] for request in provider.chats()]
        spans = collector.spans()
        assert len(spans) == sum(flag == "01" for flag in flags), "what the backend was told"
        assert len(spans) == wanted if wanted is not None else 4 <= len(spans) <= 36, len(spans)


def test_every_request_is_one_span(provider):
    with Collector() as one:
        with Gateway(**config_for(provider, {"url": one.url}), workers=2) as gateway:
            with Swarm(gateway) as swarm:
                answers = swarm.answers(swarm.ask(1500, question()))
            now = settled(gateway, 1500, "spans", timeout=30)
            assert now["otlp"]["written"] == 1500 and now["otlp"]["dropped"] == 0
        ids = sorted(answer.header("x-request-id")[4:] for answer in answers)
        assert sorted(span["traceId"] for _, span in one.spans()) == ids
        assert max(len(json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"]) for body in one.bodies) <= 512


# --- a collector that does not collect --------------------------------------------------------------------------------

def quick(gateway, count=60):
    """What half of the requests take at most, in milliseconds; of ten at a time, the best ten."""
    times = []
    with gateway.client() as client:
        for _ in range(count):
            began = time.monotonic()
            assert client.ask("POST", CHAT, question()).status == 200
            times.append((time.monotonic() - began) * 1000)
    return min(statistics.median(times[at:at + 10]) for at in range(0, count, 10))


def test_nobody_is_there(provider):
    """Nothing slows down, and what is lost is counted."""
    with Gateway(**config_for(provider)) as plain, \
            Gateway(**config_for(provider, {"url": "http://127.0.0.1:1/v1/traces"})) as gateway:
        without, with_spans = quick(plain), quick(gateway)
        assert with_spans < without + 10, (with_spans, without)
        now = wait_sinks(gateway, lambda sinks: sinks.accepted == 60 and sinks["otlp"]["dropped"] == 60, "drops", "spans",
                         timeout=20)
        assert now["otlp"]["written"] == 0 and now["otlp"]["sink_up"] == 0
        assert gateway.wait_line("tracing: spans are dropped: .*onnect")
        assert len([line for line in gateway.lines if re.search("(?i)tracing|collector|otlp", line)]) == 1, gateway.lines


@pytest.mark.parametrize("status", [302, 400, 500, 503])
def test_it_refuses(provider, status):
    with Collector(status) as collector, Gateway(**config_for(provider, {"url": collector.url})) as gateway:
        quick(gateway, 10)
        now = wait_sinks(gateway, lambda sinks: sinks["otlp"]["dropped"] == 10, "drops", "spans", timeout=20)
        assert now.accepted == 10 and now["otlp"]["written"] == now["otlp"]["written_bytes"] == 0
        assert now["otlp"]["errors"] > 0
        assert gateway.wait_line(f"tracing: spans are dropped: the collector answered {status}")
        collector.status = 200
        answer = gateway.chat()
        wait_sinks(gateway, lambda sinks: sinks["otlp"]["written"] == 1, "the next one", "spans", timeout=20)
        assert collector.spans()[-1][1]["traceId"] == answer.header("x-request-id")[4:]


def test_it_hangs(provider):
    """What waits for it is bounded, the rest is counted; requests go on, and the end does not wait for it for long."""
    with Collector() as collector:
        collector.gate.clear()
        log = {"flush": "20ms", "buffer": "64k"}
        with Gateway(**config_for(provider, {"url": collector.url}, log=log)) as gateway:
            before = quick(gateway, 50)
            collector.wait(1)
            with Swarm(gateway) as swarm:
                answers = swarm.answers(swarm.ask(1500, question()))
            assert all(answer.status == 200 for answer in answers)
            assert quick(gateway, 50) < before + 10
            now = wait_sinks(gateway, lambda sinks: sinks.accepted == 1600, "all to be handed over", "spans")
            assert now["otlp"]["written"] == 0 and now["otlp"]["dropped"] > 100
            assert gateway.metric("spans_waiting_bytes") <= 128 * 1024
            began = time.monotonic()
            gateway.expect_end = True
            assert gateway.stop() == 0 and time.monotonic() - began < 15


def test_only_spans_and_no_lines(provider):
    with Collector() as collector:
        with Gateway(**config_for(provider, {"url": collector.url}, log={"sinks": []})) as gateway:
            answer = gateway.chat()
            span_of(collector, answer)
        assert gateway.records == []
