#!/bin/sh
# Builds {{name}}.wasm. Needs Zig 0.17, or Python with venv, and the gateway in PATH or its file in GATEWAY.
set -eu
cd "$(dirname "$0")"
mkdir -p build
if command -v zig >/dev/null; then
    zig=zig
else
    zig=".venv/bin/python -m ziglang"
    if ! $zig version >/dev/null 2>&1; then
        python3 -m venv .venv || { echo "install Zig, or Python with venv: apt-get install python3-venv" >&2; exit 1; }
        .venv/bin/python -m pip install --quiet --disable-pip-version-check ziglang==0.17.1
    fi
fi
# strategy.zig says what policy.zig and the gateway exchange for wit/0.3.0-draft.
$zig build-exe strategy.zig -target wasm32-freestanding -O ReleaseSmall -fno-entry -rdynamic --stack 65536 \
    -femit-bin=build/core.wasm
"${GATEWAY:-gateway}" strategy wrap build/core.wasm --output {{name}}.wasm
