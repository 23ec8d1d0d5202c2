#!/bin/sh
# Runs a script with the real OpenAI SDK for Node against a running gateway: run.sh SCRIPT
#
#   GATEWAY_URL  where it listens, e.g. http://127.0.0.1:8000
#   CALLS        for calls.js: a file of calls and what is to become of each
#   MODULES      the folder to install into or reuse (default: target/openai-sdk-node)
set -eu

: "${GATEWAY_URL:?is not set}"
here=$(cd "$(dirname "$0")" && pwd)
modules=${MODULES:-$here/../../../target/openai-sdk-node}

# As in ../python/run.sh: the lock file is copied last, so that an install cut short is done again.
if ! cmp -s "$here/package-lock.json" "$modules/installed.json"; then
    mkdir -p "$modules"
    cp "$here/package.json" "$here/package-lock.json" "$modules"
    npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp "$here/package-lock.json" "$modules/installed.json"
fi

unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
NODE_PATH=$modules/node_modules exec node "$here/$1" 2>&1
