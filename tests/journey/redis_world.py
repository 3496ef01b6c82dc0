"""Redis for the tests: a real server that can be stopped, killed and brought back; a wire in front of it that delays,
cuts or leads elsewhere; and a server that lies.

    with Redis() as redis, Gateway(cache={"redis": {"url": redis.url}}, ...) as gateway:
        redis.stop()
        ...
        redis.cont()
        redis.command("GET", "x")
"""

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from harness import PATIENCE, port_of, reserved

PREFIX = "embergate"


def connected(gateway, workers=1):
    """Until each worker of GATEWAY, and its administration, has a good connection to Redis."""
    gateway.wait("redis_up", workers + 1, timeout=15)


class RedisError(Exception):
    """An error reply."""


class Talk:
    """A connection to a Redis server: one command, one reply."""

    def __init__(self, address, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def command(self, *words):
        self.socket.sendall(packed(*words))
        return self._reply()

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server left")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if int(rest) < 0:
            return None
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2]
        return [self._reply() for _ in range(int(rest))]


def packed(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Redis:
    """A real redis-server in a folder of its own, on 127.0.0.1 and on a unix socket."""

    def __init__(self, *arguments, login=()):
        self.folder = tempfile.TemporaryDirectory(prefix="embergate-redis-")
        self.unix = os.path.join(self.folder.name, "redis.sock")
        self.holder = reserved()    # the port is its own while it is away
        self.port, self.arguments, self.login = port_of(self.holder), arguments, login
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()
        self.holder.close()
        self.folder.cleanup()

    def start(self):
        """Until it answers. What it held before is gone."""
        assert self.process is None
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.unix, "--save", "",
             "--appendonly", "no", "--dir", self.folder.name, "--daemonize", "no", "--enable-debug-command", "yes",
             "--repl-diskless-sync-delay", "0", *self.arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 15
        while True:
            try:
                self.command("PING")
                return self
            except (OSError, RedisError) as error:
                assert self.process.poll() is None and time.monotonic() < end, f"redis-server: {error!r}"
                time.sleep(0.02)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """It holds its breath: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def cont(self):
        self.process.send_signal(signal.SIGCONT)

    def command(self, *words):
        with Talk(("127.0.0.1", self.port)) as talk:
            if self.login:
                talk.command("AUTH", *self.login)
            return talk.command(*words)

    def answers(self, prefix=PREFIX):
        """The names of the answers it holds."""
        return self.command("KEYS", f"{prefix}:a:*")

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


# --- servers in a thread of their own ------------------------------------------------------------------------------

class Served:
    """A listening port of 127.0.0.1; `serve(reader, writer)` runs for each connection."""

    def __enter__(self):
        started = threading.Event()
        self.writers = set()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main(started)), daemon=True)
        self.thread.start()
        assert started.wait(PATIENCE), "no server: its thread tells why"
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.ending.set)
        self.thread.join(10)

    async def _main(self, started):
        self.loop, self.ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._one, "127.0.0.1", 0, limit=1 << 24)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self.ending.wait()
        server.close()
        self._cut()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _one(self, reader, writer):
        self.writers.add(writer)
        with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self.serve(reader, writer)
        self.writers.discard(writer)
        writer.close()

    def _cut(self):
        for writer in list(self.writers):
            writer.transport.abort()

    def cut(self):
        """All connections end now."""
        self.loop.call_soon_threadsafe(self._cut)

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


class Wire(Served):
    """Passes bytes on to TARGET (anything with a `port`); replies come `delay()` seconds late."""

    def __init__(self, target, delay=None):
        self.target, self.delay, self.connections = target, delay, 0

    async def serve(self, reader, writer):
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self.target.port)

        async def forth():
            while data := await reader.read(1 << 16):
                back.write(data)
                await back.drain()
            back.close()

        task = self.loop.create_task(forth())
        try:
            while data := await there.read(1 << 16):
                if self.delay:
                    await asyncio.sleep(self.delay())
                writer.write(data)
                await writer.drain()
        finally:
            task.cancel()
            back.close()


# --- lies ----------------------------------------------------------------------------------------------------------

def bulk(value):
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def flipped(value):
    at = random.randrange(len(value) * 8)
    return value[:at // 8] + bytes([value[at // 8] ^ (1 << at % 8)]) + value[at // 8 + 1:]


def forged(value):
    """Other words under a digest that anybody can make."""
    rest = value[40:].replace(b"nonce-", b"wrong-")
    return value[:8] + hashlib.sha256(rest).digest() + rest


# What comes instead of an answer's own reply: (honest value) -> bytes on the wire. None: nothing, ever.
RAW = {
    "garbage": lambda value: b"\x00\xff\xfe\x80garbage\r\n\r\n",
    "http": lambda value: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "integer": lambda value: b":42\r\n",
    "large integer": lambda value: b":99999999999999999999999999\r\n",
    "status": lambda value: b"+OK\r\n",
    "list": lambda value: b"*2\r\n" + bulk(value) + bulk(value),
    "nil list": lambda value: b"*-1\r\n",
    "empty list": lambda value: b"*0\r\n",
    "nested": lambda value: b"*1\r\n" * 50000 + b":1\r\n",
    "long list": lambda value: b"*400000000\r\n" + b":1\r\n" * 50000,
    "giant": lambda value: b"$400000000\r\n" + b"x" * (8 << 20),
    "above the limit": lambda value: b"$%d\r\n" % (80 << 20) + b"x" * (8 << 20),
    "long line": lambda value: b"+" + b"x" * (8 << 20),
    "negative": lambda value: b"$-7\r\n",
    "no number": lambda value: b"$12a\r\n",
    "endless number": lambda value: b"$" + b"9" * 100 + b"\r\n",
    "no line end": lambda value: bulk(value)[:-2] + b"xx",
    "resp3": lambda value: b">2\r\n+a\r\n+b\r\n%1\r\n+a\r\n_\r\n",
    "half": lambda value: bulk(value)[:len(value) // 2],
    "twice": lambda value: bulk(value) * 2,
    "an error more": lambda value: b"-ERR surprise\r\n" + bulk(value),
    "nothing": None,
    # Values of a right shape.
    "empty": lambda value: bulk(b""),
    "cut": lambda value: bulk(value[:len(value) // 2]),
    "one byte less": lambda value: bulk(value[:-1]),
    "one byte more": lambda value: bulk(value + b"\0"),
    "flipped": lambda value: bulk(flipped(value)),
    "another version": lambda value: bulk(value[:4] + b"\x01" + value[5:]),
    "zeros": lambda value: bulk(bytes(len(value))),
    "large lengths": lambda value: bulk(value[:112] + b"\xff" * 64 + value[176:]),
    "forged": lambda value: bulk(forged(value)),
}
ERRORS = ["OOM command not allowed", "MISCONF Redis is configured to save", "READONLY You can't write", "LOADING Redis is loading",
          "MASTERDOWN Link with MASTER is down", "CLUSTERDOWN The cluster is down", "NOAUTH Authentication required.",
          "NOPERM this user has no permissions", "BUSY Redis is busy", "NOSCRIPT No matching script",
          "WRONGTYPE Operation against a key", "MOVED 3999 127.0.0.1:6381", "TRYAGAIN", "ERR", ""]
# What needs more than one reply, or the connection.
DEEDS = ["late", "close", "reset", "half and close", "swapped", "another key", "one behind", "drip", "bad stamp",
         "another stamp", "no stamp", "refuse", "mute", "greeting", "loading"]


class LyingRedis(Served):
    """Keeps what it is given, and tells it as `mode` says: None (the truth), a name of RAW or DEEDS, or an error's text
    with `-` before it."""

    def __init__(self):
        self.mode, self.held, self.lies, self.connections = None, {}, 0, 0

    async def serve(self, reader, writer):
        self.connections += 1
        if self.mode == "refuse":
            self.lies += 1
            return
        behind = []         # replies that are kept back
        while True:
            words = await self._command(reader)
            if self.mode in ("mute", "nothing") and (self.mode == "mute" or words[0] == b"GET"):
                self.lies += 1
                continue
            reply = self._honest(words)
            if self.mode and words[0] == b"GET":
                reply = await self._lie(words[1], reply, behind, writer)
            elif self.mode in ("greeting", "loading") or (self.mode or "").startswith("-") and words[0] == b"SET":
                self.lies += 1
                reply = {"greeting": b"*1\r\n:1\r\n", "loading": b"-LOADING Redis is loading the dataset in memory\r\n"}.get(
                    self.mode, (self.mode or "").encode() + b"\r\n")
            writer.write(reply)
            await writer.drain()

    @staticmethod
    async def _command(reader):
        words = []
        for _ in range(int((await reader.readuntil(b"\r\n"))[1:])):
            size = int((await reader.readuntil(b"\r\n"))[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        words[0] = words[0].upper()
        return words

    def _honest(self, words):
        name, rest = words[0], words[1:]
        if name == b"GET":
            return bulk(self.held.get(rest[0]))
        if name == b"SET":
            options = [word.upper() for word in rest[2:]]
            if b"NX" in options and rest[0] in self.held:
                return b"$-1\r\n"
            self.held[rest[0]] = rest[1]
            return b"+OK\r\n"
        if name in (b"DEL", b"UNLINK"):
            return b":%d\r\n" % len([self.held.pop(key) for key in rest if key in self.held])
        return {b"PING": b"+PONG\r\n", b"AUTH": b"+OK\r\n", b"SELECT": b"+OK\r\n"}.get(name, b"-ERR unknown command\r\n")

    async def _lie(self, key, reply, behind, writer):
        mode, honest = self.mode, self.held.get(key)
        if b":a:" not in key:
            stamps = {"bad stamp": bulk(b"banana"), "another stamp": bulk(str(random.getrandbits(62)).encode()),
                      "no stamp": bulk(None)}
            if mode == "swapped" and behind:
                return reply + behind.pop()
            self.lies += mode in stamps
            return stamps.get(mode, reply)
        if honest is None:
            return reply
        self.lies += 1
        if mode in RAW:
            return RAW[mode](honest)
        if mode.startswith("-"):
            return mode.encode() + b"\r\n"
        return await self._deed(mode, key, reply, behind, writer)

    async def _deed(self, mode, key, reply, behind, writer):
        if mode == "late":
            await asyncio.sleep(0.12)
        elif mode == "close":
            raise EOFError
        elif mode == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            raise EOFError
        elif mode == "half and close":
            writer.write(reply[:len(reply) // 2])
            raise EOFError
        elif mode == "swapped":
            behind.append(reply)
            return b""
        elif mode == "another key":
            others = [value for name, value in self.held.items() if b":a:" in name and name != key]
            return bulk(random.choice(others)) if others else reply
        elif mode == "one behind":
            # From the first question on each reply is the one before.
            behind.append(reply)
            return behind.pop(0) if len(behind) > 1 else bulk(None)
        elif mode == "drip":
            for at in range(0, len(reply) - 1, max(1, len(reply) // 8)):
                writer.write(reply[at:at + max(1, len(reply) // 8)])
                await asyncio.sleep(0.02)
            return b""
        return reply

    def answers(self):
        return [name for name in self.held if b":a:" in name]
