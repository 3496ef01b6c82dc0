#!/usr/bin/env python3
"""Limits over several gateways and one real Redis: are they exact, what happens when Redis stops, what do they cost?

    tests/bench/limits.py                   all three, about six minutes, plus the build
    QUICK=1 tests/bench/limits.py           about a minute and a half
    tests/bench/limits.py exact stop cost   those named

    GATEWAY=/path/to/embergate              a release build; without it one is made in build-bench
    SECONDS=60  PORT_BASE=21000             of a case of exactness; ports from here on

Python 3.11 and nothing else of it; redis-server, for the wrong clock libfaketime, for the cost a C compiler. How it is
measured: README.md, "The limits".
"""

import asyncio
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from limits_world import (HERE, Gateway, Group, Pool, Process, Redis, free_port, meson_build, open_loop,
                          request, say, whole_answer)

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
SECONDS = float(os.environ.get("SECONDS") or (10 if QUICK else 60))
LIMIT = 1000                    # requests per minute
CORE, OTHER = 1, 0              # the gateway whose CPU time counts; everybody else
LIBRARY = next((path for path in (f"/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"
                                  for machine in ("x86_64", "aarch64")) if os.path.exists(path)), None)


# --- tables -----------------------------------------------------------------------------------------------------------

def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---" if place == 0 else "--:" for place in range(len(head))) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def goal(what, measured, most, form="{:g}"):
    verdict = "met" if measured <= most else "**missed**"
    print(f"- {what}: {form.format(measured)} (goal ≤ {most:g}): {verdict}")


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


# --- (a) exactness ----------------------------------------------------------------------------------------------------

class Case:
    """One limit, asked through COUNT gateways at SPEED times its rate."""

    numbers = itertools.count(1)

    def __init__(self, burst, count, speed, clock_off=False):
        self.burst, self.count, self.speed, self.clock_off = burst, count, speed, clock_off
        self.prefix = f"case{next(self.numbers)}"
        self.offset, self.gateways, self.every = None, [], []

    def dues(self):
        """Poisson; above the limit the burst is asked for first, at once, so that what follows meets the rate."""
        chance = random.Random(self.prefix)
        at, dues = 0.0, [0.0] * (self.burst if self.speed > 1 else 0)
        while True:
            at += chance.expovariate(self.speed * LIMIT / 60)
            if at > SECONDS:
                return dues
            dues.append(at)

    def config(self, redis):
        return {"backends": [{"name": "local", "kind": "echo", "echo": {"pace": "0ms"}}],
                "models": [{"name": "m", "backends": ["local"]}],
                "admission": {"quota": {"requests_per_minute": LIMIT, "requests_burst": self.burst},
                              "gateways": self.count,
                              "redis": {"url": f"redis://127.0.0.1:{redis.port}", "prefix": self.prefix,
                                        "deadline": "2s"}}}

    def start(self, group, folder, redis):
        for number in range(self.count):
            environment = None
            if self.clock_off and number == 0:
                self.offset = os.path.join(folder, self.prefix + ".offset")
                self.set_clock("+1h")
                environment = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": self.offset, "FAKETIME_NO_CACHE": "1",
                               "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
            self.gateways.append(group.start(Gateway(folder, self.config(redis), environment=environment)))

    def set_clock(self, offset):
        with open(self.offset, "w", encoding="ascii") as file:
            file.write(offset)

    async def run(self, began):
        text = request({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]})
        if self.offset:     # an hour ahead, and half-way an hour behind
            asyncio.get_running_loop().call_later(began + SECONDS / 2 - time.monotonic(), self.set_clock, "-1h")
        self.every = await open_loop([Pool(gateway.port, text, 64) for gateway in self.gateways], self.dues(), began)

    def over(self, passed):
        """How many more passed than B + L t / 60, in that of all windows where it is worst: those that were sent and
        answered within it have been decided within it."""
        rate, before, worst = LIMIT / 60, float("inf"), float("-inf")
        sent, answered = sorted(asked.sent for asked in passed), sorted(asked.answered for asked in passed)
        for number, (begin, end) in enumerate(zip(sent, answered)):
            before = min(before, number - rate * begin)
            worst = max(worst, number + 1 - rate * end - before)
        return worst - self.burst

    def minute(self, passed):
        """The fullest minute, or the whole when that is shorter: how many passed, and may pass."""
        window = min(60.0, max(asked.answered for asked in passed) - min(asked.sent for asked in passed))
        sent, most, first = sorted(passed, key=lambda asked: asked.sent), 0, 0
        for last, asked in enumerate(sent):
            while asked.answered - sent[first].sent > window:
                first += 1
            most = max(most, last - first + 1)
        return most, int(self.burst + LIMIT * window / 60)

    def ideal(self):
        """How many a bucket without a network lets in, asked at the same times."""
        level, last, passed = 0.0, 0.0, 0
        for asked in sorted(self.every, key=lambda asked: asked.sent):
            level = max(0.0, level - (asked.sent - last) * LIMIT / 60)
            last = asked.sent
            if level <= self.burst - 1:
                level, passed = level + 1, passed + 1
        return passed

    def passed(self):
        return [asked for asked in self.every if asked.status == 200]

    def refused(self):
        return sum(asked.status == 429 for asked in self.every)

    def over_percent(self):
        return 100 * max(0.0, self.over(self.passed())) / LIMIT

    def wrongful(self):
        """More refusals than a bucket without a network gives."""
        return max(0, self.refused() - (len(self.every) - self.ideal()))

    def row(self):
        passed, refused = self.passed(), self.refused()
        most, may = self.minute(passed)
        return (f"B = {self.burst:,}{', a clock ± 1 h' if self.clock_off else ''}", self.count, f"{self.speed} L",
                f"{len(self.every):,}", f"{len(passed):,}", f"{self.ideal():,}", f"{most:,} / {may:,}",
                f"{self.over(passed):+.2f}", f"{self.over_percent():.3f} %",
                self.wrongful() if self.speed < 1 else "–", len(self.every) - len(passed) - refused,
                sum(asked.degraded for asked in self.every))


