"""Who may ask: keys that are made, shown, wrong, over, guessed at and changed while the gateway runs; and that neither
they nor the backends' stand in anything that is said."""

import os
import re
import signal
import stat
import subprocess
import time

import goodfire
import goodfire.api.exceptions as goodfire_errors
import openai
import pytest
from admit_world import (NO_KEY, Key, Stranger, entries, error, free, key_command, keys_text, limited, until,
                         usage, write)
from harness import Gateway, backend, check_config, question, yaml
from memory_world import CHAT, GOODFIRE, LOGITS, seeded, verdict
from provider import Provider

MESSAGES = [{"role": "user", "content": "Hello"}]
FORM = re.compile(r"eg-[A-Za-z0-9_-]{43}")


# --- the command -----------------------------------------------------------------------------------------------------

def test_key_new():
    status, out, err = key_command("new", "--name", "alice", "--team", "research", "--expires", "2031-01-01")
    text, *lines = out.rstrip("\n").split("\n")
    assert status == 0 and FORM.fullmatch(text)
    assert text not in "\n".join(lines) + err, "it is shown once"
    key = Key("alice", text)
    assert [line.strip(" -") for line in lines] == ["name: alice", "team: research", "expires: 2031-01-01",
                                                    f"sha256: {key.digest}"]
    assert key_command("new", "--name", "alice")[1].split("\n")[0] != text


def test_what_is_printed_works_when_pasted(provider):
    _, out, _ = key_command("new", "--name", "0e1", "--team", "true")
    text, lines = out.split("\n", 1)
    config = limited(provider, listen=["127.0.0.1:0"], admin="127.0.0.1:0", workers=1)
    with Gateway(text=yaml(config) + "keys:\n" + lines) as gateway:
        assert gateway.chat(headers=Key("x", text).head).status == 200 and gateway.chat().status == 401
        page = gateway.ask("/v1/usage", headers=Key("x", text).head).json()
        assert (page["key"], page["team"]) == ("0e1", "true")


def test_key_new_into_a_file(tmp_path, provider):
    path = tmp_path / "keys.yaml"
    keys = []
    old = os.umask(0)
    try:
        for name in ("alice", "bob"):
            status, out, err = key_command("new", "--name", name, "--file", str(path))
            assert status == 0 and FORM.fullmatch(out.rstrip("\n")) and out.strip() not in err
            keys.append(Key(name, out.strip()))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    assert all(key.text not in before and key.digest in before for key in keys)
    status, out, err = key_command("new", "--name", "alice", "--file", str(path))
    assert status == 1 and "already" in err and not out and path.read_text() == before, "a name twice"
    assert os.listdir(tmp_path) == ["keys.yaml"], "nothing is left beside it"
    with Gateway(**limited(provider, keys_file=str(path))) as gateway:
        assert [gateway.chat(headers=key.head).status for key in keys] == [200, 200]


