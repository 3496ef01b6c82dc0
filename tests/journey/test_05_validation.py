"""What is refused before a backend hears of it, in the exact words of each door (wire.md's tables)."""

import json

import pytest
from conftest import LLAMA_8B, LLAMA_70B
from harness import Gateway, backend, question

USER = {"role": "user", "content": "hi"}
BASE = {"model": "tiny", "messages": [USER]}


@pytest.fixture(scope="module")
def gateway(provider):
    models = [{"name": "tiny", "aliases": [LLAMA_8B, LLAMA_70B], "backends": ["one"]}]
    with Gateway(backends=[backend("one", provider)], models=models) as one:
        yield one


def refusal(gateway, provider, body):
    answer = gateway.ask("/v1/chat/completions", body)
    assert provider.chats() == [], "nothing of a refused question reaches the backend"
    assert answer.header("x-should-retry") == "false"
    assert answer.header("content-type").startswith("application/json")
    error = answer.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["type"] == "invalid_request_error"
    return answer.status, error["param"], error["code"], error["message"]


# --- the OpenAI door --------------------------------------------------------------------------------------------

LARGE = "Invalid '{0}': integer above maximum value. Expected a value <= {1}, but got {2} instead."
SMALL = "Invalid '{0}': integer below minimum value. Expected a value >= {1}, but got {2} instead."
HIGH = "Invalid '{0}': decimal above maximum value. Expected a value <= {1}, but got {2} instead."
LOW = "Invalid '{0}': decimal below minimum value. Expected a value >= {1}, but got {2} instead."

EXACT = [
    ({"n": 130}, "n", "integer_above_max_value", LARGE.format("n", 128, 130)),
    ({"n": 0}, "n", "integer_below_min_value", SMALL.format("n", 1, 0)),
    ({"max_tokens": -678}, "max_tokens", "integer_below_min_value", SMALL.format("max_tokens", 1, -678)),
    ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value",
     SMALL.format("max_completion_tokens", 1, 0)),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "integer_above_max_value",
     LARGE.format("top_logprobs", 20, 21)),
    ({"temperature": 3}, "temperature", "decimal_above_max_value", HIGH.format("temperature", 2, 3)),
    ({"temperature": -1}, "temperature", "decimal_below_min_value", LOW.format("temperature", 0, -1)),
    ({"top_p": 2}, "top_p", "decimal_above_max_value", HIGH.format("top_p", 1, 2)),
    ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value", LOW.format("presence_penalty", -2, -3)),
    ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value", HIGH.format("frequency_penalty", 2, 3)),
    ({"max_tokens": "12"}, "max_tokens", "invalid_type",
     "Invalid type for 'max_tokens': expected an integer, but got a string instead."),
    ({"messages": []}, "messages", "empty_array",
     "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."),
    ({"tools": [{"type": "function", "function": {"name": "f"}}] * 325}, "tools", "array_above_max_length",
     "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 325 "
     "instead."),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length",
     "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 instead."),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "invalid_value",
     "Invalid value: 'wizard'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and "
     "'developer'."),
]


@pytest.mark.parametrize("change, param, code, message", EXACT, ids=lambda value: str(value)[:40])
def test_openai_wording(gateway, provider, change, param, code, message):
    assert refusal(gateway, provider, {**BASE, **change}) == (400, param, code, message)


@pytest.mark.parametrize("missing", ["messages", "model"])
def test_missing_field(gateway, provider, missing):
    body = {name: value for name, value in BASE.items() if name != missing}
    assert refusal(gateway, provider, body) == (400, missing, "missing_required_parameter",
                                                f"Missing required parameter: '{missing}'.")


def test_null_model_is_missing_or_a_wrong_type(gateway, provider):
    status, param, code, _ = refusal(gateway, provider, {**BASE, "model": None})
    assert (status, param) == (400, "model") and code in ("missing_required_parameter", "invalid_type")


