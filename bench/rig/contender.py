"""What every contender is to the rig: something that is found or installed, configured, and started."""

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rig.load import ask
from rig.process import Process, free_port, wait_for

LOCAL_PERCENT = 60
"""Percent of the requests that go to the local engine, where a contender knows weights."""


class Missing(Exception):
    """A contender is not there, or cannot be installed."""


@dataclass
class Setup:
    """What a contender is started with."""

    port: int
    """To listen on."""
    local: int
    """The port of the engine that gets `LOCAL_PERCENT`."""
    remote: int
    """The port of the other engine."""
    folder: Path
    """For its files; its own, and the working directory."""
    streams: int | None
    """How many it must be able to hold, for which the limits of some need to be raised; None: the usual number."""
    cores: int


class Contender:
    """A proxy. `name` is what `--peers` and the tables call it, `notes` what readers of the table must know."""

    name = ""
    notes = ""
    patience = 20
    """Seconds that it may take to its first answer."""
    slow = False
    """Whether it is slower by orders of magnitude: then there are fewer streams, and never 10,000."""

    def __init__(self, name=None):
        self.name = name or self.name

    def find(self):
        """Its version; raises `Missing`."""
        raise NotImplementedError

    def install(self):
        """Installs it; raises `Missing` where that fails."""
        raise Missing("it must be installed by hand")

    def command(self, setup):
        """`(argv, env)` that starts it, after its files were written."""
        raise NotImplementedError


class Running:
    """A contender that answers."""

    def __init__(self, contender, engines, folder, body, cores, streams=None):
        """Starts it in `folder` and asks for a first answer until there is one. Raises `Missing` where none comes."""
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
        """Whether a request is answered well."""
        if self.process.popen.poll() is not None:
            raise Missing(f"it ended with {self.process.popen.returncode}: {self.last_words()}")
        try:
            return ask(self.port, body=body)
        except OSError:
            return False

    def last_words(self):
        """The end of what it printed, in one line."""
        text = (self.folder / "output").read_text(errors="replace").strip()
        return " ".join(text.splitlines()[-1:])[-200:].replace(str(self.folder), "")

    def stop(self):
        """Ends it, and removes what it wrote; once is enough."""
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Direct:
    """No proxy at all: what the others are compared with."""

    name = "direct"
    slow = False
    process = None

    def __init__(self, engines):
        self.port = engines.ports[0]


def install_package(name):
    """Installs a Debian package; if it has a service, that is not started."""
    run("apt-get", "update", "--quiet")
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
    run(*quiet, "apt-get", "install", "--yes", "--no-install-recommends", name)


def run(*argv, timeout=1200):
    """What a command prints, on both outputs; raises `Missing` where it is not there or fails."""
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
