#!/bin/sh
# Builds shortest-queue.wasm. Needs clang, lld and wasi-libc, and wasm-tools or Node with npm.
set -eu
cd "$(dirname "$0")"
mkdir -p build
# The bindings that `gateway strategy new` writes into projects.
bindings=../../../../host/gateway/templates/strategy/c/generated/request-strategy
"${CC:-clang}" --target=wasm32-wasi -mexec-model=reactor -Os -Wall -Wextra -s -I "$bindings" \
    -o build/core.wasm policy.c "$bindings/strategy.c"
if command -v wasm-tools >/dev/null; then
    wasm-tools component new build/core.wasm --output shortest-queue.wasm
else
    npx --yes @bytecodealliance/jco@1.10.2 new build/core.wasm --output shortest-queue.wasm
fi
