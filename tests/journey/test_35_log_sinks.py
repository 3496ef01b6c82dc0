"""Where lines go: files that are rotated and moved, a daemon, Redis, a pipe; what happens when there is no room, and what is
lost when the process is killed."""

import json
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import threading
import time

import log_storm
import pytest
from harness import Client, Gateway, Record, backend, echo, question, request_bytes
from log_world import (Sinks, Syslog, check_sequence, dropped_of, file_sink, files_of, log_check, path_of, read_log,
                       requests_of, settled, to_file, wait_sinks)
from memory_world import CHAT, until
from provider import Provider
from redis_world import Redis

FULL = "/dev/full"
SMALL = {"buffer": "64k", "flush": "20ms"}


def logging(**log):
    """A gateway before an echo; LOG is its `log`."""
    return Gateway(backends=[echo()], models=[{"name": "echo", "backends": ["local"]}], log={"flush": "20ms", **log})


def ask_many(gateway, count):
    """COUNT questions over one connection: (ids in order, milliseconds each). All are answered well."""
    ids, times = [], []
    with Client(gateway.addresses[0]) as client:
        for _ in range(count):
            began = time.monotonic()
            answer = client.ask("POST", CHAT, question("echo"))
            times.append((time.monotonic() - began) * 1000)
            assert answer.status == 200, answer.body
            ids.append(answer.header("x-request-id"))
    return ids, times


def ask_on(gateway, sink):
    """Ask until SINK drops lines, and then on, as quickly as ever: the ids. Others share the machine: the best times count."""
    ids, medians = [], []
    while Sinks(gateway)[sink]["dropped"] < 100:
        ids += ask_many(gateway, 50)[0]
    for _ in range(4):
        more, times = ask_many(gateway, 50)
        ids, medians = ids + more, [*medians, statistics.median(times)]
    assert min(medians) < 50, medians
    return ids


def written(path, ids):
    """Each of IDS once in PATH and its rotated files; all records."""
    records = read_log(path)
    found = [record["id"] for record in requests_of(records)]
    assert sorted(found) == sorted(ids), (len(found), len(ids))
    check_sequence(records)
    return records


# --- files -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("compress", ["none", "gzip"])
@pytest.mark.parametrize("keep", [0, 3])
def test_rotation_by_size(keep, compress):
    with logging(sinks=[file_sink(size="4k", keep=keep, compress=compress)]) as gateway:
        ids, _ = ask_many(gateway, 150)
        now = settled(gateway, 150)
        assert now["file"]["rotations"] >= 10 and now["file"]["written"] == 150 and now["file"]["dropped"] == 0
        path = path_of(gateway)

        def swept():
            closed = files_of(path)[:-1]
            return (not keep or len(closed) <= keep) and all(name.endswith(".gz") == (compress == "gzip") for name in closed)

        until(swept, "the closed files to be swept")
        assert all(re.fullmatch(re.escape(path) + r"\.\d{8}-\d{6}\.\d{3}(\.gz)?", name) for name in files_of(path)[:-1])
        assert os.path.getsize(path) <= 4096
        records = read_log(path)
        found = [record["id"] for record in records]
        assert found == (ids[-len(found):] if keep else ids), "the newest, in their order"
        assert len(files_of(path)) == (keep or now["file"]["rotations"]) + 1
        if not keep:
            assert check_sequence(records) == 150 and log_check(*files_of(path))[0] == 0


def test_emptied():
    """By another program (logrotate's copytruncate): how large the file is counts, not how much was written."""
    with logging(sinks=[file_sink(size="64k")]) as gateway:
        path, ids, lines = path_of(gateway), [], b""
        for number in range(5):
            ids += ask_many(gateway, 30)[0]
            settled(gateway, len(ids))
            with open(path, "rb") as file:
                lines += file.read()
            os.truncate(path, 0)
        assert len(lines) > 70_000 and Sinks(gateway)["file"]["rotations"] == 0 and files_of(path) == [path]
        assert [json.loads(line)["id"] for line in lines.splitlines()] == ids


