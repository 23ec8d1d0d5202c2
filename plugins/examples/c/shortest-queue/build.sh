#!/bin/sh
# Builds shortest-queue.wasm. Needs clang, lld and wasi-libc, and wasm-tools or Node with npm.
set -eu
cd "$(dirname "$0")"
mkdir -p build
# What wit-bindgen generates for this world is in the gateway already: for `gateway strategy new`.
bindings=../../../../host/gateway/templates/strategy/c/request-strategy
"${CC:-clang}" --target=wasm32-wasi -mexec-model=reactor -Os -Wall -Wextra -s -I "$bindings" \
    -o build/core.wasm policy.c "$bindings/strategy.c" "$bindings/strategy_component_type.o"
if command -v wasm-tools >/dev/null; then
    wasm-tools component new build/core.wasm --output shortest-queue.wasm
else
    npx --yes @bytecodealliance/jco@1.10.2 new build/core.wasm --output shortest-queue.wasm
fi
