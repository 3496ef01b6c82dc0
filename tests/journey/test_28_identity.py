"""What a backend runs may change behind its address: it is asked now and then, and what is remembered of another model
is void."""

import time

import pytest
from harness import Gateway, backend, question
from memory_world import LOGITS, counts, mirrored, one_model, remembering, said, seeded, until, verdict, wanted
from provider import Provider
from provider_kinds import KINDS, Reply

CHECKS = "identity_checks_total"


def props(**more):
    return "/props", {"model_path": "/models/a.gguf", "build_info": "b7000-abc", "total_slots": 2,
                      "chat_template": "{{ messages }}", "default_generation_settings": {"n_ctx": 4096}, **more}


def listed(*models):
    return "/v1/models", {"object": "list", "data": [{"id": "other", "root": "/other", "max_model_len": 1}, *models]}


def tiny(**more):
    return {"id": "tiny", "object": "model", "created": 1, "root": "/models/a", "parent": None,
            "max_model_len": 4096, "permission": [{"id": "p-1"}], **more}


def tags(*models):
    return "/api/tags", {"models": [{"name": "other:latest", "digest": "0"}, *models]}


def adapter(**base):
    return listed({**tiny(id="base"), **base}, tiny(root="/loras/1", parent="base", max_model_len=None))


BEFORE = {"llama-server": props(), "vllm": listed(tiny()), "sglang": listed(tiny()),
          "ollama": tags({"name": "tiny:latest", "digest": "a1"})}
CHANGED = [
    ("llama-server", props(), props(model_path="/models/b.gguf")),
    ("llama-server", props(), props(build_info="b7001-def")),
    ("llama-server", props(), props(chat_template="{{ other }}")),
    ("llama-server", props(), props(default_generation_settings={"n_ctx": 8192})),
    ("vllm", listed(tiny()), listed(tiny(root="/models/b"))),
    ("vllm", listed(tiny()), listed(tiny(max_model_len=8192))),
    ("vllm", adapter(), adapter(root="/models/b")),
    ("vllm", listed(), listed({"id": "unheard of"})),
    ("sglang", listed(tiny()), listed(tiny(root="/models/b"))),
    ("ollama", BEFORE["ollama"], tags({"name": "tiny:latest", "digest": "b2"})),
]
SAME = [
    ("llama-server", props(), props(total_slots=8, is_sleeping=True)),
    ("vllm", listed(tiny()), listed(tiny(created=2, permission=[{"id": "p-2"}]), tiny(id="new", root="/new"))),
    ("sglang", listed(tiny()), listed(tiny(id="tiny:latest", root="/new"), tiny(created=2))),
    ("ollama", BEFORE["ollama"], tags({"name": "new:latest", "digest": "c3"},
                                      {"name": "tiny:latest", "digest": "a1", "modified_at": "2030-01-01"})),
]
ODD = [Reply(status=500, body={}), Reply(status=200, body=[]), Reply(status=200, body={}),
       Reply(status=200, body={"data": {}, "models": 7}), Reply(status=200, body="b.gguf"), Reply(status=200, body=None),
       Reply(status=200, body={"model_path": "/models/b.gguf", "filler": "x" * (1 << 20)}),
       Reply(status=404, body={"model_path": "/models/b.gguf"})]


def asked(provider):
    return [request.path for request in provider.requests if request.method == "GET"]


class Place:
    """A port where one server follows the other."""

    def __init__(self, kind, page=None, **more):
        self.kind, self.more = kind, more
        self.first = self.provider = Provider(kind, **more)     # the first one keeps the port
        self._begin(page)
        self.port = self.provider.port

    def _begin(self, page):
        if page:
            self.provider.pages[page[0]] = page[1] if isinstance(page[1], Reply) else Reply(body=page[1])
        self.provider.__enter__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.provider.__exit__()

    def restart(self, gateway, page=None):
        """Gone, which a question in vain makes known, and back as PAGE says."""
        self.provider.__exit__()
        assert gateway.chat(seeded(mirrored())).status >= 500
        self.provider = Provider(self.kind, port=self.port, **self.more)
        self._begin(page)


