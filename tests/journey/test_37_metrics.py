"""What a scrape reads: text that Prometheus' own linter finds nothing to say about, and numbers that are those of the
requests that were made."""

import math
import os
import re
import subprocess
import time

import pytest
from admit_world import Key, entries, limited
from harness import Gateway, backend, question
from memory_world import mirrored, one_model, seeded, until

PROMTOOL = os.environ.get("EMBERGATE_PROMTOOL")
ODD = 'a"b\\c{d="e"},\u00e9'
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"')


# --- reading --------------------------------------------------------------------------------------------------------

def unescape(text):
    return re.sub(r"\\(.)", lambda match: "\n" if match.group(1) == "n" else match.group(1), text)


class Page:
    """A scrape, read strictly: each family has one head, all its samples follow it, no sample is told twice."""

    def __init__(self, text):
        self.text, self.kinds, self.samples = text, {}, {}
        assert text.endswith("\n")
        family, helped = None, set()
        for line in text.split("\n")[:-1]:
            if line.startswith("# HELP "):
                family = line.split(" ")[2]
                assert family not in helped and line.split(" ", 3)[3], line
                helped.add(family)
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name == family and name not in self.kinds, line
                self.kinds[name] = kind
            else:
                self.sample(line, family)

    def sample(self, line, family):
        match = SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        ends = ("_bucket", "_sum", "_count") if self.kinds[family] == "histogram" else ("",)
        assert name in [family + end for end in ends], (line, family)
        key = (name, frozenset((label, unescape(text)) for label, text in LABEL.findall(labels or "")))
        assert key not in self.samples, f"twice: {line}"
        self.samples[key] = float(value)

    def all(self, name, /, **labels):
        """{labels: value} of the samples of NAME that have these LABELS."""
        wanted = set(labels.items())
        return {key[1]: value for key, value in self.samples.items() if key[0] == name and wanted <= key[1]}

    def sum(self, name, /, **labels):
        return sum(self.all(name, **labels).values())

    def one(self, name, /, **labels):
        found = self.all(name, **labels)
        assert len(found) == 1, (name, labels, found)
        return next(iter(found.values()))

    def check_histograms(self):
        for name in [name for name, kind in self.kinds.items() if kind == "histogram"]:
            for labels, count in self.all(name + "_count").items():
                buckets = sorted((float(dict(key)["le"]), value) for key, value in self.all(name + "_bucket").items()
                                 if {pair for pair in key if pair[0] != "le"} == labels)
                assert buckets[-1] == (math.inf, count), (name, labels, buckets)
                assert [value for _, value in buckets] == sorted(value for _, value in buckets), (name, labels)


def scrape(gateway):
    answer = gateway.ask("/metrics", address=gateway.admin)
    assert answer.status == 200 and answer.complete
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    return Page(answer.body.decode())


def ended(gateway, count):
    """The page once COUNT requests are on it."""
    end = time.monotonic() + 10
    while True:
        page = scrape(gateway)
        if page.sum("embergate_requests_total", dialect="openai") >= count:
            return page
        assert time.monotonic() < end, page.all("embergate_requests_total")
        time.sleep(0.01)


