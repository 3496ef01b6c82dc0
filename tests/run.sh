#!/bin/sh
# Builds and runs every test there is; README.md beside this file tells what each part is.
#
#   sh tests/run.sh                  everything
#   sh tests/run.sh lint unit        some parts: lint unit fuzz journey real tsan clang cppcheck
#
# The last line is `N passed, N failed`, with `, N skipped` when any were.
#   EMBERGATE_TEST_CACHE   where installed clients are kept (default: ~/.cache/embergate-tests)
#   EMBERGATE_TEST_BUILD   where to build (default: the checkout)
#   EMBERGATE_NO_INSTALL   set: install nothing of the system's
#   EMBERGATE_PROMTOOL     set for the journeys: promtool, which is fetched into the cache
#   PYTEST_ARGUMENTS       passed to pytest
set -u

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
builds=${EMBERGATE_TEST_BUILD:-$root}
cache=${EMBERGATE_TEST_CACHE:-$HOME/.cache/embergate-tests}
parts=${*:-lint unit fuzz journey real tsan clang cppcheck}
passed=0 failed=0 skipped=0
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT INT TERM
mkdir -p "$cache"

say() { printf '== %s\n' "$*"; }

count() {    # NAME PASSED FAILED [SKIPPED]
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + ${4:-0}))
    say "$1: $2 passed, $3 failed${4:+, $4 skipped}"
}

step() {     # NAME COMMAND...: one check, its output shown when it fails
    name=$1
    shift
    if "$@" >"$log/step" 2>&1; then
        count "$name" 1 0
    else
        tail -n 60 "$log/step"
        count "$name" 0 1
        return 1
    fi
}

number() {   # WORD FILE: the last `N WORD` in FILE, or 0
    found=$(grep -Eo "[0-9]+ $1" "$2" | tail -n 1 | cut -d ' ' -f 1)
    echo "${found:-0}"
}

# --- builds -----------------------------------------------------------------------------------------------------------

build() {    # FOLDER COMPILER OPTION...: configure once, then bring up to date
    folder=$builds/$1 compiler=$2
    shift 2
    if [ ! -f "$folder/build.ninja" ]; then
        rm -rf "$folder"
        CC=$compiler meson setup "$folder" "$root" "$@" || { rm -rf "$folder"; return 1; }
    fi
    ninja -C "$folder"
}

sanitized() {
    [ -n "${sanitized_done:-}" ] && return 0
    step "build with gcc and sanitizers" \
        build build-test gcc -Db_sanitize=address,undefined -Dbuildtype=debugoptimized || return 1
    sanitized_done=yes
}

# --- parts ------------------------------------------------------------------------------------------------------------

