#!/usr/bin/env python3
"""The nonce storm: clients that cancel at random points, before a Redis that hesitates. Each answer must carry its
asker's nonce and no other.

    python tests/journey/nonce_storm.py [CANCELS] [SEED]

One event loop is the provider, the clients and the hand that makes Redis hesitate; the gateway has little memory, so that
answers come from the backend, from the process, from Redis, and from flights that were under way.
"""

import asyncio
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Gateway, request_bytes, run_async  # noqa: E402
from redis_world import Redis, connected, packed  # noqa: E402

NONCE = re.compile(rb"nonce-[0-9a-f]{8}")
QUESTIONS = 1000
CLIENTS = 48
PARTS = 4
# Hesitations of Redis in seconds; a rare one passes the deadline of 50 ms, and it is left alone for a while.
PAUSES, LONG_PAUSE, LONG_SHARE = (0.002, 0.002, 0.002, 0.01, 0.03), 0.08, 0.005


def chunk(text, finish="null"):
    data = b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[{"index":0,"delta":' \
           b'{"content":"%s"},"finish_reason":%s}]}\n\n' % (text, finish.encode())
    return b"%x\r\n%s\r\n" % (len(data), data)


class Backend(asyncio.Protocol):
    """Tells the nonce it was asked with, PARTS times, with pauses."""

    def __init__(self, storm):
        self.storm, self.input, self.handle = storm, b"", None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        if self.handle:
            self.handle.cancel()

    def data_received(self, data):
        self.input += data
        head, found, body = self.input.partition(b"\r\n\r\n")
        if not found or len(body) < int(re.search(rb"(?i)content-length: *(\d+)", head).group(1)):
            return
        self.input = b""
        self.storm.asked += 1
        self.nonce, self.stream, self.part = NONCE.search(body).group(0), b'"stream":true' in body.replace(b" ", b""), 0
        self._later()

    def _later(self):
        wait = self.storm.chance.choice((0, 0, 0.001, 0.004, 0.02))
        self.handle = self.storm.loop.call_later(wait, self._go_on)

    def _go_on(self):
        if self.transport.is_closing():
            return
        if not self.stream:
            body = b'{"id":"x","object":"chat.completion","created":1,"model":"tiny","choices":[{"index":0,"message":{"role":' \
                   b'"assistant","content":"%s"},"finish_reason":"stop"}]}' % (b" ".join([self.nonce] * PARTS))
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                                 % (len(body), body))
            return
        if self.part == 0:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if self.part < PARTS:
            self.transport.write(chunk(self.nonce + b" "))
            self.part += 1
            self._later()
        else:
            self.transport.write(chunk(b"", '"stop"') + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


class Customer(asyncio.Protocol):
    """One connection; a question at a time."""

    def __init__(self, loop):
        self.loop, self.data, self.done = loop, b"", None
        self.enough = None          # leave when so many bytes have come

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, request):
        self.data, self.done = b"", self.loop.create_future()
        self.transport.write(request)
        return self.done

    def data_received(self, data):
        self.data += data
        if self.enough is not None and len(self.data) >= self.enough:
            self._finish("cancelled")
        elif self.data.endswith(b"0\r\n\r\n") or self._whole():
            self._finish("complete")

    def _whole(self):
        head, found, body = self.data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head) if found else None
        return length and len(body) >= int(length.group(1))

    def connection_lost(self, error):
        self._finish("lost")

    def _finish(self, how):
        if self.done and not self.done.done():
            self.done.set_result(how)


