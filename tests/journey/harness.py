"""Starts the real program for a test, and talks to it in raw HTTP.

    with Gateway(backends=[backend("local", provider)], models=[...]) as gateway:
        answer = gateway.ask("/v1/models")
        gateway.wait("calls", 0)

Nothing here sleeps for luck: a test waits for a metric, a line of the log or an event at the provider.
"""

import asyncio
import glob
import json
import os
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BINARY = os.environ.get("EMBERGATE_BINARY") or os.path.join(ROOT, "build-test", "embergate")
SUPPRESSIONS = os.path.join(ROOT, "tests", "thread_sanitizer.supp")
SANITIZER = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error:|AddressSanitizer:|Assertion .* failed")
# Where Debian puts it, whatever the machine; None: it is not installed.
FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
# Sanitized builds on a busy machine are slow; facts usually come within milliseconds.
PATIENCE = 10
# What comes so soon did not wait for a timer: those that it must not wait for are set to PATIENCE or more.
AT_ONCE = PATIENCE / 2


# --- configuration ------------------------------------------------------------------------------------------------

def yaml(value, indent=0):
    """VALUE (dicts, lists, plain values) as block YAML."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_child(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        out = ""
        for item in value:
            text = yaml(item, indent + 1) if isinstance(item, (dict, list)) and item else None
            out += f"{pad}- {text.lstrip()}" if text else f"{pad}- {_plain(item)}\n"
        return out
    return f"{pad}{_plain(value)}\n"


def _child(item, indent):
    if isinstance(item, (dict, list)) and item:
        return "\n" + yaml(item, indent + 1)
    return f" {_plain(item)}\n"


def _plain(value):
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", value) and not re.fullmatch(
            r"(?i)yes|no|on|off|true|false|null|y|n|[0-9.]+", value) else json.dumps(value)
    return json.dumps(value)


def backend(name, provider, kind=None, **more):
    """A backend entry for a scripted provider."""
    trusted = {"ca_file": provider.ca_file} if provider.ca_file else {}
    return {"name": name, "kind": kind or provider.kind, "url": provider.url, **trusted, **more}


ECHO = {"name": "echo", "kind": "echo", "url": "http://echo.invalid"}


def echo(pace="0ms", name="local"):
    return {"name": name, "kind": "echo", "echo": {"pace": pace}}


# --- raw HTTP -------------------------------------------------------------------------------------------------------

@dataclass
class Chunk:
    """One HTTP chunk and when its last byte came (time.monotonic())."""
    data: bytes
    at: float


@dataclass
class Answer:
    status: int
    reason: str
    headers: list
    body: bytes = b""
    chunks: list = field(default_factory=list)
    complete: bool = False      # the body ended as its framing promised

    def header(self, name):
        values = [value for key, value in self.headers if key == name.lower()]
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def events(self):
        """The payloads of the SSE events in the body; comments are left out."""
        return [block[6:].decode() for block in self.body.split(b"\n\n") if block.startswith(b"data: ")]

    def objects(self):
        return [json.loads(text) for text in self.events() if text != "[DONE]"]

    def text(self):
        """The content deltas of choice 0, joined."""
        return "".join(choice["delta"].get("content") or "" for chunk in self.objects()
                       for choice in chunk.get("choices", [])[:1])


class Client:
    """One raw connection to the gateway."""

    def __init__(self, address, timeout=PATIENCE, receive_buffer=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.ended = None           # "fin" or "rst"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def ask(self, method, path, body=None, headers=(), read=True):
        """One request with the usual headers; the answer, unless READ is false."""
        self.send(request_bytes(method, path, body, headers))
        return self.read_answer(method) if read else None

    def receive(self):
        """More input. False at the end, and `ended` tells how."""
        try:
            data = self.socket.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            self.ended = "rst"
            return False
        if not data:
            self.ended = "fin"
            return False
        self.input += data
        return True

    def until(self, mark):
        while mark not in self.input:
            if not self.receive():
                raise EOFError(f"the connection ended ({self.ended}) before {mark!r}; got {self.input[:300]!r}")
        data, self.input = self.input.split(mark, 1)
        return data

    def read_head(self):
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = (lines[0] + " ").split(" ", 2)
        assert version == "HTTP/1.1", lines[0]
        headers = [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in lines[1:])]
        return Answer(int(status), reason.strip(), headers)

    def read_chunk(self):
        """The next HTTP chunk; None at the last one."""
        size = int(self.until(b"\r\n"), 16)
        while len(self.input) < size + 2:
            if not self.receive():
                raise EOFError(f"the connection ended ({self.ended}) inside a chunk")
        data, end, self.input = self.input[:size], self.input[size:size + 2], self.input[size + 2:]
        assert end == b"\r\n", end
        return Chunk(data, time.monotonic()) if size else None

    def read_answer(self, method="GET"):
        """Head and body. `complete` is false when the connection ended early; `ended` says how."""
        answer = self.read_head()
        while answer.status in (100, 102, 103):
            answer = self.read_head()
        self.read_body(answer, method)
        return answer

    def read_body(self, answer, method="GET", on_chunk=None):
        try:
            if method == "HEAD" or answer.status in (204, 304):
                pass
            elif answer.header("transfer-encoding"):
                while (chunk := self.read_chunk()) is not None:
                    answer.chunks.append(chunk)
                    answer.body += chunk.data
                    if on_chunk:
                        on_chunk()
            else:
                length = answer.header("content-length")
                while length is None or len(self.input) < int(length):
                    if not self.receive():
                        if length is None:
                            answer.body, self.input = self.input, b""
                            answer.complete = True
                        return answer
                answer.body, self.input = self.input[:int(length)], self.input[int(length):]
            answer.complete = True
        except EOFError:
            pass
        return answer

    def wait_end(self):
        """Read until the connection ends; "fin" or "rst"."""
        while self.ended is None:
            self.receive()
        return self.ended

    def closed(self, within=0):
        """Has the gateway closed the connection (an end waits to be read within WITHIN seconds)?"""
        ready = select.select([self.socket], [], [], within)[0]
        return bool(ready) and not self.receive()

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def request_bytes(method, path, body=None, headers=()):
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def reserved():
    """A socket that holds a port of 127.0.0.1: nobody else is given it, and who connects is refused, unless a server of
    ours (they all have SO_REUSEADDR) listens there meanwhile."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def port_of(holder):
    return holder.getsockname()[1]


