"""A release build with profile-guided optimisation, by cargo-pgo.

The first build counts branches, while this script puts it under load. The second build uses the counts: the compiler
inlines hot code and moves cold code out of the way.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from rig.contender import Missing, Running, run
from rig.gateway import Gateway
from rig.load import Engines, Load, LoadError, write_bodies
from rig.process import raise_file_limit
from rig.tools import need

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "bench" / "target" / "pgo"
STRATEGIES = ("fixed", "spill", "session-affinity")
"""Strategies to train with: off the path, for each request, and for each request with facts."""


def main():
    """Builds, and prints the path of the binary. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Build a release of the gateway by what it does under load (PGO).")
    parser.add_argument("--install", action="store_true", help="install cargo-pgo and llvm-tools if they are missing")
    options = parser.parse_args()
    try:
        print(build(options.install))
    except (LoadError, Missing) as error:
        print(f"bench/pgo: {error}", file=sys.stderr)
        return 1
    return 0


def build(install):
    """Builds, trains, and builds again. Returns the second binary. Raises `Missing` and `LoadError`."""
    find_tools(install)
    load = ROOT / "bench" / "target" / "release" / "load"
    cargo("build", "--release", "--manifest-path", ROOT / "bench" / "Cargo.toml", "--package", "load", target=load.parent.parent)
    # Profiles of other code are useless.
    shutil.rmtree(TARGET / "pgo-profiles", ignore_errors=True)
    cargo("pgo", "build", "--", "--profile", "dist", "--package", "gateway", target=TARGET)
    binary = find_binary()
    with tempfile.TemporaryDirectory(prefix="pgo-") as folder:
        teach(binary, load, Path(folder))
    cargo("pgo", "optimize", "build", "--", "--profile", "dist", "--package", "gateway", target=TARGET)
    return find_binary()


def find_tools(install):
    """Installs cargo-pgo and llvm-profdata if they are missing."""
    for name, found, words in (
        ("cargo-pgo", shutil.which("cargo-pgo"), ("cargo", "install", "--locked", "cargo-pgo")),
        ("llvm-profdata", has_profdata(), ("rustup", "component", "add", "llvm-tools")),
    ):
        need(name, found, f"`{' '.join(words)}`", install and partial(run, *words))


def has_profdata():
    """Returns whether the toolchain has llvm-profdata."""
    libraries = run("rustc", "--print", "target-libdir").splitlines()[-1]
    return (Path(libraries).parent / "bin" / "llvm-profdata").exists()


def cargo(*words, target):
    """Runs cargo with the target folder `target`. Its output goes to standard error."""
    argv = ["cargo", *(str(word) for word in words)]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    if subprocess.run(argv, cwd=ROOT, env=environment, stdout=sys.stderr).returncode:
        raise Missing(f"`{' '.join(argv[:3])}` fails")


def find_binary():
    """Returns the built binary. cargo-pgo puts it into a folder named after the machine."""
    host = next(line for line in run("rustc", "-vV").splitlines() if line.startswith("host: "))
    return TARGET / host.removeprefix("host: ") / "dist" / "gateway"


def end(process):
    """Stops a gateway in order. A killed one would write no counts."""
    process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(60)
    except subprocess.TimeoutExpired as error:
        raise LoadError("the gateway does not end") from error
    if code:
        raise LoadError(f"the gateway ended with {code}")


def teach(binary, tool, folder):
    """Runs the gateway under everyday load. It counts branches, and writes the counts when it ends."""
    raise_file_limit()
    engines = Engines(tool, folder, listeners=2)
    try:
        load = Load(tool, None, write_bodies(folder), folder)
        for strategy in STRATEGIES:
            own = folder / strategy
            own.mkdir()
            running = Running(Gateway(binary, strategy=strategy), engines, own, load.bodies["1k"].read_bytes(), cores=1)
            try:
                for body in ("1k", "32k"):
                    load.open(running.port, body, rate=2_000, seconds=5)
                for gap_ms in (10, 0):
                    engines.pace(chunks=50, gap_ms=gap_ms)
                    load.streams(running.port, streams=100, repeat=2)
                end(running.process.popen)
            finally:
                running.stop()
    finally:
        engines.process.stop()
