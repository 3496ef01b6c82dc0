#!/usr/bin/env python3
"""The tables of hits.sh: medians over the rounds, ratios taken within a round, and the goals beside them."""

import pathlib
import platform
import statistics
import sys

from profile import costs
from report import Results, first_line, processor, text

NAMES = {"nginx": "nginx, no log", "nginx_log": "nginx, buffered log",
         "nginx_sendfile": "nginx, sendfile", "process": "gateway, process shelf",
         "redis": "gateway, Redis", "relay": "cache: never", "before": "without a memory", "bypass": "bypass",
         "led": "led, remembered", "led_redis": "led, remembered, Redis"}
HITS = ["nginx", "nginx_log", "nginx_sendfile", "process", "redis"]
MISSES = ["before", "relay", "bypass", "led", "led_redis"]

# (what, unit, case, key, digits)
HIT_ROWS = [
    ("CPU per hit, whole answer of 1 KB, c=64", "µs", "whole_c64", "cpu_us_per_answer", 1),
    ("CPU per hit, whole answer of 1 KB, c=1", "µs", "whole_c1", "cpu_us_per_answer", 1),
    ("CPU per hit, stream of 64 events, c=64", "µs", "stream_c64", "cpu_us_per_answer", 1),
    ("CPU per hit, stream of 64 events, c=1", "µs", "stream_c1", "cpu_us_per_answer", 1),
    ("hits/s, whole, c=64", "1/s", "whole_c64", "per_second", 0),
    ("hits/s, whole, c=1", "1/s", "whole_c1", "per_second", 0),
    ("hits/s, stream, c=64", "1/s", "stream_c64", "per_second", 0),
    ("hits/s, stream, c=1", "1/s", "stream_c1", "per_second", 0),
    ("latency p50, whole, c=1", "µs", "whole_c1", "latency_p50_us", 0),
    ("latency p99, whole, c=1", "µs", "whole_c1", "latency_p99_us", 0),
    ("latency p50, whole, c=16", "µs", "whole_c16", "latency_p50_us", 0),
    ("latency p99, whole, c=16", "µs", "whole_c16", "latency_p99_us", 0),
    ("latency p50, whole, 4,000/s on 64 connections", "µs", "whole_open", "latency_p50_us", 0),
    ("latency p99, whole, 4,000/s on 64 connections", "µs", "whole_open", "latency_p99_us", 0),
    ("first event p50, c=1", "µs", "stream_c1", "latency_p50_us", 0),
    ("first event p99, c=1", "µs", "stream_c1", "latency_p99_us", 0),
    ("user instructions per hit, whole, but for SHA-256", "", "instructions_json", "others", 0),
    ("user instructions per hit, stream, but for SHA-256", "", "instructions_sse", "others", 0),
]
MISS_ROWS = [
    ("CPU per request, c=64", "µs", "miss_c64", "cpu_us_per_answer", 1),
    ("CPU per request, c=1", "µs", "miss_c1", "cpu_us_per_answer", 1),
    ("CPU per event, 200 streams of 50/s", "µs", "miss_events", "cpu_us_per_event", 1),
    ("requests/s, c=64", "1/s", "miss_c64", "per_second", 0),
    ("latency p50, c=1", "µs", "miss_c1", "latency_p50_us", 0),
    ("latency p99, c=1", "µs", "miss_c1", "latency_p99_us", 0),
    ("delay of an event p50", "µs", "miss_events", "delay_p50_us", 0),
    ("delay of an event p99", "µs", "miss_events", "delay_p99_us", 0),
    ("user instructions per request, whole, but for SHA-256", "", "instructions_json", "others", 0),
    ("user instructions per stream of 64 events, but for SHA-256", "", "instructions_sse", "others", 0),
]
HIT_CASES = ["whole_c1", "whole_c16", "whole_c64", "whole_open", "stream_c1", "stream_c64"]


def add_instructions(results, folder):
    """Valgrind knows no SHA instructions, so libcrypto takes its slow way under it, twenty times as long: leave it out."""
    for short in folder.glob("callgrind-*-short"):
        target, kind = short.name.split("-")[1:3]
        long = short.with_name(f"callgrind-{target}-{kind}-long")
        if long.exists():
            sums = [sum(count for name, count in costs(path, False).items() if "(libcrypto)" not in name)
                    for path in (long, short)]
            results.values[(f"instructions_{kind}", target, "others")] = [(sums[0] - sums[1]) / 800]


def paired(results, case, key, mine, other, join):
    """The median over rounds of JOIN of two targets' figures of the same round."""
    left, right = results.values.get((case, mine, key)), results.values.get((case, other, key))
    if not left or not right or len(left) != len(right):
        return None
    return statistics.median(join(a, b) for a, b in zip(left, right))