@pytest.mark.parametrize("change, param", [
    ({"temperature": "hot"}, "temperature"), ({"temperature": True}, "temperature"), ({"stream": "yes"}, "stream"),
    ({"messages": "hello"}, "messages"), ({"messages": {"0": USER}}, "messages"), ({"model": 7}, "model"),
    ({"n": 1.5}, "n"), ({"stop": 5}, "stop"),
    ({"logit_bias": [1]}, "logit_bias"), ({"tools": {}}, "tools"), ({"seed": "x"}, "seed"),
    ({"logprobs": 3}, "logprobs"), ({"stream_options": True, "stream": True}, "stream_options"),
    ({"messages": [5]}, "messages[0]"), ({"messages": [{"role": 5, "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [USER, {"role": "user", "content": [5]}]}, "messages[1].content[0]"),
])
def test_wrong_types(gateway, provider, change, param):
    status, got, code, message = refusal(gateway, provider, {**BASE, **change})
    assert (status, got, code) == (400, param, "invalid_type")
    assert message.startswith(f"Invalid type for '{param}': expected ")


def test_stream_options_need_stream(gateway, provider):
    status, param, code, message = refusal(gateway, provider, {**BASE, "stream_options": {"include_usage": True}})
    assert (status, param, code) == (400, "stream_options", None) and "stream" in message


def test_top_logprobs_need_logprobs(gateway, provider):
    status, param, code, message = refusal(gateway, provider, {**BASE, "top_logprobs": 3})
    assert (status, param, code) == (400, "top_logprobs", None) and "logprobs" in message


def test_unknown_model(gateway, provider):
    assert refusal(gateway, provider, {**BASE, "model": "x"}) == (
        404, None, "model_not_found", "The model `x` does not exist or you do not have access to it.")


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b'{"model":"tiny",}', b"\xef\xbb\xbf{}", b'{"a":1}{"b":2}',
                                  b'{"model": nul}', b"{'model': 'tiny'}", b'{"model":"tiny" /* c */}'])
def test_not_json(gateway, provider, body):
    status, param, code, message = refusal(gateway, provider, body)
    assert (status, param, code) == (400, None, None)
    assert message.startswith("We could not parse the JSON body of your request.")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true", b"[{}]"])
def test_not_an_object(gateway, provider, body):
    assert refusal(gateway, provider, body)[0] == 400


@pytest.mark.parametrize("body", [
    b'{"model":"tiny","model":"other","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"tiny","stream":false,"stream":true,"messages":[{"role":"user","content":"x"}]}',
    b'{"model":"tiny","mod\\u0065l":"other","messages":[{"role":"user","content":"x"}]}',
    b'{"model":"tiny","max_tokens":1,"max_tokens":100000,"messages":[{"role":"user","content":"x"}]}',
    b'{"model":"tiny","messages":[{"role":"user","role":"system","content":"x"}]}',
])
def test_duplicate_members(gateway, provider, body):
    assert refusal(gateway, provider, body)[0] == 400


@pytest.mark.parametrize("text", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x00",
                                  b"\x1f"])
def test_bytes_that_are_no_text(gateway, provider, text):
    body = b'{"model":"tiny","messages":[{"role":"user","content":"%s"}]}' % text
    assert refusal(gateway, provider, body)[0] == 400


@pytest.mark.parametrize("body", [
    b'{"mod\\u0000el":1,"model":"tiny","messages":[]}',
    b'{"model":"ti\\u0000ny","messages":[{"role":"user","content":"x"}]}',
])
def test_nul_escapes_in_names(gateway, provider, body):
    assert refusal(gateway, provider, body)[0] in (400, 404)


def test_lone_surrogate_is_refused(gateway, provider):
    body = b'{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}'
    assert refusal(gateway, provider, body)[0] == 400


def test_deep_nesting(gateway, provider):
    for depth in (70, 1000, 300000):
        body = b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"x":' + b"[" * depth + b"]" * depth + b"}"
        assert refusal(gateway, provider, body)[0] == 400


def test_depth_in_bounds_is_fine(gateway, provider):
    body = b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"x":' + b"[" * 40 + b"]" * 40 + b"}"
    assert gateway.ask("/v1/chat/completions", body).status == 200


def test_wide_object(gateway, provider):
    body = json.dumps({**BASE, "x": [0] * 2_000_000}).encode()
    assert gateway.ask("/v1/chat/completions", body).status == 400
    assert provider.chats() == []


def test_huge_numbers(gateway, provider):
    for number in (b"1e999", b"9" * 400, b"-9223372036854775809"):
        body = b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":%s}' % number
        assert refusal(gateway, provider, body)[1] == "max_tokens"


def test_wrong_content_type_is_no_obstacle_or_a_clear_refusal(gateway, provider):
    with gateway.client() as client:
        body = json.dumps(BASE).encode()
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert client.read_answer().status in (200, 415)


# --- the Goodfire door --------------------------------------------------------------------------------------------

EITHER = f"'{LLAMA_8B}' or '{LLAMA_70B}'"
ROLES = "'assistant', 'system' or 'user'"

PYDANTIC = [
    ({"top_p": 1.1}, ["body", "top_p"], "less_than_equal", "Input should be less than or equal to 1", 1.1, {"le": 1.0}),
    ({"top_p": -0.5}, ["body", "top_p"], "greater_than_equal", "Input should be greater than or equal to 0", -0.5,
     {"ge": 0.0}),
    ({"temperature": 2.5}, ["body", "temperature"], "less_than_equal", "Input should be less than or equal to 2", 2.5,
     {"le": 2.0}),
    ({"temperature": -1}, ["body", "temperature"], "greater_than_equal",
     "Input should be greater than or equal to 0", -1, {"ge": 0.0}),
    ({"max_completion_tokens": "many"}, ["body", "max_completion_tokens"], "int_parsing",
     "Input should be a valid integer, unable to parse string as an integer", "many", None),
    ({"max_completion_tokens": 1.5}, ["body", "max_completion_tokens"], "int_from_float",
     "Input should be a valid integer, got a number with a fractional part", 1.5, None),
    ({"messages": [{"role": "wizard", "content": "x"}]}, ["body", "messages", 0, "role"], "literal_error",
     f"Input should be {ROLES}", "wizard", {"expected": ROLES}),
]


def details(gateway, provider, body, path="/api/inference/v1/chat/completions"):
    answer = gateway.ask(path, body)
    assert provider.chats() == []
    assert answer.status == 422 and answer.header("content-type").startswith("application/json")
    assert b"\\/" not in answer.body, "slashes are not escaped"
    return answer.json()["detail"]


@pytest.mark.parametrize("change, place, kind, message, value, context", PYDANTIC, ids=lambda value: str(value)[:40])
def test_goodfire_wording(gateway, provider, change, place, kind, message, value, context):
    detail, = details(gateway, provider, {**BASE, **change})
    wanted = {"type": kind, "loc": place, "msg": message, "input": value}
    assert detail == ({**wanted, "ctx": context} if context else wanted)


def test_goodfire_limits_are_floats_in_the_text(gateway):
    answer = gateway.goodfire({**BASE, "top_p": 1.1})
    # What follows is for OpenAI SDKs that are pointed at this door.
    assert answer.body.startswith(
        b'{"detail":[{"type":"less_than_equal","loc":["body","top_p"],"msg":"Input should be less than or equal to 1",'
        b'"input":1.1,"ctx":{"le":1.0}}]')
    assert set(answer.json()) <= {"detail", "error"}


def test_goodfire_too_many_messages(gateway, provider):
    detail, = details(gateway, provider, {**BASE, "messages": [USER] * 130})
    assert (detail["type"], detail["loc"]) == ("too_long", ["body", "messages"])
    assert detail["msg"] == "List should have at most 128 items after validation, not 130"
    assert detail["ctx"] == {"field_type": "List", "max_length": 128, "actual_length": 130}


def test_goodfire_no_message(gateway, provider):
    detail, = details(gateway, provider, {**BASE, "messages": []})
    assert detail["type"] == "too_short"
    assert detail["msg"] == "List should have at least 1 item after validation, not 0"
    assert detail["ctx"] == {"field_type": "List", "min_length": 1, "actual_length": 0}


@pytest.mark.parametrize("missing", ["messages", "model"])
def test_goodfire_missing(gateway, provider, missing):
    detail, = details(gateway, provider, {name: value for name, value in BASE.items() if name != missing})
    assert (detail["type"], detail["loc"], detail["msg"]) == ("missing", ["body", missing], "Field required")


def test_goodfire_model(gateway, provider):
    detail, = details(gateway, provider, {**BASE, "model": "nobody"})
    assert (detail["type"], detail["loc"], detail["input"]) == ("literal_error", ["body", "model"], "nobody")
    assert detail["msg"].startswith("Input should be ") and EITHER.split(" or ")[0] in detail["msg"]


def test_goodfire_model_wording_with_goodfires_two(provider):
    models = [{"name": LLAMA_8B, "backends": ["one"]}, {"name": LLAMA_70B, "backends": ["one"]}]
    with Gateway(backends=[backend("one", provider)], models=models) as gateway:
        detail, = details(gateway, provider, {**BASE, "model": "nobody"})
        assert detail == {"type": "literal_error", "loc": ["body", "model"], "msg": f"Input should be {EITHER}",
                          "input": "nobody", "ctx": {"expected": EITHER}}


def test_goodfire_several_at_once_names_at_least_the_first(gateway, provider):
    assert {tuple(one["loc"]) for one in details(gateway, provider, {**BASE, "top_p": 2, "temperature": 5})} & {
        ("body", "top_p"), ("body", "temperature")}


@pytest.mark.parametrize("path", ["/api/inference/v1/chat/completions",
                                  "/api/inference/v1/chat-attribution/compute-logits"])
@pytest.mark.parametrize("body", [b"{", b"", b"[1]"])
def test_goodfire_not_json(gateway, provider, path, body):
    assert gateway.ask(path, body).status == 422


@pytest.mark.parametrize("change", [{"top_k": 0}, {"top_k": "x"}, {"messages": []}, {"filter_vocabulary": "A"},
                                    {"filter_vocabulary": [5]}, {"model": "nobody"}])
def test_goodfire_logits_refusals(gateway, provider, change):
    detail = details(gateway, provider, {**BASE, **change}, "/api/inference/v1/chat-attribution/compute-logits")
    assert detail and next(iter(change)) in str(detail[0]["loc"])


@pytest.mark.parametrize("controller, place", [
    ({"interventions": 5, "scopes": []}, "interventions"),
    ({"interventions": [{"mode": "shout", "features": {"features": []}, "value": 1}], "scopes": []}, "mode"),
    ({"interventions": [{"mode": "nudge", "features": {"features": []}, "value": "x"}], "scopes": []}, "value"),
    ("text", "controller"),
])
def test_controller_that_is_none(gateway, provider, controller, place):
    detail = details(gateway, provider, {**BASE, "controller": controller})
    assert place in json.dumps(detail)


def test_question_helper_is_valid(gateway):
    assert gateway.ask("/v1/chat/completions", question("tiny")).status == 200
