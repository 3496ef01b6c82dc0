#!/usr/bin/env python3
"""The habits of the house that a program can check. Ends with `N passed, N failed`.

    python3 tests/lint/lint.py [ROOT]

Per file one check each: its size, the sizes and depths of its functions, functions nobody may use, includes that point
left only, libraries behind their one door, a comment that opens it, the form of its lines.
"""

import os
import re
import sys

FILE_LINES = 450
FUNCTION_LINES = 80
DEPTH = 4               # of braces, the function's own included
LINE_BYTES = 120

BANNED = ["sprintf", "vsprintf", "strcpy", "strcat", "strncpy", "strncat", "strtok", "atoi", "atol", "atof", "gets",
          "alloca", "system", "popen", "mktemp", "tmpnam", "rand", "srand", "scanf", "sscanf"]
ALLOCATORS = ["malloc", "calloc", "realloc", "free", "strdup", "strndup", "reallocarray"]

# A folder includes only what stands to its left; folders of one place do not include each other.
ORDER = [{"base"}, {"json", "link"}, {"config", "chat"}, {"dialect"},
         {"entry", "admit", "memo", "route", "upstream", "record"}, {"flow"}, {"worker", "gateway_shared", "gateway_keys"},
         {"command"}, {"main"}]
PLACE = {name: place for place, names in enumerate(ORDER) for name in names}

DOORS = {
    r"curl/": ["link/curl_", "link/fetch"],
    r"llhttp": ["entry/http_in", "entry/http_rules", "entry/http_filter", "link/http1_answer"],
    r"yajl/": ["json/json_doc", "json/json_read"],
    r"(cyaml|yaml)": ["config/"],
    r"hiredis/": ["link/redis"],
    r"pcre2": ["record/redact_pattern"],
    r"openssl/ssl": ["link/curl_transfer"],
    r"openssl/(?!ssl)": ["base/random", "base/digest"],
    r"zlib": ["record/sink_sweep", "command/log_read"],
}

passed, failures = 0, []


def check(good, path, message):
    global passed
    if good:
        passed += 1
    else:
        failures.append(f"{path}: {message}")


def without_text(source):
    """SOURCE with comments and literals blanked; newlines stay where they are."""
    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match.group()), source, flags=re.S)


def without_directives(code):
    """CODE with preprocessor lines blanked, continuation lines too."""
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda match: re.sub(r"[^\n]", " ", match.group()), code, flags=re.M)


def functions(code):
    """(name, first line, lines, depth) of each function: in this style its brace stands alone in column 0."""
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{" and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            head = number_of_head(lines, start)
            names = re.findall(r"(\w+)\s*\(", " ".join(lines[head:start]))
            body = "\n".join(lines[start:number + 1])
            depth = deepest = 0
            for mark in re.findall(r"[{}]", body):
                depth += 1 if mark == "{" else -1
                deepest = max(deepest, depth)
            yield (names[0] if names else "?"), head + 1, number + 1 - head, deepest
            start = None


def number_of_head(lines, start):
    head = start
    while head > 0 and lines[head - 1].strip() and not lines[head - 1].startswith(("}", "#")) \
            and not lines[head - 1].rstrip().endswith(";"):
        head -= 1
    return head


def check_sizes(path, source, code):
    count = source.count("\n")
    check(count <= FILE_LINES, path, f"{count} lines, at most {FILE_LINES}")
    wide = [number + 1 for number, line in enumerate(source.split("\n")) if len(line) > LINE_BYTES]
    check(not wide, path, f"lines wider than {LINE_BYTES}: {wide[:5]}")
    if path.endswith(".c"):
        found = list(functions(code))
        long = [f"{name} has {size} lines" for name, _, size, _ in found if size > FUNCTION_LINES]
        deep = [f"{name} nests {depth} deep" for name, _, _, depth in found if depth > DEPTH]
        check(not long, path, f"{', '.join(long)}; at most {FUNCTION_LINES}")
        check(not deep, path, f"{', '.join(deep)}; at most {DEPTH}")


def check_banned(path, relative, code):
    names = BANNED + ([] if relative.startswith("base/alloc") else ALLOCATORS)
    used = sorted({match.group(1) for match in re.finditer(
        r"(?<![\w.>])(" + "|".join(names) + r")\s*\(", code)})
    check(not used, path, f"uses {', '.join(used)}")


def check_includes(path, relative, source):
    folder = relative.split("/")[0].split(".")[0]
    bad = []
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', source, re.M):
        other = name.split("/")[0].split(".")[0]
        if other == folder:
            continue
        if other not in PLACE or folder not in PLACE or PLACE[other] >= PLACE[folder]:
            bad.append(name)
    check(not bad, path, f"includes to the right or across: {', '.join(bad)}")
    wrong = []
    for name in re.findall(r"^\s*#\s*include\s+<([^>]+)>", source, re.M):
        for library, doors in DOORS.items():
            if re.match(library, name) and not any(relative.startswith(door) for door in doors):
                wrong.append(name)
    check(not wrong, path, f"includes {', '.join(wrong)} beside its door")


def check_form(path, source):
    if path.endswith(".c"):
        check(source.lstrip().startswith(("/*", "//")), path, "does not open with a comment")
    else:
        check("#pragma once" in source, path, "has no #pragma once")
    check("\t" not in source and "\r" not in source, path, "has tabs or carriage returns")
    check(not re.search(r"[ ]+$", source, re.M) and source.endswith("\n") and not source.endswith("\n\n"), path,
          "has spaces at line ends, or no single newline at its end")
    check(not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", source), path, "has something left to do")


def check_named(path, relative, architecture):
    name = os.path.basename(relative)
    stem, end = os.path.splitext(name)
    named = any(f"`{stem}{form}`" in architecture for form in (end, ".[ch]"))
    check(named, path, "has no line in ARCHITECTURE.md")


def main():
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../.."))
    base = os.path.join(root, "src")
    with open(os.path.join(root, "ARCHITECTURE.md"), encoding="utf-8") as file:
        architecture = file.read()
    for folder, folders, names in os.walk(base):
        folders.sort()
        for name in sorted(names):
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as file:
                source = file.read()
            relative, shown = os.path.relpath(path, base), os.path.relpath(path, root)
            code = without_directives(without_text(source))
            check_sizes(shown, source, code)
            check_banned(shown, relative, without_text(source))
            check_includes(shown, relative, source)
            check_form(shown, source)
            check_named(shown, relative, architecture)
    for failure in failures:
        print(failure)
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
