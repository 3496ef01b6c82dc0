#!/usr/bin/env bash
# The gateway against nginx, HAProxy and a bare libcurl relay on the same hop, in one interleaved run: see README.md.
#
#   tests/bench/run.sh              about five minutes
#   QUICK=1 tests/bench/run.sh      about 80 seconds: fewer rounds, 2,000 streams, less under callgrind
#
# TARGETS="nginx gateway" measures only those; GATEWAY=/path/to/embergate skips the build; ROUNDS=7 changes the
# rounds; CALLGRIND=0 leaves the instruction counts out; PORT_BASE moves the ports; BUILD is the folder for all that is
# made. The table goes to stdout.
set -eu -o pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${BUILD:-$root/build-bench}
out=$build/results
quick=${QUICK:-0}
targets=(${TARGETS:-direct nginx haproxy bare gateway})
port_base=${PORT_BASE:-18600}
proxy_core=1 other_core=0
declare -A port=([direct]=$port_base [nginx]=$((port_base + 1)) [haproxy]=$((port_base + 2))
                 [bare]=$((port_base + 3)) [gateway]=$((port_base + 4)))
upstream_port=$port_base
admin_port=$((port_base + 9))
declare -A pid=() charged=()            # charged: the process whose CPU time and memory count
ulimit -n "$(ulimit -Hn)"
files=$(ulimit -n)
[ "$files" = unlimited ] || [ "$files" -gt 1000000 ] && files=1000000

if [ "$quick" = 1 ]; then
    rounds=${ROUNDS:-3} streams=2000
    t_c1=0.4 t_c64=0.4 t_open=0.4 t_body=0.3 t_sse=0.6 t_first=0.3 t_flat=0 t_hold=1 warm=0.15
else
    rounds=${ROUNDS:-5} streams=5000
    t_c1=1 t_c64=1.3 t_open=1 t_body=0.7 t_sse=1.5 t_first=0.8 t_flat=0.6 t_hold=2 warm=0.25
fi
[ "$files" -ge $((streams * 2 + 500)) ] || streams=$(((files - 500) / 2))

say() { printf '%s\n' "$*" >&2; }
die() { say "bench: $*"; exit 1; }

# --- tools and programs ---

install_missing() {
    local missing=() service
    command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
    command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
    command -v wrk >/dev/null || missing+=(wrk)
    command -v valgrind >/dev/null || missing+=(valgrind)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    [ "$(id -u)" = 0 ] || die "please install: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null
    for service in nginx haproxy; do            # apt starts them; they would take CPU and ports
        case " ${missing[*]} " in *" $service"*) service "$service" stop >/dev/null 2>&1 || true ;; esac
    done
}

build_programs() {
    local flags="-std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wno-unused-parameter" llhttp=/usr/share/llhttp part
    mkdir -p "$build/bench"
    cc $flags "$here/upstream.c" -o "$build/bench/upstream"
    cc $flags "$here/load.c" "$here/answer.c" "$here/process.c" -o "$build/bench/load"
    for part in api http llhttp; do
        [ -f "$build/bench/$part.o" ] || cc -O3 -w -c -DLLHTTP_STRICT_MODE=1 -I/usr/share/include/llhttp \
            "$llhttp/$part.c" -o "$build/bench/$part.o"
    done
    cc $flags -DLLHTTP_STRICT_MODE=1 -isystem /usr/share/include/llhttp "$here/bare_relay.c" \
        "$build/bench/"{api,http,llhttp}.o -o "$build/bench/bare_relay" $(pkg-config --cflags --libs libcurl libuv)
}

build_gateway() {
    [ -z "${GATEWAY:-}" ] || return 0
    GATEWAY=$build/embergate
    [ -f "$build/build.ninja" ] ||
        meson setup "$build" "$root" -Dbuildtype=release -Db_lto=true -Ddebug=true -Dtests=false >"$out/build.log"
    ninja -C "$build" embergate >>"$out/build.log" 2>&1 || { tail -20 "$out/build.log" >&2; die "no gateway"; }
}

has() { case " ${targets[*]} " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

# --- starting and stopping, only what was started here ---

wait_for_port() {
    local tries=0
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || die "nothing listens on port $1 ($2)"
        sleep 0.05
    done
}

configure() {   # template, result, port, master_process
    sed -e "s|@PORT@|$3|g" -e "s|@UPSTREAM@|$upstream_port|g" -e "s|@ADMIN@|$((admin_port + $3 - port_base))|g" \
        -e "s|@DIR@|$out|g" -e "s|@FILES@|$files|g" -e "s|@MASTER@|${4:-on}|g" "$here/config/$1" >"$2"
}

# The command line of a target on a port, in the array `command`.
command_of() {  # target, port, "single": nginx as one process
    case $1 in
    nginx)   configure nginx.conf.in "$out/nginx-$2.conf" "$2" "$([ "${3:-}" = single ] && echo off || echo on)"
             command=(nginx -p "$out" -c "$out/nginx-$2.conf") ;;
    haproxy) configure haproxy.cfg.in "$out/haproxy-$2.cfg" "$2"
             command=(haproxy -db -f "$out/haproxy-$2.cfg") ;;
    bare)    command=("$build/bench/bare_relay" "$2" "$upstream_port") ;;
    gateway) configure gateway.yaml.in "$out/gateway-$2.yaml" "$2"
             command=("$GATEWAY" -c "$out/gateway-$2.yaml") ;;
    esac
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
    [ "$1" = nginx ] && charged[nginx]=$(pgrep -P "${pid[nginx]}" | head -1)
    return 0
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
    if line=$(taskset -c $other_core "$build/bench/load" "$kind" -p "${port[$target]}" -w $warm \
              -P "${charged[$target]:-0}" "$@"); then
        printf 'case=%s target=%s round=%s %s\n' "$name" "$target" "$round" "$line" >>"$out/raw.txt"
    else
        printf 'case=%s target=%s round=%s failed=1 %s\n' "$name" "$target" "$round" "$line" >>"$out/raw.txt"
        say "bench: $name on $target failed in round $round"
    fi
}

