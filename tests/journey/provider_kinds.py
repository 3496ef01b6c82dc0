"""The shapes of each kind of server (openai, vllm, llama-server, sglang, ollama, goodfire): answers, streams, errors,
model lists and helper paths. No I/O here: a request becomes a `Reply`.
"""

import json
import re
from dataclasses import dataclass, field

import provider_model as model

KINDS = ("openai", "vllm", "llama-server", "sglang", "ollama", "goodfire")
WORDS = ["One", " two", " three", " four", " five"]
CREATED = 1700000000
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
GOODFIRE = "/api/inference/v1"


@dataclass
class Reply:
    """What to answer: a JSON body, or the events of a stream (each a dict, or text that goes after `data: `)."""
    status: int = 200
    body: object = None
    events: list = None
    tokens: int = 0                 # how many of the events are content
    headers: list = field(default_factory=list)


def words_of(faults, request):
    if "text" in faults:
        return [faults["text"].replace("_", " ")]
    words, count = WORDS, int(faults.get("tokens", len(WORDS)))
    if "mirror" in faults:
        words = re.findall(r"\s*\S+", re.sub(r"\[\[.*?\]\]", "", model.text_of(request["messages"][-1])).rstrip())
        count = int(faults.get("tokens", 0)) + len(words)
    return [words[i] if i < len(words) else f" w{i}" for i in range(count)]


# --- errors ---------------------------------------------------------------------------------------------------------

def error_object(kind, status, message="the provider says no"):
    """The object a server of KIND sends with STATUS."""
    name = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error",
            429: "rate_limit_error", 503: "unavailable_error"}.get(status, "server_error")
    if kind == "llama-server":
        return {"error": {"code": status, "message": message, "type": name}}
    if kind == "vllm":
        return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}
    if kind == "sglang":
        return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": status}
    if kind == "ollama":
        return {"error": {"message": message, "type": name, "param": None, "code": None}}
    if kind == "goodfire":
        if status == 422:
            return {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": message, "input": {}}]}
        return {"detail": message}
    return {"error": {"message": message, "type": name, "param": None, "code": None}}


# --- chat completions -------------------------------------------------------------------------------------------

def chat(kind, request, faults, number):
    """Answer POST /v1/chat/completions (or Goodfire's path). REQUEST is the parsed body."""
    if kind == "goodfire":
        return chat_goodfire(request, faults)
    limit = request.get("max_tokens", request.get("max_completion_tokens"))
    if limit == 1 and (request.get("logprobs") or request.get("return_prompt_token_ids")):
        return Reply(body=chat_logprobs(kind, request))
    words = words_of(faults, request)
    identity = {"id": "chatcmpl-123" if kind == "ollama" else f"chatcmpl-{number:08x}",
                "object": "chat.completion", "created": CREATED,
                "model": {"llama-server": "/models/tiny.gguf"}.get(kind, request.get("model"))}
    fingerprint = {"openai": "fp_1", "llama-server": "b7000-abc", "ollama": "fp_ollama"}.get(kind)
    if fingerprint:
        identity["system_fingerprint"] = faults.get("fingerprint", fingerprint)
    if not request.get("stream"):
        message = {"role": "assistant", "content": "".join(words), "refusal": None}
        choices = [{"index": i, "message": message, "logprobs": None, "finish_reason": faults.get("finish", "stop")}
                   for i in range(int(request.get("n") or 1) if kind != "ollama" else 1)]
        return Reply(body={**identity, "choices": choices, "usage": USAGE, **extras(kind)})
    return chat_stream(kind, {**identity, "object": "chat.completion.chunk"}, request, faults, words)


def extras(kind):
    return {"llama-server": {"timings": {"prompt_n": 7, "predicted_ms": 1.25}}, "vllm": {"prompt_token_ids": None,
            "kv_transfer_params": None}, "sglang": {"metadata": {"weight_version": "default"}}}.get(kind, {})


def chat_stream(kind, identity, request, faults, words):
    wants_usage = (request.get("stream_options") or {}).get("include_usage")
    finish = faults.get("finish", "stop")

    def chunk(delta, reason=None, **more):
        usage = {"usage": None} if kind == "openai" and wants_usage else {}
        choice = {"index": 0, "delta": delta, "finish_reason": reason, **more}
        return {**identity, "choices": [choice], **usage}

    first = {"openai": {"role": "assistant", "content": "", "refusal": None}, "ollama": None,
             "llama-server": {"role": "assistant", "content": None}}.get(kind, {"role": "assistant", "content": ""})
    events = [] if first is None or "norole" in faults else [chunk(first)]
    lead = len(events)
    deltas = [{"role": "assistant", "content": word} if kind == "ollama" else {"content": word} for word in words]
    events += [chunk(delta) for delta in deltas]
    if kind == "vllm" and deltas:
        events[-1]["choices"][0].update(finish_reason=finish, stop_reason=None)
        if "nofinish" in faults:
            events[-1]["choices"][0]["finish_reason"] = None
    elif "nofinish" not in faults:
        last = {"ollama": {"role": "assistant", "content": ""}, "sglang": {"role": None, "content": None}}
        more = {"matched_stop": 128009} if kind == "sglang" else {}
        events.append(chunk(last.get(kind, {}), finish, **more))
        if "usageinfinish" in faults:
            events[-1]["usage"] = USAGE
    if "earlyusage" in faults:
        events[lead]["usage"] = {**USAGE, "completion_tokens": int(faults["earlyusage"])}
    if kind == "llama-server":
        events[-1]["timings"] = {"prompt_n": 7, "predicted_ms": 1.25}
    if wants_usage and "usageinfinish" not in faults and "nousage" not in faults:
        events.append({**identity, "choices": [], "usage": USAGE})
    headers = [("X-Accel-Buffering", "no")] if kind == "llama-server" else []
    return Reply(events=events, tokens=lead + len(words), headers=headers)


def chat_goodfire(request, faults):
    words = words_of(faults, request)
    identity = {"id": "gf-1", "created": CREATED, "model": request.get("model"), "system_fingerprint": "fp_gf"}
    if not request.get("stream"):
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": faults.get("finish", "stop")}
        return Reply(body={**identity, "object": "chat.completion", "choices": [choice]})

    def event(text, index, reason):
        return {**identity, "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": text}, "gf_token_index": index,
             "finish_reason": reason}]}

    events = [event(word, index, None) for index, word in enumerate(words)]
    if "nofinish" not in faults:
        events.append(event("", len(words), faults.get("finish", "stop")))
    return Reply(events=events, tokens=len(words))