def test_a_file_that_is_there_keeps_its_mode(tmp_path):
    path = tmp_path / "keys.yaml"
    path.write_text("# ours\nkeys:\n  - name: zoe\n    sha256: " + "0" * 64 + "\n")
    path.chmod(0o640)
    assert key_command("new", "--name", "alice", "--file", str(path))[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_text().startswith("# ours\n") and "zoe" in path.read_text() and "alice" in path.read_text()


@pytest.mark.parametrize("text", ["keys: [", "keys: 3\n", "models: []\n", "keys:\n  - name: a\n    sha256: x\n"])
def test_a_broken_file_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    status, out, err = key_command("new", "--name", "alice", "--file", str(path))
    assert status == 1 and not out and "keys.yaml" in err and path.read_text() == text


@pytest.mark.parametrize("arguments, word", [
    ((), "new"), (("make",), "new"), (("new",), "--name"), (("new", "--name", "a b"), "--name"),
    (("new", "--name", "a", "--expires", "soon"), "--expires"), (("new", "--nam"), "--nam"),
    (("hash", "--name", "a"), "hash"), (("new", "--name", "a", "--file", "/nowhere/x.yaml"), "/nowhere"),
])
def test_the_command_says_what_is_wrong(arguments, word):
    status, out, err = key_command(*arguments)
    assert status == 1 and word in err and not out


def test_key_hash():
    key = Key("old", "sk-an-old-key")
    for given in (key.text, key.text + "\n", key.text + "\r\n"):
        assert key_command("hash", given=given)[:2] == (0, f"sha256: {key.digest}\n")
    for given in ("", "two words", "two\nlines\n", "x" * 5000):
        status, out, err = key_command("hash", given=given)
        assert status == 1 and not out and (not given or given.strip() not in err)
    status, out, err = key_command("hash", "sk-an-old-key", given="")
    assert status == 1 and key.text not in out + err, "a key on the command line is not repeated"


# --- asking ------------------------------------------------------------------------------------------------------------

ALICE, BOB = Key("alice", team="research"), Key("bob", models=["tiny", "short", "polite"])
BASE, OVER = Key("base", models=["tiny"]), Key("over", expires="2020-01-01")
LATER = Key("later", expires="2099-01-01T12:00:00Z")
STEERED = Key("steered", models=["polite"])
UPSTREAM = "sk-upstream-4711-canary"


@pytest.fixture(scope="module")
def upstream():
    with Provider("vllm", key=UPSTREAM, models=("tiny", "second", "polite-lora")) as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(upstream):
    """Keys of every kind, two models, an alias and a variant."""
    with Gateway(backends=[backend("one", upstream, api_key="${UPSTREAM_KEY}")],
                 environment={"UPSTREAM_KEY": UPSTREAM}, workers=2,
                 models=[{"name": "tiny", "aliases": ["short", "other"], "backends": ["one"]},
                         {"name": "second", "backends": ["one"]}],
                 variants=[{"name": "polite", "model": "tiny", "adapter": "polite-lora"}],
                 keys=entries(ALICE, BOB, BASE, OVER, LATER, STEERED)) as one:
        yield one


DOORS = [CHAT, GOODFIRE, LOGITS]


@pytest.mark.parametrize("head", [
    (), [("Authorization", "Bearer")], [("Authorization", "Bearer ")], [("Authorization", ALICE.text)],
    [("Authorization", f"Basic {ALICE.text}")], [("Authorization", f"Bearer {ALICE.text}x")],
    [("Authorization", f"Bearer {ALICE.text[:-1]}")], [("Authorization", f"Bearer {ALICE.text.lower()}")],
    [("Authorization", f"Bearer {ALICE.digest}")], [("x-api-key", "wrong")], [("x-api-key", "")],
], ids=["none", "no text", "a space", "no scheme", "another scheme", "longer", "shorter", "lower case", "its digest",
        "x-api-key", "empty x-api-key"])
def test_401(gateway, upstream, head):
    upstream.forget()
    with Stranger(gateway) as client:
        answer, other, third = (client.ask("POST", door, question(), head) for door in DOORS)
    assert answer.header("retry-after") is None and ALICE.text not in str(answer)
    status, kind, code = error(answer)
    assert status == 401 and kind == "invalid_request_error" and code in ("invalid_api_key", None)
    assert other.status == 401 and other.header("content-type").startswith("application/json")
    assert third.status == 401
    assert not upstream.chats()


def test_expired_and_unknown_are_told_alike(gateway):
    answers = [gateway.chat(headers=key.head) for key in (OVER, Key("nobody"))]
    assert answers[0].body == answers[1].body and {error(answer) for answer in answers} == {NO_KEY}
    assert [name for name, _ in answers[0].headers] == [name for name, _ in answers[1].headers]
    assert gateway.chat(headers=LATER.head).status == 200


@pytest.mark.parametrize("head", [
    [("Authorization", f"Bearer {ALICE.text}")], [("authorization", f"bearer {ALICE.text}")],
    [("AUTHORIZATION", f"BEARER   {ALICE.text}")], [("x-api-key", ALICE.text)], [("X-Api-Key", ALICE.text)],
], ids=["Bearer", "bearer", "BEARER", "x-api-key", "X-Api-Key"])
def test_forms_of_showing_a_key(gateway, head):
    for door in DOORS[:2]:
        assert gateway.ask(door, question(), headers=head).status == 200


def test_two_keys_are_not_added_up(gateway):
    """A good one beside a wrong one: whichever is read, it is not both."""
    good, bad = ALICE.text, "wrong"
    for head in ([("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {bad}")],
                 [("Authorization", f"Bearer {bad}"), ("Authorization", f"Bearer {good}")]):
        assert gateway.chat(headers=head).status in (400, 401), head


@pytest.mark.parametrize("path, method", [
    ("/v1/models", "GET"), ("/v1/models/tiny", "GET"), ("/v1/usage", "GET"), ("/nowhere", "GET"), ("/", "GET"),
    ("/v1/chat/completions", "GET"), ("/api/inference/v1/features/search", "GET"), ("/metrics", "GET"), ("/usage", "GET"),
    ("/v1/chat/completions", "OPTIONS"), ("/cache", "GET"),
])
def test_every_path_asks_for_a_key(gateway, path, method):
    assert gateway.ask(path, method=method).status == 401
    assert gateway.ask(path, method=method, headers=ALICE.head).status != 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_asks_for_none(gateway, path):
    assert gateway.ask(path).status == 200 and gateway.ask(path, address=gateway.admin).status == 200
    assert gateway.ask(path, headers=Key("nobody").head).status == 200


def test_the_administration_asks_for_none(gateway):
    for path in ("/metrics", "/usage", "/cache"):
        assert gateway.ask(path, address=gateway.admin).status == 200


def test_openai_sdk(gateway):
    """Not retried; what may not be asked is its own class."""
    before = gateway.metric("requests_begun_total")
    for key in ("wrong", OVER.text):
        with openai.OpenAI(base_url=gateway.url + "/v1", api_key=key) as client:
            with pytest.raises(openai.AuthenticationError) as refused:
                client.chat.completions.create(model="tiny", messages=MESSAGES)
            assert refused.value.code == "invalid_api_key" and refused.value.request_id.startswith("req_")
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=BASE.text) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model="second", messages=MESSAGES)
        assert refused.value.code == "model_not_allowed"
        assert client.chat.completions.create(model="tiny", messages=MESSAGES).choices
    # The metrics page counts as well: one request per attempt, none again.
    assert gateway.metric("requests_begun_total") - before <= 4 + 2


