"""What limits.py starts, and who asks there: processes that end with a `with`, and clients that ask at their own times
whatever the answers do."""

import asyncio
import collections
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("BUILD") or os.path.join(ROOT, "build-bench")
ports = itertools.count(int(os.environ.get("PORT_BASE", 21000)))    # below those that the kernel gives to clients


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- processes --------------------------------------------------------------------------------------------------------

def free_port():
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no port is free")


class Process:
    """A process of ours, until the end of `with`."""

    def __init__(self, arguments, port, core=None, errors=None, environment=None):
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        self.port, self.what = port, arguments[0]
        self.process = subprocess.Popen([*pinned, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=errors or subprocess.DEVNULL, env={**os.environ, **(environment or {})})

    def __enter__(self):
        self.until(self.is_listening, "to listen")
        return self

    def __exit__(self, *_):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def until(self, condition, what):
        end = time.monotonic() + 30
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.what}: gave up waiting for it {what}")
            time.sleep(.02)

    def is_listening(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def cpu_us(self):
        tasks = f"/proc/{self.process.pid}/task"
        total = 0
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1000


class Redis(Process):
    def __init__(self, folder, core=None):
        port = free_port()
        super().__init__(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                          "--appendonly", "no", "--dir", folder], port, core)


class Gateway(Process):
    """One worker. CONFIG is YAML as JSON writes it."""

    numbers = itertools.count(1)

    def __init__(self, folder, config, core=None, logs=True, environment=None):
        port = free_port()
        base = os.path.join(folder, f"gateway-{next(self.numbers)}")
        config = {"listen": [f"127.0.0.1:{port}"], "admin": f"127.0.0.1:{free_port()}", "workers": 1, **config}
        self.config = base + ".yaml"
        with open(self.config, "w", encoding="ascii") as file:
            json.dump(config, file)
        self.log = base + ".log" if logs else os.devnull
        with open(self.log, "wb") as errors:
            super().__init__([os.environ["GATEWAY"], "-c", self.config], port, core, errors, environment)

    def until(self, condition, what):
        try:
            super().until(condition, what)
        except RuntimeError:
            subprocess.run([self.what, "-c", self.config, "--check"], check=False, stdout=sys.stderr)
            raise

    def wait_for_redis(self):
        def connected():
            with open(self.log, "rb") as file:
                return b"redis of the limits: connected" in file.read()
        self.until(connected, "to connect to Redis")


class Group:
    """Things that are entered one by one and left together."""

    def __init__(self):
        self.inside = []

    def __enter__(self):
        return self

    def __exit__(self, *how):
        for one in reversed(self.inside):
            one.__exit__(*how)

    def start(self, one):
        self.inside.append(one)
        return one.__enter__()


def meson_build():
    if os.environ.get("GATEWAY"):
        return
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        subprocess.run(["meson", "setup", BUILD, ROOT, "-Dbuildtype=release", "-Db_lto=true", "-Ddebug=true",
                        "-Dtests=false"], check=True, stdout=sys.stderr)
    subprocess.run(["ninja", "-C", BUILD, "embergate"], check=True, stdout=sys.stderr)
    os.environ["GATEWAY"] = os.path.join(BUILD, "embergate")


# --- clients ----------------------------------------------------------------------------------------------------------

def request(body, key=None):
    text = json.dumps(body)
    authorization = f"authorization: Bearer {key}\r\n" if key else ""
    return (f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\n{authorization}content-type: application/json\r\n"
            f"content-length: {len(text)}\r\n\r\n{text}").encode()


def whole_answer(text):
    """(status, degraded) of the answer TEXT begins with, or None: it is not whole yet."""
    head = text.find(b"\r\n\r\n")
    if head < 0:
        return None
    lines = text[:head].lower()
    at = lines.find(b"content-length:")
    if at < 0:
        raise ValueError("an answer without a length")
    if len(text) < head + 4 + int(lines[at + 15:].split(b"\r\n", 1)[0]):
        return None
    return int(text[9:12]), b"x-embergate-admission: degraded" in lines


class Asked:
    """One question: when it was sent, when it was answered, and how. Status 0: never."""

    __slots__ = ("due", "sent", "answered", "status", "degraded")

    def __init__(self, due):
        self.due, self.sent, self.answered, self.status, self.degraded = due, 0.0, 0.0, 0, False


class Connection(asyncio.Protocol):
    def __init__(self, pool):
        self.pool, self.asked, self.input, self.transport = pool, None, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, asked):
        self.asked = asked
        asked.sent = time.monotonic()
        self.transport.write(self.pool.text)

    def data_received(self, data):
        self.input += data
        told = whole_answer(self.input)
        if told and self.asked:
            self.asked.answered = time.monotonic()
            self.asked.status, self.asked.degraded = told
            self.asked, self.input = None, b""
            self.pool.is_free(self)

    def connection_lost(self, _):
        self.pool.is_gone(self)


class Pool:
    """Connections to one gateway, made when needed; a question that finds MOST of them busy waits here, unsent."""

    def __init__(self, port, text, most):
        self.port, self.text, self.most = port, text, most
        self.free, self.waiting, self.count, self.opening = [], collections.deque(), 0, set()

    def ask(self, asked):
        if self.free:
            self.free.pop().ask(asked)
            return
        self.waiting.append(asked)
        if self.count < self.most:
            self.count += 1
            task = asyncio.ensure_future(self.open())
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)

    async def open(self):
        try:
            _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1",
                                                                               self.port)
            self.is_free(connection)
        except OSError:
            self.count -= 1

    def is_free(self, connection):
        if self.waiting:
            connection.ask(self.waiting.popleft())
        else:
            self.free.append(connection)

    def is_gone(self, connection):
        self.count -= 1
        if connection in self.free:
            self.free.remove(connection)

    def close(self):
        for connection in list(self.free):
            connection.transport.close()


async def open_loop(pools, dues, began):
    """Ask at the times DUES after BEGAN, each pool in turn, whatever the answers do."""
    every, turn = [], itertools.cycle(pools)
    for due in dues:
        wait = began + due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        every.append(Asked(due))
        next(turn).ask(every[-1])
    end = time.monotonic() + 10
    while time.monotonic() < end and any(not asked.status for asked in every[-2000:]):
        await asyncio.sleep(.05)
    for pool in pools:
        pool.close()
    return every
