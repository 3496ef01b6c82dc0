#!/usr/bin/env python3
"""One table from the raw lines of run.sh: medians over the rounds, ratios, and the goals beside them."""

import platform
import statistics
import subprocess
import sys

TARGETS = ["direct", "nginx", "haproxy", "bare", "gateway", "limited"]
NAMES = {"direct": "direct", "nginx": "nginx", "haproxy": "HAProxy", "bare": "bare libcurl relay",
         "gateway": "gateway", "limited": "gateway, all limits on"}


class Results:
    """Every value of every (case, target, key), one for each round."""

    def __init__(self, lines):
        self.values = {}
        self.failed = []
        for line in lines:
            pairs = dict(word.split("=", 1) for word in line.split())
            case, target = pairs.pop("case"), pairs.pop("target")
            if pairs.pop("failed", None):
                self.failed.append(f"{case} on {target}, round {pairs.get('round')}")
                continue
            for key, value in pairs.items():
                if value:
                    self.values.setdefault((case, target, key), []).append(float(value))
        self.targets = [target for target in TARGETS if any(key[1] == target for key in self.values)]

    def median(self, case, target, key):
        values = self.values.get((case, target, key))
        return statistics.median(values) if values else None

    def total(self, case, target, key):
        values = self.values.get((case, target, key))
        return sum(values) if values else None

    def added(self, case, target, key):
        """The median over rounds of what TARGET adds to the direct answer of the same round."""
        mine, direct = self.values.get((case, target, key)), self.values.get((case, "direct", key))
        if not mine or not direct or target == "direct":
            return None
        return statistics.median(a - b for a, b in zip(mine, direct))

    def ratio(self, case, key, against, target="gateway"):
        """Gateway against another: the median of the ratios of the rounds."""
        mine, other = self.values.get((case, target, key)), self.values.get((case, against, key))
        if not mine or not other:
            return None
        return statistics.median(a / b for a, b in zip(mine, other))


def text(value, digits):
    if value is None:
        return "–"
    return f"{value:,.{digits}f}" if digits or value < 10000 else f"{value:,.0f}"


def rows(results):
    """(what, unit, function of target, digits)"""
    def median(case, key, scale=1.0):
        def value(target):
            found = results.median(case, target, key)
            return None if found is None else found * scale
        return value

    def added(case, key):
        return lambda target: results.added(case, target, key)

    def proxied(function):
        return lambda target: None if target == "direct" else function(target)

    def sum_of(*keys):
        def value(target):
            found = [results.total("sse_500", target, key) for key in keys]
            return None if None in found else sum(found)
        return value

    def reads_per_event(target):
        reads, events = (results.total("sse_500", target, key) for key in ("reads", "events"))
        return reads / events if events else None

    return [
        ("CPU per request, c=64", "µs", proxied(median("json_c64", "cpu_us_per_answer")), 1),
        ("CPU per request, c=1", "µs", proxied(median("json_c1", "cpu_us_per_answer")), 1),
        ("CPU per request, 5,000/s on 64 connections", "µs", proxied(median("json_open", "cpu_us_per_answer")), 1),
        ("CPU per request, body of 100 KB, c=16", "µs", proxied(median("body_100k", "cpu_us_per_answer")), 1),
        ("requests/s, c=64", "1/s", median("json_c64", "per_second"), 0),
        ("requests/s by wrk, c=64", "1/s", median("wrk", "per_second"), 0),
        ("latency p50, c=1", "µs", median("json_c1", "latency_p50_us"), 0),
        ("added p50, c=1", "µs", added("json_c1", "latency_p50_us"), 0),
        ("added p99, c=1", "µs", added("json_c1", "latency_p99_us"), 0),
        ("added p50, c=64", "µs", added("json_c64", "latency_p50_us"), 0),
        ("added p99, c=64", "µs", added("json_c64", "latency_p99_us"), 0),
        ("added p50, 5,000/s", "µs", added("json_open", "latency_p50_us"), 0),
        ("added p99, 5,000/s", "µs", added("json_open", "latency_p99_us"), 0),
        ("added time to first event, p50", "µs", added("first", "latency_p50_us"), 0),
        ("added time to first event, p99", "µs", added("first", "latency_p99_us"), 0),
        ("CPU per relayed event, 500 streams of 50/s", "µs", proxied(median("sse_500", "cpu_us_per_event")), 1),
        ("added delay of an event, p50", "µs", added("sse_500", "delay_p50_us"), 0),
        ("added delay of an event, p99", "µs", added("sse_500", "delay_p99_us"), 0),
        ("reads per event at the client", "", reads_per_event, 3),
        ("merged events, all rounds", "", sum_of("merged"), 0),
        ("split events, all rounds", "", sum_of("split"), 0),
        ("events later than one interval, all rounds", "", sum_of("late"), 0),
        ("lost or doubled events, all rounds", "", sum_of("lost"), 0),
        ("events/s, not paced, 50 streams", "1/s", median("sse_flat", "events_per_second"), 0),
        ("anonymous memory per open stream", "KB", median("hold", "bytes_per_stream", 1 / 1024), 1),
        ("idle RSS", "MB", median("idle", "rss_kb", 1 / 1024), 1),
        ("idle RSS, anonymous part", "MB", median("idle", "anon_kb", 1 / 1024), 1),
        ("user instructions per request", "", median("instructions_json", "each"), 0),
        ("user instructions per event", "", median("instructions_event", "each"), 0),
    ]


