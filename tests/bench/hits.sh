#!/usr/bin/env bash
# The gateway's memory in one interleaved run: an answer it remembers against the same from nginx's proxy_cache with the
# body in its key, an answer from Redis, and what the memory costs those who cannot use it: see README.md.
#
#   tests/bench/hits.sh             about seven minutes, plus the first build
#   QUICK=1 tests/bench/hits.sh     about two minutes
#
# TARGETS="nginx process" measures only those; GATEWAY=/path/to/embergate skips the build; BEFORE=/path/to/embergate
# adds one that has no memory yet as another plain relay; ROUNDS, CALLGRIND, PORT_BASE and BUILD as for run.sh;
# EVICTION=0 leaves the trace out. `profile.py process build-bench/hits` shows where the instructions of a hit go. The
# tables go to stdout.
set -eu -o pipefail

. "$(dirname "$0")/lib.sh"

out=$build/hits
shelf=                                  # a folder in memory: nginx's files, the socket and output of Redis
whole_questions=1000 stream_questions=256 stream_events=64
targets=(${TARGETS:-nginx nginx_log nginx_sendfile process redis relay bypass led led_redis ${BEFORE:+before}})
for target in "${targets[@]}"; do
    port[$target]=$((port_base + 1 + ${#port[@]}))
done

if [ "$quick" = 1 ]; then
    rounds=${ROUNDS:-3} seconds=0.4 warm=0.15
else
    rounds=${ROUNDS:-5} seconds=1.2 warm=0.25
fi

# --- the targets ---

configure() {   # template, result, port; then NAME=VALUE
    local template=$1 result=$2 at=$3 pair
    local edits=(-e "s|@PORT@|$at|g" -e "s|@UPSTREAM@|$upstream_port|g" -e "s|@ADMIN@|$((at + 50))|g"
                 -e "s|@DIR@|$out|g" -e "s|@SHELF@|$shelf|g" -e "s|@FILES@|$files|g")
    shift 3
    for pair in "$@"; do
        edits+=(-e "s|@${pair%%=*}@|${pair#*=}|g")
    done
    sed "${edits[@]}" "$here/config/$template" >"$result"
}

nginx_with() {  # port, single or not, its lines about the log and about sending
    configure nginx-cache.conf.in "$out/nginx-$1.conf" "$1" "LOG=$3" "SENDING=$4" \
        "MASTER=$([ "$2" = single ] && echo off || echo on)"
    rm -rf "$shelf/cache-$1"
    command=(nginx -p "$shelf" -c "$out/nginx-$1.conf")
}

gateway_with() {        # port, what the configuration says of the memory
    configure memory.yaml.in "$out/gateway-$1.yaml" "$1" "CACHE=$2"
    command=("$GATEWAY" -c "$out/gateway-$1.yaml")
}

# The command line of a target on a port, in the array `command`.
command_of() {  # target, port, "single": nginx as one process, and slow
    local deadline=50ms redis
    [ "${3:-}" != single ] || deadline=10s      # under callgrind all is fifty times slower
    redis="redis: {url: 'unix:$shelf/redis.sock', prefix: '$1-$2', deadline: $deadline}"
    case $1 in
    nginx)     nginx_with "$2" "${3:-}" "access_log off;" "sendfile off;" ;;
    nginx_log) nginx_with "$2" "${3:-}" "access_log /dev/null combined buffer=64k;" "sendfile off;" ;;
    nginx_sendfile) nginx_with "$2" "${3:-}" "access_log off;" "sendfile on;" ;;
    process)   gateway_with "$2" "{memory: 128m}" ;;
    redis)     gateway_with "$2" "{memory: 0, $redis}" ;;
    relay)     gateway_with "$2" "{when: never, memory: 0}" ;;
    bypass)    gateway_with "$2" "{memory: 128m}" ;;
    led)       gateway_with "$2" "{memory: 32m}" ;;           # fills within a second: evicts as it remembers
    led_redis) gateway_with "$2" "{memory: 32m, $redis}" ;;
    before)    gateway_with "$2" "{}"
               sed -i '/^cache:/d; /^log:/d' "$out/gateway-$2.yaml"
               command[0]=$BEFORE ;;
    esac
}

start_redis() {
    taskset -c $other_core redis-server --port 0 --unixsocket "$shelf/redis.sock" --save "" --appendonly no \
        --dir "$shelf" --maxmemory 1gb --maxmemory-policy allkeys-lru >"$out/redis.out" 2>&1 &
    pid[redis_server]=$!
    local tries=0
    until [ "$(redis-cli -s "$shelf/redis.sock" ping 2>/dev/null)" = PONG ]; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || die "redis-server did not start, see $out/redis.out"
        sleep 0.05
    done
}

clean_up() {
    stop_all
    [ -z "$shelf" ] || rm -rf "$shelf"
}
trap clean_up EXIT

# --- what is asked ---

whole=(json -s -q $whole_questions)
stream=(sse -s -q $stream_questions -e 0 -k $stream_events)

