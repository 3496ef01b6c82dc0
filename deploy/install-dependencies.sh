#!/bin/sh
# Installs what is missing to build Embergate on Debian 12 (or a relative of it):
#
#   sh deploy/install-dependencies.sh build    the program
#   sh deploy/install-dependencies.sh test     the program, its tests and fuzzers
#
# Asks nothing, and does nothing when everything is there. Uses sudo when not root.
set -eu

build="build-essential meson ninja-build pkg-config libuv1-dev libcurl4-openssl-dev libyajl-dev
       libhiredis-dev libcyaml-dev libyaml-dev libssl-dev zlib1g-dev libpcre2-dev node-llhttp"
test="libcmocka-dev clang libclang-rt-14-dev clang-tidy cppcheck python3-venv openssl valgrind
      faketime redis-server redis-tools chromium"

say() {
    echo "install-dependencies: $*" >&2
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

has_command() {
    command -v "$1" >/dev/null 2>&1
}

case ${1:-} in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*)
    echo "usage: sh deploy/install-dependencies.sh build|test" >&2
    exit 2
    ;;
esac

if ! has_command apt-get || ! has_command dpkg-query; then
    say "this needs apt-get. Elsewhere, install what these Debian packages hold:"
    # shellcheck disable=SC2086
    echo $wanted curl >&2
    exit 1
fi

missing=
for package in $wanted; do
    # Compilers and tools count wherever they come from; libraries must be Debian's.
    case $package in
    meson) has_command meson && continue ;;
    ninja-build) has_command ninja && continue ;;
    clang) has_command clang && continue ;;
    esac
    installed "$package" || missing="$missing $package"
done
has_command curl || missing="$missing curl"
if [ "$1" = test ]; then
    has_command node || missing="$missing nodejs"
    has_command npm || missing="$missing npm"
fi
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! has_command sudo; then
        say "not root, and no sudo here. As root:"
        say "apt-get install --no-install-recommends$missing"
        exit 1
    fi
    as_root=sudo
fi

install() {
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

# The package lists are only fetched when those at hand do not do.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
say "installing$missing"
if ! install >"$log" 2>&1; then
    say "fetching the package lists first"
    if ! $as_root apt-get update -q >>"$log" 2>&1 || ! install >>"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
fi
