"""Steering is done, mapped or refused, never dropped: an unsteered answer to a steered question is a wrong result."""

import json

import pytest
from conftest import house_config
from harness import Gateway, backend, echo, question

FEATURE = {"uuid": "00000000000000000000000000000007", "label": "pirates", "index_in_sae": 3,
           "max_activation_strength": 1}
CONTROLLER = {"interventions": [{"mode": "nudge", "features": {"features": [FEATURE]}, "value": 0.5}], "scopes": [],
              "name": "controller__13979926", "nonzero_strength_threshold": None, "min_nudge_entropy": None,
              "max_nudge_entropy": None}
EMPTY = {**CONTROLLER, "interventions": [], "name": "controller__14004510"}
# What Variant.json() of the SDK writes for the same steering.
VARIANT = {"base_model": "goodfire", "edits": [
    {"feature_id": "00000000-0000-0000-0000-000000000007", "feature_label": "pirates", "index_in_sae": 3,
     "value": 0.5}], "scopes": []}


@pytest.fixture(scope="module")
def gateway(providers):
    variants = [
        {"name": "pirate", "model": "goodfire", "controller": "pirate.json"},
        {"name": "pirate-sdk", "model": "goodfire", "controller": "variant.json"},
        {"name": "pirate-lora", "model": "llama-server", "controller": "pirate.json",
         "lora": [{"id": 0, "scale": 0.8}, {"id": 1, "scale": -0.25}]},
        {"name": "pirate-adapter", "model": "vllm", "controller": "pirate.json", "adapter": "pirate-there"},
        {"name": "pirate-sglang", "model": "sglang", "adapter": "pirate-there"},
        {"name": "lost-lora", "model": "llama-server", "lora": [{"id": 99, "scale": 1}]},
        {"name": "cannot", "model": "ollama", "controller": "pirate.json"},
        {"name": "echo-pirate", "model": "echo", "controller": "pirate.json"},
    ]
    config = house_config(providers, variants=variants)
    with Gateway(files={"pirate.json": CONTROLLER, "variant.json": VARIANT}, **config) as one:
        yield one


def interventions(seen):
    return [(item["mode"], [feature["index_in_sae"] for feature in item["features"]["features"]], item["value"])
            for item in seen.json["controller"]["interventions"]]


# --- named variants -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["pirate", "pirate-sdk"])
@pytest.mark.parametrize("door", ["/v1/chat/completions", "/api/inference/v1/chat/completions"])
def test_named_variant_at_a_goodfire_server(gateway, providers, name, door):
    answer = gateway.ask(door, question(name))
    assert answer.status == 200, answer.body
    seen = providers["goodfire"].last()
    assert seen.json["model"] == "tiny" and interventions(seen) == [("nudge", [3], 0.5)]


def test_named_variant_as_lora(gateway, providers):
    for stream in (False, True):
        answer = gateway.chat(question("pirate-lora", stream=stream))
        assert answer.status == 200, answer.body
        body = providers["llama-server"].last().json
        assert body["lora"] == [{"id": 0, "scale": 0.8}, {"id": 1, "scale": -0.25}]
        assert "controller" not in body


def test_lora_ids_are_checked_against_the_server(gateway, providers):
    """An unknown id would switch every adapter off, without a word."""
    answer = gateway.chat(question("lost-lora"))
    assert answer.status == 400 and answer.json()["error"]["code"] == "unsupported_steering"
    assert providers["llama-server"].chats() == []
    assert [one.path for one in providers["llama-server"].requests] == ["/lora-adapters"]
    assert gateway.goodfire(question("lost-lora")).status == 422


def test_lora_that_is_gone_is_noticed(gateway, providers):
    assert gateway.chat(question("pirate-lora")).status == 200
    loras, providers["llama-server"].loras = providers["llama-server"].loras, [0]
    try:
        assert gateway.chat(question("pirate-lora")).status == 400
    finally:
        providers["llama-server"].loras = loras