def test_goodfire_sdk(gateway):
    for key in ("wrong", OVER.text):
        with pytest.raises(goodfire_errors.UnauthorizedException):
            goodfire.Client(api_key=key, base_url=gateway.url).chat.completions.create(MESSAGES, model="tiny")
    client = goodfire.Client(api_key=BASE.text, base_url=gateway.url)
    with pytest.raises(goodfire_errors.ForbiddenException):
        client.chat.completions.create(MESSAGES, model="second")
    assert client.chat.completions.create(MESSAGES, model="tiny").choices


# --- which models ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("key, allowed", [
    (ALICE, {"tiny", "short", "other", "second", "polite"}),
    (BOB, {"tiny", "short", "other", "polite"}),        # the model with its names, and the variant
    (BASE, {"tiny", "short", "other"}),                 # not steered
    (STEERED, {"polite"}),                              # nothing but steered
], ids=lambda value: getattr(value, "name", ""))
def test_403_and_the_list_say_the_same(gateway, upstream, key, allowed):
    everything = {"tiny", "short", "other", "second", "polite"}
    answers = {name: gateway.chat(question(name), headers=key.head) for name in everything}
    assert {name for name, answer in answers.items() if answer.status == 200} == allowed
    for name in everything - allowed:
        assert error(answers[name])[0::2] == (403, "model_not_allowed")
        assert gateway.goodfire(question(name), headers=key.head).status == 403
        assert gateway.ask(LOGITS, question(name, top_k=2), headers=key.head).status == 403
    listed = {model["id"] for model in gateway.ask("/v1/models", headers=key.head).json()["data"]}
    assert listed == allowed
    for name in everything:
        assert (gateway.ask(f"/v1/models/{name}", headers=key.head).status == 200) == (name in allowed)


