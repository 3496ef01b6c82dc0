#!/usr/bin/env bash
# What the benchmarks share: the programs they need, processes on their cores, a measurement, a count of instructions.
# Sourced by run.sh and hits.sh, which name their targets in `port` and start them by their own command_of().

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build-bench}
quick=${QUICK:-0}
port_base=${PORT_BASE:-18600}
proxy_core=1 other_core=0
upstream_port=$port_base
declare -A port=() pid=() charged=()    # charged: the process whose CPU time and memory count
ulimit -n "$(ulimit -Hn)"
files=$(ulimit -n)
[ "$files" = unlimited ] || [ "$files" -gt 1000000 ] && files=1000000
PATH=$PATH:/usr/sbin

say() { printf '%s\n' "$*" >&2; }
die() { say "bench: $*"; exit 1; }

[ "$(nproc)" -ge 2 ] || die "two cores are needed: one for the proxy, one for the rest"

# --- tools and programs ---

install_missing() {     # program:package ...
    local missing=() wish package
    for wish in "$@"; do
        command -v "${wish%:*}" >/dev/null || missing+=("${wish#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    [ "$(id -u)" = 0 ] || die "please install: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null
    for package in "${missing[@]}"; do      # apt starts servers; they would take CPU and ports
        case $package in nginx-light) service nginx stop ;; haproxy | redis-server) service "$package" stop ;; esac
    done >/dev/null 2>&1 || true
}

compile() { cc -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-unused-parameter "$@"; }

build_clients() {
    mkdir -p "$build/bench"
    compile "$here/upstream.c" -o "$build/bench/upstream"
    compile "$here/load.c" "$here/question.c" "$here/answer.c" "$here/process.c" -o "$build/bench/load"
}

build_gateway() {
    [ -z "${GATEWAY:-}" ] || return 0
    GATEWAY=$build/embergate
    [ -f "$build/build.ninja" ] ||
        meson setup "$build" "$root" -Dbuildtype=release -Db_lto=true -Ddebug=true -Dtests=false >"$out/build.log"
    ninja -C "$build" embergate >>"$out/build.log" 2>&1 || { tail -20 "$out/build.log" >&2; die "no gateway"; }
}

# --- starting and stopping, only what was started here ---

wait_for_port() {
    local tries=0
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || die "nothing listens on port $1 ($2)"
        sleep 0.05
    done
}

# Of its processes the one that serves.
nginx_worker() {        # its master
    local tries=0
    until pgrep -P "$1" -f 'worker process'; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || die "nginx has no worker"
        sleep 0.05
    done
}

start() {
    local command
    command_of "$1" "${port[$1]}"
    taskset -c $proxy_core "${command[@]}" >"$out/$1.out" 2>"${ERRORS_TO:-/dev/null}" &
    pid[$1]=$!
    wait_for_port "${port[$1]}" "$1"
    sleep 0.3
    kill -0 "${pid[$1]}" 2>/dev/null || die "$1 did not start; is port ${port[$1]} taken?"
    charged[$1]=${pid[$1]}
    [ "${command[0]}" != nginx ] || charged[$1]=$(nginx_worker "${pid[$1]}")
}

start_upstream() {
    taskset -c $other_core "$build/bench/upstream" "$upstream_port" 2>"$out/upstream.err" &
    pid[upstream]=$!
    wait_for_port "$upstream_port" upstream
}

stop() {
    [ -n "${pid[$1]:-}" ] || return 0
    kill -TERM "${pid[$1]}" 2>/dev/null || true
    for _ in $(seq 60); do
        kill -0 "${pid[$1]}" 2>/dev/null || break
        sleep 0.05
    done
    kill -KILL "${pid[$1]}" 2>/dev/null || true
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}

stop_all() {
    local target
    for target in "${!pid[@]}"; do
        stop "$target"
    done
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# --- one measurement: a line in raw.txt ---

load() {        # case, target, round, arguments of the load generator
    local name=$1 target=$2 round=$3 line kind=$4
    shift 4
    if line=$(taskset -c $other_core "$build/bench/load" "$kind" -p "${port[$target]}" -w "$warm" \
              -P "${charged[$target]:-0}" -u "$upstream_port" "$@"); then
        printf 'case=%s target=%s round=%s %s\n' "$name" "$target" "$round" "$line" >>"$out/raw.txt"
    else
        printf 'case=%s target=%s round=%s failed=1 %s\n' "$name" "$target" "$round" "$line" >>"$out/raw.txt"
        say "bench: $name on $target failed in round $round"
    fi
}

# --- instructions: the same target twice under callgrind, the difference of a long and a short run ---

# Before what is counted, PREPARE (a function, or true) may ask something.
callgrind_run() {       # target, port, name, prepare, arguments of the load generator -> instructions on stdout
    local target=$1 at=$2 file=$out/callgrind-$1-$3 prepare=$4 command process
    shift 4
    command_of "$target" "$at" single
    valgrind --tool=callgrind --callgrind-out-file="$file" "${command[@]}" >/dev/null 2>&1 &
    process=$!
    wait_for_port "$at" "$target under callgrind"
    $prepare "$at" "$@"
    "$build/bench/load" "$@" -p "$at" >"$file.load" || say "bench: load on $target under callgrind failed"
    kill -TERM $process
    wait $process || true
    sed -n 's/^\(summary\|totals\): *//p' "$file" | head -1
}