async def run_cases(cases):
    began = time.monotonic() + .5
    await asyncio.gather(*(case.run(began + .02 * number) for number, case in enumerate(cases)))


def exact():
    cases = [Case(burst, count, speed) for burst in (100, LIMIT) for count in (1, 2, 4) for speed in (.9, 1.1, 5)]
    if LIBRARY:
        cases += [Case(100, 2, speed, True) for speed in (.9, 1.1, 5)]
    else:
        say("libfaketime is not installed: no case with a wrong clock")
    say(f"exactness: {len(cases)} cases at one time, {SECONDS:.0f} s")
    with tempfile.TemporaryDirectory(prefix="embergate-bench-") as folder, Group() as group:
        redis = group.start(Redis(folder))
        for case in cases:
            case.start(group, folder, redis)
        for gateway in (gateway for case in cases for gateway in case.gateways):
            gateway.wait_for_redis()
        asyncio.run(run_cases(cases))
    print(f"L = {LIMIT:,} a minute, {SECONDS:.0f} s, one Redis; k gateways of one worker each\n")
    table(("limit", "k", "asked at", "asked", "passed", "an ideal bucket", "fullest minute: passed / may",
           "over B + L t, worst window", "of L", "wrongful 429", "failed", "without Redis"),
          [case.row() for case in cases])
    goal("most let in above B + L t, % of L", max(case.over_percent() for case in cases), .1, "{:.3f}")
    goal("wrongful 429 at 0.9 L", sum(case.wrongful() for case in cases if case.speed < 1), 0)
    print()


# --- (b) Redis stops -------------------------------------------------------------------------------------------------

async def ask_while_stopped(gateway, redis, rate, before, stopped, after):
    text = request({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]})
    began = time.monotonic() + .1
    loop = asyncio.get_running_loop()
    loop.call_later(.1 + before, redis.signal, signal.SIGSTOP)
    loop.call_later(.1 + before + stopped, redis.signal, signal.SIGCONT)
    return await open_loop([Pool(gateway.port, text, 1000)],
                           [number / rate for number in range(int(rate * (before + stopped + after)))], began)


