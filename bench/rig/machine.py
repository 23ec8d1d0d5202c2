"""The machine and the measured build, which the results depend on."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path


def describe(root, gateway=None, is_pgo=False):
    """Describes the machine and the measured build, without names or paths.

    `gateway` is the build given on the command line. `is_pgo` is true for a build by bench/pgo.
    """
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024**2
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "memory_gib": memory,
        "kernel": f"{platform.system()} {platform.release()}",
        "gateway": f"build {digest(gateway)}" if gateway else f"commit {commit(root)}" + ", PGO" * is_pgo,
        "load_average_before": os.getloadavg()[0],
    }


def digest(path):
    """Returns the first digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def commit(root):
    """Returns the measured commit, with a `+` if files differ from it."""

    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