def test_each_process_is_a_run():
    """Lines of several in one file can be told apart: each run's numbers are without gaps, lines about gaps are its own."""
    with logging(sinks=[file_sink()]) as one, logging(sinks=[file_sink(path_of(one))], buffer="64k") as other:
        path = path_of(one)
        ids = ask_many(one, 20)[0] + ask_many(other, 10)[0] + ask_many(one, 5)[0]
        settled(one, 25)
        settled(other, 10)
        runs = {}
        for record in read_log(path):
            assert list(record.raw)[:2] == ["seq", "run"] and re.fullmatch("[0-9a-f]{16}", record["run"])
            runs.setdefault(record["run"], []).append(record)
        assert sorted(check_sequence(records) for records in runs.values()) == [10, 25]
        assert sorted(record["id"] for records in runs.values() for record in records) == sorted(ids)


def test_rotation_by_age():
    with logging(sinks=[file_sink(age="1s")]) as gateway:
        first, _ = ask_many(gateway, 3)
        wait_sinks(gateway, lambda sinks: sinks["file"]["rotations"] >= 1, "the file to be old")
        second, _ = ask_many(gateway, 3)
        settled(gateway, 6)
        written(path_of(gateway), first + second)


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGHUP, None])
def test_moved(how):
    """By another program, which says so; or which does not, then it is noticed within a second or so."""
    with logging(sinks=[file_sink()]) as gateway:
        path, all_ids = path_of(gateway), []
        for number in range(3 if how else 1):
            ids, _ = ask_many(gateway, 20)
            settled(gateway, len(all_ids) + 20)
            os.rename(path, f"{path}.{number}")
            more, _ = ask_many(gateway, 5)
            if how:
                gateway.process.send_signal(how)
            until(lambda: os.path.exists(path), "a new file")
            all_ids += ids + more
        last, _ = ask_many(gateway, 5)
        settled(gateway, len(all_ids) + 5)
        written(path, all_ids + last)
        with open(path, encoding="utf-8") as file:
            assert last[-1] in file.read()
        assert log_check(*files_of(path))[0] == 0


@pytest.mark.parametrize("how", ["removed", "renamed away"])
def test_the_folder_is_gone(how):
    """No line counts as written that nobody will find: they wait for a folder, and beyond the bound are dropped, by number."""
    log = {"sinks": [file_sink("logs/requests.log")], **SMALL}
    with Gateway(backends=[echo()], models=[{"name": "echo", "backends": ["local"]}], log=log, files={"logs/x": ""}) as gateway:
        path = path_of(gateway, "logs/requests.log")
        folder = os.path.dirname(path)
        first, _ = ask_many(gateway, 5)
        settled(gateway, 5)
        old = read_log(path)
        os.rename(folder, folder + ".old")
        if how == "removed":
            shutil.rmtree(folder + ".old")
        else:
            gateway.wait_line("cannot be opened again, lines wait: No such file")
        ids, _ = ask_many(gateway, 5)
        wait_sinks(gateway, lambda sinks: sinks["file"]["waiting"] == 5 and not sinks["file"]["sink_up"], "all to wait")
        gateway.wait_line("cannot be opened again, lines wait: No such file")
        while Sinks(gateway)["file"]["dropped"] == 0:
            ids += ask_many(gateway, 50)[0]
        assert Sinks(gateway)["file"]["written"] == 5
        os.mkdir(folder)
        now = settled(gateway, 5 + len(ids))
        records = read_log(path)
        assert [record["id"] for record in requests_of(old)] == first
        assert check_sequence(old + records) == 5 + len(ids)
        assert len(requests_of(records)) == now["file"]["written"] - 5 and dropped_of(records) == now["file"]["dropped"]
        assert len([line for line in gateway.lines if "opened again" in line]) == 1, "said once a minute"


def test_rotation_of_a_link(tmp_path):
    """It stays, and the closed files are beside what it leads to."""
    target = str(tmp_path / "target.log")
    gateway = Gateway(start=False, backends=[echo()], models=[{"name": "echo", "backends": ["local"]}],
                      log={"flush": "20ms", "sinks": [file_sink(size="4k")]})
    path = os.path.join(gateway.folder.name, "requests.log")
    os.symlink(target, path)
    with gateway:
        gateway.start()
        ids, _ = ask_many(gateway, 50)
        assert settled(gateway, 50)["file"]["rotations"] >= 3
        assert os.readlink(path) == target and files_of(path) == [path] and len(files_of(target)) > 3
        written(target, ids)


