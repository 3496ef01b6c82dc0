#!/usr/bin/env python3
"""The tables of log.sh: medians over the rounds, what recording adds within a round, and the goals beside them."""

import pathlib
import platform
import statistics
import sys

from hits_report import add_instructions
from report import Results, processor, text

NAMES = {"off": "no log, no Server-Timing", "on": "log, Server-Timing", "traced": "the same, spans, hashes of bodies"}

# (what, unit, case, key, digits)
ROWS = [
    ("CPU of the worker per request, c=64", "µs", "json_c64", "worker_us_per_answer", 2),
    ("CPU of all threads per request, c=64", "µs", "json_c64", "cpu_us_per_answer", 2),
    ("CPU of the worker per stream of 64 events, c=64", "µs", "sse_flat", "worker_us_per_answer", 2),
    ("CPU of all threads per stream of 64 events, c=64", "µs", "sse_flat", "cpu_us_per_answer", 2),
    ("requests/s, c=64", "1/s", "json_c64", "per_second", 0),
    ("user instructions per request, but for SHA-256", "", "instructions_json", "others", 0),
    ("user instructions per event, but for SHA-256", "", "instructions_sse", "others", 0),
]


def added(results, case, key, target):
    """The median over rounds of what TARGET needs more than the gateway that records nothing."""
    mine, off = results.values.get((case, target, key)), results.values.get((case, "off", key))
    if not mine or not off or len(mine) != len(off):
        return None
    return statistics.median(a - b for a, b in zip(mine, off))


def print_rows(results):
    targets = [target for target in NAMES if any(key[1] == target for key in results.values)]
    more = [target for target in targets if target != "off" and "off" in targets]
    print("| | unit | " + " | ".join([NAMES[target] for target in targets] +
                                       [f"added by {NAMES[target]}" for target in more]) + " |")
    print("|---|---|" + "--:|" * (len(targets) + len(more)))
    for what, unit, case, key, digits in ROWS:
        cells = [text(results.median(case, target, key), digits) for target in targets]
        cells += [text(added(results, case, key, target), digits) for target in more]
        if any(cell != "–" for cell in cells):
            print(f"| {what} | {unit} | " + " | ".join(cells) + " |")


def print_lines(results):
    print("\n| the log by itself | ns of CPU per line | lines per second of CPU | of time |\n|---|--:|--:|--:|")
    found = results.values.get(("record", "record", "ns_per_line"), [])
    if found:
        size = results.median("record", "record", "bytes_per_line")
        print(f"| worker: a record to a line of {size:.0f} bytes | {text(statistics.median(found), 0)} | "
              f"{text(1e9 / statistics.median(found), 0)} | – |")
    for case, target, key in list(results.values):
        if case == "journal" and key == "ns_per_line":
            where = "/dev/null" if target == "/dev/null" else "a file"
            cells = [text(results.median(case, target, name), 0)
                     for name in ("ns_per_line", "lines_per_cpu_second", "lines_per_second")]
            print(f"| the log's thread: lines of 700 bytes to {where} | " + " | ".join(cells) + " |")


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        results = Results(file)
    add_instructions(results, pathlib.Path(sys.argv[1]).parent)
    rounds = max((len(values) for values in results.values.values()), default=0)
    print(f"{processor()}, Linux {platform.release()}, medians of {rounds} interleaved rounds\n")
    print_rows(results)
    if results.median("journal", "/dev/null", "ns_per_line"):
        print_lines(results)
    held = [
        ("worker's CPU that recording adds to a request, µs",
         added(results, "json_c64", "worker_us_per_answer", "on"), 3, 2, lambda value, limit: value <= limit, "≤"),
        ("lines per second of the log's thread on one core, 700 bytes",
         results.median("journal", "/dev/null", "lines_per_cpu_second"), 200000, 0,
         lambda value, limit: value >= limit, "≥"),
    ]
    print("\n| recording against its goals | measured | goal | |\n|---|--:|--:|---|")
    for what, value, limit, digits, holds, sign in held:
        verdict = "" if value is None else "met" if holds(value, limit) else "**missed**"
        print(f"| {what} | {text(value, digits)} | {sign} {limit:,} | {verdict} |")
    for failure in results.failed:
        print(f"\nFAILED: {failure}")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