def chat_logprobs(kind, request):
    """One token with its log-probabilities, as asked for next-token logits."""
    prompt = model.template(request["messages"])
    values = model.log_softmax(model.logits(prompt))
    limit = 20 if kind in ("openai", "ollama") else model.SIZE
    asked = model.best(values, min(int(request.get("top_logprobs") or 0), limit))
    chosen = model.best(values, 1)[0]
    if kind == "vllm" and request.get("logprob_token_ids"):
        asked = [(number, values[number]) for number in request["logprob_token_ids"]]
        if chosen[0] not in request["logprob_token_ids"]:
            asked.insert(0, chosen)

    def entry(number, value):
        if kind == "vllm" and request.get("return_tokens_as_token_ids"):
            return {"token": f"token_id:{number}", "logprob": value, "bytes": None}
        text = model.detokenize([number])
        if kind == "llama-server" and number in model.SPECIAL:
            return {"id": number, "token": "", "bytes": [], "logprob": value}
        out = {"token": text, "logprob": value, "bytes": list(model.VOCABULARY[number])}
        return {"id": number, **out} if kind == "llama-server" else out

    content = [{**entry(*chosen), "top_logprobs": [entry(*pair) for pair in asked]}]
    choice = {"index": 0, "message": {"role": "assistant", "content": model.detokenize([chosen[0]])},
              "logprobs": {"content": content} if request.get("logprobs") else None, "finish_reason": "length"}
    out = {"id": "chatcmpl-1", "object": "chat.completion", "created": CREATED, "model": request.get("model"),
           "choices": [choice], "usage": USAGE}
    if kind == "sglang" and request.get("return_prompt_token_ids"):
        choice["prompt_token_ids"] = model.tokenize(prompt)
    return out


# --- model lists and helper paths ------------------------------------------------------------------------------------

