"""The benchmark `bench/names`: what names whose look-ups hang cost the requests to others.

Two gateways stand before one engine. The models of one of them have 20 engines more, whose names never resolve, and clients
ask for these all the time. Each round measures the same load at both, one after the other, in turns.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from rig.contender import Missing, run
from rig.load import Engines, Load, LoadError
from rig.process import raise_file_limit
from rig.stage import Gateway, get
from rig.tools import build, cargo_target

ROOT = Path(__file__).resolve().parent.parent.parent
RESOLVER = ROOT / "tests/tests/e2e/hanging_names/resolver.c"
NAMES = 20
CONNECT = 1
"""Seconds after which the gateway gives up a name."""
GOAL = 1.25
"""The most that the median ratio of the p99 may be. Measurements differ by more from round to round."""
ROUTING = """routing_strategy: fixed
timeouts: {{connect: {connect}}}
local_deployment:
{local}remote_deployment: []
"""


def gateway(binary, folder, engine, names, env):
    """A gateway for `m`, which the engine answers, and for a model of each name."""
    hosts = {"m": f"127.0.0.1:{engine}", **{name: f"{name}.test:8000" for name in names}}
    models = "models: [" + ", ".join(f"{{id: {model}}}" for model in hosts) + "]\n"
    entry = "  - {{endpoint: 'http://{}', models: [{}]}}\n".format
    local = "".join(entry(host, model) for model, host in hosts.items())
    return Gateway(binary, folder, models, ROUTING.format(connect=CONNECT, local=local), env)


class Asking:
    """Clients of the hanging names during a `with` block: one for each, in a closed loop."""

    def __init__(self, port, names):
        self.port, self.stopping, self.statuses = port, threading.Event(), []
        self.threads = [threading.Thread(target=self.run, args=(name,)) for name in names]

    def run(self, name):
        """Asks until it is stopped."""
        body = json.dumps({"model": name, "messages": [{"role": "user", "content": "hi"}]})
        while not self.stopping.is_set():
            self.statuses.append(get(self.port, "/v1/chat/completions", "POST", body)[0])

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def measure(load, gateways, names, options):
    """A figure for each gateway, in both orders by turns. Prints a row for each round, and returns the ratios of the p99."""
    plain, hanging = gateways
    print("| round | p50 without, with, ms | p99 without, with, ms | ratio of p99 | failed | answers for hanging names |")
    print("|---|---|---|---|---|---|")
    ratios, failed = [], 0
    for number in range(options.rounds):
        seen = {}
        for one in (plain, hanging) if number % 2 else (hanging, plain):
            with Asking(hanging.port, names if one is hanging else []) as asking:
                seen[one] = load.open(one.port, "m", options.rate, options.seconds)
            if one is hanging:
                answers = {status: asking.statuses.count(status) for status in sorted({*asking.statuses})}
        without, beside = seen[plain], seen[hanging]
        lost = without["failed"] + beside["failed"]
        failed += lost
        before, after = without["latency"], beside["latency"]
        ratios.append(after["p99_ms"] / before["p99_ms"])
        print(
            f"| {number + 1} | {before['p50_ms']:.2f}, {after['p50_ms']:.2f} | {before['p99_ms']:.2f}, {after['p99_ms']:.2f} |"
            f" {ratios[-1]:.2f} | {lost} | {', '.join(f'{count} of {status}' for status, count in answers.items())} |",
            flush=True,
        )
    return ratios, failed


def prepare(folder):
    """Writes the body of the load, and builds the load tool and the library whose look-ups hang."""
    build(ROOT / "bench", "load")
    body = folder / "body"
    body.write_text(json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello " * 100}]}))
    library = folder / "resolver.so"
    run("cc", "-shared", "-fPIC", "-o", library, RESOLVER, "-ldl")
    tool = cargo_target(ROOT / "bench") / "release" / "load"
    return tool, Load(tool, None, {"m": body}, folder), library


def compare(options, folder):
    """Starts everything, and prints the table. Returns whether the goal is met."""
    tool, load, library = prepare(folder)
    names = [f"hangs-{number}" for number in range(NAMES)]
    binary, processes = options.gateway.resolve(), []
    try:
        engines = Engines(tool, folder, 1)
        processes.append(engines.process)
        gateways = []
        for folder_name, hosts in (("plain", []), ("hanging", names)):
            gateways.append(gateway(binary, folder / folder_name, engines.ports[0], hosts, {"LD_PRELOAD": str(library)}))
            processes.append(gateways[-1].process)
        ratios, failed = measure(load, gateways, names, options)
    finally:
        for process in processes:
            process.stop()
    ratio = statistics.median(ratios)
    print(f"\n{options.rate} requests/s. Median of the ratios: {ratio:.2f} (at most {GOAL}), {failed} failed.")
    return ratio <= GOAL and not failed


def main():
    """Returns 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", type=Path, default=ROOT / "target/release/gateway", help="the binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="measured time of each gateway in a round")
    parser.add_argument("--rate", type=int, default=1000, help="requests a second")
    options = parser.parse_args()
    raise_file_limit()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return 0 if compare(options, Path(folder)) else 1
    except (LoadError, Missing) as error:
        print(f"bench/names: {error}", file=sys.stderr)
        return 1
