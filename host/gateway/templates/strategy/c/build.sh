#!/bin/sh
# Builds {{name}}.wasm. Needs clang, lld and wasi-libc, and wasm-tools or Node with npm.
set -eu
cd "$(dirname "$0")"
mkdir -p build
cc="${CC:-clang}"
echo '#include <stdlib.h>' | "$cc" --target=wasm32-wasi -mexec-model=reactor -x c -o build/nothing.wasm - || {
    echo "install clang for WebAssembly: apt-get install clang lld wasi-libc libclang-rt-dev-wasm32," >&2
    echo "or set CC to the clang of https://github.com/WebAssembly/wasi-sdk" >&2
    exit 1
}
# bindings/ is what `wit-bindgen c --world {{world}} --rename-world strategy wit/0.2.0` (0.61.0) generates.
"$cc" --target=wasm32-wasi -mexec-model=reactor -Os -Wall -Wextra -s -o build/core.wasm \
    policy.c bindings/strategy.c bindings/strategy_component_type.o
if command -v wasm-tools >/dev/null; then
    wasm-tools component new build/core.wasm --output {{name}}.wasm
else
    npx --yes @bytecodealliance/jco@1.10.2 new build/core.wasm --output {{name}}.wasm
fi
