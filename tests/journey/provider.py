"""A scripted provider: a raw-socket server that plays each kind of backend, well or badly, and writes down what it saw.

How it behaves is chosen per request by words in the model's name (`tiny+rst_after=3`), or in a message
(`hello [[+stall_after=2+gap=50]]`), or by the test (`provider.next(status=503)`). It runs in a thread of the test
process; every method of Provider may be called from the test.

    with Provider("vllm") as provider:
        provider.hold()                      # answers wait before their first byte
        ...
        request = provider.wait_requests(1)[0]
        provider.release()
        request.wait_ended()                 # "fin" or "rst", and when

Words: see FAULTS below.
"""

import asyncio
import json
import re
import socket
import ssl
import struct
import threading
import time

import provider_stream
from harness import PATIENCE, port_of, reserved
from provider_kinds import GOODFIRE, Reply, answer, compact, error_object

FAULTS = """
before the answer    ttfb=MS  drop (close, no byte)  hang (never answer)  1xx=N  101  302=URL  status=N  ra=TEXT  ram=MS
a body's framing     cl=+N/-N  clte  2cl (two lengths)  html  gzip  empty  notjson  hdr=BYTES  slowhdr=MS  204
                     close (body ends with the connection)
an answer's content  tokens=N  text=WORDS  finish=NAME  nofinish  nousage  usageinfinish  earlyusage=N  norole  giant=BYTES  flood
                     mirror (the words of the last message, then tokens=N more)  fingerprint=NAME
a stream's end       rst_after=N  eof_after=N  end_after=N (clean end of the body)  stall_after=N  nodone  noblank
                     halfevent=N (half an event, then a clean end)  cutevent=N (half an event, then RST)  afterdone
a stream's errors    errorevent=N  namederror=N  errortext=N  flaterror=N  errorline=N  badjson=N
a stream's framing   crlf  cr  bom  comments  id  retry  event  multiline  nospace  emptydata  nul  badutf8
                     slice=N (HTTP chunks of N bytes)  tcpslice=N (writes of N bytes)  onewrite  onechunk  gap=MS  keep
"""

_WORD = re.compile(r"\+([a-z0-9]+(?:_[a-z]+)?)(?:=([^+\]]*))?")


def parse_faults(text):
    return {name: value for name, value in _WORD.findall(text)}


def faults_of(body):
    """The words in a request's model name and in its messages."""
    if not isinstance(body, dict):
        return {}
    found = parse_faults(str(body.get("model") or ""))
    for text in re.findall(r"\[\[(\+[^\]]*)\]\]", json.dumps([body.get("messages"), body.get("prompt")])):
        found.update(parse_faults(text))
    return found


class Request:
    """One request as it came, and what became of it. Times are time.monotonic()."""

    def __init__(self, provider, connection, number, head, body):
        self.provider, self.connection, self.number = provider, connection, number
        self.head, self.body = head, body
        self.arrived = time.monotonic()
        self.connection_number = connection.number
        self.connection_turn = connection.turns     # 1: the first request on its connection
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, self.version = lines[0].split(" ", 2)
        self.headers = [(name.strip().lower(), value.strip())
                        for name, value in (line.split(":", 1) for line in lines[1:] if line)]
        try:
            self.json = json.loads(body) if body else None
        except ValueError:
            self.json = None
        self.written = 0            # events of the answer handed to the socket
        self.stalled = False        # +stall_after has been reached
        self.answered = None        # when the whole answer was handed over
        self.ended = None           # "fin" or "rst": the gateway ended this connection during or after this request
        self.ended_at = None

    def header(self, name):
        values = [value for key, value in self.headers if key == name]
        return values[0] if values else None

    def wait_ended(self, timeout=10):
        self.provider.wait(lambda: self.ended, timeout, f"the end of request {self.number}'s connection")
        return self.ended

    def wait_written(self, events, timeout=10):
        self.provider.wait(lambda: self.written >= events, timeout, f"{events} events written")

    def __repr__(self):
        return f"<{self.method} {self.path} on connection {self.connection_number}, {len(self.body)} bytes>"


