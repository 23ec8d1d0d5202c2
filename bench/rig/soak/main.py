"""Runs the soak, and judges what it saw."""

import argparse
import asyncio
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, mean

from rig.process import raise_file_limit
from rig.soak.clients import Clients
from rig.soak.faults import KINDS, Engine, poison
from rig.stage import Gateway, get, stub

ROOT = Path(__file__).resolve().parent.parent.parent.parent
RELOAD = 20
"""Seconds between two edits of the configuration."""
SAMPLE = 10
"""Seconds between two samples."""
OUTAGE = 15
"""Seconds for which the engine that goes down is up, and then down. So are the ports that close."""
DOWN = {"--latency-ms": 20}
"""Flags of the engine that goes down."""
WARM_UP = 0.25
"""The part of the time whose memory does not count."""
GROWTH = 0.05
"""The most that the resident memory may grow in the rest of the time, as a part of it: by the line of least squares."""
SPARE = 4
"""Descriptors that may be open more at the end than at the begin."""
ROUTING = """routing_strategy: fixed
timeouts: {{connect: 1, first_byte: 1, idle: 1, total: 10, pool_idle: 2}}
ejection: {{base: 2, max: 4}}
health_check: 5
logging: {{output: access.log}}
limits: {{requests: {requests}}}
local_deployment:
{local}remote_deployment:
{remote}"""


def configuration(local, api, edits):
    """The two files. Each edit makes another routing.yaml."""
    models = [*dict.fromkeys(model for model, _ in local)]
    entry = "  - {{endpoint: 'http://127.0.0.1:{}', name: {}, models: [{}]}}\n".format
    at_local = "".join(entry(port, f"engine-{n}", model) for n, (model, port) in enumerate(local))
    # What is poison for all engines of a model must not be answered elsewhere.
    at_remote = entry(api, "api", ", ".join(model for model in models if model != poison.__name__))
    routing = ROUTING.format(requests=5000 - edits % 2, local=at_local, remote=at_remote)
    return "models: [" + ", ".join(f"{{id: {model}}}" for model in models) + "]\n", routing


@dataclass
class Judgement:
    """What a soak saw."""

    clients: Clients
    samples: list
    before: int
    """Open descriptors before the load."""
    after: int
    edits: int
    loaded: int
    """Configurations that the gateway took, the first one included."""
    outages: int

    def growth(self):
        """The growth of the resident memory after the warm-up, in KiB, by the line of least squares; and its mean."""
        end = self.samples[-1][0]
        kept = [(at, rss) for at, rss, _ in self.samples if at >= WARM_UP * end]
        times, sizes = zip(*kept)
        slope, _ = linear_regression(times, sizes)
        return slope * (end - times[0]), mean(sizes)

    def faults(self):
        """What must not be, in words."""
        grown, size = self.growth()
        lost = self.clients.lost
        if lost:
            yield f"{len(lost)} requests without a whole answer: {'; '.join(lost[:5])}"
        if grown > GROWTH * size:
            yield f"the memory grew by {grown:.0f} KiB of {size:.0f}"
        if self.after > self.before + SPARE:
            yield f"{self.after} descriptors are open, {self.before} before"
        # An edit may be under way at the end.
        if self.loaded < self.edits:
            yield f"{self.loaded} of {self.edits} edits were taken"

    def print(self):
        """The tables."""
        ends = self.clients.ends
        words = sorted({end for _, end in ends}, key=str)
        print("| model | " + " | ".join(map(str, words)) + " |")
        print("|---" * (len(words) + 1) + "|")
        for model in dict.fromkeys(model for model, _ in ends):
            print(f"| {model} | " + " | ".join(str(ends.get((model, word), 0)) for word in words) + " |")
        grown, size = self.growth()
        rows = [rss for _, rss, _ in self.samples]
        open_most = max(count for *_, count in self.samples)
        requests, minutes = sum(ends.values()), self.samples[-1][0] / 60
        print(f"\n{requests} requests in {minutes:.1f} min, {self.edits} edits, {self.outages} outages.")
        print(f"Resident memory: {rows[0]} KiB at first, mean {size:.0f} after the warm-up, {grown:+.0f} in that time.")
        print(f"Requests were sent at most {self.clients.late:.1f} s late.")
        print(f"Descriptors: {self.before} before, at most {open_most} in the samples, {self.after} after.")


