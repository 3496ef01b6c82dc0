"""The nonce storm, fingerprints, audits, and the memory as its operators see it."""

import json
import os
import random
import re

import nonce_storm
import pytest
from harness import Gateway, backend
from memory_world import (LOGITS, cache_command, counts, key, labelled, mirrored, nonce, one_model, page, purge, question,
                          remembering, said, seeded, since, until, verdict)

CANCELS = int(os.environ.get("EMBERGATE_CANCELS") or 5000)


def test_every_answer_is_its_askers():
    seed = int(os.environ.get("EMBERGATE_STORM_SEED") or random.randrange(1 << 30))
    print("EMBERGATE_STORM_SEED =", seed)
    storm = nonce_storm.run(CANCELS, seed)
    print(storm.cancels, "cancels,", storm.completes, "answers", storm.seen, f"{storm.seconds:.1f} s", storm.page)
    assert not storm.wrong, (seed, storm.wrong[:3])
    assert not storm.failed, (seed, storm.failed[:3])
    assert storm.cancels >= CANCELS and storm.completes > CANCELS // 10
    assert min(storm.page["counts"][name] for name in ("hits", "joins", "misses", "recalled", "evicted")) > 0, storm.page
    assert storm.page["growing"] == 0


# --- fingerprints ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stream", [False, True])
def test_a_new_fingerprint_voids_what_is_remembered(provider, stream):
    config = one_model(provider)
    config["models"].append({"name": "other", "backends": ["one"], "upstream": "elsewhere"})
    with Gateway(**config) as gateway:
        bodies = [seeded(stream=stream) for _ in range(3)] + [seeded(model="other", stream=stream)]
        for body in bodies * 2:
            gateway.chat(body)
        assert len(provider.chats()) == 4 and counts(gateway)["fingerprints"] == 0
        provider.always = {"fingerprint": "fp_2"}
        assert verdict(gateway.chat(seeded(stream=stream))) == "miss"
        assert counts(gateway)["fingerprints"] == 1
        assert [verdict(gateway.chat(body)) for body in bodies] == ["miss"] * 3 + ["hit"], "the other model's stay"
        assert counts(gateway)["voided"] >= 3 and gateway.metric("cache_voided_total") >= 3
        assert [verdict(gateway.chat(body)) for body in bodies] == ["hit"] * 4
        gateway.chat(seeded(stream=stream))
        assert counts(gateway)["fingerprints"] == 1, "the same again is no news"
        provider.always = {}
        gateway.chat(seeded(stream=stream))
        assert counts(gateway)["fingerprints"] == 2 and verdict(gateway.chat(bodies[0])) == "miss"


def test_fingerprints_of_two_backends_are_two(providers):
    first, second = providers["openai"], providers["ollama"]
    config = {"backends": [backend("first", first), backend("second", second)],
              "models": [{"name": "tiny", "backends": ["first", "second"]}], "cache": {"when": "repeatable"}}
    with Gateway(**config) as gateway:
        body = seeded()
        gateway.chat(body)
        first.always = {"status": "503"}
        gateway.chat(seeded())
        first.always = {}
        gateway.chat(seeded())
        assert second.chats() and counts(gateway)["fingerprints"] == 0 and verdict(gateway.chat(body)) == "hit"


# --- audits ------------------------------------------------------------------------------------------------------

def audited(gateway):
    return {labels: count for labels, count in labelled(gateway, "audit_total").items() if count}


def test_every_hit_is_asked_again(provider):
    with remembering(provider, {"audit": 1}) as gateway:
        wanted_so_far = {}

        def hit(body, result, **told):
            if told:
                provider.next(**told)
            before = len(provider.requests)
            answer = gateway.ask(LOGITS if "top_k" in body else "/v1/chat/completions", body)
            assert verdict(answer) == "hit"
            wanted_so_far[("tiny", result)] = wanted_so_far.get(("tiny", result), 0) + 1
            until(lambda: audited(gateway) == wanted_so_far, f"{wanted_so_far}; there is {audited(gateway)}")
            assert len(provider.requests) == before + 1
            return answer

        for stream in (False, True):
            body = seeded(mirrored("+tokens=3"), stream=stream)
            first = gateway.chat(body)
            assert audited(gateway) == wanted_so_far, "a miss is no hit"
            assert hit(body, "same").body == first.body
            assert hit(body, "different", text="something_else").body == first.body, "the hit is what it was"
            assert hit(body, "failed", status=500).body == first.body
            assert hit(body, "same").body == first.body
        body = question("tiny", nonce(), top_k=4)
        gateway.ask(LOGITS, body)
        hit(body, "same")
        assert counts(gateway)["audit_different"] == 2 and counts(gateway)["audit_failed"] == 2


