#!/bin/sh
# Builds allowance.wasm. Needs Python 3.10 or newer with venv, or componentize-py 0.25.1 itself.
set -eu
cd "$(dirname "$0")"
componentize=$(command -v componentize-py) || componentize=.venv/bin/componentize-py
if ! [ -x "$componentize" ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet componentize-py==0.25.1
fi
"$componentize" --wit-path ../../../../wit/0.2.0 --world learning-strategy \
    componentize --stub-wasi --output allowance.wasm policy