class Connection(asyncio.Protocol):
    """One accepted socket: requests one after the other, each answered by a task."""

    def __init__(self, provider):
        self.provider = provider
        self.number = self.turns = 0
        self.input = b""
        self.bytes_in = b""
        self.ended = self.ended_at = None
        self.current = self.task = None
        self.can_write = asyncio.Event()
        self.can_write.set()
        self.queued = 0

    # asyncio's callbacks

    def connection_made(self, transport):
        self.transport = transport
        with self.provider.changed:
            self.provider.connections.append(self)
            self.number = len(self.provider.connections)

    def data_received(self, data):
        self.bytes_in += data
        self.input += data
        self._next()

    def eof_received(self):
        self._mark("fin")
        if self.current:
            # The gateway left while it was being answered: stop, as real servers do.
            self._stop()
        self.transport.close()
        return False

    def connection_lost(self, error):
        self._mark("rst" if isinstance(error, (ConnectionResetError, BrokenPipeError)) else "fin")
        self._stop()
        self.can_write.set()

    def pause_writing(self):
        self.can_write.clear()

    def resume_writing(self):
        self.can_write.set()

    # ours

    def _mark(self, how):
        with self.provider.changed:
            if self.ended is None:
                self.ended, self.ended_at = how, time.monotonic()
                for request in self.provider.requests:
                    if request.connection is self and request.ended is None:
                        request.ended, request.ended_at = how, self.ended_at
            self.provider.changed.notify_all()

    def _stop(self):
        if self.task:
            self.task.cancel()

    def _next(self):
        """Begin the next request when it is complete and none is being answered."""
        if self.current or b"\r\n\r\n" not in self.input:
            return
        head, rest = self.input.split(b"\r\n\r\n", 1)
        body, rest = self._body(head.lower(), rest)
        if body is None:
            return
        self.input = rest
        self.turns += 1
        with self.provider.changed:
            self.current = Request(self.provider, self, len(self.provider.requests) + 1, head, body)
            self.provider.requests.append(self.current)
            self.provider.changed.notify_all()
        self.task = self.provider.loop.create_task(self._answer(self.current))

    @staticmethod
    def _body(head, rest):
        if b"\r\ntransfer-encoding: chunked" in head:
            body = b""
            while True:
                size, found, after = rest.partition(b"\r\n")
                if not found or len(after) < int(size, 16) + 2:
                    return None, None
                if int(size, 16) == 0:
                    return body, after[2:]
                body, rest = body + after[:int(size, 16)], after[int(size, 16) + 2:]
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        size = int(length.group(1)) if length else 0
        return (rest[:size], rest[size:]) if len(rest) >= size else (None, None)

    async def _answer(self, request):
        try:
            keep = await Answer(self, request).run()
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            with self.provider.changed:
                self.provider.changed.notify_all()
        request.answered = time.monotonic()
        self.current = None
        if keep:
            self._next()
        else:
            self.transport.close()

    async def write(self, data):
        await self.can_write.wait()
        if self.transport.is_closing():
            raise ConnectionResetError
        self.transport.write(data)

    def reset(self):
        """RST, after what was written before has left."""
        raw = self.transport.get_extra_info("socket")
        if raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
        raise ConnectionResetError


