#!/usr/bin/env bash
# Builds the shipped strategies, plugins/NAME -> plugins/NAME/NAME.wasm and NAME.wasm.sha256.
#
#   plugins/build.sh           writes them
#   plugins/build.sh --check   writes nothing; fails if sources and committed components disagree
#
# The target is wasm32-unknown-unknown, where the standard library imports nothing; the toolchain's
# own wasm-component-ld turns the linked module into a component. The bytes depend on the sources,
# Cargo.lock and the version of rustc, and not on the folder, the user or the machine.
set -euo pipefail

plugins=(budget cost fixed latency least-load lmetric local-first prefix-affinity prompt-length round-robin
    routewise score session-affinity spill weighted-order)
target=wasm32-unknown-unknown
built_with=1.95.0 # the rustc of the committed components

cd "$(dirname "$0")/.."
case "${1-}" in
    '') check=false ;;
    --check) check=true ;;
    *) echo "usage: plugins/build.sh [--check]" >&2; exit 2 ;;
esac

sysroot=$(rustc --print sysroot)
if [[ ! -d $sysroot/lib/rustlib/$target ]]; then
    rustup target add "$target"
fi

rustc_version=$(rustc --version | cut -d' ' -f2)
if [[ $rustc_version != "$built_with" ]]; then
    echo "plugins/build.sh: rustc is $rustc_version, the committed components are of $built_with:" \
        "expect other bytes (to move on, change built_with in this script and rebuild)" >&2
fi

# Panic messages contain source paths, so every folder that differs between machines gets a fixed
# name. If several prefixes match, rustc takes the last one.
cargo fetch --locked --quiet --target "$target"
out=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")
commit=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
remaps=("$PWD=/gateway" "$out=/target" "$sysroot/lib/rustlib/src/rust=/rustc/$commit")
for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    remaps+=("$registry=/registry")
done
flags=$(printf '\x1f--remap-path-prefix=%s' "${remaps[@]}")

packages=("${plugins[@]/#/--package=}")
CARGO_ENCODED_RUSTFLAGS=${flags#?} CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-component-ld \
    cargo build --locked --lib --profile component --target "$target" --target-dir "$out" \
    "${packages[@]}"

for name in "${plugins[@]}"; do
    built=$out/$target/component/${name//-/_}.wasm
    committed=plugins/$name/$name.wasm
    digest=$(sha256sum <"$built" | cut -d' ' -f1)
    line="$digest  $name.wasm"
    if ! $check; then
        cp "$built" "$committed"
        chmod 644 "$committed"
        echo "$line" >"$committed.sha256"
        echo "$line"
    elif ! cmp --silent "$built" "$committed"; then
        echo "$committed is not what its sources give (sha256 $digest): run plugins/build.sh and" \
            "commit the result" >&2
        exit 1
    elif [[ $(cat "$committed.sha256") != "$line" ]]; then
        echo "$committed.sha256 does not match the component: run plugins/build.sh and commit the" \
            "result" >&2
        exit 1
    fi
done