measure_target() {      # target, round
    load json_c1   "$1" "$2" json -c 1 -d $t_c1
    load json_c64  "$1" "$2" json -c 64 -d $t_c64
    load json_open "$1" "$2" json -c 64 -r 5000 -d $t_open
    load body_100k "$1" "$2" json -c 16 -b 100000 -d $t_body
    load sse_500   "$1" "$2" sse -c 500 -e 50 -d $t_sse
    load first     "$1" "$2" sse -c 1 -k 3 -e 500 -d $t_first
    [ $t_flat = 0 ] || load sse_flat "$1" "$2" sse -c 50 -e 0 -d $t_flat
}

measure_rounds() {
    local round place count=${#targets[@]}
    for round in $(seq "$rounds"); do
        say "round $round of $rounds"
        for place in $(seq 0 $((count - 1))); do        # a different one first in each round
            measure_target "${targets[$(((place + round - 1) % count))]}" "$round"
        done
    done
}

memory_of() {   # line of /proc/PID/status, process and its children
    local one sum=0 value
    for one in "$2" $(pgrep -P "$2"); do
        value=$(sed -n "s/^$1:[[:space:]]*\([0-9]*\) kB/\1/p" "/proc/$one/status")
        sum=$((sum + value))
    done
    echo $sum
}

# Each in a process of its own that has done nothing yet.
measure_memory() {
    local target
    for target in "${targets[@]}"; do
        [ "$target" != direct ] || continue
        say "memory of $streams streams: $target"
        start "$target"
        sleep 0.5
        echo "case=idle target=$target round=1 rss_kb=$(memory_of VmRSS "${pid[$target]}")" \
             "anon_kb=$(memory_of RssAnon "${pid[$target]}")" >>"$out/raw.txt"
        load hold "$target" 1 hold -c "$streams" -e 1 -d $t_hold
        stop "$target"
    done
}

# wrk as a second opinion on requests per second.
measure_wrk() {
    local target rate
    for target in "${targets[@]}"; do
        rate=$(taskset -c $other_core wrk -t1 -c64 -d1 -s "$here/config/post.lua" \
                   "http://127.0.0.1:${port[$target]}" | sed -n 's/^Requests\/sec: *//p')
        echo "case=wrk target=$target round=1 per_second=$rate" >>"$out/raw.txt"
    done
}

# --- instructions: the same target twice under callgrind, the difference of a long and a short run ---

callgrind_run() {       # target, port, name, arguments of the load generator -> instructions on stdout
    local target=$1 at=$2 file=$out/callgrind-$1-$3 command process
    shift 3
    command_of "$target" "$at" single
    valgrind --tool=callgrind --callgrind-out-file="$file" "${command[@]}" >/dev/null 2>&1 &
    process=$!
    wait_for_port "$at" "$target under callgrind"
    "$build/bench/load" "$@" -p "$at" >"$file.load" || say "bench: load on $target under callgrind failed"
    kill -TERM $process
    wait $process || true
    sed -n 's/^\(summary\|totals\): *//p' "$file" | head -1
}

callgrind_target() {    # target, place
    local at=$((port_base + 20 + $2)) short long
    short=$(callgrind_run "$1" $at json-short json -c 8 -n 200)
    long=$(callgrind_run "$1" $at json-long json -c 8 -n 1000)
    echo "case=instructions_json target=$1 round=1 each=$(((long - short) / 800))"
    short=$(callgrind_run "$1" $at sse-short sse -c 8 -n 8 -e 50 -k 20)
    long=$(callgrind_run "$1" $at sse-long sse -c 8 -n 8 -e 50 -k 120)
    echo "case=instructions_event target=$1 round=1 each=$(((long - short) / 800))"
}

measure_instructions() {
    local target place=0 waits=() one
    for target in "${targets[@]}"; do
        case $target in direct | haproxy) continue ;; esac
        [ "$quick" = 1 ] && [ "$target" = nginx ] && continue
        say "instructions: $target"
        callgrind_target "$target" $place >"$out/instructions-$target.txt" &
        waits+=($!)
        place=$((place + 1))
    done
    for one in "${waits[@]}"; do
        wait "$one" || say "bench: a callgrind run failed"
    done
    cat "$out"/instructions-*.txt >>"$out/raw.txt"
}

# --- the run ---

[ "$(nproc)" -ge 2 ] || die "two cores are needed: one for the proxy, one for the rest"
PATH=$PATH:/usr/sbin
mkdir -p "$out"
rm -f "$out"/raw.txt "$out"/instructions-*.txt "$out"/callgrind-*
install_missing
build_programs
if has gateway; then
    build_gateway
fi

taskset -c $other_core "$build/bench/upstream" "$upstream_port" 2>"$out/upstream.err" &
pid[upstream]=$!
wait_for_port "$upstream_port" upstream

measure_memory
for target in "${targets[@]}"; do
    [ "$target" = direct ] || start "$target"
done
measure_rounds
measure_wrk
for target in "${targets[@]}"; do
    stop "$target"
done
[ "${CALLGRIND:-1}" = 0 ] || measure_instructions
python3 "$here/report.py" "$out/raw.txt" | tee "$out/report.md"
