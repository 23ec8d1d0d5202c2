#!/bin/sh
# Builds tenant-tiers.wasm. Needs Node 18 or newer with npm.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/componentize-qjs ] || npm install --no-audit --no-fund --no-package-lock
# Without npx, which fails to start it in Node 18.
node node_modules/componentize-qjs/cli.mjs --wit ../../../../wit/0.2.0 --world request-strategy \
    --js policy.js --sync --opt-size --output tenant-tiers.wasm