def remembered(gateway, body):
    """BODY's answer is kept, and its backend was asked what it runs."""
    before = gateway.metric(CHECKS)
    assert verdict(gateway.chat(body)) == "miss" and verdict(gateway.chat(body)) == "hit"
    if before == 0:
        gateway.wait(CHECKS, 1)


def check(gateway, body):
    """BODY is a hit that has its backend asked; until that was."""
    before = gateway.metric(CHECKS)
    assert verdict(gateway.chat(body)) == "hit"
    gateway.wait(CHECKS, before + 1)


@pytest.mark.parametrize("kind,before,after", CHANGED)
def test_another_model_at_the_same_address_voids_the_answers(kind, before, after):
    with Place(kind, before) as place, Gateway(**one_model(place.provider, backend_more={"seeds": True})) as gateway:
        body = seeded()
        remembered(gateway, body)
        assert asked(place.provider) == [before[0]] and counts(gateway)["fingerprints"] == 0
        place.restart(gateway, after)
        check(gateway, body)
        assert counts(gateway)["fingerprints"] == 1
        answer = gateway.chat(body)
        assert verdict(answer) == "miss" and said(answer) == wanted(body) and verdict(gateway.chat(body)) == "hit"
        assert len(place.provider.chats()) == 1


@pytest.mark.parametrize("kind,before,after", SAME)
def test_what_says_nothing_of_the_model_voids_nothing(kind, before, after):
    with Place(kind, before) as place, Gateway(**one_model(place.provider, backend_more={"seeds": True})) as gateway:
        body = seeded()
        remembered(gateway, body)
        place.restart(gateway, after)
        check(gateway, body)
        assert verdict(gateway.chat(body)) == "hit" and counts(gateway)["fingerprints"] == 0
        assert place.provider.chats() == [] and asked(place.provider) == [after[0]]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("kind", BEFORE)
def test_an_odd_answer_says_nothing(kind, odd):
    with Place(kind, BEFORE[kind]) as place, \
            Gateway(**one_model(place.provider, backend_more={"seeds": True})) as gateway:
        body = seeded()
        remembered(gateway, body)
        place.restart(gateway, (BEFORE[kind][0], odd))
        check(gateway, body)
        assert [verdict(gateway.chat(body)) for _ in range(3)] == ["hit"] * 3
        assert counts(gateway)["fingerprints"] == 0 and len(asked(place.provider)) == 1, "not again so soon"


def test_it_is_asked_again_once_it_is_back():
    """It was asked in vain while it was away: its first answer has it asked anew."""
    with Place("llama-server", props()) as place, remembering(place.provider) as gateway:
        body = seeded()
        remembered(gateway, body)
        place.provider.__exit__()
        assert gateway.chat(seeded()).status >= 500
        check(gateway, body)
        assert verdict(gateway.chat(body)) == "hit"
        place.provider = Provider("llama-server", port=place.port)
        place._begin(props(model_path="/models/b.gguf"))
        assert verdict(gateway.chat(body)) == "hit" and asked(place.provider) == []
        until(lambda: gateway.chat(seeded()).status == 200, "the backend to be asked again")
        check(gateway, body)
        assert counts(gateway)["fingerprints"] == 1 and verdict(gateway.chat(body)) == "miss"


def test_a_server_that_loads_was_started_anew():
    with Provider("llama-server") as provider, remembering(provider) as gateway:
        body = seeded()
        remembered(gateway, body)
        provider.next(status=503, message="Loading_model")
        assert gateway.chat(seeded()).status == 503
        provider.pages["/props"] = Reply(body=props(model_path="/models/b.gguf")[1])
        check(gateway, body)
        assert verdict(gateway.chat(body)) == "miss"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nobody_waits_for_it_and_a_drain_ends_it(stream):
    with Provider("llama-server") as provider:
        provider.mute.add("/props")
        with remembering(provider) as gateway:
            body, began = seeded(stream=stream), time.monotonic()
            assert [verdict(gateway.chat(body)) for _ in range(3)] == ["miss", "hit", "hit"]
            provider.wait(lambda: asked(provider) == ["/props"])
            for _ in range(5):
                assert verdict(gateway.chat(seeded(stream=stream))) == "miss"
            assert asked(provider) == ["/props"], "one at a time"
            if gateway.metric(CHECKS) == 0:
                assert time.monotonic() - began < 5
                gateway.stop(timeout=4)
                assert [request.wait_ended() for request in provider.requests if request.method == "GET"]
                gateway.expect_end = True


