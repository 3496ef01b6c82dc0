#!/usr/bin/env python3
"""The log storm: many requests over many connections while the log is rotated and the gateway told to look again, and an
end in the middle of it. Every request that was answered must be in the files exactly once, and no number may be missing.

    python tests/journey/log_storm.py [REQUESTS] [ROTATIONS] [HANGUPS] [SEED]

Most are whole answers of the echo; some are streams, some streams that are left, some refused, some pages. Clients are
processes of their own; the files are moved as logrotate moves them (mv, then SIGUSR1).
"""

import asyncio
import json
import mmap
import os
import random
import re
import signal
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Gateway, echo, question, request_bytes  # noqa: E402
from log_world import Sinks, files_of, log_check, read_file  # noqa: E402

PROCESSES, CONNECTIONS = 2, 32
CHAT = "/v1/chat/completions"
HEAD = re.compile(rb"HTTP/1\.1 (\d+)(?:.|\n)*?\r\nx-request-id: req_([0-9a-f]{32})\r\n(?:.|\n)*?\r\n\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")

WHOLE = request_bytes("POST", CHAT, question("echo", "a few words of a question"))
STREAM = request_bytes("POST", CHAT, question("echo", "a few words of a stream", stream=True))
# (how many of a thousand, request, leave after the head)
MIX = [(860, WHOLE, False), (40, STREAM, False), (20, STREAM, True), (30, request_bytes("POST", CHAT, b"{bad"), False),
       (20, request_bytes("GET", "/v1/models"), False), (20, request_bytes("POST", CHAT, question("nobody")), False),
       (10, request_bytes("GET", "/nowhere"), False)]
KINDS = [(request, leave) for count, request, leave in MIX for _ in range(count)]


# --- a process of clients ---------------------------------------------------------------------------------------------

class Customer(asyncio.Protocol):
    """One connection: the next request when the one before is answered."""

    def __init__(self, crowd):
        self.crowd, self.data = crowd, b""

    def connection_made(self, transport):
        self.transport = transport
        self.crowd.open += 1
        self._next()

    def _next(self):
        request, self.leave = KINDS[self.crowd.chance.randrange(1000)]
        self.head = None
        self.transport.write(request)

    def data_received(self, data):
        self.data += data
        if self.head is None:
            self.head = HEAD.match(self.data)
            if not self.head:
                return
            self.crowd.answered(self.head.group(2))
            length = LENGTH.search(self.head.group(0))
            self.size = self.head.end() + int(length.group(1)) if length else None
            if self.leave:
                self.transport.abort()
                return
        if self.data.endswith(b"0\r\n\r\n") if self.size is None else len(self.data) >= self.size:
            if self.size is not None and len(self.data) > self.size:
                self.crowd.strange.append(self.data[:500])
            self.data = b""
            if b"\r\nconnection: close\r\n" not in self.head.group(0):
                self._next()

    def connection_lost(self, _):
        self.crowd.lost()


class Crowd:
    def __init__(self, address, seed, counter, place):
        self.address, self.chance = address, random.Random(seed)
        self.counter, self.place = counter, place
        self.ids, self.strange, self.open = [], [], 0

    def answered(self, identity):
        self.ids.append(identity)
        struct.pack_into("Q", self.counter, self.place, len(self.ids))

    def lost(self):
        self.open -= 1
        if not self.refused:
            self.loop.create_task(self._connect())
        self._look()

    def _look(self):
        if self.refused and self.open == 0 and not self.over.done():
            self.over.set_result(None)

    async def _connect(self):
        try:
            await self.loop.create_connection(lambda: Customer(self), *self.address)
        except OSError:
            self.refused = True         # it has ended, or is about to
            self._look()

    async def run(self):
        self.loop, self.refused = asyncio.get_running_loop(), False
        self.over = self.loop.create_future()
        await asyncio.gather(*(self._connect() for _ in range(CONNECTIONS)))
        await self.over


def client_process(address, seed, counter, place, path):
    crowd = Crowd(address, seed, counter, place)
    asyncio.run(crowd.run())
    with open(path, "wb") as file:
        file.write(b"".join(crowd.ids))
    os._exit(1 if crowd.strange else 0)


# --- the storm ----------------------------------------------------------------------------------------------------------

class Result:
    """`problems` is empty when all went well."""

    def __init__(self):
        self.answered = self.lines = self.files = self.rotations = self.hangups = 0
        self.seconds, self.bytes, self.problems = 0.0, 0, []

    def __str__(self):
        return (f"{self.answered} answered, {self.lines} lines in {self.files} files ({self.bytes >> 20} MB), "
                f"{self.rotations} rotations, {self.hangups} hangups, {self.seconds:.1f} s, "
                f"{self.answered / self.seconds:.0f} requests/s: " + ("; ".join(self.problems) or "nothing lost"))