class Soak:
    """A gateway, its engines, and what is measured."""

    def __init__(self, binary, folder, rate):
        self.binary, self.folder, self.rate = binary, folder, rate
        self.samples, self.edits, self.outages = [], 0, 0

    async def start(self):
        """Starts the engines and the gateway."""
        self.engines = [Engine(kind) for kind in KINDS] + [Engine(poison), Engine(KINDS[0])]
        for engine in self.engines:
            await engine.listen()
        self.closing = self.engines[-1]
        self.api, self.api_port = stub(self.binary, self.folder, "api", {"--latency-ms": 20})
        self.down, self.down_port = stub(self.binary, self.folder, "down", DOWN)
        local = [(engine.kind.__name__, engine.port) for engine in self.engines[:-1]]
        self.local = [*local, ("closes", self.closing.port), ("goes_down", self.down_port)]
        models, routing = configuration(self.local, self.api_port, 0)
        self.gateway = await asyncio.to_thread(Gateway, self.binary, self.folder / "gateway", models, routing)

    def stop(self):
        """Ends the processes."""
        for process in (self.gateway.process, self.api, self.down):
            process.stop()

    async def edit(self):
        """Edits the configuration again and again. Readers never see half a file."""
        while True:
            await asyncio.sleep(RELOAD)
            self.edits += 1
            path = self.gateway.folder / "routing.yaml"
            partial = path.with_suffix(".partial")
            partial.write_text(configuration(self.local, self.api_port, self.edits)[1])
            partial.rename(path)

    async def take_down(self):
        """Stops and starts an engine, and closes and opens the port of another."""
        while True:
            await asyncio.sleep(OUTAGE)
            self.outages += 1
            await asyncio.to_thread(self.down.stop)
            self.closing.server.close()
            await asyncio.sleep(OUTAGE)
            self.down, _ = await asyncio.to_thread(stub, self.binary, self.folder, "down", DOWN, self.down_port)
            await self.closing.listen()

    async def sample(self, begun):
        """Notes time, memory in KiB and open descriptors."""
        while True:
            self.samples.append((time.monotonic() - begun, *self.resources()))
            await asyncio.sleep(SAMPLE)

    def resources(self):
        """The gateway's resident memory in KiB, and its open descriptors."""
        pid = self.gateway.process.popen.pid
        rss = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
        return rss, len(os.listdir(f"/proc/{pid}/fd"))

    async def run(self, minutes):
        """Plays it all. Returns what is judged."""
        clients = Clients(self.gateway.port, [*dict.fromkeys(model for model, _ in self.local)], self.rate)
        before = self.resources()[1]
        begun = time.monotonic()
        beside = [asyncio.create_task(one) for one in (self.edit(), self.take_down(), self.sample(begun))]
        await clients.run(asyncio.get_running_loop().time() + minutes * 60)
        for task in beside:
            if task.done():
                task.result()
            task.cancel()
        after = await self.settled(before + SPARE)
        loaded = re.search(r'gateway_reloads_total{result="loaded"} (\d+)', get(self.gateway.port, "/metrics")[1].decode())
        return Judgement(clients, self.samples, before, after, self.edits, int(loaded[1]), self.outages)

    async def settled(self, enough):
        """The open descriptors, once idle connections were closed."""
        for _ in range(100):
            after = self.resources()[1]
            if after <= enough:
                break
            await asyncio.sleep(0.2)
        return after


async def play(arguments, folder):
    """One soak."""
    soak = Soak(arguments.gateway.resolve(), folder, arguments.rate)
    await soak.start()
    try:
        return await soak.run(arguments.minutes)
    finally:
        soak.stop()


def main():
    """Prints what was seen. Returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", type=Path, default=ROOT / "target/release/gateway", help="the binary")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=100, help="requests a second")
    parser.add_argument("--samples", type=Path, help="write each sample to this file: seconds, KiB, descriptors")
    arguments = parser.parse_args()
    if arguments.minutes < 1:
        parser.error("--minutes: at least 1")
    raise_file_limit()
    with tempfile.TemporaryDirectory() as folder:
        judgement = asyncio.run(play(arguments, Path(folder)))
    if arguments.samples:
        arguments.samples.write_text("".join("%.0f %d %d\n" % sample for sample in judgement.samples))
    judgement.print()
    faults = [*judgement.faults()]
    for fault in faults:
        print(f"WRONG: {fault}")
    return 1 if faults else 0