run_lint() {
    python3 tests/lint/lint.py >"$log/lint" 2>&1
    status=$?
    grep -v ' passed, ' "$log/lint"
    good=$(number passed "$log/lint") bad=$(number failed "$log/lint")
    [ $status -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
    count lint "$good" "$bad"
    for script in tests/run.sh .ci/run deploy/*.sh tests/*/*.sh; do
        [ -f "$script" ] || continue
        shell=sh
        head -n 1 "$script" | grep -q bash && shell=bash
        step "$shell -n $script" $shell -n "$script"
    done
}

run_unit() {
    sanitized || return
    meson test -C "$builds/build-test" --no-rebuild --print-errorlogs >"$log/unit" 2>&1
    status=$?
    good=$(sed -n 's/^Ok: *\([0-9]*\).*/\1/p' "$log/unit" | tail -n 1)
    bad=$(sed -n 's/^\(Fail\|Timeout\|Unexpected Pass\): *//p' "$log/unit" | awk '{ sum += $1 } END { print sum + 0 }')
    rest=$(sed -n 's/^Skipped: *\([0-9]*\).*/\1/p' "$log/unit" | tail -n 1)
    if [ $status -ne 0 ]; then
        tail -n 120 "$log/unit"
        [ "$bad" -eq 0 ] && bad=1
    fi
    count "unit (programs)" "${good:-0}" "$bad" "${rest:-0}"
}

run_fuzz() {
    if ! command -v clang >/dev/null 2>&1; then
        count "fuzz corpora (no clang)" 0 0 1
        return
    fi
    step "build of the fuzzers" build build-fuzz clang -Dfuzz=true -Dtests=false -Dbuildtype=debugoptimized || return
    for source in tests/fuzz/fuzz_*.c; do
        name=$(basename "$source" .c)
        program=$(find "$builds/build-fuzz" -type f -name "$name" -perm -u+x | head -n 1)
        corpus=tests/fuzz/corpus/${name#fuzz_}
        if [ -z "$program" ] || [ ! -d "$corpus" ]; then
            say "$name: no program or no corpus"
            count "$name" 0 1
            continue
        fi
        # Every file of the corpus runs once.
        set -- "$corpus"
        [ -d "tests/fuzz/crashes/${name#fuzz_}" ] && set -- "$@" "tests/fuzz/crashes/${name#fuzz_}"
        step "$name over its corpus" "$program" -runs=0 -max_len=1048576 "$@"
    done
}

# Installed anew only when the list changed.
stamp_of() { cat "$@" | cksum | tr ' ' '-'; }

python_clients() {   # FOLDER REQUIREMENTS
    want=$(stamp_of "$2")-$(python3 --version | tr ' ' '-')
    [ "$(cat "$cache/$1/stamp" 2>/dev/null)" = "$want" ] && return 0
    say "installing $2"
    rm -rf "${cache:?}/$1"
    python3 -m venv "$cache/$1" &&
        "$cache/$1/bin/pip" install --quiet --disable-pip-version-check -r "$2" && echo "$want" >"$cache/$1/stamp"
}

node_clients() {
    want=$(stamp_of tests/journey/requirements/package.json)
    [ "$(cat "$cache/node/stamp" 2>/dev/null)" = "$want" ] && return 0
    command -v npm >/dev/null 2>&1 || return 1
    say "installing the clients for node"
    rm -rf "$cache/node"
    mkdir -p "$cache/node" && cp tests/journey/requirements/package.json "$cache/node/" &&
        (cd "$cache/node" && npm install --no-audit --no-fund --silent) && echo "$want" >"$cache/node/stamp"
}

# Debian's package would start a daemon where it is installed; one program of it is all that is needed.
promtool() {         # prints its path; nothing when it cannot be had
    tool=$cache/promtool/usr/bin/promtool
    if [ ! -x "$tool" ]; then
        rm -rf "${cache:?}/promtool"
        mkdir -p "$cache/promtool" &&
            (cd "$cache/promtool" && apt-get download prometheus && dpkg -x prometheus_*.deb .) >"$log/promtool" 2>&1
        rm -f "$cache"/promtool/*.deb "$cache/promtool/usr/bin/prometheus"
    fi
    [ -x "$tool" ] && echo "$tool"
}

run_pytest() {       # NAME PYTHON ARGUMENT...
    name=$1 python=$2
    shift 2
    # shellcheck disable=SC2086
    EMBERGATE_BINARY=$builds/${build_used:-build-test}/embergate EMBERGATE_NODE_MODULES=$cache/node/node_modules PYTHONDONTWRITEBYTECODE=1 \
        "$python" -m pytest -q -p no:cacheprovider --tb=short "$@" ${PYTEST_ARGUMENTS:-} >"$log/pytest" 2>&1
    status=$?
    good=$(number passed "$log/pytest") bad=$(number failed "$log/pytest") rest=$(number skipped "$log/pytest")
    errors=$(number 'errors?' "$log/pytest")
    bad=$((bad + errors))
    if [ $status -ne 0 ]; then
        tail -n 300 "$log/pytest"
        [ "$bad" -eq 0 ] && bad=1
    fi
    count "$name" "$good" "$bad" "$rest"
}

run_journey() {
    sanitized || return
    node_clients || say "node's SDK could not be installed: its journeys are skipped"
    EMBERGATE_PROMTOOL=$(promtool) || say "promtool could not be fetched: its check is skipped"
    export EMBERGATE_PROMTOOL
    if python_clients venv tests/journey/requirements/main.txt; then
        run_pytest "journeys" "$cache/venv/bin/python" -n "${EMBERGATE_TEST_JOBS:-3}" --dist loadfile tests/journey
    else
        count "journeys: installing the clients" 0 1
    fi
    if python_clients venv-old tests/journey/requirements/old.txt; then
        run_pytest "journeys with an old SDK" "$cache/venv-old/bin/python" tests/journey/test_02_openai_python.py
    else
        count "journeys with an old SDK: installing it" 0 1
    fi
}

run_real() {
    sanitized || return
    if ! ls tests/real/test_*.py >/dev/null 2>&1; then
        return
    fi
    if ! EMBERGATE_TEST_CACHE=$cache/real sh tests/real/install.sh >"$log/real" 2>&1 ||
        ! python_clients venv tests/journey/requirements/main.txt; then
        tail -n 20 "$log/real"
        count "real server (could not be installed)" 0 0 1
        return
    fi
    export EMBERGATE_TEST_CACHE="$cache/real"
    run_pytest "real server" "$cache/venv/bin/python" tests/real
    export EMBERGATE_TEST_CACHE="$cache"
}

# Several workers, signals, random faults: what threads share, under ThreadSanitizer.
run_tsan() {
    step "build with the thread sanitizer" \
        build build-tsan gcc -Db_sanitize=thread -Db_lundef=false -Dtests=true -Dbuildtype=debugoptimized || return
    for program in "$builds"/build-tsan/tests/unit/test_*_threads "$builds"/build-tsan/tests/unit/test_mailbox; do
        step "threads: ${program##*/}" env TSAN_OPTIONS="exitcode=99:suppressions=$root/tests/thread_sanitizer.supp" "$program"
    done
    if ! python_clients venv tests/journey/requirements/main.txt; then
        count "threads: installing the clients" 0 1
        return
    fi
    build_used=build-tsan
    run_pytest "threads" "$cache/venv/bin/python" tests/journey/test_14_signals.py tests/journey/test_15_start.py \
        tests/journey/test_18_storm.py tests/journey/test_23_memory_join.py tests/journey/test_27_memory_storm.py \
        tests/journey/test_35_log_sinks.py tests/journey/test_37_metrics.py tests/journey/test_39_status_page.py
    build_used=build-test
}

run_clang() {
    if command -v clang >/dev/null 2>&1; then
        step "clang, no warnings" build build-clang clang -Dwerror=true -Dtests=true -Dbuildtype=debug
    else
        count "clang (not there)" 0 0 1
    fi
}

run_cppcheck() {
    if command -v cppcheck >/dev/null 2>&1; then
        step "cppcheck" cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
            --error-exitcode=1 --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
            -D_GNU_SOURCE "-DEMBERGATE_VERSION=\"0\"" -I src -j 2 src
    else
        count "cppcheck (not there)" 0 0 1
    fi
}

# --- all of it --------------------------------------------------------------------------------------------------------

if [ -z "${EMBERGATE_NO_INSTALL:-}" ] && [ -f deploy/install-dependencies.sh ]; then
    sh deploy/install-dependencies.sh test >"$log/install" 2>&1 || { tail -n 20 "$log/install"; say "could not install all that is needed"; }
fi
for part in $parts; do
    case $part in
    lint | unit | fuzz | journey | real | tsan | clang | cppcheck) "run_$part" ;;
    *) say "no such part: $part"; failed=$((failed + 1)) ;;
    esac
done
if [ $skipped -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
