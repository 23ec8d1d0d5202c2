#!/bin/sh
# Runs an upstream that reads HTTP with h11, which is strict. It prints its port, and then a line for
# every request that h11 does not accept. It ends with its standard input.
#
#   VENV  the virtual environment to make or reuse (default: target/strict-upstream)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/../../target/strict-upstream}

# As in ../openai-sdk/python/run.sh: the copy is made last, so that an install cut short is done again.
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
exec "$venv/bin/python" -B "$here/upstream.py"
