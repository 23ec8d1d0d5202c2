#!/bin/sh
# Installs what some of the tests use beside Rust, as far as it is missing: python3 with venv, node with
# npm, clang for WebAssembly, slowhttptest, valgrind, curl, a JDK, Chromium, nginx. Needs apt-get and root; without them it
# says what is missing, and the tests that need it are passed over.
set -eu

missing=
command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null ||
    missing="$missing python3 python3-venv"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
echo '#include <stdlib.h>' | clang --target=wasm32-wasi -x c -fsyntax-only - 2>/dev/null &&
    command -v wasm-ld >/dev/null ||
    missing="$missing clang lld wasi-libc libclang-rt-dev-wasm32"
command -v slowhttptest >/dev/null || missing="$missing slowhttptest"
command -v curl >/dev/null || missing="$missing curl"
command -v javac >/dev/null || missing="$missing default-jdk-headless"
command -v valgrind >/dev/null || missing="$missing valgrind"
command -v chromium >/dev/null || missing="$missing chromium"
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update --quiet --quiet
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends $missing
    # The package starts a server on port 80. The tests start their own.
    case $missing in
        *nginx*) systemctl disable --quiet --now nginx 2>/dev/null || true ;;
    esac
else
    echo "missing for some of the tests (names of Debian packages):$missing" >&2
fi