def test_a_base_model_is_not_steered_by_a_header_or_member(gateway, upstream):
    """A key without the variant does not reach its adapter by another way."""
    upstream.forget()
    for body in (question("tiny", variant="polite"), question("tiny", adapter="polite-lora"), question("polite-lora")):
        gateway.chat(body, headers=BASE.head)
    assert all(request.json["model"] != "polite-lora" for request in upstream.chats())


def test_what_others_were_told_is_not_remembered_for_who_may_not_ask(upstream):
    with Gateway(backends=[backend("one", upstream, api_key=UPSTREAM)], cache={"when": "repeatable"},
                 models=[{"name": "tiny", "backends": ["one"]}, {"name": "second", "backends": ["one"]}],
                 keys=entries(ALICE, BASE)) as gateway:
        body = seeded(model="second")
        assert [verdict(gateway.chat(body, headers=ALICE.head)) for _ in range(2)] == ["miss", "hit"]
        for head in (BASE.head, (), Key("nobody").head):
            answer = gateway.chat(body, headers=head)
            assert answer.status in (401, 403) and verdict(answer) != "hit"


# --- keys that change ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["look", "SIGHUP"])
def test_the_keys_file_is_read_again(provider, how):
    inside, old, new = Key("inside"), Key("old"), Key("new")
    with Gateway(**limited(provider, keys=entries(inside), keys_file="keys.yaml", workers=2),
                 files={"keys.yaml": keys_text(old)}) as gateway:
        def told():
            return [gateway.chat(headers=key.head).status for key in (inside, old, new)]

        def again(text, line):
            at = len(gateway.lines)
            write(gateway, "keys.yaml", text)
            if how == "SIGHUP":
                gateway.process.send_signal(signal.SIGHUP)
            until(lambda: any(line in said for said in gateway.lines[at:]), f"{line!r} in {gateway.lines[at:]}")

        kept = gateway.client()
        assert told() == [200, 200, 401]
        assert kept.ask("POST", CHAT, question(), old.head).status == 200
        again(keys_text(old, new), "3 keys")
        assert told() == [200, 200, 200]
        again(keys_text(new), "2 keys")
        assert told() == [200, 401, 200]
        assert kept.ask("POST", CHAT, question(), old.head).status == 401, "on an old connection as well"
        if how == "SIGHUP":
            again("keys: [oh\n", "the keys stay as they were")
            assert any("keys.yaml" in line for line in gateway.lines), "and where it is wrong"
            assert told() == [200, 401, 200]
            again(keys_text(new, new), "the keys stay as they were")
            os.unlink(os.path.join(gateway.folder.name, "keys.yaml"))
            at = len(gateway.lines)
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda: any("the keys stay" in line for line in gateway.lines[at:]), "that the file is missed")
            assert told() == [200, 401, 200]


@pytest.mark.parametrize("how", ["look", "SIGHUP"])
def test_a_file_that_comes_later(provider, how):
    key = Key("late")
    with Gateway(**limited(provider, keys_file="keys.yaml")) as gateway:
        assert gateway.chat().status == 401 and gateway.chat(headers=key.head).status == 401
        write(gateway, "keys.yaml", keys_text(key))
        if how == "SIGHUP":
            gateway.process.send_signal(signal.SIGHUP)
        until(lambda: gateway.chat(headers=key.head).status == 200, "the key")
        assert gateway.chat().status == 401


def waiting_for(gateway):
    """A function that waits for a line behind those there were at the last call; all that were said meanwhile."""
    at = len(gateway.lines)

    def wait(text):
        nonlocal at
        until(lambda: any(text in line for line in gateway.lines[at:]), f"{text!r} in {gateway.lines[at:]}")
        said, at = gateway.lines[at:], len(gateway.lines)
        return said
    return wait


def in_place(gateway, name, text):
    """As editors do as well: into the file that is there."""
    with open(os.path.join(gateway.folder.name, name), "w", encoding="utf-8") as file:
        file.write(text)