def in_half(measure, bound, times=5, rounds=4):
    """MEASURE tells how long something took: half of TIMES less than BOUND, and always AT_ONCE. A busy machine spoils a
    round, what waits for a timer spoils each."""
    for _ in range(rounds):
        taken = [measure() for _ in range(times)]
        assert max(taken) < AT_ONCE, taken
        if statistics.median(taken) < bound:
            return
    raise AssertionError(f"not below {bound}: {taken}")


def run_async(coroutine):
    """As asyncio.run(), but leaves this thread's event loop alone: the synchronous Goodfire client needs one."""
    result = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    assert result, "the coroutine raised; see above"
    return result[0]


def question(model="tiny", text="Hello", **more):
    """A chat body."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


# --- the program --------------------------------------------------------------------------------------------------

class Record(dict):
    """One line of the request log, every value as text: what has nothing to say is "-"."""

    def __init__(self, line):
        self.raw = json.loads(line)
        super().__init__({name: value if isinstance(value, str) else json.dumps(value)
                          for name, value in self.raw.items()})

    def __missing__(self, name):
        return "-"


class Gateway:
    """The real program with a configuration of its own. All keyword arguments go into the YAML file."""

    def __init__(self, arguments=(), environment=None, prefix=(), text=None, start=True, files=None, **config):
        self.folder = tempfile.TemporaryDirectory(prefix="embergate-journey-")
        self.arguments, self.prefix = list(arguments), list(prefix)
        self.environment = {**os.environ, "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=1:exitcode=99",
                            # A process that ends at once, on purpose, joins nobody.
                            "TSAN_OPTIONS": f"report_thread_leaks=0:exitcode=99:suppressions={SUPPRESSIONS}",
                            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
                            **(environment or {})}
        # A test that counts what reaches the provider says itself when answers are to be remembered.
        self.config = {"listen": ["127.0.0.1:0"], "admin": "127.0.0.1:0", "workers": 1, "cache": {"when": "never"}, **config}
        for name, content in (files or {}).items():
            path = os.path.join(self.folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(content if isinstance(content, str) else json.dumps(content))
        self.file = None
        if text is not False:
            self.file = os.path.join(self.folder.name, "embergate.yaml")
            with open(self.file, "w", encoding="utf-8") as file:
                file.write(text or yaml(self.config))
        self.process, self.lines, self.changed = None, [], threading.Condition()
        self.records = []
        self.addresses, self.admin = [], None
        self.clients = []
        if start:
            self.start()

    # life

    def command(self):
        return [*self.prefix, BINARY, *(["-c", self.file] if self.file else []), *self.arguments]

    def start(self):
        self.records = []
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=self.environment, cwd=self.folder.name)
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_log)]
        for reader in self.readers:
            reader.start()
        self.wait_line(r"listening on", 30)
        self.wait_for(lambda: self.admin is not None, "the admin address")
        return self

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self.changed:
                self.lines.append(line)
                for address in re.findall(r"(?:listening on|admin on|, )\s*((?:[0-9.]+|\[[^\]]+\]):\d+|unix:[^\s,]+)", line):
                    self._address(line, address)
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _read_log(self):
        for raw in self.process.stdout:
            record = Record(raw)
            with self.changed:
                self.records.append(record)
                self.changed.notify_all()

    def _address(self, line, address):
        real = address[5:] if address.startswith("unix:") else (
            address.rsplit(":", 1)[0].strip("[]"), int(address.rsplit(":", 1)[1]))
        if f"admin on {address}" in line:
            self.admin = real
        elif real not in self.addresses:
            self.addresses.append(real)

    def stop(self, how=signal.SIGTERM, timeout=20):
        """End the program; its exit status. A sanitizer's report fails the test."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        self._join()
        self.check()
        assert status is not None, f"the gateway did not end within {timeout} s of signal {how}"
        return status

    def revive(self):
        """Start again if the program has died; what it said last, or None."""
        if self.process.poll() is None:
            return None
        self._join()
        said = "\n".join(self.lines[-60:])
        found = SANITIZER.search("\n".join(self.lines))
        if found:
            said = "\n".join(self.lines)[found.start():found.start() + 4000]
        self.lines, self.records, self.addresses, self.admin = [], [], [], None
        self.start()
        return f"the gateway died (status {self.process.returncode}):\n{said}"

    def _join(self):
        for reader in self.readers:
            reader.join(10)

    def check_log(self):
        """Every line has the next number, or what is between is told as dropped."""
        last = 0
        for record in self.records:
            first = record.raw["first"] if record["event"] == "dropped" else record.raw["seq"]
            assert first == last + 1, f"the log goes from {last} to {first}"
            last = record.raw["seq"]

    def check(self):
        self.check_log()
        text = "\n".join(self.lines)
        found = SANITIZER.search(text)
        assert not found, "sanitizer report:\n" + text[max(0, found.start() - 200):found.start() + 6000]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            if self.process:
                running = self.process.poll() is None
                status = self.stop(signal.SIGTERM if kind is None else signal.SIGKILL)
                assert kind is not None or (running and status == 0) or getattr(self, "expect_end", False), \
                    f"exit status {status}, last lines: {self.lines[-5:]}"
        finally:
            self.folder.cleanup()

    # addresses and clients

    @property
    def port(self):
        return self.addresses[0][1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, address=None, **more):
        client = Client(address or self.addresses[0], **more)
        self.clients.append(client)
        return client

    def ask(self, path, body=None, method=None, headers=(), address=None):
        """One request on a connection of its own."""
        with Client(address or self.addresses[0]) as client:
            method = method or ("GET" if body is None else "POST")
            return client.ask(method, path, body, headers=[*headers, ("Connection", "close")])

    def chat(self, body=None, headers=(), **more):
        return self.ask("/v1/chat/completions", body if body is not None else question(**more), headers=headers)

    def goodfire(self, body=None, headers=(), **more):
        return self.ask("/api/inference/v1/chat/completions", body if body is not None else question(**more),
                        headers=headers)

    def stepwise(self, provider, body, events=1, seen=None, path="/v1/chat/completions"):
        """As ask(); what PROVIDER has to say of a stream from event number EVENTS on, or does instead, it does when the
        client has those before (SEEN of them): of what is met together with the first event a status would tell."""
        provider.hold(at=events)
        try:
            with Client(self.addresses[0]) as client:
                client.ask("POST", path, body, headers=[("Connection", "close")], read=False)
                answer = client.read_head()

                def on_chunk():
                    if answer.body.count(b"data: ") >= (seen or events):
                        provider.release()

                client.read_body(answer, on_chunk=on_chunk)
                return answer
        finally:
            provider.release()

    # facts

    def metrics(self):
        answer = self.ask("/metrics", address=self.admin)
        assert answer.status == 200 and answer.complete, answer
        text = answer.body.decode()
        values = {name: float(value)
                  for name, value in re.findall(r"^embergate_(\w+)(?:\{[^}]*\})? (\S+)$", text, re.M)}
        # The look itself is a request on a connection.
        values["exchanges"] -= 1
        values["connections"] -= 1
        return values

    def metric(self, name):
        return self.metrics()[name]

    def wait(self, name, value, timeout=PATIENCE):
        """Until metric NAME reads VALUE (a number, or a function of the number)."""
        true = value if callable(value) else (lambda number: number == value)
        end = time.monotonic() + timeout
        while True:
            now = self.metric(name)
            if true(now):
                return now
            assert time.monotonic() < end, f"embergate_{name} is {now} after {timeout} s"
            time.sleep(0.005)

    def fence(self):
        """Its only worker has dealt with all that has come to its sockets: the second of these came when its loop had
        turned."""
        for _ in range(2):
            assert self.ask("/healthz").status in (200, 503)

    def quiet(self):
        """Everything that was begun has ended."""
        for name in ("calls", "exchanges", "streams"):
            self.wait(name, 0)

    def wait_for(self, true, what, timeout=PATIENCE):
        """Until TRUE of its lines and records: it is asked again when there is a new one (`until` asks all the time)."""
        with self.changed:
            if not self.changed.wait_for(lambda: true() or self.process.poll() is not None, timeout) or not true():
                raise AssertionError(f"waited for {what}; the log:\n" + "\n".join(self.lines[-40:]))

    def wait_line(self, pattern, timeout=PATIENCE):
        search = re.compile(pattern).search
        self.wait_for(lambda: any(search(line) for line in self.lines), f"a line with {pattern!r}", timeout)
        return next(line for line in reversed(self.lines) if search(line))

    def log(self):
        """The request lines so far."""
        with self.changed:
            return [record for record in self.records if "event" not in record]

    def wait_record(self, answer_or_id):
        """The log's record of the request that was answered with this x-request-id."""
        name = answer_or_id if isinstance(answer_or_id, str) else answer_or_id.header("x-request-id")
        self.wait_for(lambda: any(record["id"] == name for record in self.records), f"the record of {name}")
        return next(record for record in self.log() if record["id"] == name)

    def wait_event(self, name, true=lambda record: True):
        """The log's line of another kind."""
        def found():
            return [record for record in self.records if record["event"] == name and true(record)]
        self.wait_for(found, f"a line of {name}")
        return found()[0]

    def memory(self):
        """Anonymous resident bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024


def check_config(text, files=None):
    """`embergate --check` on TEXT: (exit status, stderr)."""
    gateway = Gateway(text=text, files=files, start=False)
    done = subprocess.run([BINARY, "-c", gateway.file, "--check"], capture_output=True, text=True, timeout=30,
                          env=gateway.environment, check=False)
    gateway.folder.cleanup()
    return done.returncode, done.stderr
