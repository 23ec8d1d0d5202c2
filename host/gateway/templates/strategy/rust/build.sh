#!/bin/sh
# Builds {{name}}.wasm. Needs Rust, from https://rustup.rs.
set -eu
cd "$(dirname "$0")"
command -v cargo >/dev/null || { echo "cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
if command -v rustup >/dev/null; then rustup target add wasm32-wasip2; fi
cargo build --release --target wasm32-wasip2
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip2/release/strategy.wasm" {{name}}.wasm