def test_signals_without_a_move():
    with logging(sinks=[file_sink()]) as gateway:
        ids = []
        for _ in range(10):
            ids += ask_many(gateway, 5)[0]
            gateway.process.send_signal(signal.SIGUSR1)
            gateway.process.send_signal(signal.SIGHUP)
        settled(gateway, 50)
        assert files_of(path_of(gateway)) == [path_of(gateway)]
        written(path_of(gateway), ids)


def test_a_folder_that_is_not_there():
    gateway = Gateway(start=False, backends=[echo()], models=[{"name": "echo", "backends": ["local"]}],
                      **to_file("nowhere/requests.log"))
    done = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and "nowhere/requests.log" in done.stderr and "No such file" in done.stderr
    gateway.folder.cleanup()


def test_the_file_is_gone_on_with(tmp_path):
    """A new process writes behind the old one's lines, and its numbers begin anew."""
    path = tmp_path / "requests.log"
    path.write_bytes(b'{"seq":1,"time":"2026-01-01T00:00:00.000Z","half a li')
    ids = []
    for _ in range(2):
        with logging(sinks=[file_sink(str(path))]) as gateway:
            ids += ask_many(gateway, 3)[0]
    lines = path.read_bytes().split(b"\n")
    assert lines[0].endswith(b"half a li"), "a line that a kill cut is left alone, and ended"
    records = [json.loads(line) for line in lines[1:-1]]
    assert [record["id"] for record in records] == ids and [record["seq"] for record in records] == [1, 2, 3, 1, 2, 3]


def test_two_at_once():
    with logging(sinks=[{"kind": "stdout"}, file_sink(), file_sink("other.log")]) as gateway:
        ids, _ = ask_many(gateway, 50)
        now = settled(gateway, 50)
        assert {name: row["written"] for name, row in now.rows.items()} == {"stdout": 50, "file": 50, "file-2": 50}
        gateway.wait_for(lambda: len(gateway.records) == 50, "50 lines")
        assert [record["id"] for record in gateway.log()] == ids
        assert read_log(path_of(gateway)) == read_log(path_of(gateway, "other.log")) == gateway.log()


def test_none():
    with logging(sinks=[]) as gateway:
        ask_many(gateway, 5)
        assert Sinks(gateway).rows == {} and Sinks(gateway).accepted == 0
    assert gateway.records == []


def test_a_lame_one_does_not_hold_up_the_other():
    with logging(sinks=[file_sink(FULL), {"kind": "stdout"}], **SMALL) as gateway:
        ids, _ = ask_many(gateway, 300)
        gateway.wait_for(lambda: len(gateway.records) == 300, "300 lines on stdout")
        assert [record["id"] for record in gateway.log()] == ids
        assert Sinks(gateway)["file"]["written"] == 0


# --- syslog ------------------------------------------------------------------------------------------------------------

def syslog_line(data, pid):
    head, text = data.split(b": ", 1)
    assert re.fullmatch(rb"<134>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d embergate\[%d\]" % pid, head), head
    return Record(text)


def test_syslog(tmp_path):
    path = str(tmp_path / "log")
    with Syslog(path) as daemon, logging(sinks=[{"kind": "syslog", "path": path, "facility": "local0"}]) as gateway:
        ids, _ = ask_many(gateway, 30)
        records = [syslog_line(daemon.read(), gateway.process.pid) for _ in range(30)]
        assert [record["id"] for record in records] == ids and check_sequence(records) == 30
        assert settled(gateway, 30)["syslog"]["written"] == 30