def models(kind, names):
    owner = {"vllm": "vllm", "llama-server": "llamacpp", "sglang": "sglang", "ollama": "library",
             "goodfire": "goodfire"}.get(kind, "organization")
    more = {"vllm": {"root": "/models/tiny", "parent": None, "max_model_len": 4096},
            "sglang": {"root": "/models/tiny", "max_model_len": 4096},
            "llama-server": {"meta": {"n_vocab": model.SIZE, "n_ctx": 4096, "n_ctx_train": 4096}}}.get(kind, {})
    out = {"object": "list", "data": [{"id": name, "object": "model", "created": CREATED, "owned_by": owner, **more}
                                      for name in names]}
    if kind == "llama-server":
        out["models"] = [{"name": name, "model": name, "type": "model"} for name in names]
    return out


def helper(kind, method, path, request, provider):
    """Every other path of KIND. None: 404."""
    table = HELPERS.get((kind, method, path)) or HELPERS.get((None, method, path))
    return table(request, provider) if table else None


def llama_tokenize(request, provider):
    numbers = model.tokenize(request["content"], request.get("parse_special", False))
    if request.get("add_special"):
        numbers = [0] + numbers
    if request.get("with_pieces"):
        return Reply(body={"tokens": [{"id": n, "piece": model.detokenize([n])} for n in numbers]})
    return Reply(body={"tokens": numbers})


def llama_completion(request, provider):
    """n_probs over the raw logits, or over the chain's output with post_sampling_probs."""
    raw = model.logits(request["prompt"])
    chain = model.biased(raw, request.get("logit_bias"))
    chosen = model.best(chain, 1)[0][0]
    after = request.get("post_sampling_probs")
    values = model.log_softmax(chain if after else raw)
    count = int(request.get("n_probs") or 0)

    def entry(number, text_also=True):
        special = number in model.SPECIAL
        out = {"id": number, "token": "" if special else model.detokenize([number]),
               "bytes": [] if special else list(model.VOCABULARY[number])}
        key = "prob" if after else "logprob"
        out[key] = pow(2.718281828459045, values[number]) if after else values[number]
        return out

    body = {"index": 0, "content": model.detokenize([chosen]), "tokens_predicted": 1, "stop": True,
            "model": "tiny", "stop_type": "limit", "generation_settings": {"temperature": request.get("temperature")}}
    if count and chosen != model.LEAD_BYTE:
        key = "top_probs" if after else "top_logprobs"
        body["completion_probabilities"] = [{**entry(chosen), key: [entry(n) for n, _ in model.best(values, count)]}]
    if request.get("response_fields"):
        body = {name: body[name] for name in request["response_fields"] if name in body}
    return Reply(body=body)


def vllm_tokenize(request, provider):
    if "messages" in request:
        numbers = model.tokenize(model.template(request["messages"]))
    else:
        numbers = model.tokenize(request["prompt"])
        if request.get("add_special_tokens", True):
            numbers = [0] + numbers
    strings = [model.detokenize([n]) for n in numbers] if request.get("return_token_strs") else None
    return Reply(body={"count": len(numbers), "max_model_len": 4096, "tokens": numbers, "token_strs": strings})


def sglang_tokenize(request, provider):
    if isinstance(request.get("prompt"), list):
        lists = [model.tokenize(text) for text in request["prompt"]]
        return Reply(body={"tokens": lists, "count": [len(one) for one in lists], "max_model_len": 4096})
    reply = vllm_tokenize(request, provider)
    reply.body.pop("token_strs")
    return reply


def sglang_generate(request, provider):
    prompt = request.get("text")
    if prompt is None:
        prompt = model.detokenize(request["input_ids"])
    values = model.log_softmax(model.logits(prompt))
    chosen = model.best(values, 1)[0]

    def triple(number, value):
        return [value, number, model.detokenize([number]) if request.get("return_text_in_logprobs") else None]

    meta = {"id": "r1", "finish_reason": {"type": "length", "length": 1}, "prompt_tokens": 7, "completion_tokens": 1}
    if request.get("return_logprob"):
        meta["output_token_logprobs"] = [triple(*chosen)]
        if request.get("top_logprobs_num"):
            meta["output_top_logprobs"] = [[triple(*pair)
                                            for pair in model.best(values, int(request["top_logprobs_num"]))]]
        if request.get("token_ids_logprob"):
            # In an order of the server's own: by number, backwards.
            asked = sorted(request["token_ids_logprob"], reverse=True)
            meta["output_token_ids_logprobs"] = [[triple(n, values[n]) for n in asked]]
    return Reply(body={"text": model.detokenize([chosen[0]]), "output_ids": [chosen[0]], "meta_info": meta})


