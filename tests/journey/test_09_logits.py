"""Next-token logits over each kind of server, in raw HTTP: the numbers, the requests made for them, the refusals."""

import pytest
import provider_model as model
from harness import Gateway, backend, question

EXACT = ["goodfire", "vllm", "llama-server", "sglang"]
BEST_ONLY = ["openai", "ollama"]
LOCAL = ["vllm", "llama-server", "sglang"]
PATHS = ["/v1/chat/logits", "/api/inference/v1/chat-attribution/compute-logits"]
MESSAGES = [{"role": "user", "content": "Hello"}]


def ask(house, kind, path=PATHS[0], **more):
    return house.ask(path, {"model": kind, "messages": MESSAGES, **more})


def wanted(text="Hello"):
    values = model.logits(model.template([{"role": "user", "content": text}]))
    return {model.detokenize([n]): v for n, v in values.items() if n != model.LEAD_BYTE}


def log_probabilities(text="Hello"):
    values = model.log_softmax(model.logits(model.template([{"role": "user", "content": text}])))
    return {model.detokenize([n]): v for n, v in values.items() if n != model.LEAD_BYTE}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", EXACT + BEST_ONLY)
def test_best(house, kind, path):
    answer = ask(house, kind, path, top_k=7)
    assert answer.status == 200, answer.body
    got = answer.json()["logits"]
    best = sorted(wanted().items(), key=lambda item: -item[1])[:7]
    assert list(got) == [text for text, _ in best] or set(got) == {text for text, _ in best}
    values = wanted() if kind == "goodfire" else log_probabilities()
    assert all(abs(got[text] - values[text]) < 1e-4 for text in got)


@pytest.mark.parametrize("kind", EXACT + BEST_ONLY)
def test_ten_when_nothing_is_said(house, kind):
    assert len(ask(house, kind).json()["logits"]) == 10


@pytest.mark.parametrize("kind", EXACT)
def test_listed_tokens(house, kind):
    every = [model.detokenize([n]) for n in model.VOCABULARY if n != model.LEAD_BYTE]
    got = ask(house, kind, filter_vocabulary=every, top_k=100).json()["logits"]
    values = wanted() if kind == "goodfire" else log_probabilities()
    assert set(got) == set(every)
    assert max(abs(got[text] - values[text]) for text in got) < 1e-3


@pytest.mark.parametrize("kind", LOCAL)
def test_listed_tokens_that_are_none(house, kind):
    got = ask(house, kind, filter_vocabulary=[" yes", "not one token", "\U0001f600"], top_k=10).json()["logits"]
    assert set(got) == {" yes"}


@pytest.mark.parametrize("kind", BEST_ONLY)
def test_listed_tokens_outside_the_best_twenty_are_unknown(house, kind):
    every = [model.detokenize([n]) for n in model.VOCABULARY if n != model.LEAD_BYTE]
    answer = ask(house, kind, filter_vocabulary=every, top_k=100)
    if answer.status == 200:
        best = {text for text, _ in sorted(wanted().items(), key=lambda item: -item[1])[:20]}
        assert set(answer.json()["logits"]) <= best
    else:
        assert answer.status == 400


@pytest.mark.parametrize("kind", LOCAL)
@pytest.mark.parametrize("text", ["Hello world", "yes? no!", "caf\u00e9 \u20ac", "data: \"\\", " " * 50])
def test_other_prompts(house, kind, text):
    got = house.ask(PATHS[0], {"model": kind, "messages": [{"role": "user", "content": text}], "top_k": 3,
                               "filter_vocabulary": ["A", "B", "<|eot_id|>"]}).json()["logits"]
    values = log_probabilities(text)
    assert set(got) == {"A", "B", "<|eot_id|>"} and all(abs(got[t] - values[t]) < 1e-3 for t in got)


def test_llama_server_is_asked_as_measured(house, providers):
    ask(house, "llama-server", top_k=5)
    paths = [one.path for one in providers["llama-server"].requests]
    assert "/apply-template" in paths and "/completion" in paths
    body = [one for one in providers["llama-server"].requests if one.path == "/completion"][0].json
    assert body["n_predict"] == 1 and body["temperature"] == 0 and body["n_probs"] >= 5


def test_vllm_lists_up_to_128_ids_at_a_time(house, providers):
    ask(house, "vllm", filter_vocabulary=[" yes", " no"])
    body = providers["vllm"].last().json
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 1 and body["temperature"] == 0
    assert set(body["logprob_token_ids"]) == {model.token_id(" yes"), model.token_id(" no")}


def test_goodfire_server_gets_the_question_as_it_is(house, providers):
    ask(house, "goodfire", PATHS[1], top_k=5, filter_vocabulary=["A"])
    seen = providers["goodfire"].requests[-1]
    assert seen.path == PATHS[1]
    assert seen.json["top_k"] == 5 and seen.json["filter_vocabulary"] == ["A"] and seen.json["model"] == "tiny"


@pytest.mark.parametrize("kind", LOCAL)
def test_trailing_assistant_message(house, kind):
    answer = house.ask(PATHS[0], {"model": kind, "messages": [*MESSAGES, {"role": "assistant", "content": "I"}]})
    assert answer.status in (200, 400)


@pytest.mark.parametrize("kind", EXACT + BEST_ONLY)
@pytest.mark.parametrize("status", [400, 401, 500, 503])
def test_server_says_no(house, providers, kind, status):
    providers[kind].always = {"status": str(status)}
    answer = ask(house, kind)
    assert answer.status in {400: (400,), 401: (502,), 500: (502, 503), 503: (503, 502)}[status]
    house.quiet()


@pytest.mark.parametrize("kind", LOCAL + BEST_ONLY)
@pytest.mark.parametrize("fault", ["+html", "+notjson", "+empty", "+drop", "+gzip", "+cl=5"])
def test_server_answers_nonsense(house, providers, kind, fault):
    from provider import parse_faults
    providers[kind].always = parse_faults(fault)
    answer = ask(house, kind)
    assert answer.status == 502 and answer.json()["error"]["type"] == "server_error"
    house.quiet()


def test_answer_without_logprobs_is_no_answer(house, providers):
    from provider_kinds import Reply
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "x"}, "logprobs": None, "finish_reason": "length"}]}
    providers["openai"].pages["/v1/chat/completions"] = Reply(body=body)
    assert ask(house, "openai").status in (400, 502)


def test_deadline_is_the_sdks(provider):
    """The Goodfire client waits 10 s: an answer, whatever it is, comes before."""
    one = backend("one", provider, timeouts={"total": "1s"})
    with Gateway(backends=[one], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
        provider.always = {"hang": ""}
        assert gateway.ask(PATHS[0], question()).status == 504
        assert provider.requests[-1].wait_ended()