def stop():
    plenty = {"requests_per_minute": 10_000_000, "tokens_per_minute": 1_000_000_000, "concurrent": 10000}
    rate, before, stopped, after = 500, (3 if QUICK else 15), (5 if QUICK else 60), (5 if QUICK else 15)
    rows, added, failed = [], {}, 0
    for mode in ("open", "local"):
        say(f"Redis stopped for {stopped} s, on_redis_failure: {mode}")
        config = {"backends": [{"name": "local", "kind": "echo", "echo": {"pace": "0ms"}}],
                  "models": [{"name": "m", "backends": ["local"]}]}
        with tempfile.TemporaryDirectory(prefix="embergate-bench-") as folder, Group() as group:
            redis = group.start(Redis(folder))
            config["admission"] = {"quota": {**plenty, "on_redis_failure": mode}, "gateways": 2,
                                   "redis": {"url": f"redis://127.0.0.1:{redis.port}"}}
            gateway = group.start(Gateway(folder, config))
            gateway.wait_for_redis()
            every = asyncio.run(ask_while_stopped(gateway, redis, rate, before, stopped, after))
        base = None
        for name, begin, end in (("before", 1, before), ("its first second", before, before + 1),
                                 ("then, until it goes on", before + 1, before + stopped),
                                 ("afterwards", before + stopped, before + stopped + after)):
            part = [asked for asked in every if begin <= asked.due < end]
            times = [1000 * (asked.answered - asked.sent) for asked in part if asked.status]
            p99 = percentile(times, .99)
            base = base if base is not None else p99
            added[name] = max(added.get(name, 0), p99 - base)
            failed += sum(asked.status != 200 for asked in part)
            rows.append((mode, name, f"{len(part):,}", sum(asked.status != 200 for asked in part),
                         f"{sum(asked.degraded for asked in part):,}", f"{percentile(times, .5):.2f}", f"{p99:.2f}",
                         f"{p99 - base:+.2f}", f"{max(times):.2f}"))
    print(f"Redis stopped (SIGSTOP) for {stopped} s under {rate} requests a second; deadline 20 ms\n")
    table(("on_redis_failure", "while", "asked", "failed", "without Redis", "p50 ms", "p99 ms", "added p99", "longest"),
          rows)
    goal("failed", failed, 0)
    goal("added p99 in its first second, ms", added["its first second"], 25, "{:.2f}")
    goal("added p99 once the breaker is open, ms", added["then, until it goes on"], 1, "{:.2f}")
    print()


# --- (c) cost ---------------------------------------------------------------------------------------------------------

KEYS, TEAMS, WAVE = 10000, 100, 64


def make_keys(quota):
    texts = [f"eg-{random.Random(number).getrandbits(256):064x}"[:46] for number in range(KEYS)]
    return texts, [{"name": f"key-{number}", "team": f"team-{number % TEAMS}",
                    "sha256": hashlib.sha256(text.encode()).hexdigest(), **({"quota": quota} if quota else {})}
                   for number, text in enumerate(texts)]


def keys_file(folder, name, quota):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="ascii") as file:
        json.dump({"keys": make_keys(quota)[1]}, file)
    return path


def cost_configs(folder, upstream, redis):
    """By name, in the order of the table: the first is what the others are compared with."""
    plenty = {"requests_per_minute": 10**9, "tokens_per_minute": 10**12, "concurrent": 100000, "tokens_per_day": 10**13,
              "tokens_per_month": 10**14, "money_per_day": 10**6, "money_per_month": 10**7}
    place = {"name": "model", "kind": "openai", "url": f"http://127.0.0.1:{upstream.port}/v1",
             "api_key": "sk-bench-0123456789abcdef0123456789abcdef01234567"}
    model = {"name": "bench", "backends": ["model"]}
    limited = {"backends": [{**place, "quota": plenty}],
               "models": [{**model, "quota": plenty, "price": {"input": .5, "output": 1.5}}],
               "teams": [{"name": f"team-{number}", "quota": plenty} for number in range(TEAMS)],
               "keys_file": keys_file(folder, "limited.yaml", plenty), "admission": {"quota": plenty}}
    plain = {"backends": [place], "models": [model]}
    address = {"url": f"redis://127.0.0.1:{redis.port}", "deadline": "1s"}
    return {"no keys, no limits": plain,
            "keys, no limits": {**plain, "keys_file": keys_file(folder, "keys.yaml", None)},
            "keys and all five scopes": limited,
            "the same, in Redis": {**limited, "admission": {"quota": plenty, "redis": address}}}


