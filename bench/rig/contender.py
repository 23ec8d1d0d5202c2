"""A contender: the rig finds or installs it, configures it, and starts it."""

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rig.load import ask
from rig.process import Process, free_port, wait_for

LOCAL_PERCENT = 60
"""Percent of the requests for the local engine, at contenders that have weights."""


class Missing(Exception):
    """The contender is missing, or cannot be installed."""


@dataclass
class Setup:
    """The settings of one start of a contender."""

    port: int
    """The port to listen on."""
    local: int
    """The port of the engine that gets `LOCAL_PERCENT`."""
    remote: int
    """The port of the other engine."""
    folder: Path
    """The contender's own folder for its files, and its working directory."""
    streams: int | None
    """The number of streams to hold. Some contenders need higher limits for it. None: the default."""
    cores: int


class Contender:
    """A proxy. `--peers` and the tables use its `name`. `notes` are for readers of the table."""

    name = ""
    notes = ""
    patience = 20
    """The longest time to the first answer, in seconds."""
    slow = False
    """True if it is slower by orders of magnitude. It then gets fewer streams, and never 10,000."""

    def __init__(self, name=None):
        self.name = name or self.name

    def find(self):
        """Returns the version. Raises `Missing`."""
        raise NotImplementedError

    def install(self):
        """Installs the contender. Raises `Missing` if that fails."""
        raise Missing("it must be installed by hand")

    def command(self, setup):
        """Writes the contender's files. Returns the `(argv, env)` that starts it."""
        raise NotImplementedError


class Running:
    """A running contender."""

    def __init__(self, contender, engines, folder, body, cores, streams=None):
        """Starts the contender in `folder` and asks until it answers. Raises `Missing` if it never does."""
        self.name = contender.name
        self.slow = contender.slow
        self.folder = folder
        self.port = free_port()
        local, remote = engines.ports[:2]
        argv, env = contender.command(Setup(self.port, local, remote, folder, streams, cores))
        begin = time.monotonic()
        self.process = Process(argv, folder, env)
        try:
            if not wait_for(lambda: self.answers(body), contender.patience):
                raise Missing(f"no answer after {contender.patience} s")
        except BaseException:
            self.stop()
            raise
        self.start_up_ms = (time.monotonic() - begin) * 1e3

    def answers(self, body):
        """Sends one request. Returns whether the answer is good."""
        if self.process.popen.poll() is not None:
            raise Missing(f"it ended with {self.process.popen.returncode}: {self.last_words()}")
        try:
            return ask(self.port, body=body)
        except OSError:
            return False

    def last_words(self):
        """Returns the end of the output, as one line."""
        text = (self.folder / "output").read_text(errors="replace").strip()
        return " ".join(text.splitlines()[-1:])[-200:].replace(str(self.folder), "")

    def stop(self):
        """Ends the contender and removes its files. Further calls do nothing."""
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Direct:
    """No proxy: the baseline of the comparison."""

    name = "direct"
    slow = False
    process = None

    def __init__(self, engines):
        self.port = engines.ports[0]


def install_package(name):
    """Installs a Debian package without starting its service."""
    run("apt-get", "update", "--quiet")
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
    run(*quiet, "apt-get", "install", "--yes", "--no-install-recommends", name)


def run(*argv, timeout=1200):
    """Returns both outputs of a command. Raises `Missing` if the command is missing or fails."""
    try:
        done = subprocess.run(
            [str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
        )
    except FileNotFoundError as error:
        raise Missing(f"{Path(argv[0]).name} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Missing(f"no end after {timeout} s") from error
    if done.returncode:
        raise Missing(" ".join(done.stdout.strip().splitlines()[-1:])[-200:] or f"exit code {done.returncode}")
    return done.stdout
