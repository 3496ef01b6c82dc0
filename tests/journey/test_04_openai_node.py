"""The OpenAI SDK for JavaScript (sdk_node.mjs), against the echo and each kind of server."""

import json
import os
import shutil
import subprocess

import pytest
from harness import HERE, question

CACHE = os.environ.get("EMBERGATE_TEST_CACHE") or os.path.expanduser("~/.cache/embergate-tests")
MODULES = os.environ.get("EMBERGATE_NODE_MODULES") or os.path.join(CACHE, "node", "node_modules")
KINDS = ["openai", "vllm", "llama-server", "sglang", "ollama", "goodfire"]
WORDS = "One two three four five"

pytestmark = pytest.mark.skipif(not shutil.which("node") or not os.path.isdir(os.path.join(MODULES, "openai")),
                                reason="node or the openai package is not installed")


def run(cases):
    done = subprocess.run(["node", os.path.join(HERE, "sdk_node.mjs")], input=json.dumps(cases), text=True,
                          capture_output=True, timeout=120, check=False,
                          env={**os.environ, "EMBERGATE_NODE_MODULES": MODULES})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def case(house, name, model, text="Hello", path="/v1", options=None, leave=None, **params):
    return {"name": name, "base": house.url + path, "params": question(model, text, **params),
            "options": options or {}, "leave": leave}


@pytest.fixture(scope="module")
def results(house, providers):
    """One run of node for all cases: starting it is the slow part."""
    cases = [{"name": "models", "base": house.url + "/v1", "models": True}]
    for kind in KINDS:
        cases += [case(house, f"{kind} whole", kind), case(house, f"{kind} stream", kind, stream=True)]
    cases += [case(house, "echo whole", "echo"), case(house, "echo stream", "echo", stream=True),
              case(house, "usage", "openai", stream=True, stream_options={"include_usage": True}),
              case(house, "goodfire path", "vllm", path="/api/inference/v1", stream=True),
              case(house, "unknown", "nobody"), case(house, "invalid", "openai", temperature=3),
              case(house, "leave", "openai", "[[+stall_after=3]]", stream=True, leave=1)]
    for status in (400, 401, 429, 500, 503):
        cases.append(case(house, f"status {status}", "vllm", f"[[+status={status}]]"))
    for fault in ("errorevent", "namederror", "errortext", "flaterror", "errorline", "rst_after", "eof_after",
                  "end_after", "halfevent", "badjson"):
        cases.append(case(house, fault, "openai", f"[[+{fault}=3+gap=50]]", stream=True))
    for quirk in ("crlf", "cr", "bom", "comments", "id", "retry", "event", "multiline", "nospace", "emptydata",
                  "slice=1", "onewrite", "nodone", "noblank", "afterdone"):
        cases.append(case(house, quirk, "openai", f"[[+{quirk}]]", stream=True))
    return run(cases)


@pytest.mark.parametrize("kind", KINDS)
def test_whole(results, kind):
    got = results[f"{kind} whole"]
    assert (got["text"], got["finish"]) == (WORDS, "stop") and got["request"].startswith("req_")


@pytest.mark.parametrize("kind", KINDS)
def test_stream(results, kind):
    got = results[f"{kind} stream"]
    assert (got["text"], got["finish"], got["usage"]) == (WORDS, "stop", None)


def test_echo(results):
    assert "Hello" in results["echo whole"]["text"]
    assert results["echo stream"]["text"] == results["echo whole"]["text"]


def test_usage(results):
    assert results["usage"]["usage"]["total_tokens"] == 12 and results["usage"]["text"] == WORDS


def test_goodfire_path(results):
    assert (results["goodfire path"]["text"], results["goodfire path"]["finish"]) == (WORDS, "stop")


def test_models(results):
    assert {"echo", *KINDS} <= set(results["models"]["names"])


@pytest.mark.parametrize("name, error, status, code", [
    ("unknown", "NotFoundError", 404, "model_not_found"),
    ("invalid", "BadRequestError", 400, "decimal_above_max_value"),
    ("status 400", "BadRequestError", 400, None),
    ("status 401", "InternalServerError", 502, "upstream_auth"),
    ("status 429", "RateLimitError", 429, "rate_limit_exceeded"),
    ("status 500", "InternalServerError", 502, "upstream_error"),
])
def test_errors(results, name, error, status, code):
    got = results[name]["error"]
    assert (got["name"], got["status"]) == (error, status) and got["request"].startswith("req_")
    assert code is None or got["code"] == code


@pytest.mark.parametrize("fault", ["errorevent", "namederror", "errortext", "flaterror", "errorline"])
def test_error_in_a_stream(results, fault):
    got = results[fault]
    assert got["text"] == "One two"
    assert got["error"]["name"] == "APIError" and "the engine died" in got["error"]["message"]


@pytest.mark.parametrize("fault", ["rst_after", "eof_after", "end_after", "halfevent", "badjson"])
def test_cut_streams_are_never_silent(results, fault):
    assert results[fault]["error"]["name"] == "APIError", results[fault]


@pytest.mark.parametrize("quirk", ["crlf", "cr", "bom", "comments", "id", "retry", "event", "multiline", "nospace",
                                   "emptydata", "slice=1", "onewrite", "nodone", "noblank", "afterdone"])
def test_quirks_of_servers_do_not_reach_the_client(results, quirk):
    got = results[quirk]
    assert (got["text"], got["finish"], got.get("error")) == (WORDS, "stop", None)


def test_leaving_a_stream_early_ends_the_call(results, house):
    assert results["leave"]["chunks"] == 1
    house.wait("calls", 0)


def test_connection_is_reused_after_a_stream(house):
    """Only because [DONE] and the last chunk come in one write."""
    before = house.metric("connections_total")
    run([case(house, "warm", "echo")] * 1)
    cases = [case(house, str(number), "echo", stream=True) for number in range(5)]
    started = house.metric("connections_total")
    run(cases)
    # One client per case is made by the script, but node's fetch shares its pool.
    assert house.metric("connections_total") - started <= 3, before
