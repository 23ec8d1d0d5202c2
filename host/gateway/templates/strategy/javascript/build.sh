#!/bin/sh
# Builds {{name}}.wasm. Needs Node 18 or newer with npm.
set -eu
cd "$(dirname "$0")"
command -v npm >/dev/null || { echo "npm is missing: install Node with npm" >&2; exit 1; }
[ -d node_modules/componentize-qjs ] || npm install --no-audit --no-fund
# Without npx, which fails to start it in Node 18.
node node_modules/componentize-qjs/cli.mjs --wit wit/0.3.0-draft --world {{world}} \
    --js policy.js --sync --opt-size --output {{name}}.wasm
