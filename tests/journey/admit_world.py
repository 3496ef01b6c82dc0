"""What the tests of admission share: keys, quotas, what the gateway tells of its limits, and many clients that each ask
for themselves."""

import hashlib
import itertools
import json
import os
import secrets
import socket
import subprocess

from harness import BINARY, PATIENCE, Client, Gateway, backend, question
from memory_world import CHAT, GOODFIRE, bearer, until

# What the scripted provider says that each of its answers cost.
COST = 12
PROMPT, OUTPUT = 7, 5


# --- keys -----------------------------------------------------------------------------------------------------------

class Key:
    """A key as its owner knows it, and as the gateway does."""

    def __init__(self, name, text=None, **more):
        self.name, self.text, self.more = name, text or "eg-" + secrets.token_urlsafe(32), more

    @property
    def digest(self):
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def entry(self):
        return {"name": self.name, "sha256": self.digest, **self.more}

    @property
    def head(self):
        return bearer(self.text)


def entries(*keys):
    return [key.entry for key in keys]


def keys_text(*keys):
    """A keys file."""
    return json.dumps({"keys": entries(*keys)})


def write(gateway, name, text):
    """As editors do: another file in its place."""
    path = os.path.join(gateway.folder.name, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def key_command(*arguments, given=None, folder=None):
    """`embergate key ...`: (exit status, stdout, stderr)."""
    done = subprocess.run([BINARY, "key", *arguments], input=given, capture_output=True, text=True, timeout=30,
                          check=False, cwd=folder)
    return done.returncode, done.stdout, done.stderr


class Stranger(Client):
    """A connection from an address that nobody has asked from before, for guesses are counted by address."""

    numbers = itertools.count(2)

    def __init__(self, gateway):
        number = next(self.numbers)
        self.socket = socket.create_connection(gateway.addresses[0], PATIENCE, (f"127.9.{number >> 8}.{number & 255}", 0))
        self.input, self.ended = b"", None


# --- gateways ---------------------------------------------------------------------------------------------------------

def limited(provider, quota=None, model=None, place=None, **more):
    """One backend `one` and one model `tiny`; QUOTA is the whole gateway's, MODEL and PLACE go into theirs."""
    admission = {**({"quota": quota} if quota else {}), **more.pop("admission", {})}
    return {"backends": [backend("one", provider, **(place or {}))],
            "models": [{"name": "tiny", "backends": ["one"], **(model or {})}],
            **({"admission": admission} if admission else {}), **more}


def limiting(provider, quota=None, **more):
    return Gateway(**limited(provider, quota, **more))


def connected(*gateways, workers=1):
    """Until Redis counts the limits: before that, each worker counts for itself."""
    for gateway in gateways:
        until(lambda: sum("redis of the limits: connected" in line for line in gateway.lines) >= workers,  # noqa: B023
              "a connection of each worker")


# --- what is told -------------------------------------------------------------------------------------------------------

def usage(gateway):
    """The administration's page: {(kind, name): {limit: line}}."""
    answer = gateway.ask("/usage", address=gateway.admin)
    assert answer.status == 200 and answer.header("content-type").startswith("application/json"), answer
    return {(scope["kind"], scope["name"]): {line["limit"]: line for line in scope["limits"]}
            for scope in answer.json()["scopes"]}


def used(gateway, limit, kind="gateway", name=""):
    return usage(gateway)[(kind, name)][limit]["used"]


def own_usage(gateway, key):
    answer = gateway.ask("/v1/usage", headers=key.head)
    assert answer.status == 200, answer.body
    return answer.json()


def places(gateway):
    """The places taken in each scope that counts them."""
    return {scope: lines["concurrent"]["used"] for scope, lines in usage(gateway).items() if "concurrent" in lines}


def free(gateway, timeout=10):
    """Until nobody holds a place."""
    until(lambda: not any(places(gateway).values()), f"all places to be free; {places(gateway)}", timeout)


def error(answer):
    """The members of an OpenAI error that programs read."""
    told = answer.json()["error"]
    assert set(told) == {"message", "type", "param", "code"} and told["message"], told
    return answer.status, told["type"], told["code"]


RATE = (429, "requests", "rate_limit_exceeded")
RATE_OF_TOKENS = (429, "tokens", "rate_limit_exceeded")
BUDGET = (429, "insufficient_quota", "insufficient_quota")
NO_KEY = (401, "invalid_request_error", "invalid_api_key")


def statuses(answers):
    """{status: how many}; every answer is whole."""
    counts = {}
    for answer in answers:
        assert answer.complete, (answer.status, answer.body[:300])
        counts[answer.status] = counts.get(answer.status, 0) + 1
    return counts


def passes(gateway, count, **more):
    """So many questions one after the other: how many were let in."""
    return sum(gateway.chat(**more).status == 200 for _ in range(count))


def tokens_question(tokens, model="tiny", **more):
    """A question whose estimate is TOKENS: one for four bytes, four for the message, and the limit of the output."""
    return question(model, "four", max_tokens=tokens - 5, **more)


__all__ = ["CHAT", "GOODFIRE", "bearer", "until"]
