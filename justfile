# Daily commands: `just` lists them. https://just.systems

_list:
    @just --list

# A gateway with two stub engines
demo:
    cargo run --release -- demo

# Type-check everything
check:
    cargo check --workspace --all-targets

# The tests, or those whose names contain NAME
test name="":
    cargo test --release --workspace -- {{ name }}

# Format the code
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml
    cargo fmt --manifest-path bench/Cargo.toml --all

# Lint the code
lint:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Build the documentation site, or serve it with `just docs --serve`
docs *args:
    docs/build {{ args }}

# Write the tables of the pages that are made from the code
update-docs:
    UPDATE_DOCS=1 cargo test --release --workspace -- documented

# Build the shipped strategies
plugins:
    plugins/build.sh

# What a change must pass: the first tier of proof
ci:
    .ci/run

# The heavy tier of proof: what takes longer, each fuzz target for SECONDS
prove seconds="600":
    .ci/run
    cargo test --release --workspace -- --ignored --nocapture
    tests/mutants
    fuzz/run smoke {{ seconds }}
    cargo bench -p tests --bench overload
    plugins/routewise/oracle/compare --cases 10000
    bench/names
    bench/soak
    bench/scale