class Waves:
    """As many connections, each asked once in each wave: the gateway's core is always full, with little Python."""

    def __init__(self, gateway, texts):
        self.gateway, self.texts, self.chance = gateway, texts, random.Random(1)
        self.sockets, self.degraded = [], 0

    def connect(self):
        """Anew for each round: a gateway does not wait for ever for a question."""
        for one in self.sockets:
            one.close()
        self.sockets = [socket.create_connection(("127.0.0.1", self.gateway.port)) for _ in range(WAVE)]
        for one in self.sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(10)

    def wave(self):
        for one, text in zip(self.sockets, self.chance.choices(self.texts, k=WAVE)):
            one.sendall(text)
        for one in self.sockets:
            got = b""
            while not (told := whole_answer(got)):
                more = one.recv(65536)
                if not more:
                    raise RuntimeError("a connection was closed before its answer")
                got += more
            if told[0] != 200:
                raise RuntimeError(got.decode(errors="replace"))
            self.degraded += told[1]

    def run(self, seconds):
        """Microseconds of CPU per request."""
        self.connect()
        for _ in range(20):
            self.wave()
        waves = 0
        cpu, end = self.gateway.cpu_us(), time.monotonic() + seconds
        while time.monotonic() < end:
            self.wave()
            waves += 1
        return (self.gateway.cpu_us() - cpu) / (waves * WAVE)


class Upstream(Process):
    def __init__(self, folder):
        program, port = os.path.join(folder, "upstream"), free_port()
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", os.path.join(HERE, "upstream.c"), "-o", program],
                       check=True)
        super().__init__([program, str(port)], port, OTHER)


def cost():
    rounds, seconds = 5, (1 if QUICK else 3)
    os.sched_setaffinity(0, {OTHER})
    say(f"cost: {rounds} rounds of {seconds} s each")
    with tempfile.TemporaryDirectory(prefix="embergate-bench-") as folder, Group() as group:
        redis, upstream = group.start(Redis(folder, OTHER)), group.start(Upstream(folder))
        body = {"model": "bench", "messages": [{"role": "user", "content": "A question of a few words, " * 7}]}
        texts = [request(body, key) for key in make_keys(None)[0]]
        targets = {name: Waves(group.start(Gateway(folder, config, CORE, logs=False)), texts)
                   for name, config in cost_configs(folder, upstream, redis).items()}
        time.sleep(1)
        figures = {name: [] for name in targets}
        for number in range(rounds):
            order = list(targets)
            for name in order[number % len(order):] + order[:number % len(order)]:
                figures[name].append(targets[name].run(seconds))
    base = figures[next(iter(figures))]
    print(f"{KEYS:,} keys in {TEAMS} teams, every limit of key, team, model, backend and gateway on; {WAVE} at a time, "
          f"medians of {rounds} interleaved rounds of {seconds} s, gateway on core {CORE}\n")
    table(("gateway", "CPU per request, µs", "more than without, µs", "ratio", "decided without Redis"), [
        (name, f"{statistics.median(mine):.1f}", f"{statistics.median(a - b for a, b in zip(mine, base)):+.1f}",
         f"{statistics.median(a / b for a, b in zip(mine, base)):.2f}", targets[name].degraded)
        for name, mine in figures.items()])


PARTS = {"exact": exact, "stop": stop, "cost": cost}


def main():
    wanted = sys.argv[1:] or list(PARTS)
    if any(name not in PARTS for name in wanted):
        sys.exit(__doc__)
    if not shutil.which("redis-server"):
        sys.exit("limits.py: redis-server is not installed")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    meson_build()
    for name in wanted:
        PARTS[name]()


if __name__ == "__main__":
    main()