@pytest.mark.parametrize("name, kind", [("pirate-adapter", "vllm"), ("pirate-sglang", "sglang")])
def test_named_variant_as_an_adapter(gateway, providers, name, kind):
    answer = gateway.chat(question(name))
    assert answer.status == 200, answer.body
    body = providers[kind].last().json
    assert "controller" not in body
    assert "pirate-there" in (body["model"], body.get("lora_path"), body["model"].rpartition(":")[2])


def test_variant_a_server_cannot_do_is_refused(gateway, providers):
    answer = gateway.chat(question("cannot"))
    assert answer.status == 400 and answer.json()["error"]["code"] == "unsupported_steering"
    assert answer.header("x-should-retry") == "false"
    assert providers["ollama"].chats() == []


def test_variants_are_in_the_model_list(gateway):
    names = {model["id"] for model in gateway.ask("/v1/models").json()["data"]}
    assert {"pirate", "pirate-lora", "pirate-adapter", "echo-pirate"} <= names


def test_echo_shows_the_steering(gateway):
    plain = gateway.chat(question("echo")).json()["choices"][0]["message"]["content"]
    steered = gateway.chat(question("echo-pirate")).json()["choices"][0]["message"]["content"]
    inline = gateway.goodfire({**question("echo"), "controller": CONTROLLER}).json()["choices"][0]["message"]["content"]
    assert plain != steered and plain != inline


def test_logits_of_variants(gateway, providers):
    answer = gateway.ask("/v1/chat/logits", {**question("pirate"), "top_k": 3})
    assert answer.status == 200
    assert interventions(providers["goodfire"].requests[-1]) == [("nudge", [3], 0.5)]
    answer = gateway.ask("/v1/chat/logits", {**question("pirate-lora"), "top_k": 3})
    if answer.status == 200:
        bodies = [one.json for one in providers["llama-server"].requests if one.path == "/completion"]
        assert bodies and all(body["lora"] for body in bodies)
    else:
        assert answer.status == 400
    answer = gateway.ask("/v1/chat/logits", {**question("pirate-adapter"), "top_k": 3})
    if answer.status == 200:
        assert providers["vllm"].last().json["model"] == "pirate-there"
    else:
        assert answer.status == 400


# --- inline controllers -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama", "echo"])
@pytest.mark.parametrize("controller", [EMPTY, None, {"interventions": [], "scopes": []}], ids=["sdk", "null", "bare"])
def test_empty_controller_is_none(gateway, providers, kind, controller):
    answer = gateway.goodfire({**question(kind), "controller": controller})
    assert answer.status == 200, answer.body
    if kind != "echo":
        assert "controller" not in providers[kind].last().json


@pytest.mark.parametrize("kind", ["openai", "sglang", "ollama"])
@pytest.mark.parametrize("door, status", [("/v1/chat/completions", 400), ("/api/inference/v1/chat/completions", 422),
                                          ("/v1/chat/logits", 400),
                                          ("/api/inference/v1/chat-attribution/compute-logits", 422)])
def test_inline_controller_is_refused_where_nothing_can_steer(gateway, providers, kind, door, status):
    answer = gateway.ask(door, {**question(kind), "controller": CONTROLLER})
    assert answer.status == status
    assert answer.header("x-should-retry") == "false"
    assert [one for one in providers[kind].requests if one.method == "POST"] == []


def equal_forms():
    renamed = {**CONTROLLER, "name": "controller__99999999"}
    relabelled = json.loads(json.dumps(CONTROLLER))
    relabelled["interventions"][0]["features"]["features"][0].update(label="other words", uuid="f" * 32)
    number = json.dumps(CONTROLLER).replace("0.5", "5.0e-1").replace('"index_in_sae": 3', '"index_in_sae": 3.0')
    turned = {name: CONTROLLER[name] for name in reversed(CONTROLLER)}
    return {"the same": json.dumps(CONTROLLER), "another name": json.dumps(renamed),
            "another label": json.dumps(relabelled), "other digits": number, "other order": json.dumps(turned)}


