"""Lines for the operator that nobody reads: whoever should have read stderr holds nobody up. And standard descriptors
that are not there at all."""

import fcntl
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from admit_world import Key, keys_text
from harness import PATIENCE, Gateway, backend
from redis_world import Redis, connected

KEYS = [Key("one"), Key("two")]


def full_pipe():
    """A reader, and a writer that has no room. Its flags are as they were."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    again = os.open(f"/proc/self/fd/{ends[1]}", os.O_WRONLY | os.O_NONBLOCK)
    os.write(again, (b"x" * 63 + b"\n") * 64)
    os.close(again)
    return os.fdopen(ends[0], "rb"), ends[1]


def full_socket():
    here, there = socket.socketpair()
    try:
        while True:
            there.send(b"x" * 99 + b"\n", socket.MSG_DONTWAIT)
    except BlockingIOError:
        return here.makefile("rb"), there.detach()


class Unread(Gateway):
    """Its stderr is full from the beginning, and read from `read()` on."""

    def __init__(self, full, folder, **config):
        self.full, self.here = full, folder
        super().__init__(listen=[f"unix:{folder}/gateway.sock"], admin=f"unix:{folder}/admin.sock", **config)

    def start(self):
        self.said, writer = self.full()
        flags = fcntl.fcntl(writer, fcntl.F_GETFL)
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=writer,
                                        env=self.environment, cwd=self.folder.name)
        self.writer = writer
        self.process.stderr = self.said
        self.readers = [threading.Thread(target=self._read_log, daemon=True)]
        self.readers[0].start()
        self.addresses, self.admin = [f"{self.here}/gateway.sock"], f"{self.here}/admin.sock"
        end = time.monotonic() + 30
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError("it does not start")
            time.sleep(0.02)
        assert fcntl.fcntl(writer, fcntl.F_GETFL) == flags, "others have it as well"
        return self

    def is_ready(self):
        try:
            return self.ask("/readyz", address=self.admin).status == 200
        except OSError:
            return False

    def read(self):
        os.close(self.writer)
        self.writer = None
        self.readers.append(threading.Thread(target=self._read, daemon=True))
        self.readers[-1].start()

    def stop(self, how=signal.SIGTERM, timeout=20):
        """In time, though nobody reads. What a sanitizer has to say is read after all."""
        self.process.send_signal(how)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass            # told by the harness
        if self.writer is not None:
            self.read()
        return super().stop(how, 1)


@pytest.fixture(params=[full_pipe, full_socket])
def unread(request, provider, tmp_path):
    """Redis has died, and nobody has read what was said of it."""
    with Redis() as redis:
        gateway = Unread(request.param, tmp_path, workers=2, backends=[backend("one", provider)],
                         models=[{"name": "tiny", "backends": ["one"]}], keys_file="keys.yaml",
                         cache={"memory": "0", "redis": {"url": redis.url}}, files={"keys.yaml": keys_text(KEYS[0])})
        with gateway:
            connected(gateway, 2)
            assert told(gateway, KEYS[0]) == 200
            redis.kill()
            gateway.wait("redis_up", 0)
            for _ in range(6):
                assert told(gateway, KEYS[0]) == 200
            yield gateway


def told(gateway, key):
    return gateway.chat(headers=key.head).status


def change_key(gateway, old, new):
    """By SIGHUP, until it is so."""
    with open(os.path.join(gateway.folder.name, "keys.yaml"), "w", encoding="utf-8") as file:
        file.write(keys_text(new))
    gateway.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + PATIENCE
    while told(gateway, new) != 200:
        assert time.monotonic() < end, "it does not read its keys again"
        time.sleep(0.02)
    assert told(gateway, old) == 401


def test_nobody_reads_until_the_end(unread):
    change_key(unread, *KEYS)
    unread.expect_end = True
    assert unread.stop() == 0
    assert not any("redis" in line for line in unread.lines)


def test_what_was_lost_is_counted(unread):
    change_key(unread, *KEYS)
    unread.read()
    change_key(unread, *reversed(KEYS))
    unread.wait_line(r"^embergate: 1 keys$")
    lost = unread.wait_line(r"^embergate: \d+ lines for stderr were lost: nobody read them$")
    # How many workers there are, two addresses, three connections that came and went, the keys
    assert int(lost.split()[1]) >= 10
    assert unread.lines.index(lost) < unread.lines.index("embergate: 1 keys")
    unread.process.send_signal(signal.SIGTERM)
    unread.wait_line(r"^embergate: done$")
    unread.expect_end = True
    assert unread.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_from_the_start(provider, tmp_path, closed):
    with Unread(full_pipe, tmp_path, prefix=["sh", "-c", f'exec "$@" {closed}', "sh"], log={"sinks": []},
                backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
        for _ in range(3):
            assert gateway.chat().status == 200


def test_a_closed_stdout_is_no_place_for_the_log(provider):
    gateway = Gateway(prefix=["sh", "-c", 'exec "$@" >&-', "sh"], log={"sinks": [{"kind": "stdout"}]}, start=False,
                      backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"]}])
    done = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=30, env=gateway.environment,
                          check=False)
    gateway.folder.cleanup()
    assert done.returncode == 1
    assert "stdout: Bad file descriptor" in done.stderr