class Storm:
    def __init__(self, gateway, redis, cancels, seed):
        self.gateway, self.redis, self.goal = gateway, redis, cancels
        self.chance = random.Random(seed)
        self.asked = self.cancels = self.completes = 0
        self.wrong, self.failed, self.seen = [], [], {}
        names = [b"nonce-%08x" % self.chance.getrandbits(32) for _ in range(QUESTIONS)]
        self.questions = [(name, request_bytes("POST", "/v1/chat/completions", {
            "model": "tiny", "stream": number % 2 == 0, "seed": 7,
            "messages": [{"role": "user", "content": name.decode()}]})) for number, name in enumerate(names)]

    async def run(self):
        self.loop = asyncio.get_running_loop()
        hand = self.loop.create_task(self._hesitate())
        await asyncio.gather(*(self._life() for _ in range(CLIENTS)))
        hand.cancel()

    async def _hesitate(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.redis.port)
        while True:
            pause = LONG_PAUSE if self.chance.random() < LONG_SHARE else self.chance.choice(PAUSES)
            writer.write(packed("DEBUG", "SLEEP", pause))
            await reader.readline()
            await asyncio.sleep(self.chance.random() * 0.03)

    async def _life(self):
        customer = None
        while self.cancels < self.goal and len(self.failed) < 10:
            if customer is None or customer.transport.is_closing():
                _, customer = await self.loop.create_connection(lambda: Customer(self.loop), *self.gateway.addresses[0])
            # A few questions are asked often.
            name, request = self.questions[int(QUESTIONS * self.chance.random() ** 3)]
            fate = self.chance.random()
            customer.enough = self.chance.randrange(1, 1500) if 0.4 <= fate < 0.7 else None
            done = customer.ask(request)
            if fate < 0.4:
                wait = self.chance.choice((0, 0.0005, 0.002, 0.01, 0.05)) * self.chance.random()
                await asyncio.wait([done], timeout=wait)
            else:
                await asyncio.wait([done], timeout=30)
            self._judge(name, customer.data, done.result() if done.done() else "cancelled", fate)
            if not done.done() or done.result() != "complete":
                customer.done = None
                customer.transport.abort()
                customer = None

    def _judge(self, name, data, how, fate):
        told = NONCE.findall(data)
        if any(one != name for one in told):
            self.wrong.append((name, data))
        if how == "cancelled" and (fate < 0.7):
            self.cancels += 1
            return
        if how != "complete" or not data.startswith(b"HTTP/1.1 200") or len(told) != PARTS:
            self.failed.append((how, name, data[:2000]))
            return
        self.completes += 1
        outcome = re.search(rb"(?i)x-embergate-cache: *(\w+)", data)
        outcome = outcome.group(1).decode() if outcome else "none"
        self.seen[outcome] = self.seen.get(outcome, 0) + 1


async def _serve(gateway_config, cancels, seed, started):
    loop = asyncio.get_running_loop()
    storm = Storm.__new__(Storm)
    server = await loop.create_server(lambda: Backend(storm), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    with Redis() as redis:
        config = gateway_config(port, redis)
        gateway = await loop.run_in_executor(None, lambda: Gateway(**config))
        try:
            storm.__init__(gateway, redis, cancels, seed)
            await loop.run_in_executor(None, started, gateway)
            began = time.monotonic()
            await storm.run()
            storm.seconds = time.monotonic() - began
            await loop.run_in_executor(None, gateway.quiet)
            storm.page = (await loop.run_in_executor(None, lambda: gateway.ask("/cache", address=gateway.admin))).json()
        finally:
            status = await loop.run_in_executor(None, gateway.stop)
    server.close()
    assert status == 0, gateway.lines[-20:]
    return storm


def config_for(port, redis):
    return {
        "backends": [{"name": "one", "kind": "openai", "url": f"http://127.0.0.1:{port}"}],
        "models": [{"name": "tiny", "backends": ["one"]}],
        "cache": {"when": "repeatable", "memory": "1m", "redis": {"url": redis.url, "deadline": "50ms"}}, "workers": 2,
    }


def run(cancels, seed):
    """The storm, after its end: cancels, completes, wrong, failed, seen, page, seconds."""
    return run_async(_serve(config_for, cancels, seed, lambda gateway: connected(gateway, 2)))


def main():
    cancels = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    storm = run(cancels, seed)
    print(f"seed {seed}: {storm.cancels} cancels, {storm.completes} answers {storm.seen}, {storm.asked} calls, "
          f"{len(storm.wrong)} wrong, {len(storm.failed)} failed, {storm.seconds:.0f} s")
    print(storm.page["counts"], storm.page["redis"])
    for one in (storm.wrong + storm.failed)[:3]:
        print(one)
    return 1 if storm.wrong or storm.failed else 0


if __name__ == "__main__":
    sys.exit(main())
