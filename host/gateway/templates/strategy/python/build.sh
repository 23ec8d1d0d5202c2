#!/bin/sh
# Builds {{name}}.wasm. Needs Python 3.10 or newer with venv, or componentize-py itself.
set -eu
cd "$(dirname "$0")"
componentize=$(command -v componentize-py) || componentize=.venv/bin/componentize-py
if ! [ -x "$componentize" ]; then
    python3 -m venv .venv || { echo "install Python with venv: apt-get install python3-venv" >&2; exit 1; }
    .venv/bin/pip install --quiet --requirement requirements.txt
fi
# A strategy has no files, clock or network. With --stub-wasi, Python does not import them.
"$componentize" --wit-path wit/0.3.0-draft --world {{world}} componentize --stub-wasi --output {{name}}.wasm policy
