"""`embergate log`: a request log read while it grows and after, counted, checked, and asked again."""

import gzip
import json
import os
import signal
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness import BINARY, PATIENCE, Gateway, backend, echo, question


def log(*arguments, given=None, environment=None):
    """`embergate log ...`: (exit status, stdout, stderr)."""
    done = subprocess.run([BINARY, "log", *map(str, arguments)], input=given, capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout, done.stderr


def line(seq, second=0, **more):
    minute, rest = divmod(second, 60)
    stamp = f"2026-11-23T07:{45 + int(minute):02}:{int(rest):02}.{round(rest % 1 * 1000):03}Z"
    return json.dumps({"seq": seq, "time": stamp, "id": f"req_{seq}", "model": "tiny", "status": 200, "outcome": "ok",
                       "total_ms": 5.0, **more}, separators=(",", ":")) + "\n"


def numbers(text):
    return [int(one) for one in text.split()]


# --- reading ---------------------------------------------------------------------------------------------------------

def test_rotated_and_compressed_files_are_one_log(tmp_path):
    (tmp_path / "requests.log").write_text("".join(line(n, n) for n in range(21, 31)))
    (tmp_path / "requests.log.2").write_text("".join(line(n, n) for n in range(11, 21)))
    with gzip.open(tmp_path / "requests.log.1", "wt") as file:      # by its content, not by its name
        file.write("".join(line(n, n) for n in range(1, 11)))
    files = sorted(tmp_path.iterdir())
    status, out, err = log("show", "--fields", "seq", *files)
    assert (status, numbers(out), err) == (0, list(range(1, 31)), "")
    assert numbers(log("tail", "-n", 12, "--fields", "seq", *files)[1]) == list(range(19, 31))
    assert log("check", *files)[:2] == (0, "30 lines\n1 run of the gateway\nunbroken\n")
    assert log("check", files[0], files[2])[0] == 0 and log("check", files[0], files[1])[0] == 1
    assert log("show", "--fields", "seq", "-", given=line(7))[1] == "7\n"


def test_what_is_asked_for_is_shown(tmp_path):
    path = tmp_path / "requests.log"
    path.write_text(line(1, 1) + line(2, 2, status=429, key="alice") + line(3, 3, status=503, total_ms=900.5, key="bob")
                    + "half a li")
    for filters, wanted in [((), [1, 2, 3]), (("--status", "4xx,503"), [2, 3]), (("--key", "alice"), [2]),
                            (("--min-ms", "900"), [3]), (("--since", "2026-11-23T07:45:02Z"), [2, 3]),
                            (("--until", "2026-11-23T08:45:02+01:00"), [1]), (("--id", "req_3"), [3])]:
        status, out, err = log("show", "--fields", "seq", *filters, path)
        assert (status, numbers(out), err) == (0, wanted, "1 line could not be read\n"), filters
    rows = log("show", path)[1].splitlines()
    assert len(rows) == 3 and "429" in rows[1] and "alice" in rows[1] and "\x1b" not in rows[1]


@pytest.mark.parametrize("arguments, word", [
    ((), "tail"), (("grep",), "grep"), (("show",), "sinks"), (("show", "--colour", "x"), "--fields"),
    (("check", "--json", "x"), "no options"), (("replay", "x"), "--to"), (("show", "--status", "20", "x"), "--status"),
    (("show", "--outcome", "fine", "x"), "upstream_timeout"), (("tail", "-n", "x", "x"), "-n must"),
])
def test_the_command_says_what_is_wrong(arguments, word):
    status, out, err = log(*arguments)
    assert status == 2 and word in err and not out


# --- following -------------------------------------------------------------------------------------------------------

class Follower:
    """`embergate log tail -f`, whose lines are waited for."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([BINARY, "log", "tail", "-f", "--fields", "seq", *map(str, arguments)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.seen, self.changed = [], threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for text in self.process.stdout:
            with self.changed:
                self.seen.append(int(text))
                self.changed.notify_all()

    def wait(self, wanted):
        with self.changed:
            assert self.changed.wait_for(lambda: self.seen[-1:] == [wanted], PATIENCE), self.seen

    def end(self):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.process.stdout.close()
        self.said = self.process.stderr.read()
        self.process.stderr.close()
        return status


def append(path, text):
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def test_following_through_rotation_and_truncation(tmp_path):
    path = tmp_path / "requests.log"
    path.write_text("".join(line(n) for n in range(1, 6)))
    follower = Follower("-n", 2, path)
    follower.wait(5)
    append(path, line(6) + line(7)[:30])
    follower.wait(6)
    append(path, line(7)[30:])
    follower.wait(7)
    os.rename(path, tmp_path / "requests.log.1")
    append(tmp_path / "requests.log.1", line(8))        # who had it open wrote once more
    follower.wait(8)
    path.write_text(line(9))
    follower.wait(9)
    append(path, line(10))
    follower.wait(10)
    path.write_text("")
    time.sleep(0.3)         # two looks: a file that is cut and grows again between them cannot be told from one that grew
    append(path, line(11))
    follower.wait(11)
    assert follower.end() == 0
    assert (follower.seen, follower.said) == (list(range(4, 12)), "")


def rotate(path, number, packed):
    """As a gateway closes a file, and compresses it in time."""
    closed = f"{path}.20261123-0745{number // 1000:02}.{number % 1000:03}"
    os.rename(path, closed)
    if packed:
        with open(closed, "rb") as file, gzip.open(closed + ".part", "wb") as target:
            target.write(file.read())
        os.rename(closed + ".part", closed + ".gz")
        os.unlink(closed)


@pytest.mark.parametrize("packed", [lambda n: False, lambda n: True, lambda n: n % 3 == 0], ids=["plain", "packed", "some"])
def test_following_through_many_rotations_between_two_looks(tmp_path, packed):
    path = tmp_path / "requests.log"
    path.write_text(line(1, run="00000000000000aa"))
    follower = Follower(path)
    follower.wait(1)
    for n in range(2, 400):
        append(path, line(n, run="00000000000000aa"))
        if n % 2:
            rotate(path, n, packed(n))
    append(path, line(400, run="00000000000000aa"))
    follower.wait(400)
    assert follower.end() == 0
    assert (follower.seen, follower.said) == (list(range(1, 401)), "")


def test_following_tells_what_is_missing(tmp_path):
    """Closed files that are removed before they were looked at; what a gateway tells itself is no news."""
    path = tmp_path / "requests.log"
    path.write_text(line(1, run="00000000000000aa") + line(7, run="00000000000000bb"))
    follower = Follower(path)
    follower.wait(7)
    follower.process.send_signal(signal.SIGSTOP)
    append(path, line(2, run="00000000000000aa"))
    os.rename(path, f"{path}.20261123-074501.000")
    append(path, line(3, run="00000000000000aa") + line(8, run="00000000000000bb") + line(4, run="00000000000000aa"))
    os.unlink(path)
    append(path, line(5, run="00000000000000aa") + line(9, run="00000000000000bb")
           + json.dumps({"seq": 12, "run": "00000000000000bb", "event": "dropped", "dropped": 3, "first": 10, "last": 12})
           + "\n" + line(13, run="00000000000000bb") + line(1, run="00000000000000cc"))
    follower.process.send_signal(signal.SIGCONT)
    follower.wait(1)
    append(path, line(14, run="00000000000000bb"))
    follower.wait(14)
    assert follower.end() == 0
    assert (follower.seen, follower.said) == ([1, 7, 2, 5, 9, 12, 13, 1, 14], "3 lines missed\n")


def test_who_goes_on_in_the_closed_file_is_heard(tmp_path):
    """Another gateway rotated it."""
    path, closed = tmp_path / "requests.log", tmp_path / "requests.log.20261123-074501.000"
    path.write_text(line(1, run="00000000000000aa") + line(7, run="00000000000000bb"))
    follower = Follower(path)
    follower.wait(7)
    os.rename(path, closed)
    append(path, line(2, run="00000000000000aa"))
    follower.wait(2)
    append(closed, line(8, run="00000000000000bb"))
    follower.wait(8)
    append(path, line(9, run="00000000000000bb"))
    follower.wait(9)
    assert follower.end() == 0
    assert (follower.seen, follower.said) == ([1, 7, 2, 8, 9], "")


def follow_stopped(path, *more):
    """A follower that has read all there is, and looks at nothing until it is told to."""
    follower = Follower(path, *more)
    follower.wait(1)
    follower.process.send_signal(signal.SIGSTOP)
    return follower


def go_on(follower, last):
    follower.process.send_signal(signal.SIGCONT)
    follower.wait(last)
    assert follower.end() == 0
    assert (follower.seen, follower.said) == (list(range(1, last + 1)), "")


def test_following_where_an_empty_file_was_closed(tmp_path):
    """Of which there may be several, so that they say nothing of which is which."""
    path, other = tmp_path / "requests.log", tmp_path / "other.log"
    path.write_text("")
    other.write_text(line(1))
    follower = follow_stopped(path, other)
    rotate(path, 100, False)
    path.write_text(line(2) + line(3))
    rotate(path, 101, False)
    path.write_text("")
    rotate(path, 102, False)
    path.write_text(line(4))
    go_on(follower, 4)


def test_following_where_names_are_not_in_the_order_of_closing(tmp_path):
    """Two gateways choose a name, and close the file one after the other."""
    path = tmp_path / "requests.log"
    path.write_text(line(1))
    follower = follow_stopped(path)
    append(path, line(2))
    rotate(path, 101, False)
    path.write_text(line(3) + line(4))
    rotate(path, 100, False)
    path.write_text(line(5))
    go_on(follower, 5)


def test_following_where_a_name_is_of_the_future(tmp_path):
    path = tmp_path / "requests.log"
    path.write_text(line(9))
    rotate(path, 59999, True)
    path.write_text(line(1))
    follower = follow_stopped(path)
    rotate(path, 100, False)
    path.write_text(line(2))
    rotate(path, 101, True)
    path.write_text(line(3))
    go_on(follower, 3)


def test_following_a_gateway_that_rotates_with_every_few_lines(tmp_path):
    path = tmp_path / "requests.log"
    rotation = {"size": "4k", "compress": "gzip"}
    config = {"backends": [echo()], "models": [{"name": "echo", "backends": ["local"]}],
              "log": {"sinks": [{"kind": "file", "path": str(path), "rotate": rotation}], "flush": "10ms"}}
    with Gateway(**config) as gateway:
        gateway.ask("/v1/models")
        end = time.monotonic() + PATIENCE
        while not path.exists() or not path.stat().st_size:
            assert time.monotonic() < end
            time.sleep(0.01)
        follower = Follower(path)
        follower.wait(1)
        with gateway.client() as client:
            for _ in range(999):
                client.ask("GET", "/v1/models")
        follower.wait(1000)
        assert follower.end() == 0
        assert (follower.seen, follower.said) == (list(range(1, 1001)), "")
    assert len(list(tmp_path.iterdir())) > 20


def test_whoever_stops_reading_ends_it(tmp_path):
    path = tmp_path / "requests.log"
    path.write_text("".join(line(n) for n in range(1, 20000)))
    with subprocess.Popen([BINARY, "log", "show", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0 and process.stderr.read() == b""


# --- asking again ----------------------------------------------------------------------------------------------------

def asked(seq, second, content, said="same", **more):
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]}
    return line(seq, second, method="POST", path="/v1/chat/completions",
                request={"model": "tiny", "messages": [{"role": "user", "content": content}]}, answer=answer, **more)


class Server(ThreadingHTTPServer):
    """Says what it was asked; notes when."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, delay=0, tls=None):
        self.asked, self.delay, self.open, self.most = [], delay, 0, 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Server.Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            server = self.server
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = body["messages"][0]["content"]
            with server.lock:
                server.asked.append((time.monotonic(), content, dict(self.headers.items())))
                server.open += 1
                server.most = max(server.most, server.open)
            time.sleep(server.delay)
            with server.lock:
                server.open -= 1
            answer = json.dumps({"choices": [{"index": 0, "finish_reason": "stop",
                                              "message": {"role": "assistant", "content": content}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://localhost:{self.server_address[1]}"


def test_replay_keeps_the_recorded_times(tmp_path):
    path = tmp_path / "requests.log"
    # Written when they ended: not in the order in which they began.
    path.write_text(asked(1, 2, "third", "third") + asked(2, 0, "first", "first") + asked(3, 1, "second", "second"))
    with Server() as server:
        status, out, err = log("replay", "--to", server.url, "--speed", 4, path, environment={"EMBERGATE_KEY": "sk-env"})
        assert (status, err) == (0, "") and ": 3 same, 0 different, 0 failed" in out
        assert [content for _, content, _ in server.asked] == ["first", "second", "third"]
        gaps = [after[0] - before[0] for before, after in zip(server.asked, server.asked[1:])]
        assert all(0.1 < gap < 1 for gap in gaps), gaps
        assert server.asked[0][2]["Authorization"] == "Bearer sk-env"


def test_replay_as_fast_as_may_be(tmp_path):
    path = tmp_path / "requests.log"
    path.write_text("".join(asked(n, n, f"text {n}", f"text {n}" if n % 50 else "other") for n in range(1, 301))
                    + line(301, 301) + asked(302, 302, "x", request_cut=True) + asked(303, 303, "my [redacted]"))
    with Server(0.005) as server:
        status, out, _ = log("replay", "--to", server.url + "/v1", "--speed", 0, "--concurrency", 8, path)
        assert status == 1 and len(server.asked) == 300 and 1 < server.most <= 8
    told = out.splitlines()
    assert sorted(one.split()[1] for one in told if one.startswith("different ")) == sorted(
        f"req_{n}" for n in range(50, 301, 50))
    assert 'choice 0, byte 0: "other" is now "text 50"' in out
    assert "300 sent in " in out and ": 294 same, 6 different, 0 failed" in out
    assert "3 skipped: 1 without a body, 1 cut, 1 redacted" in out


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 4096, 4097])
def test_replay_of_any_number_of_lines_ends(tmp_path, count):
    """The lines are read ahead in parts, between which the loop turns."""
    path = tmp_path / "requests.log"
    path.write_text("".join(asked(n, n / 10000, "same") for n in range(1, count + 1)))
    for speed in (0, 1, 100):
        status, out, err = log("replay", "--to", "http://127.0.0.1:1", "--speed", speed, path)
        assert (status, err) == (1, "") and out.count("failed    ") == count
        assert f": 0 same, 0 different, {count:,} failed\n" in out


def test_replay_to_who_writes_the_log_ends(tmp_path):
    """Each request that is sent adds a line to what is read; of so many lines not all are read before the first is sent."""
    path, count = tmp_path / "requests.log", 4200
    path.write_text("".join(asked(n, n / 10000, "again", "again") for n in range(1, count + 1)))
    config = {"backends": [echo()], "models": [{"name": "tiny", "backends": ["local"]}],
              "log": {"sinks": [{"kind": "file", "path": str(path)}], "flush": "10ms", "bodies": "full"}}
    with Gateway(**config) as gateway:
        status, out, err = log("replay", "--to", gateway.url, "--speed", 0, path)
    assert (status, err) == (0, "") and ": 4,200 same, 0 different, 0 failed" in out
    assert path.read_text().count("\n") == 2 * count


def test_replay_to_who_has_a_certificate_of_a_private_authority(certificates, tmp_path):
    path = tmp_path / "requests.log"
    path.write_text(asked(1, 0, "one", "one"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    with Server(tls=tls) as server:
        to = ("replay", "--to", f"https://127.0.0.1:{server.server_address[1]}")
        status, out, _ = log(*to, path)
        assert (status, server.asked) == (1, []) and ": 0 same, 0 different, 1 failed" in out
        assert log(*to, "--ca-file", certificates / "ca.pem", path)[::2] == (0, "")
        assert len(server.asked) == 1


def test_replay_is_ended_by_a_signal(tmp_path):
    path = tmp_path / "requests.log"
    path.write_text(asked(1, 0, "one", "one") + asked(2, 60 * 14, "late", "late"))
    with Server() as server, subprocess.Popen([BINARY, "log", "replay", "--to", server.url, path], text=True,
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + PATIENCE
        while not server.asked:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1 and "stopped before all were sent" in out and err == ""


# --- beside a gateway that rotates and compresses ----------------------------------------------------------------------

def test_a_log_that_is_rotated_and_compressed_meanwhile_is_whole(tmp_path):
    path = tmp_path / "requests.log"
    config = {"backends": [echo()], "models": [{"name": "echo", "backends": ["local"]}],
              "log": {"sinks": [{"kind": "file", "path": str(path), "rotate": {"size": "16k", "compress": "gzip"}}]}}
    with Gateway(**config) as gateway:
        done = threading.Event()

        def ask():
            client = gateway.client()
            while not done.is_set():
                client.ask("GET", "/v1/models")
            client.close()

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for one in threads:
            one.start()
        try:
            begun = time.monotonic()
            while not path.exists():
                assert time.monotonic() < begun + PATIENCE
                time.sleep(0.01)
            while time.monotonic() < begun + 3:
                said = subprocess.run(["sh", "-c", f"exec {BINARY} log check {path}*"], capture_output=True, text=True,
                                      timeout=60, check=False)
                assert (said.returncode, said.stderr) == (0, ""), said.stdout
        finally:
            done.set()
            for one in threads:
                one.join()
        assert len(list(tmp_path.iterdir())) > 3


# --- what a gateway writes -------------------------------------------------------------------------------------------

def test_what_a_gateway_writes_is_read_counted_and_asked_again(provider, tmp_path):
    path = tmp_path / "requests.log"
    config = {"backends": [echo(), backend("one", provider)],
              "models": [{"name": "echo", "backends": ["local"]}, {"name": "tiny", "backends": ["one"]}],
              "log": {"sinks": [{"kind": "file", "path": str(path)}], "bodies": "full"}}
    with Gateway(**config) as gateway:
        for n in range(4):
            assert gateway.chat(model="echo", text=f"Hello {n}").status == 200
        assert gateway.chat(body=question("echo", "Hello", stream=True)).status == 200
        assert gateway.chat(model="tiny").status == 200
        assert gateway.chat(model="nobody").status == 404
        end = time.monotonic() + PATIENCE
        while not path.exists() or path.read_text().count("\n") < 7:
            assert time.monotonic() < end, path.exists() and path.read_text()
            time.sleep(0.02)
        status, out, _ = log("check", path)
        assert status == 0 and out.startswith("7 lines\n1 run of the gateway\n")
        rows = log("show", "--fields", "seq,model,status,path", path)[1].splitlines()
        assert [row.split("\t")[0] for row in rows] == [str(n) for n in range(1, 8)]
        assert [row.split("\t")[1:] for row in rows if "\t404\t" in row] == [["nobody", "404", "/v1/chat/completions"]]
        summary = json.loads(log("summary", "--json", "--by", "model", path)[1])
        assert (summary["requests"], summary["errors"], summary["unreadable"]) == (7, 1, 0)
        assert {one["name"]: one["requests"] for one in summary["groups"]} == {"echo": 5, "tiny": 1, "nobody": 1}
        status, out, err = log("replay", "--to", gateway.url, "--speed", 0, "--model", "echo", path)
        assert (status, err) == (0, "") and ": 5 same, 0 different, 0 failed" in out, out
    names = {name for text in path.read_text().splitlines() for name in json.loads(text)}
    described = log("fields")[1]
    assert all(f"`{name}`" in described for name in names)
