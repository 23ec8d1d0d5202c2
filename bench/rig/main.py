"""The command: finds the contenders, measures in rounds, and writes results and tables."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from rig import figures, pgo, report
from rig.contender import Direct, Missing, Running
from rig.figures import Bench
from rig.gateway import Gateway
from rig.load import Engines, Load, LoadError, write_bodies
from rig.machine import describe
from rig.peers import all_peers
from rig.process import raise_file_limit
from rig.tools import LoadTools, build, cargo_target

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent

FLEETS = [(1, 2), (10, 2), (100, 2), (1000, 2), (1, 16), (1, 128), (1000, 16)]
"""Models and deployments of each model. The first pair is the baseline."""

STRATEGIES = ["fixed", "round-robin", "spill", "session-affinity", "prefix-affinity", "least-load", "latency", "cost", "prompt-length", "score", "lmetric"]
"""The first strategy is the baseline. All others decide for each request."""

STARTS = 3
"""Starts of a contender in a round, for short figures that exist once for each start."""

BUDGETS = {"without": 0, "one budget": 1, "eight budgets": 8}
"""The number of budgets that cover all deployments. The first is the baseline."""

PARTS = ["peers", "fleets", "strategies", "budgets"]


def arguments():
    """Parses the command line."""
    parser = argparse.ArgumentParser(description="Measure the gateway beside other proxies, on this machine alone.")
    build = parser.add_mutually_exclusive_group()
    build.add_argument("--gateway", type=Path, help="a release build of the gateway (default: built by cargo)")
    build.add_argument("--pgo", action="store_true", help="build the gateway with profile-guided optimisation, by bench/pgo")
    parser.add_argument("--peers", help="names separated by commas, or 'none' (default: all installed peers)")
    parser.add_argument("--install", action="store_true", help="install missing peers")
    parser.add_argument("--rounds", type=int, help="number of rounds (default: 3; with --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="short rounds, to try the rig")
    parser.add_argument("--parts", type=parts, default=PARTS, help=f"what to measure (default: {','.join(PARTS)})")
    parser.add_argument("--tools", type=Path, default=BENCH / "target" / "tools", help="folder of the virtual environments")
    parser.add_argument("--output", type=Path, help="folder for results (default: one under bench/target/results)")
    parser.add_argument("--report", type=Path, metavar="RESULTS", help="only print the table of these results")
    return parser.parse_args()


def parts(text):
    """Parses the value of `--parts`."""
    names = text.split(",")
    if not set(names) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"they are {', '.join(PARTS)}")
    return names


def main():
    """Measures. Returns the exit code."""
    options = arguments()
    # A signal must also end everything that was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.report:
        print(report.markdown(report.read(options.report)))
        return 0
    try:
        return measure(options)
    except (LoadError, Missing) as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 1


def measure(options):
    """Builds, measures all rounds, and writes `results.jsonl` and `table.md`."""
    load_tools = LoadTools.find(options.tools.resolve(), options.install, with_oha="peers" in options.parts)
    load_versions = load_tools.versions()
    target = cargo_target(BENCH)
    build(BENCH, "load")
    gateway = Gateway(find_gateway(options).resolve())
    contenders, missing = choose(options, gateway, target)

    output = options.output or BENCH / "target" / "results" / time.strftime("%Y%m%d-%H%M%S")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, open(output / "results.jsonl", "w") as results:
        rig = Rig(options, contenders, Path(folder), target / "release" / "load", load_tools, results)
        machine = {**describe(ROOT, options.gateway, options.pgo), "load": load_versions}
        rig.write({"machine": machine, "quick": options.quick, "missing": missing})
        for contender in contenders:
            rig.write({"contender": contender.name, "version": contender.find(), "notes": contender.notes})
        try:
            for number in range(options.rounds or (1 if options.quick else 3)):
                rig.round(number + 1)
        finally:
            rig.stop()
    table = report.markdown(report.read(output / "results.jsonl"))
    (output / "table.md").write_text(table)
    print(table)
    print(f"bench/run: results and table are in {output}", file=sys.stderr)
    return 0


def find_gateway(options):
    """Returns the build to measure."""
    if options.gateway:
        return options.gateway
    if options.pgo:
        return pgo.build(options.install)
    build(ROOT, "gateway", "dist")
    return cargo_target(ROOT) / "dist" / "gateway"


def choose(options, gateway, target):
    """Returns the contenders, the gateway first, and the reason for each missing one."""
    peers = {peer.name: peer for peer in all_peers(options.tools.resolve(), target)}
    names = list(peers) if options.peers is None else [name for name in options.peers.split(",") if name != "none"]
    if unknown := set(names) - set(peers):
        raise Missing(f"no such peers: {', '.join(sorted(unknown))} (there are {', '.join(peers)})")
    chosen, missing = [gateway], {}
    for name in names:
        try:
            try:
                peers[name].find()
            except Missing:
                if not options.install:
                    raise
                print(f"bench/run: installing {name}", file=sys.stderr)
                peers[name].install()
                peers[name].find()
            chosen.append(peers[name])
        except Missing as error:
            missing[name] = str(error)
    return chosen, missing


class Rig:
    """The state of a run over all rounds."""

    def __init__(self, options, contenders, folder, tool, load_tools, results):
        self.options = options
        self.parts = options.parts
        self.contenders = contenders
        self.folder = folder
        self.results = results
        most = max(deployments for _, deployments in FLEETS)
        self.engines = Engines(tool, folder, listeners=most)
        load = Load(tool, load_tools.oha, write_bodies(folder), folder)
        self.bench = Bench(self.engines, load, options.quick, min(10_000, (raise_file_limit() - 1_000) // 2))
        self.body = load.bodies["1k"].read_bytes()
        self.cores = len(os.sched_getaffinity(0))
        self.started = []

    def write(self, record):
        """Adds a line to the results."""
        self.results.write(json.dumps(record) + "\n")
        self.results.flush()

    def round(self, number):
        """Measures every figure once."""
        if "peers" in self.parts:
            self.all_contenders(number)
        if "fleets" in self.parts:
            variants = {f"{models} x {each}": {"models": models, "deployments": each} for models, each in FLEETS}
            self.variants(number, "fleet", variants, lambda variant: {"models": variant["models"]})
        if "strategies" in self.parts:
            variants = {strategy: {"strategy": strategy} for strategy in STRATEGIES}
            self.variants(number, "strategy", variants, lambda _: {"sessions": 64})
        if "budgets" in self.parts:
            variants = {name: {"budgets": count} for name, count in BUDGETS.items()}
            self.variants(number, "budgets", variants, lambda _: {})

    def all_contenders(self, number):
        """Measures all figures at all contenders: those of a fresh process first, then the others in turn."""
        turn = (number - 1) % len(self.contenders)
        order = self.contenders[turn:] + self.contenders[:turn]
        direct = Direct(self.engines)
        self.figure(number, direct, "first_burst", figures.first_burst)
        fresh = [self.fresh(number, contender) for contender in order]
        running = [contender for contender in fresh if contender]
        self.in_turn(number, [direct, *running])
        for contender in running:
            contender.stop()

    def start(self, number, contender, streams=None):
        """Starts a contender for `streams` streams. Returns None if that fails."""
        folder = Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=self.folder))
        try:
            running = Running(contender, self.engines, folder, self.body, self.cores, streams)
        except Missing as error:
            self.write({"round": number, "contender": contender.name, "figure": "start_up", "error": str(error)})
            return None
        self.started.append(running)
        return running

    def stop(self):
        """Ends all contenders, also after an interrupted round."""
        for running in self.started:
            running.stop()
        self.engines.process.stop()

    def fresh(self, number, contender):
        """Measures the figures of a fresh process. Returns the running contender, or None."""
        most = self.bench.most_streams
        if not contender.slow and (running := self.start(number, contender, streams=most)):
            figures.idle_memory(self.bench, running)
            self.figure(number, running, "memory_10000", figures.held_memory, streams=most)
            running.stop()
        for left in range(1 if self.options.quick or contender.slow else STARTS, 0, -1):
            running = self.start(number, contender)
            if not running:
                return None
            self.figure(number, running, "start_up", figures.start_up)
            self.figure(number, running, "memory_idle", figures.idle_memory)
            self.figure(number, running, "first_burst", figures.first_burst)
            if left > 1:
                running.stop()
        self.figure(number, running, "memory_1000", figures.held_memory, streams=1_000)
        return running

    def in_turn(self, number, running):
        """Measures the figures of running contenders."""
        rps = {}
        for contender in running:
            seen = self.figure(number, contender, "closed_1k", figures.closed, body="1k")
            rps[contender.name] = seen.get("rps", 0)
        quick = self.options.quick
        for figure, measured, options in (
            ("closed_32k", figures.closed, {"body": "32k"}),
            ("open", figures.open_loop, {"rps": rps}),
            ("open_oha", figures.open_loop_oha, {"rps": rps}),
            ("first_chunk", figures.first_chunk, {"rps": rps}),
            ("chunks_paced", figures.chunks, {"gap_ms": 10, "repeat": 2 if quick else 6}),
            ("chunks_flood", figures.chunks, {"gap_ms": 0, "repeat": 10 if quick else 30}),
        ):
            for contender in running:
                own = {**options, "rps": rps[contender.name]} if "rps" in options else options
                self.figure(number, contender, figure, measured, **own)

    def variants(self, number, figure, variants, load):
        """Measures the gateway in several configurations, each between two runs of the first, against drift."""
        first, *others = variants
        turns = [first] + [name for other in others for name in (other, first)]
        for turn, name in enumerate(turns):
            variant = variants[name]
            ports = self.engines.ports if "deployments" in variant else None
            gateway = Gateway(self.contenders[0].binary, ports=ports, **variant)
            if running := self.start(number, gateway):
                options = load(variant)
                self.figure(number, running, figure, figures.closed, variant=name, turn=turn, body="1k", **options)
                running.stop()

    def figure(self, number, running, figure, measured, variant=None, turn=None, **options):
        """Measures one figure and records it. Returns an empty dictionary on failure."""
        record = {"round": number, "contender": running.name, "figure": figure}
        if variant:
            record |= {"variant": variant, "turn": turn}
        try:
            values = measured(self.bench, running, **options)
        except (LoadError, OSError) as error:
            self.write({**record, "error": str(error)})
            return {}
        finally:
            # Work that a contender still does for ended requests must not slow the next one.
            if running.process:
                running.process.settle()
        self.write({**record, **values})
        print(f"{number} {running.name} {figure} {variant or ''} {short(values)}", file=sys.stderr)
        return values


def short(values):
    """Formats the numbers of `values` for the progress output."""
    return " ".join(f"{key}={value:.4g}" for key, value in values.items() if isinstance(value, int | float))
