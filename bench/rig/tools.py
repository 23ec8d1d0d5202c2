"""Programs that the rig uses and this repository does not build: finds them, and installs them where it may."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rig.contender import Missing, install_package, run


def need(name, found, remedy, install):
    """Has `name` installed by the function `install` unless it was `found`.

    Raises `Missing`, with the `remedy`, where it was not and `install` is false, and what `install` raises.
    """
    if found:
        return
    if not install:
        raise Missing(f"there is no {name} (`--install`, or {remedy})")
    install()


@dataclass
class LoadTools:
    """The well-known tools that make load, beside bench/load: wrk, which is in `PATH`, and `oha`."""

    oha: Path

    @classmethod
    def find(cls, tools, install):
        """Looks in `PATH`, for oha also in the folder `tools`, to which it is installed."""
        need("wrk", shutil.which("wrk"), "your system's package", install and partial(install_package, "wrk"))
        root = tools / "oha"
        own = root / "bin" / "oha"
        found = shutil.which("oha") or (own.exists() and own)
        need("oha", found, "`cargo install --locked oha`", install and partial(install_oha, root))
        return cls(Path(found or own))

    def versions(self):
        """Both, for those who read the table."""
        # wrk tells its version among its options, and that it was given none.
        wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()[1]
        return f"wrk {wrk.rpartition('/')[2]}, {run(self.oha, '--version').strip()}"


def install_oha(root):
    """Builds it from its crate, some five minutes, with the cmake that a library of its is built with."""
    install_cmake()
    run("cargo", "install", "--locked", "--root", root, "oha", timeout=3600)


def install_cmake():
    """Installs it where it is missing: C libraries within crates are built with it."""
    if not shutil.which("cmake"):
        install_package("cmake")
