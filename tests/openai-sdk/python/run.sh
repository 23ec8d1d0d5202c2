#!/bin/sh
# Runs a script with the real OpenAI SDK for Python against a running gateway: run.sh SCRIPT
#
#   GATEWAY_URL        where it listens, e.g. http://127.0.0.1:8000
#   VENV               the virtual environment to make or reuse (default: target/openai-sdk)
#   MODEL, DEAD_MODEL  for test_openai.py: a model that answers every path, one whose upstream is closed
#   CALLS              for calls.py: a file of calls and what is to become of each
set -eu

: "${GATEWAY_URL:?is not set}"
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/../../../target/openai-sdk}

# The environment is good for as long as it was made from these requirements; the copy is made last, so
# that an install cut short is done again.
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi

# A proxy between the SDK and the gateway would be tested instead of the gateway.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
exec "$venv/bin/python" -B "$here/$1" -v 2>&1
