#!/bin/sh
# Installs a real llama.cpp server and makes the model it serves; see README.md.
# Everything goes into $EMBERGATE_TEST_CACHE; a second run finds it done and does nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${EMBERGATE_TEST_CACHE:-$HOME/.cache/embergate-tests/real}
packages="xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6"

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9

want=$({ echo "$packages"; cat "$here/make_model.py"; } | cksum)
if [ "$(cat "$cache/installed" 2>/dev/null)" = "$want" ]; then
    exit 0
fi

rm -f "$cache/installed"
python3 -m venv --clear "$cache/venv"
# shellcheck disable=SC2086
"$cache/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: $packages
"$cache/venv/bin/python" "$here/make_model.py" "$cache"
echo "$want" >"$cache/installed"
