#!/usr/bin/env bash
# What recording costs a request: the gateway without a log and Server-Timing, with both, and with spans and hashes of
# bodies besides, in one interleaved run; and how many lines the log's own thread writes: see README.md.
#
#   tests/bench/log.sh              about two and a half minutes, plus the first build
#   QUICK=1 tests/bench/log.sh      about a minute
#
# TARGETS="off on" measures only those; GATEWAY=/path/to/embergate skips the build; ROUNDS, CALLGRIND, PORT_BASE and
# BUILD as for run.sh; LINES=0 leaves the log's thread out. `profile.py on build-bench/log` shows where the
# instructions of a request go. The tables go to stdout.
set -eu -o pipefail

. "$(dirname "$0")/lib.sh"

out=$build/log
targets=(${TARGETS:-off on traced})
for target in "${targets[@]}"; do
    port[$target]=$((port_base + 1 + ${#port[@]}))
done
if [ "$quick" = 1 ]; then
    rounds=${ROUNDS:-5} seconds=0.5 warm=0.15
else
    rounds=${ROUNDS:-15} seconds=1 warm=0.25
fi

# What the configuration of TARGET says of recording. The upstream takes spans as well: it answers whatever is posted.
recording_of() {
    local sink="sinks: [{kind: file, path: $out/requests.log}]"
    case $1 in
    off)    echo "log: {sinks: []}\nserver_timing: false" ;;
    on)     echo "log: {$sink}" ;;
    traced) echo "log: {$sink, bodies: hash}\ntracing: {url: 'http://127.0.0.1:$upstream_port'}" ;;
    *)      die "no target $1" ;;
    esac
}

# The command line of a target on a port, in the array `command`.
command_of() {  # target, port
    sed -e "s|@PORT@|$2|g" -e "s|@UPSTREAM@|$upstream_port|g" -e "s|@ADMIN@|$(($2 + 50))|g" \
        -e "s|@RECORDING@|$(recording_of "$1")|" "$here/config/log.yaml.in" >"$out/gateway-$2.yaml"
    command=("$GATEWAY" -c "$out/gateway-$2.yaml")
}

measure_target() {      # target, round
    load json_c64  "$1" "$2" json -c 64 -d $seconds
    load sse_flat  "$1" "$2" sse -c 64 -e 0 -k 64 -d $seconds
}

measure_rounds() {
    local round place count=${#targets[@]}
    for round in $(seq "$rounds"); do
        for place in $(seq 0 $((count - 1))); do        # a different one first in each round
            measure_target "${targets[$(((place + round - 1) % count))]}" "$round"
        done
    done
}

# 800 requests and 800 events more in the long run than in the short one; log_report.py reads the files.
callgrind_target() {    # target, place
    local at=$((port_base + 20 + $2))
    callgrind_run "$1" $at json-short true json -c 8 -n 200
    callgrind_run "$1" $at json-long true json -c 8 -n 1000
    callgrind_run "$1" $at sse-short true sse -c 8 -n 8 -e 0 -k 20
    callgrind_run "$1" $at sse-long true sse -c 8 -n 8 -e 0 -k 120
}

measure_instructions() {
    local target place=0
    for target in "${targets[@]}"; do
        say "instructions: $target"
        callgrind_target "$target" $place >/dev/null
        place=$((place + 1))
    done
}

# The log's thread by itself, to a file of each kind.
measure_lines() {
    local program=$build/bench/log_cost llhttp=$build/libllhttp.a place
    [ -f "$llhttp" ] || llhttp=$(pkg-config --libs libllhttp)
    meson compile -C "$build" embergate:static_library >>"$out/build.log" 2>&1 || die "no library, see $out/build.log"
    compile -I"$root/src" "$here/log_cost.c" "$build/libembergate.a" $llhttp -o "$program" \
        $(pkg-config --libs libuv libcurl yajl libcyaml hiredis yaml-0.1 libssl libcrypto zlib libpcre2-8) -lm
    for place in /dev/null "$out/lines.log"; do
        say "lines to $place"
        "$program" "$place" >>"$out/raw.txt"
    done
    rm -f "$out/lines.log"
}

# --- the run ---

mkdir -p "$out"
rm -f "$out"/raw.txt "$out"/callgrind-* "$out"/requests.log
install_missing valgrind:valgrind
build_clients
build_gateway

start_upstream
for target in "${targets[@]}"; do
    start "$target"
done
measure_rounds
for target in "${targets[@]}"; do
    stop "$target"
done
[ "${CALLGRIND:-1}" = 0 ] || measure_instructions
[ "${LINES:-1}" = 0 ] || measure_lines
rm -f "$out/requests.log"
python3 "$here/log_report.py" "$out/raw.txt" | tee "$out/report.md"