def plain(provider, **more):
    return Gateway(backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"]}], **more)


# --- form -----------------------------------------------------------------------------------------------------------

def everything(provider):
    """A gateway that has all there is to tell of, and was asked a little of each."""
    key = Key("alice", team="red", quota={"tokens_per_day": "1m"})
    quota = {"requests_per_minute": 1000, "money_per_day": 5, "concurrent": 9}
    gateway = Gateway(**limited(provider, quota, model={"aliases": [ODD], "quota": quota,
                                                        "price": {"input": 1, "output": 2}},
                                place={"quota": quota}, keys=entries(key), teams=[{"name": "red", "quota": quota}],
                                workers=2, cache={"when": "repeatable"}, log={"sinks": [
                                    {"kind": "stdout"}, {"kind": "file", "path": "requests.log"}]}))
    body = seeded()
    for asked in (body, body, question(stream=True), question(ODD), question("nobody")):
        gateway.chat(asked, headers=key.head)
    gateway.goodfire(headers=key.head)
    return gateway


@pytest.mark.skipif(not PROMTOOL, reason="EMBERGATE_PROMTOOL is not set")
def test_promtool_has_nothing_to_say(provider):
    with everything(provider) as gateway:
        page = ended(gateway, 5)
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=page.text, capture_output=True, text=True,
                              timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr


def test_the_page_is_well_formed(provider):
    with everything(provider) as gateway:
        page = ended(gateway, 5)
        page.check_histograms()
        assert all(kind in ("counter", "gauge", "histogram") for kind in page.kinds.values())
        assert all(name.endswith("_total") == (kind == "counter") for name, kind in page.kinds.items())
        assert page.one("embergate_ready") == 1 and page.one("embergate_build_info") == 1
        assert all(page.samples[key] >= 0 for key in page.samples)


def test_a_fresh_gateway(provider):
    with plain(provider) as gateway:
        page = scrape(gateway)
        page.check_histograms()
        assert page.sum("embergate_requests_total", model="tiny") == 0
        assert page.kinds["gen_ai_server_request_duration_seconds"] == "histogram"


def test_head(provider):
    with plain(provider) as gateway:
        answer = gateway.ask("/metrics", address=gateway.admin, method="HEAD")
        assert answer.status == 200 and answer.complete and answer.body == b""
        assert int(answer.header("content-length")) > 1000
        assert gateway.ask("/metrics", {}, address=gateway.admin).status == 405
        assert gateway.ask("/metrics").status == 404, "only the administration tells"


# --- requests -------------------------------------------------------------------------------------------------------

def test_requests_by_what_became_of_them(provider):
    with Gateway(**one_model(provider, workers=2)) as gateway:
        body = seeded()
        for asked in (body, body, body, question(), question(stream=True), question("nobody")):
            gateway.chat(asked)
        gateway.ask("/v1/models")
        page = ended(gateway, 7)
        assert page.sum("embergate_requests_total", model="tiny", status="200", outcome="ok") == 5
        assert page.sum("embergate_requests_total", model="tiny", cache="hit") == 2
        assert page.sum("embergate_requests_total", status="404", outcome="refused", model="") == 1
        assert page.sum("embergate_requests_total", dialect="openai") == 7
        assert '"nobody"' not in page.text, "what a client types is no label"


def test_an_upstream_fault(provider):
    with plain(provider) as gateway:
        gateway.chat(question(text="[[+status=500]]"))
        page = ended(gateway, 1)
        assert page.sum("embergate_requests_total", model="tiny", outcome="ok") == 0
        assert page.sum("embergate_requests_total", model="tiny") == 1


def test_a_model_with_an_odd_name(provider):
    models = [{"name": ODD, "backends": ["one"], "upstream": "tiny"}]
    with Gateway(backends=[backend("one", provider)], models=models) as gateway:
        assert gateway.chat(question(ODD)).status == 200
        page = ended(gateway, 1)
        assert page.sum("embergate_requests_total", model=ODD) == 1
        assert page.one("gen_ai_server_request_duration_seconds_count", gen_ai_request_model=ODD) == 1


def test_names_that_nobody_knows_are_no_labels(provider):
    with plain(provider) as gateway:
        before = len(scrape(gateway).all("embergate_requests_total"))
        for number in range(50):
            gateway.chat(question(f"unknown-{number}"))
        page = ended(gateway, 50)
        assert len(page.all("embergate_requests_total")) <= before + 2
        assert "unknown-" not in page.text


# --- histograms -----------------------------------------------------------------------------------------------------

def test_a_stream_in_histograms(provider):
    with plain(provider) as gateway:
        began = time.monotonic()
        provider.hold(at=1)
        with gateway.client() as client:
            client.ask("POST", "/v1/chat/completions", question(text="[[+tokens=5]]", stream=True,
                                                                stream_options={"include_usage": True}), read=False)
            answer = client.read_head()
            for number in range(2, 6):
                while answer.body.count(b"data: ") < number - 1:
                    answer.body += client.read_chunk().data
                time.sleep(0.06)        # the measured gap
                provider.move(number)
            provider.release()
            client.read_body(answer)
        assert answer.status == 200 and answer.complete
        page = ended(gateway, 1)
        seconds = time.monotonic() - began      # it may end a little after its client has it all
        model = {"gen_ai_request_model": "tiny"}
        assert page.one("gen_ai_server_request_duration_seconds_count", **model) == 1
        assert 0.2 < page.one("gen_ai_server_request_duration_seconds_sum", **model) <= seconds
        assert page.one("gen_ai_server_time_to_first_token_seconds_count", **model) == 1
        gaps = page.one("gen_ai_server_time_per_output_token_seconds_count", **model)
        assert gaps >= 4
        assert page.one("gen_ai_server_time_per_output_token_seconds_bucket", le="0.025", **model) <= gaps - 4
        assert page.one("embergate_overhead_seconds_count", model="tiny") == 1
        usage = [part["usage"] for part in answer.objects() if part.get("usage")][-1]
        for kind, count in (("input", usage["prompt_tokens"]), ("output", usage["completion_tokens"])):
            assert page.one("gen_ai_client_token_usage_sum", gen_ai_token_type=kind, **model) == count
            assert page.one("gen_ai_client_token_usage_count", gen_ai_token_type=kind, **model) == 1


def test_what_the_provider_takes_is_no_overhead(provider):
    with plain(provider) as gateway:
        def overhead(requests):
            return ended(gateway, requests).one("embergate_overhead_seconds_sum", model="tiny")

        def little():
            asked = len(provider.chats())
            before = overhead(asked) if asked else 0
            assert gateway.chat(question(text="[[+ttfb=300]]", stream=True)).status == 200
            return overhead(asked + 1) - before < 0.15

        until(little, "little overhead")


def test_what_it_cost(provider):
    models = [{"name": "tiny", "backends": ["one"], "price": {"input": 1000000, "output": 2000000}}]
    with Gateway(backends=[backend("one", provider)], models=models) as gateway:
        usage = gateway.chat().json()["usage"]
        page = ended(gateway, 1)
        assert page.one("embergate_cost_total", model="tiny") == pytest.approx(
            usage["prompt_tokens"] + 2 * usage["completion_tokens"])


# --- backends, limits, log, process -----------------------------------------------------------------------------------

def test_backends(provider):
    backends = [backend("one", provider), {"name": "gone", "kind": "openai", "url": "http://127.0.0.1:9"}]
    models = [{"name": "tiny", "backends": ["one"]}, {"name": "lost", "backends": ["gone"], "upstream": "tiny"}]
    with Gateway(backends=backends, models=models) as gateway:
        assert gateway.chat().status == 200
        assert gateway.chat(question("lost")).status >= 500
        page = ended(gateway, 2)
        assert page.one("embergate_backend_calls_total", backend="one", outcome="ok") == 1
        assert page.one("embergate_backend_calls_total", backend="gone", outcome="failed") >= 1
        assert page.one("embergate_backend_first_byte_seconds_count", backend="one") == 1
        end = time.monotonic() + 10
        while page.sum("embergate_backend_state", backend="one", state="good") != 1 \
                or page.sum("embergate_backend_state", backend="gone", state="good") != 0:
            assert time.monotonic() < end, page.all("embergate_backend_state")
            gateway.chat(question("lost"))
            page = scrape(gateway)


def test_limits(provider):
    key = Key("alice", team="red", quota={"tokens_per_day": "1m"})
    config = limited(provider, {"requests_per_minute": 1000}, model={"quota": {"money_per_day": 5, "concurrent": 9}, "price": {"input": 1}},
                     keys=entries(key), teams=[{"name": "red", "quota": {"tokens_per_day": "2m"}}])
    with Gateway(**config) as gateway:
        cost = gateway.chat(headers=key.head).json()["usage"]["total_tokens"]
        page = ended(gateway, 1)
        assert page.one("embergate_limit_most", scope="gateway", limit="requests_per_minute") == 1000
        assert page.one("embergate_limit_used", scope="gateway", limit="requests_per_minute") == 1
        assert page.one("embergate_limit_used", scope="team", name="red", limit="tokens_per_day") == cost
        assert page.one("embergate_limit_most", scope="model", name="tiny", limit="money_per_day") == 5
        assert page.one("embergate_limit_used", scope="model", name="tiny", limit="concurrent") == 0
        assert not page.all("embergate_limit_used", scope="key"), "keys may be many: /usage tells of them"
        assert "alice" not in page.text and key.text not in page.text


def test_the_log_is_counted_without_a_gap(provider):
    with everything(provider) as gateway:
        end = time.monotonic() + 10
        while True:
            page = scrape(gateway)
            accepted = page.one("embergate_log_accepted_total")
            written = page.all("embergate_log_written_total")
            if accepted >= 6 and all(value == accepted for value in written.values()):
                break
            assert time.monotonic() < end, (accepted, written)
            time.sleep(0.02)
        assert {dict(key)["sink"] for key in written} == {"stdout", "file"}
        for sink in ("stdout", "file"):
            assert page.one("embergate_log_dropped_total", sink=sink) == 0
            assert page.one("embergate_log_waiting", sink=sink) == 0
            assert page.one("embergate_log_sink_up", sink=sink) == 1
        assert not page.all("embergate_spans_accepted_total")


def test_the_process(provider):
    before = time.time()
    with plain(provider) as gateway:
        page = scrape(gateway)
        with open(f"/proc/{gateway.process.pid}/status", encoding="ascii") as file:
            resident = int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) * 1024
        assert page.one("process_resident_memory_bytes") == pytest.approx(resident, rel=0.2)
        assert page.one("process_virtual_memory_bytes") > page.one("process_resident_memory_bytes")
        assert before - 2 <= page.one("process_start_time_seconds") <= time.time() + 1
        assert 0 < page.one("process_open_fds") < page.one("process_max_fds")
        clients = [gateway.client() for _ in range(20)]
        gateway.wait("connections", 20)
        assert scrape(gateway).one("process_open_fds") >= page.one("process_open_fds") + 20
        assert len(clients) == 20 and page.one("process_cpu_seconds_total") < 60


def test_scrapes_while_it_works(provider):
    """Counters never fall, whoever writes them meanwhile."""
    with Gateway(**one_model(provider, workers=2)) as gateway:
        before = {}
        for _ in range(20):
            gateway.chat(seeded(mirrored()))
            page = scrape(gateway)
            page.check_histograms()
            now = {key: value for key, value in page.samples.items() if key[0].endswith(("_total", "_count", "_bucket"))}
            assert all(now.get(key, 0) >= value for key, value in before.items())
            before = now
