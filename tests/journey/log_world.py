"""What the tests of the request log share: a record for each request and a fence behind it, files that are read back, what
the metrics say of each sink, and places for lines to go to."""

import glob
import gzip
import http.server
import itertools
import json
import os
import re
import socket
import subprocess
import threading

from harness import BINARY, Record
from memory_world import until

_numbers = itertools.count(1)
PARTS = ("auth", "body", "parse", "claim", "limit", "queue", "connect", "first_byte", "answer")


# --- configuration ------------------------------------------------------------------------------------------------

def file_sink(path="requests.log", **rotate):
    return {"kind": "file", "path": path, **({"rotate": rotate} if rotate else {})}


def to_file(path="requests.log", rotate=None, **more):
    """The `log` of a gateway that writes one file, in its own folder."""
    return {"log": {"sinks": [file_sink(path, **(rotate or {}))], **more}}


def path_of(gateway, name="requests.log"):
    return os.path.join(gateway.folder.name, name)


# --- records ------------------------------------------------------------------------------------------------------

def fence(gateway):
    """One more request; once its line is there, those of all that ended before on this worker are. How many lines there
    are in front of it."""
    path = f"/fence-{next(_numbers)}"
    gateway.ask(path)
    gateway.wait_for(lambda: any(record["path"] == path for record in gateway.records), f"the line of {path}")
    return next(at for at, record in enumerate(gateway.log()) if record["path"] == path)


class Watch:
    """The lines of what is done inside; of each request exactly one.

        with Watch(gateway) as watch:
            ...
        record = watch.only
    """

    def __init__(self, gateway):
        self.gateway = gateway

    def __enter__(self):
        self.first = fence(self.gateway) + 1
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.gateway.quiet()
            last = fence(self.gateway)
            self.records = self.gateway.log()[self.first:last]

    @property
    def only(self):
        assert len(self.records) == 1, [record.raw for record in self.records]
        return self.records[0]


# --- files ------------------------------------------------------------------------------------------------------------

def files_of(path):
    """The closed ones, oldest first, and the one that is written."""
    names = sorted(name for name in glob.glob(glob.escape(path) + ".*") if not name.endswith(".part"))
    return names + ([path] if os.path.exists(path) else [])


def read_file(name):
    with (gzip.open if name.endswith(".gz") else open)(name, "rb") as file:
        return file.read()


def read_log(path):
    """Every line of PATH and its rotated files; each must be whole and JSON."""
    out = []
    for name in files_of(path):
        data = read_file(name)
        assert data == b"" or data.endswith(b"\n"), f"{name} ends in half a line: {data[-100:]!r}"
        for line in data.splitlines():
            try:
                out.append(Record(line))
            except ValueError as error:
                raise AssertionError(f"{name}: {error}: {line!r}") from error
    return out


def requests_of(records):
    return [record for record in records if "event" not in record]


def dropped_of(records):
    """How many the lines about gaps say are missing."""
    return sum(record.raw["dropped"] for record in records if record["event"] == "dropped")


def check_sequence(records):
    """Sorted by number every one is there once, or told as dropped; the last number."""
    last = 0
    for record in sorted(records, key=lambda record: record.raw["seq"]):
        first = record.raw["first"] if record["event"] == "dropped" else record.raw["seq"]
        assert first == last + 1, f"from {last} to {first}"
        if record["event"] == "dropped":
            assert record.raw["last"] == record.raw["seq"] and record.raw["last"] - first + 1 == record.raw["dropped"]
        last = record.raw["seq"]
    return last


def log_check(*paths):
    """`embergate log check`: (exit status, what it says)."""
    done = subprocess.run([BINARY, "log", "check", *paths], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


# --- numbers ------------------------------------------------------------------------------------------------------------

class Sinks:
    """What /metrics says of the log at one moment: sinks["file"]["written"] and so on, and `accepted`."""

    def __init__(self, gateway, what="log"):
        text = gateway.ask("/metrics", address=gateway.admin).body.decode()
        self.accepted = int(re.search(rf"^embergate_{what}_accepted_total (\d+)", text, re.M).group(1))
        self.rows = {}
        for name, sink, value in re.findall(rf'^embergate_{what}_(\w+?)(?:_total)?{{sink="([^"]*)"}} (\d+)$', text, re.M):
            self.rows.setdefault(sink, {})[name] = int(value)
        for sink, row in self.rows.items():
            assert self.accepted == row["written"] + row["dropped"] + row["waiting"], (sink, self.accepted, row)

    def __getitem__(self, name):
        return self.rows[name]


def wait_sinks(gateway, true, what, kind="log", timeout=10):
    """Until TRUE of the numbers; those."""
    def look():
        sinks = Sinks(gateway, kind)
        return sinks if true(sinks) else None
    return until(look, what, timeout)


def settled(gateway, accepted, kind="log", timeout=10):
    """Until so many lines were handed over, and none waits anywhere."""
    return wait_sinks(gateway, lambda sinks: sinks.accepted == accepted and not any(
        row["waiting"] for row in sinks.rows.values()), f"{accepted} lines to be settled", kind, timeout)


# --- a collector of spans, and a syslog daemon ------------------------------------------------------------------------

class Collector:
    """Takes OTLP/HTTP; `status` says how it answers, `gate` whether it does."""

    def __init__(self, status=200):
        self.status, self.bodies, self.heads = status, [], []
        self.changed, self.gate = threading.Condition(), threading.Event()
        self.gate.set()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with collector.changed:
                    collector.bodies.append(body)
                    collector.heads.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                    collector.changed.notify_all()
                collector.gate.wait(30)
                self.send_response(collector.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def spans(self):
        """(resource's attributes, span) of all that came."""
        with self.changed:
            bodies = list(self.bodies)
        out = []
        for body in bodies:
            for resource in json.loads(body)["resourceSpans"]:
                about = attributes(resource["resource"])
                for scope in resource["scopeSpans"]:
                    out += [(about, span) for span in scope["spans"]]
        return out

    def wait(self, count, timeout=10):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.spans()) >= count, timeout), (count, self.bodies)
        return [span for _, span in self.spans()]


def attributes(holder):
    """OTLP's attributes as a dict; each has one value, in its JSON form."""
    out = {}
    for attribute in holder["attributes"]:
        (kind, value), = attribute["value"].items()
        assert kind in ("stringValue", "intValue", "doubleValue", "boolValue", "arrayValue"), attribute
        if kind == "intValue":
            assert isinstance(value, str), attribute
            value = int(value)
        elif kind == "arrayValue":
            value = [next(iter(item.values())) for item in value["values"]]
        else:
            assert isinstance(value, {"stringValue": str, "doubleValue": (int, float), "boolValue": bool}[kind]), attribute
        assert attribute["key"] not in out, attribute
        out[attribute["key"]] = value
    return out


class Syslog:
    """A daemon's socket at PATH; what has come."""

    def __init__(self, path):
        self.path = path
        self.socket = None

    def __enter__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(10)
        return self

    def __exit__(self, *_):
        self.socket.close()
        os.unlink(self.path)

    def read(self):
        return self.socket.recv(1 << 20)