def test_a_file_that_is_being_written(provider):
    """Half of it is good YAML too: who writes is waited for."""
    keys = [Key(f"k{number}") for number in range(6)]
    lines = [f"- name: {key.name}\n  sha256: {key.digest}\n" for key in keys]
    with Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": keys_text(*keys)}) as gateway:
        wait = waiting_for(gateway)
        with open(os.path.join(gateway.folder.name, "keys.yaml"), "w", encoding="utf-8") as file:
            file.write("keys:\n")
            for line in lines:
                file.write(line)
                file.flush()
                time.sleep(0.6)     # so that looks see it in several states
                assert gateway.chat(headers=keys[-1].head).status == 200
        said = wait("keys")
        assert said == ["embergate: 6 keys"], said
        assert [gateway.chat(headers=key.head).status for key in keys] == [200] * 6


@pytest.mark.parametrize("text", ["", " \n", "# keys\n", "keys:\n", "null\n", "---\n"])
def test_an_empty_file_changes_nothing(provider, text):
    key = Key("alice")
    with Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": keys_text(key)}) as gateway:
        wait = waiting_for(gateway)
        in_place(gateway, "keys.yaml", text)
        gateway.process.send_signal(signal.SIGHUP)
        assert any("keys.yaml" in line for line in wait("the keys stay as they were"))
        assert gateway.chat(headers=key.head).status == 200
        in_place(gateway, "keys.yaml", "keys: []\n")
        gateway.process.send_signal(signal.SIGHUP)
        wait("embergate: 0 keys")
        assert gateway.chat(headers=key.head).status == 401, "that is meant"


def test_a_file_that_cannot_be_read_yet(provider):
    """It is said once, and tried until it can."""
    old, new = Key("old"), Key("new")
    gateway = Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": keys_text(old)}, start=False,
                      prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else [])
    os.chmod(gateway.folder.name, 0o777)
    path = os.path.join(gateway.folder.name, "keys.yaml")
    os.chmod(path, 0o644)
    gateway.start()
    with gateway:
        wait = waiting_for(gateway)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(keys_text(new))
        os.chmod(path + ".new", 0)
        os.rename(path + ".new", path)
        said = wait("the keys stay as they were")
        assert "Permission denied" in "".join(said)
        time.sleep(1.5)     # one more look at least, which says nothing
        assert [gateway.chat(headers=key.head).status for key in (old, new)] == [200, 401]
        os.chmod(path, 0o644)
        said = wait("1 keys")
        assert said == ["embergate: 1 keys"], said
        assert [gateway.chat(headers=key.head).status for key in (old, new)] == [401, 200]


def test_a_file_that_goes(provider):
    """All keys stay, and it is said without being asked; once."""
    key, other = Key("alice"), Key("bob")
    with Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": keys_text(key)}) as gateway:
        wait = waiting_for(gateway)
        os.unlink(os.path.join(gateway.folder.name, "keys.yaml"))
        assert any("keys.yaml" in line for line in wait("the keys stay as they were"))
        assert gateway.chat(headers=key.head).status == 200
        write(gateway, "keys.yaml", keys_text(other))
        said = wait("1 keys")
        assert said == ["embergate: 1 keys"], said
        assert [gateway.chat(headers=one.head).status for one in (key, other)] == [401, 200]


def test_a_name_of_the_configuration(provider):
    """One scope for both of them would have the limits of the last one read."""
    limited_one, free_one = Key("alice", quota={"requests_per_minute": 1, "requests_burst": 3}), Key("alice")
    other = Key("bob")
    config = limited(provider, keys=entries(limited_one), keys_file="keys.yaml")
    line = re.compile(r'keys\.yaml:\d+: keys\[\d\]\.name: "alice" is already the name of a key in the configuration')
    gateway = Gateway(**config, files={"keys.yaml": keys_text(free_one)}, start=False)
    for more in ([], ["--check"]):
        done = subprocess.run([*gateway.command(), *more], capture_output=True, text=True, timeout=30, check=False,
                              env=gateway.environment, cwd=gateway.folder.name)
        assert done.returncode == 1 and line.search(done.stderr), done.stderr
    gateway.folder.cleanup()
    with Gateway(**config, files={"keys.yaml": keys_text(other)}) as gateway:
        wait = waiting_for(gateway)
        write(gateway, "keys.yaml", keys_text(Key("carol"), free_one))
        gateway.process.send_signal(signal.SIGHUP)
        assert any(line.search(said) for said in wait("the keys stay as they were"))
        assert [gateway.chat(headers=key.head).status for key in (other, free_one)] == [200, 401]
        assert [gateway.chat(headers=limited_one.head).status for _ in range(4)] == [200, 200, 200, 429]