def test_syslog_goes_and_comes_again(tmp_path):
    """Nothing is lost meanwhile: lines wait."""
    path = str(tmp_path / "log")
    with logging(sinks=[{"kind": "syslog", "path": path}]) as gateway:
        ids, _ = ask_many(gateway, 10)
        wait_sinks(gateway, lambda sinks: sinks["syslog"]["waiting"] == 10, "all to wait")
        for turn in (1, 2):
            with Syslog(path) as daemon:
                records = [syslog_line(daemon.read(), gateway.process.pid) for _ in range(len(ids))]
                assert [record["id"] for record in records] == ids
                settled(gateway, 10 * turn)
            ids, _ = ask_many(gateway, 10)
        with Syslog(path) as daemon:
            records = [syslog_line(daemon.read(), gateway.process.pid) for _ in range(len(ids))]
        assert Sinks(gateway)["syslog"]["dropped"] == 0


# --- Redis --------------------------------------------------------------------------------------------------------------

def stream_of(redis, name="team:log"):
    return [Record(dict(zip(fields[::2], fields[1::2]))[b"line"]) for _, fields in redis.command("XRANGE", name, "-", "+")]


def to_redis(redis, **more):
    return {"kind": "redis", "redis": {"url": redis.url}, "stream": "team:log", **more}


def test_redis_stream():
    """Many gateways, one stream."""
    with Redis() as redis, logging(sinks=[to_redis(redis)]) as one, logging(sinks=[to_redis(redis)]) as two:
        ids = ask_many(one, 200)[0] + ask_many(two, 200)[0]
        settled(one, 200)
        settled(two, 200)
        records = stream_of(redis)
        assert sorted(record["id"] for record in records) == sorted(ids)
        for gateway, mine in ((one, ids[:200]), (two, ids[200:])):
            assert check_sequence([record for record in records if record["id"] in mine]) == 200
            assert Sinks(gateway)["redis"] | {"written_bytes": 0} == {
                "written": 200, "dropped": 0, "waiting": 0, "written_bytes": 0, "errors": 0, "rotations": 0, "sink_up": 1}


def test_redis_length():
    with Redis() as redis, logging(sinks=[to_redis(redis, length=100)]) as gateway:
        ids, _ = ask_many(gateway, 400)
        settled(gateway, 400)
        records = stream_of(redis)
        assert 100 <= len(records) <= 300 and records[-1]["id"] == ids[-1]


def test_redis_that_halts():
    """No request waits for it, and nothing is lost."""
    with Redis() as redis, logging(sinks=[to_redis(redis)]) as gateway:
        before, _ = ask_many(gateway, 20)
        settled(gateway, 20)
        redis.stop()
        meanwhile, times = ask_many(gateway, 100)
        assert statistics.median(times) < 500 and Sinks(gateway)["redis"]["waiting"] > 0
        redis.cont()
        settled(gateway, 120, timeout=20)
        found = [record["id"] for record in stream_of(redis)]
        assert set(found) == set(before + meanwhile)
        # What a server took without saying so is sent once more.
        assert len(found) - len(set(found)) <= 100
        assert Sinks(gateway)["redis"]["dropped"] == 0


def test_redis_that_comes_late():
    redis = Redis()
    with logging(sinks=[to_redis(redis)]) as gateway:
        ids, _ = ask_many(gateway, 50)
        wait_sinks(gateway, lambda sinks: sinks["redis"]["waiting"] == 50, "all to wait")
        with redis:
            settled(gateway, 50, timeout=20)
            assert [record["id"] for record in stream_of(redis)] == ids


# --- no room ------------------------------------------------------------------------------------------------------------

def test_a_full_disk_from_the_beginning():
    """Requests do not notice; all is counted."""
    with logging(sinks=[file_sink()]) as good, logging(sinks=[file_sink(FULL)], **SMALL) as bad:
        well, badly = [], []
        for _ in range(10):
            well.append(statistics.median(ask_many(good, 60)[1]))
            badly.append(statistics.median(ask_many(bad, 60)[1]))
        # Others share the machine: of each the best times. What waits for a flush waits ten milliseconds in the middle.
        assert min(badly) < min(well) + 5, (badly, well)
        now = wait_sinks(bad, lambda sinks: sinks.accepted == 600, "all to be handed over")
        assert now["file"]["dropped"] > 0 and now["file"]["written"] == 0 and now["file"]["sink_up"] == 0
        assert now["file"]["errors"] > 0 and now["file"]["dropped"] + now["file"]["waiting"] == 600
        assert bad.wait_line("No space left")
        assert len([line for line in bad.lines if "dropped" in line]) == 1, "said once"
    assert any(re.search(r"\d+ lines could not be written", line) for line in bad.lines)