class Answer:
    """Writes the answer to one request, faults and all."""

    def __init__(self, connection, request):
        self.connection, self.request, self.provider = connection, request, connection.provider
        body = request.json
        self.faults = {**self.provider.always, **faults_of(body)}
        chat = request.method == "POST" and request.path not in ("/tokenize", "/detokenize", "/apply-template")
        if chat and self.provider.queue:
            self.faults.update(self.provider.queue.pop(0))
        self.body = body if isinstance(body, dict) else {}

    async def run(self):
        """True when the connection is kept."""
        faults, request = self.faults, self.request
        if request.connection_turn > 1 and self.provider.drop_reused:
            self.provider.dropped += 1
            return False
        if "drop" in faults:
            return False
        await self.provider.gate("head")
        if "hang" in faults or request.path in self.provider.mute:
            await asyncio.Event().wait()
        if faults.get("ttfb"):
            await asyncio.sleep(int(faults["ttfb"]) / 1000)
        reply = self._reply()
        if reply.events is not None:
            return await provider_stream.run(self, reply)
        return await self._plain(reply)

    def _reply(self):
        provider, request, faults = self.provider, self.request, self.faults
        if provider.key and request.header("authorization") != f"Bearer {provider.key}":
            return Reply(status=401, body=error_object(provider.kind, 401, "Invalid API Key"))
        if "status" in faults:
            status = int(faults["status"])
            return Reply(status=status, body=error_object(provider.kind, status, faults.get("message", "").replace(
                "_", " ") or f"status {status} as told"))
        for path, reply in provider.pages.items():
            if request.path == path:
                return reply
        if request.body and request.json is None:
            return Reply(status=400, body=error_object(provider.kind, 400, "that is no JSON"))
        path = request.path
        if provider.root and path.startswith(provider.root):
            path = path[len(provider.root):]
        return answer(provider.kind, request.method, path, self.body, faults, provider, request.number)

    def head(self, status, headers):
        """Status line and headers; `headers` replace nothing, doubles stay doubles."""
        faults = self.faults
        lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Told'}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if "ra" in faults:
            lines.append(f"Retry-After: {faults['ra'].replace('_', ' ')}")
        if "ram" in faults:
            lines.append(f"Retry-After-Ms: {faults['ram']}")
        if "hdr" in faults:
            lines += [f"X-Filler-{i}: {'f' * 1000}" for i in range(int(faults["hdr"]) // 1000)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def informational(self):
        for _ in range(int(self.faults.get("1xx") or 0)):
            await self.connection.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            await asyncio.sleep(0)      # to hear that the other side has left, and for the other connections

    async def send_head(self, data):
        if "slowhdr" not in self.faults:
            await self.connection.write(data)
            return
        for i in range(0, len(data), 8):
            await self.connection.write(data[i:i + 8])
            await asyncio.sleep(int(self.faults["slowhdr"]) / 1000)

    async def _plain(self, reply):
        """A whole body with a length."""
        faults = self.faults
        await self.informational()
        status, headers = reply.status, list(reply.headers)
        body, kind = compact(reply.body).encode(), "application/json"
        if "html" in faults:
            body, kind = b"<html><body>Welcome to nginx!</body></html>", "text/html"
        if "notjson" in faults:
            body = body[:-3]
        if "empty" in faults:
            body = b""
        if "giant" in faults:
            body = body[:-1] + b', "filler": "' + b"x" * int(faults["giant"]) + b'"}'
        if "badutf8" in faults:
            body = body.replace(b"One", b"O\xff\xfe")
        if "gzip" in faults:
            import gzip
            body = gzip.compress(body)
            headers.append(("Content-Encoding", "gzip"))
        if "101" in faults:
            status, headers = 101, [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        if "204" in faults:
            status = 204
        if "302" in faults:
            status = 302
            headers.append(("Location", faults["302"] or "http://127.0.0.1:1/"))
        headers += [("Content-Type", kind), ("X-Provider-Secret", "do-not-forward")]
        close = "close" in faults
        if (not close or "cl" in faults) and status != 101:
            headers.append(("Content-Length", len(body) + int(faults.get("cl") or 0)))
        if "2cl" in faults:
            headers.append(("Content-Length", len(body) + 7))
        if "clte" in faults:
            headers.append(("Transfer-Encoding", "chunked"))
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        await self.send_head(self.head(status, headers))
        await self.provider.gate(0)
        for i in range(0, len(body), 1 << 16):
            await self.connection.write(body[i:i + (1 << 16)])
        self.request.written = 1
        # A body that is too short ends with the connection.
        return not close and status != 101 and int(faults.get("cl") or 0) <= 0 and "2cl" not in faults


class Provider:
    """A server of KIND on a port of 127.0.0.1, or on UNIX, a socket's path. Use as a context manager."""

    def __init__(self, kind="openai", models=("tiny",), unix=None, key=None, root="", loras=(0, 1), tls=None, port=0,
                 ca_file=None):
        self.kind, self.models, self.unix, self.key, self.port = kind, list(models), unix, key, port
        self.root = root            # a path in front of everything
        self.loras = list(loras)
        self.tls = tls              # (certificate file, key file)
        self.ca_file = ca_file      # who vouches for it
        self.requests = []
        self.connections = []
        self.queue = []             # faults for the next answers, one dict each
        self.always = {}            # faults for every answer
        self.pages = {}             # path -> Reply, before everything else
        self.mute = set()           # paths that are never answered
        self.drop_reused = False    # close without a byte when a connection is used a second time
        self.dropped = 0
        self.changed = threading.Condition()
        self.waiting = 0            # answers that are held
        self._gate, self._open = None, None
        self._holder = None         # keeps the port for whoever comes after us, as long as we are remembered

    # life

    def __enter__(self):
        if not self.unix and not self.port:
            self._holder = reserved()
            self.port = port_of(self._holder)
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        assert started.wait(PATIENCE), f"no provider at {self.url}: its thread tells why"
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._ending.set)
        self.thread.join(10)

    def _run(self, started):
        asyncio.run(self._serve(started))

    async def _serve(self, started):
        self.loop, self._ending, self._open = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
        if self.unix:
            server = await self.loop.create_unix_server(lambda: Connection(self), self.unix)
        else:
            server = await self.loop.create_server(lambda: Connection(self), "127.0.0.1", self.port, ssl=context,
                                                   backlog=512)
        started.set()
        await self._ending.wait()
        server.close()
        for connection in self.connections:
            connection.transport.abort()
        await asyncio.sleep(0)

    # addresses

    @property
    def url(self):
        if self.unix:
            return f"unix:{self.unix}"
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.root}"

    # steering

    def next(self, **faults):
        """Faults for the next answer; several calls queue up. A name that is no Python name goes in a dict: next(**{"1xx": 3})."""
        self.queue.append({name: str(value) if value is not True else "" for name, value in faults.items()})

    def hold(self, at="head"):
        """Answers wait: before their head, or before event number AT of a stream, or what happens instead of it (0: after
        the head)."""
        self.loop.call_soon_threadsafe(self._open.clear)
        self._gate = at

    def move(self, at):
        """Answers that wait go on, and wait before event number AT."""
        def step():
            self._open.set()
            self._open.clear()
        self._gate = at
        self.loop.call_soon_threadsafe(step)

    def release(self):
        self._gate = None
        self.loop.call_soon_threadsafe(self._open.set)

    async def gate(self, point):
        if self._gate == point:
            with self.changed:
                self.waiting += 1
                self.changed.notify_all()
            try:
                await self._open.wait()
            finally:
                self.waiting -= 1

    def forget(self):
        """Begin a new test: what was recorded is gone, what was told is undone."""
        self.release()
        with self.changed:
            self.requests, self.queue, self.always, self.pages, self.mute = [], [], {}, {}, set()
            self.drop_reused, self.dropped = False, 0

    # facts

    def wait(self, true, timeout=10, what="the provider"):
        with self.changed:
            if not self.changed.wait_for(true, timeout):
                raise AssertionError(f"waited {timeout} s for {what}; requests: {self.requests}")

    def chats(self):
        """The questions, without model lists and helper calls."""
        with self.changed:
            return [request for request in self.requests
                    if request.method == "POST" and request.path.endswith("/chat/completions")]

    def wait_chats(self, count=1, timeout=10):
        self.wait(lambda: len(self.chats()) >= count, timeout, f"{count} questions")
        return self.chats()

    def last(self):
        return self.chats()[-1]


__all__ = ["Provider", "GOODFIRE", "FAULTS"]