def test_keys_that_are_gone_are_not_on_the_page(provider):
    alice = Key("alice", quota={"tokens_per_day": 9000})
    bob = Key("bob", quota={"concurrent": 2, "tokens_per_day": 9000})
    with Gateway(**limited(provider, keys_file="keys.yaml", workers=2), files={"keys.yaml": keys_text(alice, bob)}) as gateway:
        wait = waiting_for(gateway)

        def change(*keys):
            write(gateway, "keys.yaml", keys_text(*keys))
            gateway.process.send_signal(signal.SIGHUP)
            wait(f"embergate: {len(keys)} keys")

        def shown():
            return [name for kind, name in usage(gateway) if kind == "key"]

        assert shown() == ["alice", "bob"]
        provider.hold()
        client = gateway.client()
        client.ask("POST", CHAT, question(), bob.head, read=False)
        provider.wait_chats(1)
        change(alice)
        assert shown() == ["alice", "bob"], "a place of bob's is taken"
        provider.release()
        assert client.read_answer().status == 200
        gateway.wait("exchanges", 0)
        assert shown() == ["alice"]
        for number in range(20):
            change(alice, Key(f"k{number}", quota={"concurrent": 3}))
            assert shown() == ["alice", f"k{number}"]
        change(bob)
        assert shown() == ["bob"]
        assert usage(gateway)[("key", "bob")]["tokens_per_day"]["used"] > 0, "what was used is not forgotten"


def test_limits_change_with_the_file(provider):
    def quota(burst):
        return {"requests_per_minute": 1, "requests_burst": burst}

    key = Key("alice", quota=quota(2))
    with Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": keys_text(key)}) as gateway:
        assert [gateway.chat(headers=key.head).status for _ in range(3)] == [200, 200, 429]
        for more, statuses in (({"quota": quota(4)}, [200, 200, 429]), ({}, [200] * 3), ({"quota": quota(4)}, None)):
            at = len(gateway.lines)
            write(gateway, "keys.yaml", keys_text(Key("alice", key.text, **more)))
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda: any("1 keys" in line for line in gateway.lines[at:]), "the new file")  # noqa: B023
            if statuses:
                assert [gateway.chat(headers=key.head).status for _ in range(3)] == statuses


def test_a_limit_that_goes_and_comes_back(provider):
    """What was taken under it is given back to it."""
    key = Key("alice", quota={"concurrent": 2})
    with Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": keys_text(key)}) as gateway:
        clients = []

        def ask():
            clients.append(gateway.client())
            clients[-1].ask("POST", CHAT, question(), key.head, read=False)
            provider.wait_chats(len(clients))

        def change(*keys):
            at = len(gateway.lines)
            write(gateway, "keys.yaml", keys_text(*keys))
            gateway.process.send_signal(signal.SIGHUP)
            until(lambda: any("1 keys" in line for line in gateway.lines[at:]), "the new file")

        provider.hold()
        ask()
        ask()
        assert gateway.chat(headers=key.head).status == 429
        change(Key("alice", key.text))
        ask()
        change(key)
        assert gateway.chat(headers=key.head).status == 429
        provider.release()
        assert [client.read_answer().status for client in clients] == [200] * 3
        free(gateway)
        assert [gateway.chat(headers=key.head).status for _ in range(3)] == [200] * 3