@pytest.fixture
def tiny_disk(tmp_path):
    """64 KB; a function that makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True,
                                     check=False).returncode:
        pytest.skip("a file system can only be mounted by root")
    yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("rotate", [{}, {"size": "16k"}])
def test_a_disk_that_fills_up(tiny_disk, rotate):
    folder, enlarge = tiny_disk
    path = str(folder / "requests.log")
    with logging(sinks=[file_sink(path, **rotate)], **SMALL) as gateway:
        ids = ask_on(gateway, "file")
        full = Sinks(gateway)["file"]
        assert full["sink_up"] == 0 and full["written"] > 50
        for name in files_of(path):
            with open(name, "rb") as file:
                data = file.read()
            assert data.endswith(b"\n") or not data, "whole lines at any time"
        enlarge("10m")
        assert settled(gateway, len(ids))["file"]["sink_up"] == 1
        last, _ = ask_many(gateway, 20)
        ids += last
        now = settled(gateway, len(ids))
        records = read_log(path)
        assert now["file"]["dropped"] == dropped_of(records) and now.accepted == len(ids)
        found = [record["id"] for record in requests_of(records)]
        assert len(found) == len(set(found)) == now["file"]["written"] and set(found) <= set(ids)
        assert found[-20:] == last and check_sequence(records) == len(ids)
        status, said = log_check(*files_of(path))
        assert status == 0 and str(now["file"]["dropped"]) in said, said
        assert gateway.wait_line("takes lines again")


class Fifo:
    """A pipe with a name, which nobody reads until the test says so."""

    def __init__(self, path):
        self.path, self.data = str(path), b""
        os.mkfifo(self.path)
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.reading = threading.Event()
        self.stopped = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.reading.set()
        self.thread.join(10)
        os.close(self.descriptor)

    def _read(self):
        self.reading.wait()
        while True:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                data = b""
            self.data += data
            if not data:
                if self.stopped:
                    return
                time.sleep(0.002)

    def records(self):
        return [Record(line) for line in self.data.splitlines()]


def crowd(gateway):
    """Ask until a request finds no room, for half of the buffer (SMALL) is used: the ids of those that were let in, and
    the client that waits."""
    def crowded():
        return gateway.metric("log_waiting_bytes") >= 32 << 10

    def silent(client, seconds=0):
        return not select.select([client.socket], [], [], seconds)[0]

    ids = []
    while True:
        client = gateway.client(timeout=15)
        client.ask("POST", CHAT, question("echo"), read=False)
        while silent(client, 0.02):
            if crowded():
                gateway.fence()     # who was let in before is answered
                if silent(client):
                    return ids, client
        ids.append(client.read_answer().header("x-request-id"))
        client.close()
        assert len(ids) < 5000


def test_block_waits_for_room(tmp_path):
    """Those who come while there is none are answered once there is; health is told in any case."""
    with Fifo(tmp_path / "pipe") as pipe:
        with logging(sinks=[file_sink(pipe.path)], when_full="block", block="20s", **SMALL) as gateway:
            ids, waiting = crowd(gateway)
            assert len(ids) > 100
            more = [gateway.client() for _ in range(5)]
            for client in more:
                client.ask("POST", CHAT, question("echo"), read=False)
            gateway.wait("exchanges", 6)
            assert gateway.ask("/healthz").status == gateway.ask("/readyz").status == 200
            assert gateway.ask("/metrics", address=gateway.admin).status == 200
            pipe.reading.set()
            answers = [client.read_answer() for client in [waiting, *more]]
            assert [answer.status for answer in answers] == [200] * 6
            ids += [answer.header("x-request-id") for answer in answers]
            assert settled(gateway, len(ids))["file"]["dropped"] == 0
        until(lambda: len(pipe.records()) == len(ids), "all lines")
        assert sorted(record["id"] for record in pipe.records()) == sorted(ids)
        check_sequence(pipe.records())


def test_block_refuses_after_a_while(tmp_path):
    with Fifo(tmp_path / "pipe") as pipe:
        with logging(sinks=[file_sink(pipe.path)], when_full="block", block="700ms", **SMALL) as gateway:
            ids, waiting = crowd(gateway)
            began = time.monotonic()
            answer = waiting.read_answer()
            assert answer.status == 503 and answer.json()["error"]["code"] == "overloaded" and answer.header("retry-after")
            ids.append(answer.header("x-request-id"))
            for body, path in ((question("echo"), CHAT), (None, "/v1/models"), (b"{", CHAT)):
                began = time.monotonic()
                answer = gateway.ask(path, body)
                assert answer.status == 503 and 0.6 < time.monotonic() - began < 5
                ids.append(answer.header("x-request-id"))
            assert gateway.ask("/healthz").status == 200
            pipe.reading.set()
            settled(gateway, len(ids))
            assert gateway.chat(question("echo")).status == 200
            assert settled(gateway, len(ids) + 1)["file"]["dropped"] == 0
        records = {record["id"]: record for record in pipe.records()}
        check_sequence(pipe.records())
        assert set(ids) <= set(records)
        for identity in ids[-3:]:
            record = records[identity]
            assert (record["outcome"], record["reason"], record["phase"], record["status"]) == (
                "overloaded", "overloaded", "room", "503"), record.raw
            assert record.raw["total_ms"] >= 690 and record.raw["attempts"] == 0


def test_leaving_while_there_is_no_room(tmp_path):
    with Fifo(tmp_path / "pipe") as pipe:
        with logging(sinks=[file_sink(pipe.path)], when_full="block", block="20s", **SMALL) as gateway:
            ids, waiting = crowd(gateway)
            waiting.close()
            gateway.quiet()
            pipe.reading.set()
            settled(gateway, len(ids) + 1)
        assert pipe.records()[-1]["outcome"] == "client_left" and pipe.records()[-1]["phase"] == "room"


def test_block_keeps_what_it_let_in(tmp_path):
    """The bound is at the door: a burst that came in while there was room is in the log, however long its lines are."""
    with Provider("vllm") as provider, Fifo(tmp_path / "pipe") as pipe:
        log = {"sinks": [file_sink(pipe.path)], "when_full": "block", "block": "300ms", "bodies": "full", **SMALL}
        with Gateway(backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"]}], log=log) as gateway:
            provider.hold()
            clients = [gateway.client() for _ in range(60)]
            for client in clients:
                client.send(request_bytes("POST", CHAT, question(text="x" * 30000)))
            provider.wait_chats(60)
            provider.release()
            answers = [client.read_answer() for client in clients]
            assert [answer.status for answer in answers] == [200] * 60
            served = [answer.header("x-request-id") for answer in answers]
            now = wait_sinks(gateway, lambda sinks: sinks.accepted == 60, "all to be handed over")
            assert now["file"]["dropped"] == 0 and now["file"]["waiting"] > 50
            refused = gateway.chat()
            assert refused.status == 503
            wait_sinks(gateway, lambda sinks: sinks.accepted == 61, "the refusal to be counted")
            assert Sinks(gateway)["file"]["dropped"] == 1, "of the one that was refused"
            pipe.reading.set()
            settled(gateway, 61)
            assert Sinks(gateway)["file"]["written"] == 60
        until(lambda: check_sequence(pipe.records()) == 61, "all lines")
        assert sorted(record["id"] for record in requests_of(pipe.records())) == sorted(served)


class Left(Gateway):
    """Whoever read its stdout has died."""

    def _read_log(self):
        self.process.stdout.close()


@pytest.mark.parametrize("when_full", ["drop", "block"])
def test_nobody_will_ever_read(when_full):
    """Who must not go unrecorded is not served any more; the others are."""
    with Left(backends=[echo()], models=[{"name": "echo", "backends": ["local"]}],
              log={"when_full": when_full, "block": "200ms", **SMALL}) as gateway:
        gateway.chat(question("echo"))
        wait_sinks(gateway, lambda sinks: sinks["stdout"]["dropped"] == 1, "the first to be lost")
        answers = [gateway.chat(question("echo")).status for _ in range(3)]
        assert answers == [503 if when_full == "block" else 200] * 3
        assert gateway.ask("/healthz").status == 200
        assert gateway.wait_line("lines are dropped: nobody is there")


class Deaf(Gateway):
    """Nobody reads its stdout until `hears` is set."""

    def __init__(self, **more):
        self.hears = threading.Event()
        super().__init__(backends=[echo()], models=[{"name": "echo", "backends": ["local"]}], **more)

    def _read_log(self):
        self.hears.wait(120)
        super()._read_log()


def test_nobody_reads_stdout():
    """Requests go on; what there was no room for is told when there is."""
    with Deaf(log=SMALL) as gateway:
        ids = ask_on(gateway, "stdout")
        gateway.hears.set()
        now = settled(gateway, len(ids))
        gateway.wait_event("dropped")
        last, _ = ask_many(gateway, 3)
        gateway.wait_for(lambda: gateway.records and gateway.records[-1]["id"] == last[-1], "the last line")
        assert dropped_of(gateway.records) == now["stdout"]["dropped"]
        found = [record["id"] for record in gateway.log()]
        assert len(found) == now["stdout"]["written"] + 3 and set(found) <= set(ids + last)


def test_the_end_with_nobody_reading():
    """It ends all the same, and says what it could not write."""
    gateway = Deaf(log=SMALL)
    gateway.expect_end = True
    with gateway:
        ask_many(gateway, 600)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(20) == 0
        gateway.hears.set()
    assert any("could not be written" in line for line in gateway.lines)


# --- the end ------------------------------------------------------------------------------------------------------------

def test_all_is_written_before_the_end():
    for how in (signal.SIGTERM, signal.SIGINT):
        gateway = logging(sinks=[file_sink(), {"kind": "stdout"}], flush="10s")
        gateway.expect_end = True
        with gateway:
            ids, _ = ask_many(gateway, 100)
            assert gateway.stop(how) == 0
            written(path_of(gateway), ids)
            assert [record["id"] for record in gateway.log()] == ids


def test_killed():
    """What was answered some flushes (of a fifth of a second) before is in the file."""
    gateway = Gateway(backends=[echo()], models=[{"name": "echo", "backends": ["local"]}], **to_file())
    gateway.expect_end = True
    with gateway:
        answered, stop = [], threading.Event()

        def ask():
            try:
                with Client(gateway.addresses[0]) as client:
                    while not stop.is_set():
                        answer = client.ask("POST", CHAT, question("echo"))
                        answered.append((time.monotonic(), answer.header("x-request-id")))
            except (OSError, EOFError):
                pass

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(answered) > 100 and answered[-1][0] - answered[100][0] > 1.2, "a second of answers behind a hundred")
        killed = time.monotonic()
        gateway.process.kill()
        gateway.process.wait(10)
        stop.set()
        for thread in threads:
            thread.join(10)
        with open(path_of(gateway), "rb") as file:
            lines = file.read().split(b"\n")
        found = {json.loads(line)["id"] for line in lines[:-1]}
        early = [identity for when, identity in answered if when < killed - 1]
        assert len(early) > 100 and set(early) <= found, f"{len(set(early) - found)} of {len(early)} are lost"


def test_what_is_told_late():
    """A lone line does not wait for others."""
    with logging(sinks=[file_sink()], flush="200ms") as gateway:
        for path in ("/v1/models", "/nowhere"):
            answer = gateway.ask(path)
            until(lambda: any(record["id"] == answer.header("x-request-id") for record in read_log(path_of(gateway))), "the line")
        assert Sinks(gateway).accepted == 2


# --- the storm ----------------------------------------------------------------------------------------------------------

def test_storm():
    result = log_storm.run(int(os.environ.get("EMBERGATE_LOG_STORM") or 3000), 10, 5)
    print(result)
    assert not result.problems, result
    assert result.rotations == 10 and result.hangups == 5 and result.files == 11 and result.answered >= 3000