def test_the_first_difference_is_told(provider):
    with remembering(provider, {"audit": 1}) as gateway:
        for stream in (False, True):
            body = seeded("x", stream=stream, user=str(stream))
            provider.next(text="the_same_until_here_and_on")
            name = key(gateway.chat(body))
            provider.next(text="the_same_until_there_and_off")
            assert verdict(gateway.chat(body)) == "hit"
            told = gateway.wait_event("audit", lambda record: record["cache_key"] == name)
            assert (told["model"], told["backend"], told["result"]) == ("tiny", "one", "different"), told
            assert (told["choice"], told["at"]) == ("0", "15"), told
            assert "until" not in json.dumps(told), "what was said is nobody's business"


def test_a_share_of_the_hits(provider):
    config = one_model(provider, cache={"audit": 0})
    config["models"].append({"name": "some", "backends": ["one"], "upstream": "tiny", "cache": {"audit": 0.2}})
    with Gateway(**config) as gateway:
        bodies = [seeded(), seeded(model="some")]
        for body in bodies:
            gateway.chat(body)
        with gateway.client() as client:
            for body in bodies:
                for _ in range(150):
                    assert client.ask("POST", "/v1/chat/completions", body).status == 200
        gateway.quiet()
        seen = audited(gateway)
        assert {labels[0] for labels in seen} == {"some"} and 5 <= sum(seen.values()) <= 75, seen


def test_audits_do_not_outlive_the_gateway(provider):
    gateway = remembering(provider, {"audit": 1})
    gateway.expect_end = True
    with gateway:
        body = seeded()
        gateway.chat(body)
        provider.always = {"hang": ""}
        assert verdict(gateway.chat(body)) == "hit"
        provider.wait_chats(2)
        assert gateway.stop() == 0


# --- the operators -----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def gateway(provider):
    config = one_model(provider, workers=2)
    config["models"].append({"name": "a b/c", "backends": ["one"], "upstream": "tiny"})
    with Gateway(**config) as one:
        yield one


def fill(gateway, tiny=3, other=2):
    bodies = [seeded() for _ in range(tiny)] + [seeded(model="a b/c") for _ in range(other)]
    return [gateway.chat(body) for body in bodies]


def test_the_page(gateway):
    purge(gateway)
    before = counts(gateway)
    fill(gateway)
    gateway.chat(question("tiny", nonce()))
    now = page(gateway)
    assert now["entries"] == 5 and 0 < now["bytes"] < now["memory"] == 128 << 20
    assert now["growing"] == now["growing_bytes"] == 0
    assert since(gateway, before) == {"misses": 5, "stored": 5, "bypasses": 1}
    assert now["redis"]["configured"] is False and now["redis"]["up"] == 0
    models = {one["name"]: one for one in now["models"]}
    assert set(models) == {"tiny", "a b/c"} and (models["tiny"]["entries"], models["a b/c"]["entries"]) == (3, 2)
    assert models["tiny"]["bytes"] + models["a b/c"]["bytes"] == now["bytes"]
    assert all(sum(one[name] for one in now["models"]) == value for name, value in now["counts"].items())


def test_the_metrics_are_the_pages(gateway):
    fill(gateway)
    metrics, now = gateway.metrics(), page(gateway)
    for name, value in now["counts"].items():
        if not name.startswith("audit"):
            assert metrics[f"cache_{name}_total"] == value, name
    assert (metrics["cache_entries"], metrics["cache_bytes"], metrics["cache_growing"]) == (now["entries"], now["bytes"], 0)
    assert metrics["redis_up"] == 0
    text = gateway.ask("/metrics", address=gateway.admin).body.decode()
    assert "# TYPE embergate_cache_hits_total counter" in text and "# TYPE embergate_cache_bytes gauge" in text