def ratio(results, case, key, mine, other):
    return paired(results, case, key, mine, other, lambda a, b: a / b)


def total(results, targets, cases, key):
    found = [results.total(case, target, key) for case in cases for target in targets]
    return sum(value for value in found if value is not None)


def changed(results):
    """Streams that came otherwise than before although nobody asked upstream."""
    count = 0
    for target in HITS:
        for case in HIT_CASES:
            pairs = zip(results.values.get((case, target, "changed"), []),
                        results.values.get((case, target, "asked_upstream"), []))
            count += sum(streams for streams, asked in pairs if not asked)
    return count


def print_table(results, targets, rows):
    targets = [target for target in targets if any(key[1] == target for key in results.values)]
    print("\n| | unit | " + " | ".join(NAMES[target] for target in targets) + " |")
    print("|---|---|" + "--:|" * len(targets))
    for what, unit, case, key, digits in rows:
        cells = [text(results.median(case, target, key), digits) for target in targets]
        if any(cell != "–" for cell in cells):
            print(f"| {what} | {unit} | " + " | ".join(cells) + " |")


def goals(results):
    """(what, value, limit, digits)"""
    for what, case in (("whole, c=64", "whole_c64"), ("whole, c=1", "whole_c1"),
                       ("stream, c=64", "stream_c64"), ("stream, c=1", "stream_c1")):
        for other in ("nginx", "nginx_log", "nginx_sendfile"):
            yield (f"CPU per process hit / {NAMES[other]}: {what}",
                   ratio(results, case, "cpu_us_per_answer", "process", other), 1.0, 2)
    for what, case in (("whole", "instructions_json"), ("stream", "instructions_sse")):
        yield (f"instructions per process hit / {NAMES['nginx']}: {what}",
               ratio(results, case, "others", "process", "nginx"), None, 2)
    for what, case in (("c=1", "whole_c1"), ("c=16", "whole_c16"), ("4,000/s", "whole_open")):
        yield (f"p99 of a Redis hit − p99 of a process hit, {what}, µs",
               paired(results, case, "latency_p99_us", "redis", "process", lambda a, b: a - b), 300, 0)
    yield "CPU per Redis hit / process hit, c=64", ratio(results, "whole_c64", "cpu_us_per_answer", "redis",
                                                         "process"), None, 2
    yield "CPU per Redis hit / plain relay, c=64", None if not results.median("miss_c64", "relay", "per_second") else \
        results.median("whole_c64", "redis", "cpu_us_per_answer") / \
        results.median("miss_c64", "relay", "cpu_us_per_answer"), None, 2
    for other in ("bypass", "led", "led_redis"):
        for what, case, key in (("c=64", "miss_c64", "cpu_us_per_answer"), ("c=1", "miss_c1", "cpu_us_per_answer"),
                                ("event", "miss_events", "cpu_us_per_event")):
            yield f"CPU, {NAMES[other]} / plain relay: {what}", ratio(results, case, key, other, "relay"), None, 2
    yield "requests upstream during process hits", total(results, ["process"], HIT_CASES, "asked_upstream"), 0, 0
    yield "requests upstream during Redis hits", total(results, ["redis"], HIT_CASES, "asked_upstream"), 0, 0
    yield "requests upstream during nginx's hits", total(results, HITS[:3], HIT_CASES,
                                                         "asked_upstream"), None, 0
    yield "answers to another question, changed or cut", \
        changed(results) + sum(total(results, HITS, HIT_CASES, key) for key in ("wrong", "lost", "errors")) + \
        sum(total(results, MISSES, ["miss_c1", "miss_c64", "miss_events"], key)
            for key in ("wrong", "lost", "errors")), 0, 0


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        results = Results(file)
    add_instructions(results, pathlib.Path(sys.argv[1]).parent)
    rounds = len(results.values.get(("whole_c64", "process", "per_second"), []))
    print(f"{processor()}, Linux {platform.release()}, medians of {rounds} interleaved rounds; "
          f"{first_line(['nginx', '-v'])}; {' '.join(first_line(['redis-server', '--version']).split()[:3])}")
    print_table(results, HITS, HIT_ROWS)
    print_table(results, MISSES, MISS_ROWS)
    print("\n| the memory against its goals | measured | goal | |\n|---|--:|--:|---|")
    for what, value, limit, digits in goals(results):
        verdict = "" if limit is None or value is None else "met" if value <= limit else "**missed**"
        print(f"| {what} | {text(value, digits)} | {'' if limit is None else f'≤ {limit:g}'} | {verdict} |")
    for failure in results.failed:
        print(f"\nFAILED: {failure}")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
