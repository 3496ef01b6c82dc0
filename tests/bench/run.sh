#!/usr/bin/env bash
# The gateway against nginx, HAProxy and a bare libcurl relay on the same hop, in one interleaved run: see README.md.
#
#   tests/bench/run.sh              about five minutes
#   QUICK=1 tests/bench/run.sh      about 80 seconds: fewer rounds, 2,000 streams, less under callgrind
#
# TARGETS="nginx gateway" measures only those (limited: the gateway with a key and all limits on); GATEWAY=/path/to/embergate skips the build; ROUNDS=7 changes the
# rounds; CALLGRIND=0 leaves the instruction counts out; PORT_BASE moves the ports; BUILD is the folder for all that is
# made. The table goes to stdout.
set -eu -o pipefail

. "$(dirname "$0")/lib.sh"

out=$build/results
targets=(${TARGETS:-direct nginx haproxy bare gateway limited})
port=([direct]=$port_base [nginx]=$((port_base + 1)) [haproxy]=$((port_base + 2)) [bare]=$((port_base + 3))
      [gateway]=$((port_base + 4)) [limited]=$((port_base + 5)))
limited_key=eg-bench-0123456789abcdef0123456789abcdef01234567     # whose digest is in limited.yaml.in
admin_port=$((port_base + 9))

if [ "$quick" = 1 ]; then
    rounds=${ROUNDS:-3} streams=2000
    t_c1=0.4 t_c64=0.4 t_open=0.4 t_body=0.3 t_sse=0.6 t_first=0.3 t_flat=0 t_hold=1 warm=0.15
else
    rounds=${ROUNDS:-5} streams=5000
    t_c1=1 t_c64=1.3 t_open=1 t_body=0.7 t_sse=1.5 t_first=0.8 t_flat=0.6 t_hold=2 warm=0.25
fi
[ "$files" -ge $((streams * 2 + 500)) ] || streams=$(((files - 500) / 2))

build_relay() {
    local llhttp=/usr/share/llhttp part
    for part in api http llhttp; do
        [ -f "$build/bench/$part.o" ] || cc -O3 -w -c -DLLHTTP_STRICT_MODE=1 -I/usr/share/include/llhttp \
            "$llhttp/$part.c" -o "$build/bench/$part.o"
    done
    compile -DLLHTTP_STRICT_MODE=1 -isystem /usr/share/include/llhttp "$here/bare_relay.c" \
        "$build/bench/"{api,http,llhttp}.o -o "$build/bench/bare_relay" $(pkg-config --cflags --libs libcurl libuv)
}

has() { case " ${targets[*]} " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

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
    limited) configure limited.yaml.in "$out/limited-$2.yaml" "$2"
             command=("$GATEWAY" -c "$out/limited-$2.yaml") ;;
    esac
}

# The arguments of the load generator that TARGET needs besides, in the array `more`.
more_for() {
    more=()
    [ "$1" != limited ] || more=(-a $limited_key)
}

measure_target() {      # target, round
    local more
    more_for "$1"
    load json_c1   "$1" "$2" json -c 1 -d $t_c1 "${more[@]}"
    load json_c64  "$1" "$2" json -c 64 -d $t_c64 "${more[@]}"
    load json_open "$1" "$2" json -c 64 -r 5000 -d $t_open "${more[@]}"
    load body_100k "$1" "$2" json -c 16 -b 100000 -d $t_body "${more[@]}"
    load sse_500   "$1" "$2" sse -c 500 -e 50 -d $t_sse "${more[@]}"
    load first     "$1" "$2" sse -c 1 -k 3 -e 500 -d $t_first "${more[@]}"
    [ $t_flat = 0 ] || load sse_flat "$1" "$2" sse -c 50 -e 0 -d $t_flat "${more[@]}"
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
    local target more
    for target in "${targets[@]}"; do
        [ "$target" != direct ] || continue
        more_for "$target"
        say "memory of $streams streams: $target"
        start "$target"
        sleep 0.5
        echo "case=idle target=$target round=1 rss_kb=$(memory_of VmRSS "${pid[$target]}")" \
             "anon_kb=$(memory_of RssAnon "${pid[$target]}")" >>"$out/raw.txt"
        load hold "$target" 1 hold -c "$streams" -e 1 -d $t_hold "${more[@]}"
        stop "$target"
    done
}

# wrk as a second opinion on requests per second.
measure_wrk() {
    local target rate
    for target in "${targets[@]}"; do
        [ "$target" != limited ] || continue    # wrk shows no key that is known
        rate=$(taskset -c $other_core wrk -t1 -c64 -d1 -s "$here/config/post.lua" \
                   "http://127.0.0.1:${port[$target]}" | sed -n 's/^Requests\/sec: *//p')
        echo "case=wrk target=$target round=1 per_second=$rate" >>"$out/raw.txt"
    done
}

callgrind_target() {    # target, place
    local at=$((port_base + 20 + $2)) short long more
    more_for "$1"
    short=$(callgrind_run "$1" $at json-short true json -c 8 -n 200 "${more[@]}")
    long=$(callgrind_run "$1" $at json-long true json -c 8 -n 1000 "${more[@]}")
    echo "case=instructions_json target=$1 round=1 each=$(((long - short) / 800))"
    short=$(callgrind_run "$1" $at sse-short true sse -c 8 -n 8 -e 50 -k 20 "${more[@]}")
    long=$(callgrind_run "$1" $at sse-long true sse -c 8 -n 8 -e 50 -k 120 "${more[@]}")
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

mkdir -p "$out"
rm -f "$out"/raw.txt "$out"/instructions-*.txt "$out"/callgrind-*
install_missing nginx:nginx-light haproxy:haproxy wrk:wrk valgrind:valgrind
build_clients
build_relay
if has gateway || has limited; then
    build_gateway
fi

start_upstream
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
