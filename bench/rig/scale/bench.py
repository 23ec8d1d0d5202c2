"""What figures are measured with: the binary, the stub engine, folders."""

import http.client
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from rig.process import Process
from rig.scale.fleet import EACH, Fleet
from rig.scale.subject import Subject

RIG = Path(__file__).resolve().parent.parent.parent
"""The folder that the package `rig` is in."""

BUILT_IN = (
    "fixed",
    "cost",
    "latency",
    "least-load",
    "local-first",
    "prefix-affinity",
    "prompt-length",
    "session-affinity",
    "spill",
    "weighted-order",
)


class Stub:
    """The engine of all deployments, in a process of its own."""

    def __init__(self, folder, listeners=EACH):
        argv = [sys.executable, "-m", "rig.scale.stub", listeners]
        self.process = Process(argv, folder, {"PYTHONPATH": str(RIG)}, log="stub", stdout=subprocess.PIPE)
        self.ports = json.loads(self.process.popen.stdout.readline())["ports"]

    def change(self, **settings):
        """Changes its settings."""
        self.ask("POST", json.dumps(settings))

    def counts(self):
        """What it has counted since it was last asked."""
        return json.loads(self.ask("GET"))

    def ask(self, method, body=None):
        """One request to its settings."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=60)
        try:
            connection.request(method, "/control", body)
            return connection.getresponse().read()
        finally:
            connection.close()

    def reset(self):
        """Everything is well again."""
        self.change(probes_fail=False, first_status=None, fail_every_other=False, record=False)


@dataclass
class Bench:
    """What figures are measured with."""

    binary: Path
    plugins: Path
    """The folder of the built-in strategies' components."""
    folder: Path
    stub: Stub
    patience: float
    """Seconds after which something counts as never ending."""
    quick: bool
    numbers: count = field(default_factory=count)

    def fleet(self, models, places=0, **settings):
        """A fleet on the stub's ports. No strategy is refused because the machine is busy."""
        return Fleet(models, self.stub.ports, places, {"sandbox": {"call_timeout": 10}, **settings})

    def start(self, fleet, cache=None, **options):
        """A gateway in a folder of its own. Machine code is shared, unless `cache` says where."""
        folder = self.folder / f"gateway-{next(self.numbers)}"
        return Subject(self.binary, folder, fleet, cache or self.folder / "cache", self.patience, **options)

    def seconds(self, full, quick):
        """How long to measure."""
        return quick if self.quick else full

    def component(self, name):
        """The bytes of a built-in strategy."""
        return (self.plugins / name / f"{name}.wasm").read_bytes()

    def rest(self, subject):
        """Waits until a gateway does next to nothing. Some never rest: at most some seconds."""
        end = time.monotonic() + self.seconds(6, 3)
        before = subject.process.cpu_seconds()
        while time.monotonic() < end:
            time.sleep(0.5)
            now = subject.process.cpu_seconds()
            if now - before < 0.02:
                return
            before = now
