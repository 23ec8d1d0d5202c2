"""Programs that the rig uses and this repository does not build: finds them, and installs them where it may."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rig.contender import Missing, install_package, run

OLDEST_OHA = (1, 14)
"""Until then its `--latency-correction` could correct nothing (its change log: issue 857)."""


def need(name, found, remedy, install):
    """Has `name` installed by the function `install` unless it was `found`.

    Raises `Missing`, with the `remedy`, where it was not and `install` is false, or fails.
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
    """The well-known tools that make load, beside bench/load: wrk, which is in `PATH`, and `oha`, None where it is not used."""

    oha: Path | None

    @classmethod
    def find(cls, tools, install, with_oha):
        """Looks in `PATH`, for oha also in the folder `tools`, to which it is installed."""
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
        """Theirs, for those who read the table."""
        # wrk tells its version beside its options when it is given none, as a failure.
        wrk = re.search(r"\d[\w.+-]*", subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout)
        names = [f"wrk {wrk[0]}" if wrk else "wrk"]
        if self.oha:
            names.append(run(self.oha, "--version").strip())
        return ", ".join(names)


def is_recent_oha(path):
    """Whether there is an oha that does what it is used for."""
    try:
        version = re.search(r"oha (\d+)\.(\d+)", run(path, "--version"))
    except (Missing, OSError):
        return False
    return version is not None and tuple(map(int, version.groups())) >= OLDEST_OHA
