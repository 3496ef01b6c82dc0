#!/bin/sh
# Builds Embergate and starts it with conf/embergate.yaml, whose echo backend needs no model:
#
#   sh deploy/quickstart.sh [OPTION]...     options go to embergate, such as --listen 127.0.0.1:9000
#
# Can be run again at any time: what is there is not made twice, what runs is not started twice.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=$root/build
program=$build/embergate
config=$root/conf/embergate.yaml
log=$build/embergate.log
pid_file=$build/embergate.pid

say() {
    echo "quickstart: $*"
}

fail() {
    echo "quickstart: $*" >&2
    exit 1
}

# --- is it there already? ---

# Its process still runs, and is it.
running() {
    [ -s "$pid_file" ] || return 1
    pid=$(cat "$pid_file")
    case $pid in
    '' | *[!0-9]*) return 1 ;;
    esac
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
    "$program"*) return 0 ;;
    *) return 1 ;;
    esac
}

# The words behind "listening on" in the log: 127.0.0.1:8080 or unix:/path.
address() {
    sed -n 's/.*listening on \([^ ,]*\).*/\1/p' "$log" 2>/dev/null | head -n 1
}

# Arguments that make curl talk to PATH there. An address for all is asked on this machine.
curl_target() {
    where=$(address)
    case $where in
    unix:*) echo "--unix-socket ${where#unix:} http://localhost$1" ;;
    0.0.0.0:*) echo "http://127.0.0.1:${where##*:}$1" ;;
    '[::]:'*) echo "http://[::1]:${where##*:}$1" ;;
    *) echo "http://$where$1" ;;
    esac
}

healthy() {
    [ -n "$(address)" ] || return 1
    # shellcheck disable=SC2046
    curl --noproxy '*' -g -s -f -o /dev/null --max-time 2 $(curl_target /readyz)
}

tell() {
    proxy=
    [ -z "${http_proxy:-}${all_proxy:-}${ALL_PROXY:-}" ] || proxy="--noproxy '*' "
    cat <<END

Ask it (copy and paste):

curl -gN $proxy$(curl_target /v1/chat/completions) -H 'content-type: application/json' -d '{"model": "echo", "stream": true, "messages": [{"role": "user", "content": "Hello, Embergate!"}]}'

config  $config
log     $log
stop    kill $pid
END
}

# --- build ---

# Its output is only shown when it fails.
quietly() {
    output=$(mktemp)
    if ! "$@" >"$output" 2>&1; then
        cat "$output" >&2
        rm -f "$output"
        fail "this failed: $*"
    fi
    rm -f "$output"
}

build_it() {
    sh "$root/deploy/install-dependencies.sh" build || fail "the packages above are needed"
    if [ ! -f "$build/build.ninja" ]; then
        say "configuring $build"
        quietly meson setup "$build" "$root" -Dbuildtype=release -Db_lto=true -Dtests=false
    fi
    say "building"
    quietly ninja -C "$build" embergate
}

# --- run ---

start_it() {
    : >"$log"
    nohup "$program" -c "$config" "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    echo "$pid" >"$pid_file"
    waited=0
    until healthy; do
        if ! kill -0 "$pid" 2>/dev/null; then
            rm -f "$pid_file"
            cat "$log" >&2
            fail "it did not start. If an address is in use: --listen 127.0.0.1:9000 --admin 127.0.0.1:9001"
        fi
        [ "$waited" -lt 150 ] || fail "it runs (process $pid), but is not ready after 15 seconds; see $log"
        waited=$((waited + 1))
        sleep 0.1
    done
}

if running && healthy; then
    say "it runs already (process $pid)"
    tell
    exit 0
fi
running && fail "process $pid runs, but is not ready; see $log, or kill $pid and try again"

build_it
"$program" -c "$config" --check "$@" || fail "the configuration is wrong"
start_it "$@"
say "it runs (process $pid)"
tell