# Twice through all questions: nginx opens the files at the second time, Redis is written behind the answers.
fill() {        # target
    local time
    for time in 1 2; do
        load fill "$1" $time "${whole[@]}" -c 4 -n $whole_questions
        load fill "$1" $time "${stream[@]}" -c 4 -n $stream_questions
        sleep 0.2
    done
}

hits() {        # target, round
    load whole_c1   "$1" "$2" "${whole[@]}" -c 1 -d $seconds
    load whole_c64  "$1" "$2" "${whole[@]}" -c 64 -d $seconds
    load stream_c1  "$1" "$2" "${stream[@]}" -c 1 -d $seconds
    load stream_c64 "$1" "$2" "${stream[@]}" -c 64 -d $seconds
}

hits_in_waves() {       # target, round: for the latency of Redis against the process
    load whole_c16  "$1" "$2" "${whole[@]}" -c 16 -d $seconds
    load whole_open "$1" "$2" "${whole[@]}" -c 64 -r 4000 -d $seconds
}

# No question twice. Without a seed nothing may be remembered.
misses() {      # target, round, -s or nothing
    load miss_c1     "$1" "$2" json ${3:-} -q new -c 1 -d $seconds
    load miss_c64    "$1" "$2" json ${3:-} -q new -c 64 -d $seconds
    load miss_events "$1" "$2" sse ${3:-} -q new -c 200 -e 50 -k $stream_events -d $seconds
}

measure_target() {      # target, round
    case $1 in
    nginx*)            hits "$@" ;;
    process | redis)   hits "$@"; hits_in_waves "$@" ;;
    bypass)            misses "$@" ;;
    *)                 misses "$@" -s ;;
    esac
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

# --- instructions ---

fill_before() { # port, arguments of the load generator: the same questions once
    redis-cli -s "$shelf/redis.sock" flushall >/dev/null
    "$build/bench/load" "${@:2}" -p "$1" -c 1 -n 16 >/dev/null
    sleep 0.5
}

# The difference of 900 and of 100, so that the start, the end and filling cancel out. The names are profile.py's.
callgrind_target() {    # target, place, prepare, arguments for json and sse alike
    local target=$1 at=$((port_base + 20 + $2)) prepare=$3 kind short long
    local more=(-e 0 -k $stream_events -c 8)
    shift 3
    for kind in json sse; do
        short=$(callgrind_run "$target" $at $kind-short "$prepare" $kind "$@" "${more[@]}" -n 100)
        long=$(callgrind_run "$target" $at $kind-long "$prepare" $kind "$@" "${more[@]}" -n 900)
        echo "case=instructions_$kind target=$target round=1 each=$(((long - short) / 800))"
    done
}

wait_for_all() {
    local one
    for one in "$@"; do
        wait "$one" || say "bench: a callgrind run failed"
    done
}

measure_instructions() {
    local target place=0 waits=()
    for target in "${targets[@]}"; do
        local how=(true -s -q new)
        case $target in
        nginx_?* | before)       continue ;;
        nginx | process | redis) how=(fill_before -s -q 16) ;;
        bypass)                  how=(true -q new) ;;
        esac
        say "instructions: $target"
        callgrind_target "$target" $place "${how[@]}" >"$out/instructions-$target.txt" &
        waits+=($!)
        place=$((place + 1))
        if [ $((place % 3)) = 0 ]; then         # some at a time: they share two cores
            wait_for_all "${waits[@]}"
            waits=()
        fi
    done
    wait_for_all "${waits[@]}"
    cat "$out"/instructions-*.txt >>"$out/raw.txt"
}

# --- who stays when there is no room for all: a trace by itself ---

measure_eviction() {
    compile -I"$root/src" "$here/eviction.c" "$root/src/memo/"{shelf,ghost}.c "$root/src/base/alloc.c" \
        -o "$build/bench/eviction" -lm
    say "the eviction trace"
    printf '\n```\n%s\n```\n' "$("$build/bench/eviction")" | tee "$out/eviction.md"
}

# --- the run ---

mkdir -p "$out"
rm -f "$out"/raw.txt "$out"/instructions-*.txt "$out"/callgrind-*
install_missing nginx:nginx-light redis-server:redis-server redis-cli:redis-tools valgrind:valgrind
build_clients
build_gateway
shelf=$(mktemp -d /dev/shm/embergate-bench.XXXXXX)
chmod 755 "$shelf"                      # nginx's worker is another user

start_upstream
start_redis
for target in "${targets[@]}"; do
    start "$target"
done
for target in "${targets[@]}"; do
    case $target in nginx* | process | redis) fill "$target" ;; esac
done
measure_rounds
for target in "${targets[@]}"; do
    stop "$target"
done
[ "${CALLGRIND:-1}" = 0 ] || measure_instructions
python3 "$here/hits_report.py" "$out/raw.txt" | tee "$out/report.md"
[ "${EVICTION:-1}" = 0 ] || measure_eviction
