#!/usr/bin/env python3
"""Where the instructions of one request and one event go: run.sh's callgrind runs, long minus short, by function.

    tests/bench/profile.py [TARGET] [FOLDER]     gateway and build-bench/results when not said
    tests/bench/profile.py process build-bench/hits     the same of hits.sh: one whole hit, one of a stream
"""

import pathlib
import re
import subprocess
import sys

KINDS = {"json": ("request", 800), "sse": ("event", 800)}
LINE = re.compile(r"^\s*([\d,]+)\s+\([\d. ]+%\)\s+(.*)$")
SHOWN = 45


def costs(path, inclusive):
    """{function: instructions} of one callgrind file."""
    command = ["callgrind_annotate", "--threshold=100", "--auto=no",
               f"--inclusive={'yes' if inclusive else 'no'}", str(path)]
    text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match and "PROGRAM TOTALS" not in line:
            name = match.group(2).strip()
            library = re.search(r"\[(.*)\]", name)
            function = name.split(":", 1)[-1].split(" [")[0].strip("'")
            place = pathlib.Path(library.group(1)).name.split(".so")[0] if library and ".so" in name else "program"
            key = f"{function} ({place})"
            found[key] = found.get(key, 0) + int(match.group(1).replace(",", ""))
    return found


def print_top(title, short, long, count):
    rows = sorted(((long[name] - short.get(name, 0)) / count, name) for name in long)[::-1]
    print(f"\n{title}")
    for each, name in rows[:SHOWN]:
        if each >= 1:
            print(f"{each:10,.0f}  {name}")


def print_libraries(short, long, count):
    sums = {}
    for name in long:
        library = name.rsplit("(", 1)[1].rstrip(")")
        sums[library] = sums.get(library, 0) + (long[name] - short.get(name, 0)) / count
    print("   ".join(f"{name} {each:,.0f}" for name, each in sorted(sums.items(), key=lambda pair: -pair[1])
                     if each >= 10))


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "gateway"
    root = pathlib.Path(__file__).resolve().parents[2]
    folder = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else root / "build-bench" / "results"
    for kind, (unit, count) in KINDS.items():
        unit = {"event": "stream"}.get(unit, unit) if folder.name == "hits" else unit
        paths = [folder / f"callgrind-{target}-{kind}-{length}" for length in ("short", "long")]
        for inclusive in (False, True):
            short, long = (costs(path, inclusive) for path in paths)
            if not inclusive:
                print(f"\n=== {target}: instructions of one {unit}, by object")
                print_libraries(short, long, count)
            print_top(f"{'with callees' if inclusive else 'in the function itself'}:", short, long, count)


if __name__ == "__main__":
    main()
