#!/bin/sh
# Builds shortest-queue.wasm. Needs clang, lld, wasi-libc, and the gateway in PATH or its file in GATEWAY.
set -eu
cd "$(dirname "$0")"
mkdir -p build
# The bindings that `gateway strategy new` writes into projects.
bindings=../../../../host/gateway/templates/strategy/c/generated/request-strategy
${CC:-clang} --target=wasm32-wasi -mexec-model=reactor -Os -Wall -Wextra -s -I "$bindings" \
    -o build/core.wasm policy.c "$bindings/strategy.c"
"${GATEWAY:-gateway}" strategy wrap build/core.wasm --output shortest-queue.wasm