def test_a_running_stream_outlives_its_key(provider):
    key = Key("alice", quota={"concurrent": 3, "tokens_per_day": 9000})
    with Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": keys_text(key)}) as gateway:
        provider.hold(at=3)
        client = gateway.client()
        client.ask("POST", CHAT, question(stream=True), key.head, read=False)
        head = client.read_head()
        write(gateway, "keys.yaml", keys_text(Key("bob")))
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_line("embergate: 1 keys")
        until(lambda: gateway.chat(headers=key.head).status == 401, "the key to be gone")
        provider.release()
        client.read_body(head)
        assert head.complete and head.text() == "One two three four five"
        gateway.wait("exchanges", 0)


# --- guessing --------------------------------------------------------------------------------------------------------

def test_guessing_is_limited(provider):
    """Per address: others are served meanwhile, and whoever shows a good key from that address is too."""
    with Gateway(**limited(provider, keys=entries(ALICE), workers=2, listen=["0.0.0.0:0"])) as gateway:
        port = gateway.addresses[0][1]
        gateway.addresses[0] = ("127.0.0.1", port)
        told = [gateway.chat(headers=Key("guess").head) for _ in range(40)]
        first = next(number for number, answer in enumerate(told) if answer.status == 429)
        assert 5 <= first <= 25 and {answer.status for answer in told[:first]} == {401}
        assert error(told[-1])[0::2] == (429, "rate_limit_exceeded") and int(told[-1].header("retry-after-ms")) > 0
        assert gateway.goodfire(headers=Key("guess").head).status == 429
        assert gateway.chat(headers=ALICE.head).status == 200, "one stale client must not lock out its neighbours"
        assert gateway.ask("/healthz").status == 200
        with Stranger(gateway) as other:
            assert other.ask("POST", CHAT, question(), ALICE.head).status == 200
            assert other.ask("POST", CHAT, question(), Key("guess").head).status == 401


def test_no_key_at_all_is_no_guess(provider):
    with Gateway(**limited(provider, keys=entries(ALICE))) as gateway:
        assert {gateway.chat().status for _ in range(60)} == {401}
        assert gateway.chat(headers=ALICE.head).status == 200


# --- the door ----------------------------------------------------------------------------------------------------------

HOUSE = {"backends": [{"name": "local", "kind": "echo"}], "models": [{"name": "echo", "backends": ["local"]}]}


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:8080"])
def test_no_open_door_without_keys(listen):
    status, said = check_config(yaml({"listen": ["127.0.0.1:0", listen], **HOUSE}))
    assert status == 1 and re.search(r"embergate\.yaml:3: listen.*anyone who reaches it may ask", said), said
    for good in ({"keys": entries(ALICE)}, {"keys_file": "keys.yaml"}, {"admission": {"open": True}}):
        status, said = check_config(yaml({"listen": [listen], **HOUSE, **good}), {"keys.yaml": keys_text(BOB)})
        assert status == 0 or "polite" in said or "tiny" in said, said


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "unix:/tmp/embergate-test.sock", "localhost:8080"])
def test_this_machine_needs_no_keys(listen):
    assert check_config(yaml({"listen": [listen], **HOUSE}))[0] == 0


def test_an_open_door_is_said_loudly(provider):
    with Gateway(**limited(provider, listen=["0.0.0.0:0"], admission={"open": True})) as gateway:
        assert [line for line in gateway.lines if re.search("WARNING|warning|anyone|without keys", line)], gateway.lines


@pytest.mark.parametrize("entry, word", [
    ({"name": "a", "sha256": "12"}, "sha256"), ({"name": "a"}, "sha256"), ({"sha256": "0" * 64}, "name"),
    ({"name": "a", "sha256": "0" * 64, "expires": "soon"}, "expires"), ({"name": "a", "sha256": "0" * 64, "modles": []}, "models"),
    ({"name": "a", "sha256": "0" * 64, "models": ["nobody"]}, "nobody"), ({"name": "a", "sha256": "0" * 64, "team": "x"}, "team"),
    ({"name": "a", "sha256": "0" * 64, "quota": {"requests_per_minute": 0}}, "requests_per_minute"),
    ({"name": "a", "key": "eg-secret-text"}, "key"),
])
def test_bad_keys_are_told_with_their_line(entry, word):
    text = yaml({**HOUSE, "teams": [{"name": "red"}], "keys": [entry]})
    status, said = check_config(text)
    assert status == 1 and re.search(r"embergate\.yaml:\d+: .*" + word, said), said
    assert "eg-secret-text" not in said
    status, said = check_config(yaml({**HOUSE, "teams": [{"name": "red"}], "keys_file": "keys.yaml"}),
                                {"keys.yaml": yaml({"keys": [entry]})})
    assert status == 1 and re.search(r"keys\.yaml:\d+: .*" + word, said), said
    assert "eg-secret-text" not in said