@pytest.mark.parametrize("form", equal_forms())
@pytest.mark.parametrize("kind", ["llama-server", "vllm"])
def test_inline_controller_equal_to_a_configured_one_is_mapped(gateway, providers, kind, form):
    body = json.dumps(question(kind))[:-1] + ', "controller": ' + equal_forms()[form] + "}"
    answer = gateway.ask("/api/inference/v1/chat/completions", body.encode())
    assert answer.status == 200, answer.body
    seen = providers[kind].last().json
    assert "controller" not in seen
    assert seen.get("lora") if kind == "llama-server" else seen["model"] == "pirate-there"


def unequal_forms():
    def changed(change):
        copy = json.loads(json.dumps(CONTROLLER))
        change(copy)
        return copy

    def feature(copy):
        return copy["interventions"][0]["features"]["features"][0]

    return {
        "another value": changed(lambda c: c["interventions"][0].update(value=0.6)),
        "another sign": changed(lambda c: c["interventions"][0].update(value=-0.5)),
        "another mode": changed(lambda c: c["interventions"][0].update(mode="pin")),
        "another feature": changed(lambda c: feature(c).update(index_in_sae=4)),
        "one more": changed(lambda c: c["interventions"].append(c["interventions"][0])),
        "a threshold": changed(lambda c: c.update(nonzero_strength_threshold=0.5)),
        "a scope": changed(lambda c: c["scopes"].append({
            "conditionals": {"conditionals": [{"left_hand": {"features": [FEATURE]}, "right_hand": 0.5,
                                               "operator": ">"}], "operator": "AND"},
            "controller": EMPTY, "is_active": False, "event_name": None})),
    }


@pytest.mark.parametrize("form", unequal_forms())
def test_any_other_controller_is_refused(gateway, providers, form):
    answer = gateway.goodfire({**question("llama-server"), "controller": unequal_forms()[form]})
    assert answer.status == 422, answer.body
    assert providers["llama-server"].chats() == []


def test_inline_controller_at_a_goodfire_server_keeps_its_bytes(gateway, providers):
    text = json.dumps(CONTROLLER).replace("0.5", "0.50000000000000000001")
    body = json.dumps(question("goodfire"))[:-1] + ', "controller": ' + text + "}"
    assert gateway.ask("/api/inference/v1/chat/completions", body.encode()).status == 200
    assert text.encode() in providers["goodfire"].last().body


def test_inline_controller_on_a_variant_is_not_silently_lost(gateway, providers):
    """Two steerings at once: refused, or both are there."""
    other = json.loads(json.dumps(CONTROLLER))
    other["interventions"][0]["features"]["features"][0]["index_in_sae"] = 8
    answer = gateway.goodfire({**question("pirate"), "controller": other})
    if answer.status == 200:
        assert {3, 8} == {index for _, indices, _ in interventions(providers["goodfire"].last()) for index in indices}
    else:
        assert answer.status == 422


def test_steering_members_of_clients_do_not_slip_through(gateway, providers):
    """A client's own `lora` list is not checked by anyone: it is refused or travels only if the server has it."""
    answer = gateway.chat(question("llama-server", lora=[{"id": 99, "scale": 1}]))
    if answer.status == 200:
        assert providers["llama-server"].last().json.get("lora") in (None, [{"id": 99, "scale": 1}])
    else:
        assert answer.status == 400


def test_failover_never_loses_the_steering(providers):
    """The next backend cannot steer: the question is refused rather than answered without."""
    providers["goodfire"].always = {"status": "503"}
    config = {"backends": [backend("steers", providers["goodfire"]), backend("plain", providers["openai"]), echo()],
              "models": [{"name": "tiny", "backends": ["steers", "plain"]}]}
    with Gateway(**config) as gateway:
        answer = gateway.goodfire({**question(), "controller": CONTROLLER})
        assert answer.status in (422, 429, 500)
        assert providers["openai"].chats() == []