def goodfire_logits(request, provider):
    values = {model.detokenize([n]): v for n, v in model.logits(model.template(request["messages"])).items()
              if n != model.LEAD_BYTE}
    wanted = request.get("filter_vocabulary")
    if wanted:
        values = {text: values[text] for text in wanted if text in values}
    pairs = sorted(values.items(), key=lambda item: -item[1])[:int(request.get("top_k") or 10)]
    return Reply(body={"logits": dict(pairs)})


def goodfire_search(request, provider):
    return Reply(body={"features": [{"id": "11111111-2222-3333-4444-555555555555", "label": "pirates", "index_in_sae": 3, "relevance": 0.5}]})


HELPERS = {
    (None, "GET", "/health"): lambda request, provider: Reply(body={"status": "ok"}),
    ("ollama", "GET", "/api/version"): lambda request, provider: Reply(body={"version": "0.14.0"}),
    ("ollama", "GET", "/api/tags"): lambda request, provider: Reply(
        body={"models": [{"name": name, "model": name} for name in provider.models]}),
    ("vllm", "GET", "/version"): lambda request, provider: Reply(body={"version": "0.12.0"}),
    ("llama-server", "POST", "/apply-template"): lambda request, provider: Reply(
        body={"prompt": model.template(request["messages"])}),
    ("llama-server", "POST", "/tokenize"): llama_tokenize,
    ("llama-server", "POST", "/detokenize"): lambda request, provider: Reply(
        body={"content": model.detokenize(request["tokens"])}),
    ("llama-server", "POST", "/completion"): llama_completion,
    ("llama-server", "GET", "/lora-adapters"): lambda request, provider: Reply(
        body=[{"id": number, "path": f"/loras/{number}.gguf", "scale": 1.0} for number in provider.loras]),
    ("llama-server", "GET", "/props"): lambda request, provider: Reply(
        body={"model_path": "/models/tiny.gguf", "build_info": "b7000-abc", "total_slots": 2,
              "default_generation_settings": {"n_ctx": 4096}}),
    ("vllm", "POST", "/tokenize"): vllm_tokenize,
    ("vllm", "POST", "/detokenize"): lambda request, provider: Reply(
        body={"prompt": model.detokenize(request["tokens"])}),
    ("sglang", "POST", "/tokenize"): sglang_tokenize,
    ("sglang", "POST", "/v1/tokenize"): sglang_tokenize,
    ("sglang", "POST", "/detokenize"): lambda request, provider: Reply(
        body={"text": model.detokenize(request["tokens"])}),
    ("sglang", "POST", "/generate"): sglang_generate,
    ("goodfire", "POST", GOODFIRE + "/chat-attribution/compute-logits"): goodfire_logits,
    ("goodfire", "GET", GOODFIRE + "/features/search"): goodfire_search,
    ("goodfire", "POST", GOODFIRE + "/chat/tokenize"): lambda request, provider: Reply(
        body={"tokens": [{"value": message["content"]} for message in request["messages"]]}),
}


def answer(kind, method, path, request, faults, provider, number):
    """The reply of a server of KIND to METHOD PATH with the parsed body REQUEST."""
    root = path.split("?", 1)[0]
    if method == "GET" and root in ("/v1/models", GOODFIRE + "/models"):
        return Reply(body=models(kind, provider.models))
    door = GOODFIRE + "/chat/completions" if kind == "goodfire" else "/v1/chat/completions"
    if method == "POST" and root == door:
        return chat(kind, request, faults, number)
    try:
        reply = helper(kind, method, root, request, provider)
    except (KeyError, TypeError, ValueError) as error:
        return Reply(status=400, body=error_object(kind, 400, f"cannot read the request: {error!r}"))
    return reply or Reply(status=404, body=error_object(kind, 404, f"no such path {path}"))


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