def test_a_bad_keys_file_at_the_start(provider):
    gateway = Gateway(**limited(provider, keys_file="keys.yaml"), files={"keys.yaml": "keys: [oh\n"}, start=False)
    done = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=30, env=gateway.environment,
                          check=False, cwd=gateway.folder.name)
    gateway.folder.cleanup()
    assert done.returncode == 1 and "keys.yaml:" in done.stderr


# --- secrets -----------------------------------------------------------------------------------------------------------

def test_the_clients_key_stays_here(gateway, upstream):
    upstream.forget()
    for head in (ALICE.head, [("x-api-key", ALICE.text)], [*ALICE.head, ("x-api-key", ALICE.text)]):
        for body in (question(), question(stream=True)):
            assert gateway.chat(body, headers=head).status == 200
    for request in upstream.chats():
        assert request.header("authorization") == f"Bearer {UPSTREAM}" and request.header("x-api-key") is None
        assert ALICE.text.encode() not in request.head + request.body


@pytest.mark.parametrize("head", [ALICE.head, [("x-api-key", ALICE.text)]], ids=["authorization", "x-api-key"])
@pytest.mark.parametrize("passed", [True, False])
def test_pass_through_key(provider, passed, head):
    """Only where the backend says so; there it is the client's that the provider sees."""
    place = {"pass_through_key": True} if passed else {}
    with Gateway(**limited(provider, place=place, keys=entries(ALICE))) as gateway:
        assert gateway.chat(headers=head).status == 200
        assert gateway.chat(headers=head, stream=True).status == 200
        seen = {request.header("authorization") for request in provider.chats()}
        assert seen == {f"Bearer {ALICE.text}" if passed else None}


def test_secrets_are_in_nothing_that_is_said(gateway, upstream):
    """Keys that are right, wrong, over, too long, in the wrong place; the backend's; and its provider's errors."""
    wrong, text = "canary-wrong-key", "canary-" * 200
    bodies = [question(), question("second"), question("nobody"), question(temperature=9), {"model": "tiny"},
              question(text="[[+status=401+message=bad_key]]"), question(text="[[+drop]]")]
    said = []
    for head in (ALICE.head, BASE.head, OVER.head, [("Authorization", f"Bearer {wrong}")], [("x-api-key", wrong)],
                 [("Authorization", f"Bearer {text}")], [("Authorization", f"Basic {wrong}")]):
        with Stranger(gateway) as client:
            for body in bodies:
                said += [client.ask("POST", door, body, head) for door in (CHAT, GOODFIRE)]
            said += [client.ask("GET", path, headers=head) for path in ("/v1/models", "/v1/usage", "/nowhere")]
    pages = [gateway.ask(path, address=gateway.admin) for path in ("/metrics", "/usage", "/cache", "/nowhere")]
    whole = "\n".join([*gateway.lines, *(str(answer) for answer in said + pages)])
    for secret in (ALICE.text, BASE.text, OVER.text, UPSTREAM, wrong, "canary-canary", ALICE.digest, BASE.digest):
        assert secret not in whole, secret[:8]


def test_a_key_in_the_wrong_place_is_not_logged(gateway):
    """In the query or the path."""
    gateway.ask(f"/v1/models?key={ALICE.text}")
    answer = gateway.ask("/nowhere", headers=ALICE.head)
    gateway.wait_record(answer)
    assert ALICE.text not in "\n".join(gateway.lines)
