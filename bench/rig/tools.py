"""Finds, and installs if allowed, the programs that this repository does not build."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rig.contender import Missing, install_package, run

OLDEST_OHA = (1, 14)
"""The first version whose `--latency-correction` works (issue 857 in its change log)."""


def need(name, found, remedy, install):
    """Calls `install` for `name` unless it was `found`.

    Raises `Missing` with the `remedy` if `install` is false, and without it if `install` fails.
    """
    if found:
        return
    if not install:
        raise Missing(f"there is no {name} (`--install`, or {remedy})")
    print(f"installing {name}", file=sys.stderr)
    try:
        install()
    except Missing as error:
        raise Missing(f"{name} cannot be installed: {error}") from error


@dataclass
class LoadTools:
    """The load tools from elsewhere: wrk, in `PATH`, and `oha`, None if unused."""

    oha: Path | None

    @classmethod
    def find(cls, tools, install, with_oha):
        """Looks in `PATH`, and for oha also in the folder `tools`, where it is installed."""
        need("wrk", shutil.which("wrk"), "your system's package", install and partial(install_package, "wrk"))
        if not with_oha:
            return cls(None)
        root = tools / "oha"
        own = root / "bin" / "oha"
        found = next((path for path in (shutil.which("oha"), own) if path and is_recent_oha(path)), None)
        version = ".".join(map(str, OLDEST_OHA))
        argv = ("cargo", "install", "--locked", "--root", root, "oha")
        need(f"oha of {version} or later", found, "`cargo install --locked oha`", install and partial(run, *argv, timeout=3600))
        return cls(Path(found or own))

    def versions(self):
        """Returns the versions, for the table."""
        # Without options, wrk prints its version with the usage, and fails.
        wrk = re.search(r"\d[\w.+-]*", subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout)
        names = [f"wrk {wrk[0]}" if wrk else "wrk"]
        if self.oha:
            names.append(run(self.oha, "--version").strip())
        return ", ".join(names)


def is_recent_oha(path):
    """Returns whether `oha` is there in a version that works."""
    try:
        version = re.search(r"oha (\d+)\.(\d+)", run(path, "--version"))
    except (Missing, OSError):
        return False
    return version is not None and tuple(map(int, version.groups())) >= OLDEST_OHA


def cargo_target(folder):
    """Returns cargo's target folder for the workspace in `folder`."""
    metadata = run("cargo", "metadata", "--no-deps", "--format-version=1", f"--manifest-path={folder}/Cargo.toml")
    return Path(json.loads(metadata[metadata.index("{") :])["target_directory"])


def build(folder, package, profile="release"):
    """Builds `package` with a profile of its workspace. Cargo prints its progress."""
    argv = ["cargo", "build", "--profile", profile, "--manifest-path", folder / "Cargo.toml", "--package", package]
    if subprocess.run(argv).returncode:
        raise Missing(f"{package} does not build")