def goals(results):
    """(what, value, limit, digits)"""
    def at_gateway(case, key, scale=1.0):
        found = results.median(case, "gateway", key)
        return None if found is None else found * scale

    def not_as_sent(target):
        found = [results.total("sse_500", target, key) for key in ("merged", "split", "late", "lost")]
        return None if None in found else sum(found)

    return [
        ("CPU per request / nginx, c=64", results.ratio("json_c64", "cpu_us_per_answer", "nginx"), 2.0, 2),
        ("CPU per request / bare relay, c=64", results.ratio("json_c64", "cpu_us_per_answer", "bare"), 1.3, 2),
        ("instructions per request / bare relay", results.ratio("instructions_json", "each", "bare"), None, 2),
        ("CPU per relayed event / nginx", results.ratio("sse_500", "cpu_us_per_event", "nginx"), 1.15, 2),
        ("CPU per relayed event / bare relay", results.ratio("sse_500", "cpu_us_per_event", "bare"), None, 2),
        ("added p99 at c=1, µs", results.added("json_c1", "gateway", "latency_p99_us"), 200, 0),
        (f"merged, split, late or lost events (direct: {text(not_as_sent('direct'), 0)}, "
         f"nginx: {text(not_as_sent('nginx'), 0)})", not_as_sent("gateway"), 0, 0),
        ("KB per open stream", at_gateway("hold", "bytes_per_stream", 1 / 1024), 25, 1),
        ("idle RSS, MB", at_gateway("idle", "rss_kb", 1 / 1024), 10, 1),
    ]


def limited_goals(results):
    """The same of the gateway with all limits on."""
    def against(other):
        return results.ratio("json_c64", "cpu_us_per_answer", other, "limited")

    return [
        ("all limits on: CPU per request / nginx, c=64", against("nginx"), 2.0, 2),
        ("all limits on: CPU per request / bare relay, c=64", against("bare"), 1.3, 2),
        ("all limits on: CPU per request / gateway without, c=64", against("gateway"), None, 2),
    ]


def first_line(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout.splitlines()[0].strip()
    except (OSError, IndexError):
        return ""


def processor():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        results = Results(file)
    rounds = max((len(values) for values in results.values.values()), default=0)
    print(f"{processor()}, Linux {platform.release()}, medians of {rounds} interleaved rounds; "
          f"{first_line(['nginx', '-v'])}; {first_line(['haproxy', '-v']).split(' - ')[0]}; "
          f"{' '.join(first_line(['curl', '--version']).split()[:2])}\n")

    print("| | unit | " + " | ".join(NAMES[target] for target in results.targets) + " |")
    print("|---|---|" + "--:|" * len(results.targets))
    for what, unit, value, digits in rows(results):
        cells = [text(value(target), digits) for target in results.targets]
        if any(cell != "–" for cell in cells):
            print(f"| {what} | {unit} | " + " | ".join(cells) + " |")

    held = (goals(results) if "gateway" in results.targets else []) + \
           (limited_goals(results) if "limited" in results.targets else [])
    if held:
        print("\n| gateway against its goals | measured | goal | |\n|---|--:|--:|---|")
        for what, value, limit, digits in held:
            verdict = "" if limit is None or value is None else "met" if value <= limit else "**missed**"
            print(f"| {what} | {text(value, digits)} | {'' if limit is None else f'≤ {limit:g}'} | {verdict} |")
    for failure in results.failed:
        print(f"\nFAILED: {failure}")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