def test_purging(gateway):
    purge(gateway)
    answers = fill(gateway)
    assert purge(gateway, f"?key={key(answers[0])}") == 1 and page(gateway)["entries"] == 4
    assert purge(gateway, f"?key={'0' * 64}") == 0
    assert purge(gateway, "?model=a%20b/c") == 2 and page(gateway)["entries"] == 2
    assert purge(gateway) == 2 and page(gateway)["entries"] == 0 == page(gateway)["bytes"]
    assert purge(gateway) == 0


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/cache/purge", 405), ("POST", "/cache", 405), ("POST", "/cache/purge?key=xyz", 400),
    ("POST", "/cache/purge?key=", 400), ("POST", "/cache/purge?model=nobody", (200, 404)), ("DELETE", "/cache", 405)])
def test_pages_asked_wrongly(gateway, method, path, status):
    fill(gateway)
    answer = gateway.ask(path, method=method, address=gateway.admin)
    assert answer.status in (status if isinstance(status, tuple) else (status,)), answer.body
    assert page(gateway)["entries"] >= 5, "nothing was purged"


@pytest.mark.parametrize("path", ["/cache", "/cache/purge"])
def test_the_pages_are_the_administrations(gateway, path):
    assert gateway.ask(path, method="POST" if "purge" in path else "GET").status == 404


def test_an_answer_that_grows_is_purged_too(gateway, provider):
    """It goes on for those who read it, and is not remembered."""
    from memory_world import Swarm
    body = seeded(stream=True)
    provider.hold(at=2)
    with Swarm(gateway) as swarm:
        guests = swarm.ask(2, body)
        Swarm.wait(guests, b"data: ")
        assert page(gateway)["growing"] == 1 and page(gateway)["growing_bytes"] > 0
        purge(gateway, "?model=tiny")
        provider.release()
        assert len({said(answer) for answer in swarm.answers(guests)}) == 1
    assert verdict(gateway.chat(body)) == "miss"


def test_the_command_line(gateway):
    purge(gateway)
    answers = fill(gateway)
    status, out, _ = cache_command("stats", gateway=gateway)
    assert status == 0 and "tiny" in out and "a b/c" in out and re.search(r"\b5\b", out)
    status, out, _ = cache_command("stats", "--json", gateway=gateway)
    assert status == 0 and json.loads(out)["entries"] == 5
    status, out, _ = cache_command("purge", "--key", key(answers[0]), gateway=gateway)
    assert status == 0 and re.search(r"\b1\b", out) and page(gateway)["entries"] == 4
    status, out, _ = cache_command("purge", "--model", "a b/c", gateway=gateway)
    assert status == 0 and re.search(r"\b2\b", out) and page(gateway)["entries"] == 2
    status, out, _ = cache_command("purge", gateway=gateway)
    assert status == 0 and re.search(r"\b2\b", out) and page(gateway)["entries"] == 0


def test_the_command_line_reads_the_file(gateway):
    text = open(gateway.file, encoding="utf-8").read().replace('admin: "127.0.0.1:0"', 'admin: "%s:%d"' % gateway.admin)
    with Gateway(text=text, start=False).folder as folder:
        status, out, told = cache_command("stats", "--json", "-c", os.path.join(folder, "embergate.yaml"))
        assert status == 0 and "entries" in json.loads(out), told


@pytest.mark.parametrize("arguments", [(), ("rubbish",), ("stats", "--rubbish"), ("purge", "--key", "xyz"), ("purge", "--model"),
                                       ("stats", "--admin", "127.0.0.1:1"), ("stats", "--admin", "rubbish"),
                                       ("stats", "-c", "/nonexistent.yaml"), ("stats", "--key", "0" * 64)])
def test_the_command_line_used_wrongly(arguments):
    status, out, told = cache_command(*arguments)
    assert status != 0 and told.strip() and not out.strip(), (status, out, told)
    assert "Sanitizer" not in told