def test_silence_is_given_up():
    with Provider("llama-server") as provider:
        provider.mute.add("/props")
        with remembering(provider) as gateway:
            body = seeded()
            gateway.chat(body)
            gateway.wait(CHECKS, 1)
            assert verdict(gateway.chat(body)) == "hit" and asked(provider) == ["/props"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in BEFORE])
def test_kinds_that_do_not_say_are_not_asked(kind):
    with Provider(kind) as provider, remembering(provider) as gateway:
        body = seeded()
        assert verdict(gateway.chat(body)) == "miss" and verdict(gateway.chat(body)) == "hit"
        assert asked(provider) == [] and gateway.metric(CHECKS) == 0


def test_only_what_may_be_remembered_has_it_asked():
    with Provider("llama-server") as provider, remembering(provider) as gateway:
        for body, headers in ((question(), ()), (question(seed=-1), ()),
                              (seeded(), [("Cache-Control", "no-store")])):
            assert verdict(gateway.chat(body, headers=headers)) == "bypass"
        assert asked(provider) == []
        assert gateway.ask(LOGITS, question(top_k=3)).status == 200
        gateway.wait(CHECKS, 1)
        assert asked(provider) == ["/props"]


def test_one_of_two_backends_changes():
    with Place("llama-server", props()) as place, Provider("vllm") as other:
        config = {"backends": [backend("one", place.provider), backend("two", other)],
                  "models": [{"name": name, "backends": [name], "upstream": "tiny"} for name in ("one", "two")],
                  "cache": {"when": "repeatable"}}
        with Gateway(**config) as gateway:
            bodies = [seeded(model=name) for name in ("one", "two")]
            for body in bodies:
                assert verdict(gateway.chat(body)) == "miss" and verdict(gateway.chat(body)) == "hit"
            gateway.wait(CHECKS, 2)
            place.provider.__exit__()
            assert gateway.chat(seeded(model="one")).status >= 500
            place.provider = Provider("llama-server", port=place.port)
            place._begin(props(model_path="/models/b.gguf"))
            check(gateway, bodies[0])
            assert [verdict(gateway.chat(body)) for body in bodies] == ["miss", "hit"]
            assert asked(other) == ["/v1/models"]


def test_many_models_of_one_backend():
    """More than are looked after: those asked for last are."""
    names = [f"tiny-{number}" for number in range(80)]
    with Place("llama-server", props(), models=names) as place, \
            Gateway(backends=[backend("one", place.provider)], cache={"when": "repeatable"}) as gateway:
        began = time.monotonic()
        bodies = [seeded(model=name) for name in names]
        for body in bodies:
            assert verdict(gateway.chat(body)) == "miss"
        looks = asked(place.provider).count("/props")
        assert 1 <= looks <= time.monotonic() - began + 1, "new models do not have it asked all the time"
        # What the last ones run is known when it was asked once more.
        until(lambda: verdict(gateway.chat(bodies[-1])) == "hit" and gateway.metric(CHECKS) > looks, "another look")
        place.provider.__exit__()
        assert gateway.chat(seeded(model=names[-1])).status >= 500
        place.provider = Provider("llama-server", models=names, port=place.port)
        place._begin(props(model_path="/models/b.gguf"))
        check(gateway, bodies[-1])
        assert [verdict(gateway.chat(bodies[at])) for at in (79, 78, 16)] == ["miss"] * 3
        assert counts(gateway)["fingerprints"] == 64 and verdict(gateway.chat(bodies[3])) == "hit"