def storm_config(workers):
    return {"backends": [echo()], "models": [{"name": "echo", "backends": ["local"]}], "workers": workers,
            "log": {"sinks": [{"kind": "file", "path": "requests.log"}]}}


def move(gateway, path, number, timeout=20):
    """As logrotate: the file gets another name, the gateway is told, and begins a new one."""
    os.rename(path, f"{path}.{number:05d}")
    gateway.process.send_signal(signal.SIGUSR1)
    end = time.monotonic() + timeout
    while not os.path.exists(path):
        assert time.monotonic() < end, "no new file was begun"
        time.sleep(0.001)


def disturb(gateway, path, requests, rotations, hangups, progress, result):
    """Spread over the run."""
    last = time.monotonic(), 0
    while (now := progress()) < requests:
        if now > last[1]:
            last = time.monotonic(), now
        assert time.monotonic() - last[0] < 60, f"nothing is answered any more, after {now}"
        if result.rotations < rotations and now >= (result.rotations + 0.5) * requests / rotations:
            move(gateway, path, result.rotations)
            result.rotations += 1
        elif result.hangups < hangups and now >= (result.hangups + 0.5) * requests / hangups:
            gateway.process.send_signal(signal.SIGHUP)
            result.hangups += 1
        else:
            time.sleep(0.002)


def count(path, ids, result):
    """Reads everything that was written and holds it against what was answered."""
    seen, numbers = set(), []
    names = files_of(path)
    for name in names:
        data = read_file(name)
        result.bytes += len(data)
        if data and not data.endswith(b"\n"):
            result.problems.append(f"{name} ends in half a line")
        for line in data.splitlines():
            try:
                record = json.loads(line)
                numbers.append(record["seq"])
                if "event" in record:
                    result.problems.append(f"dropped: {line!r}")
                    continue
                identity = record["id"][4:].encode()
            except (ValueError, KeyError):
                result.problems.append(f"unparsable: {line[:200]!r}")
                continue
            if identity in seen:
                result.problems.append(f"double: {identity}")
            seen.add(identity)
    numbers.sort()
    result.answered, result.lines, result.files = len(ids), len(numbers), len(names)
    if numbers != list(range(1, len(numbers) + 1)):
        result.problems.append(f"the sequence is broken: {len(numbers)} lines up to {numbers[-1:]}")
    lost = [identity for identity in ids if identity not in seen]
    if lost:
        result.problems.append(f"{len(lost)} lost, such as {lost[0]}")
    if len(set(ids)) != len(ids):
        result.problems.append("an id was given twice")
    status, said = log_check(*names)
    if status:
        result.problems.append(f"embergate log check says {said[-500:]!r}")


def run(requests, rotations=100, hangups=20, seed=1, workers=2):
    result, ids = Result(), []
    counter = mmap.mmap(-1, 8 * PROCESSES)
    gateway = Gateway(**storm_config(workers))
    gateway.expect_end = True
    path = os.path.join(gateway.folder.name, "requests.log")
    with gateway, tempfile.TemporaryDirectory(prefix="embergate-storm-") as folder:
        children, began = {}, time.monotonic()
        try:
            for number in range(PROCESSES):
                told = os.path.join(folder, f"ids-{number}")
                child = os.fork()
                if child == 0:
                    client_process(gateway.addresses[0], seed * 1000 + number, counter, 8 * number, told)
                children[child] = told
            disturb(gateway, path, requests, rotations, hangups,
                    lambda: sum(struct.unpack(f"{PROCESSES}Q", counter)), result)
            dropped = Sinks(gateway)["file"]["dropped"]
            gateway.process.send_signal(signal.SIGTERM)
            if gateway.process.wait(60) != 0 or dropped:
                result.problems.append(f"exit status {gateway.process.returncode}, {dropped} dropped")
            result.seconds = time.monotonic() - began
        except BaseException:
            for child in children:
                os.kill(child, signal.SIGKILL)
            raise
        finally:
            for child in children:
                if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) > 0:
                    result.problems.append("a client met something strange")
        for told in children.values():
            with open(told, "rb") as file:
                data = file.read()
            ids += [data[at:at + 32] for at in range(0, len(data), 32)]
        gateway._join()
        result.problems += [line for line in gateway.lines if "could not be written" in line or "dropped" in line]
        count(path, ids, result)
    return result


def main():
    numbers = [int(text) for text in sys.argv[1:]]
    result = run(*(numbers or [500_000]))
    print(result)
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
