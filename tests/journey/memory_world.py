"""What the tests of the memory share: questions that are asked again, what an answer tells of the memory, and many
clients at once."""

import asyncio
import itertools
import os
import re
import secrets
import socket
import struct
import subprocess
import threading
import time

from harness import BINARY, PATIENCE, Client, Gateway, backend, question, request_bytes

CHAT = "/v1/chat/completions"
GOODFIRE = "/api/inference/v1/chat/completions"
LOGITS = "/v1/chat/logits"
FULL = bool(os.environ.get("EMBERGATE_FULL"))
_numbers = itertools.count(1)


# --- configuration ------------------------------------------------------------------------------------------------

def one_model(provider, kind=None, cache=None, backend_more=None, model_more=None, **more):
    """One backend, one model called `tiny`, and a memory."""
    return {"backends": [backend("one", provider, kind, **(backend_more or {}))],
            "models": [{"name": "tiny", "backends": ["one"], **(model_more or {})}],
            "cache": {"when": "repeatable", **(cache or {})}, **more}


def remembering(provider, cache=None, **more):
    return Gateway(**one_model(provider, cache=cache, **more))


# --- questions ------------------------------------------------------------------------------------------------------

def nonce():
    return f"nonce-{next(_numbers)}-{secrets.token_hex(4)}"


def mirrored(words="", name=None):
    """A question's text whose answer is `name`, a nonce; WORDS are more of the provider's words (`+gap=5`)."""
    return f"{name or nonce()} [[+mirror{words}]]"


def seeded(text=None, model="tiny", **more):
    return question(model, text or mirrored(), **{"seed": 7, **more})


def wanted(body):
    """The nonce that the answer to BODY must tell, and no other."""
    return re.findall(r"nonce-\d+-[0-9a-f]+", body["messages"][-1]["content"])[0]


def said(answer):
    """What the assistant says in a whole answer or a stream."""
    assert answer.status == 200 and answer.complete, (answer.status, answer.body[:500])
    if answer.header("content-type").startswith("text/event-stream"):
        return answer.text()
    return answer.json()["choices"][0]["message"]["content"]


def told_again(answer):
    """The body without what differs from telling to telling in Goodfire's words."""
    return re.sub(rb'"chatcmpl-[0-9a-f]{32}"', b'"id"', re.sub(rb'"created":\d{10}', b'"created":0', answer.body))


# --- what an answer and the gateway tell -------------------------------------------------------------------------

def verdict(answer):
    return answer.header("x-embergate-cache")


def key(answer):
    name = answer.header("x-embergate-cache-key")
    assert name is None or re.fullmatch("[0-9a-f]{64}", name), name
    return name


def reason(answer):
    assert verdict(answer) == "bypass", (answer.status, answer.headers, answer.body[:300])
    return answer.header("x-embergate-cache-reason")


def control(text):
    return [("Cache-Control", text)]


def bearer(name):
    return [("Authorization", f"Bearer {name}")]


def page(gateway):
    """The administration's page about the memory."""
    answer = gateway.ask("/cache", address=gateway.admin)
    assert answer.status == 200 and answer.header("content-type").startswith("application/json"), answer
    return answer.json()


def counts(gateway):
    return page(gateway)["counts"]


def since(gateway, before):
    """What of the counts has changed, and by how much."""
    return {name: value - before[name] for name, value in counts(gateway).items() if value != before[name]}


def wait_joins(gateway, joins):
    """Until so many have joined, ever: an exchange that is open may not have come so far."""
    until(lambda: counts(gateway)["joins"] == joins, f"{joins} that joined")


def purge(gateway, query=""):
    answer = gateway.ask("/cache/purge" + query, method="POST", address=gateway.admin)
    assert answer.status == 200, (answer.status, answer.body)
    return answer.json()["purged"]


def labelled(gateway, name):
    """A metric with labels: {(value of each label, in order): number}."""
    text = gateway.ask("/metrics", address=gateway.admin).body.decode()
    return {tuple(re.findall(r'="([^"]*)"', labels)): float(value)
            for labels, value in re.findall(rf"^embergate_{name}{{([^}}]*)}} (\S+)$", text, re.M)}


def cache_command(*arguments, gateway=None):
    """`embergate cache ...`, asked of GATEWAY's administration: (exit status, stdout, stderr)."""
    where = ["--admin", "%s:%d" % gateway.admin] if gateway else []
    done = subprocess.run([BINARY, "cache", *arguments, *where], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


def until(true, what, timeout=PATIENCE):
    """Ask TRUE again and again; its first true value."""
    end = time.monotonic() + timeout
    while not (value := true()):
        assert time.monotonic() < end, f"waited {timeout} s for {what}"
        time.sleep(0.005)
    return value


# --- many clients at once ------------------------------------------------------------------------------------------

class Recorded(Client):
    """An answer out of bytes that were read before."""

    def __init__(self, data, ended="fin"):
        self.input, self.ended = data, ended

    def receive(self):
        return False


class Guest(asyncio.Protocol):
    """One client of a Swarm: one request, all that comes back."""

    def __init__(self, request):
        self.request, self.pieces, self.size = request, [], 0
        self.arrivals = []          # (when, bytes until then)
        self.ended = self.left = None
        self.asked = None

    def connection_made(self, transport):
        self.transport = transport
        self.asked = time.monotonic()
        transport.write(self.request)

    def data_received(self, data):
        self.pieces.append(data)
        self.size += len(data)
        self.arrivals.append((time.monotonic(), self.size))

    def connection_lost(self, error):
        self.ended = "rst" if isinstance(error, ConnectionError) else "fin"

    @property
    def data(self):
        return b"".join(self.pieces)

    def has(self, mark):
        return mark in self.data

    def when(self, mark):
        """When MARK had come in full."""
        at = self.data.index(mark) + len(mark)
        return next(when for when, size in self.arrivals if size >= at)

    def answer(self):
        return Recorded(self.data, self.ended).read_answer()


class Swarm:
    """Clients in a thread of their own: they read on while the test waits for facts."""

    def __init__(self, gateway):
        self.address, self.guests = gateway.addresses[0], []

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self._run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def _run(self, coroutine, timeout=60):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    async def _close(self):
        for guest in self.guests:
            guest.transport.abort()
        await asyncio.sleep(0)

    def ask(self, count, body, path=CHAT, headers=(), method="POST"):
        """COUNT clients that ask the same; returns when all have sent it."""
        data = request_bytes(method, path, body, [*headers, ("Connection", "close")])

        async def begin():
            made = []
            for at in range(0, count, 100):
                made += await asyncio.gather(*(self.loop.create_connection(lambda: Guest(data), *self.address)
                                               for _ in range(min(100, count - at))))
            return [guest for _, guest in made]

        guests = self._run(begin())
        self.guests += guests
        return guests

    def leave(self, guests, how="close"):
        """They go away, in this order; when the first one did."""
        async def go():
            began = time.monotonic()
            for guest in guests:
                guest.left = time.monotonic()
                if guest.ended:
                    continue
                if how == "reset":
                    raw = guest.transport.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                guest.transport.abort()
            return began

        return self._run(go())

    @staticmethod
    def wait(guests, mark, timeout=30):
        """Until each of GUESTS has MARK."""
        until(lambda: all(guest.has(mark) for guest in guests), f"{mark!r} at {len(guests)} clients", timeout)

    @staticmethod
    def answers(guests, timeout=60):
        """The answers of GUESTS, once all have ended."""
        until(lambda: all(guest.ended for guest in guests), f"{len(guests)} clients to end", timeout)
        return [guest.answer() for guest in guests]
