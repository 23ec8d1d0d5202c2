"""The command: measures figure by figure, and writes results and table."""

import argparse
import http.client
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from rig.contender import Missing
from rig.machine import describe
from rig.main import BENCH, ROOT
from rig.process import raise_file_limit
from rig.scale import changes, compiling, report, rest
from rig.scale.bench import Bench, Stub
from rig.scale.subject import Refused
from rig.tools import build, cargo_target

SIZES = [100, 1_000, 10_000]
"""Models, of 4 deployments each."""

SIZED = {
    "down": changes.down,
    "ejections": changes.ejections,
    "cooling": changes.cooling,
    "one": rest.one,
    "start": rest.start,
    "reload": rest.reload,
    "pages": rest.pages,
    "probes": rest.probes,
}
"""Figures that are measured with each number of models."""

OTHERS = {
    "start_spill": (rest.start_spill, [1_500]),
    "strategies": (compiling.strategies, [10, 100]),
    "compiling": (compiling.compiling, [0]),
}
"""Figures whose sizes are their own."""


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure how the gateway's control side grows with the fleet.")
    parser.add_argument("--gateway", type=Path, help="a build of the gateway (default: cargo builds the profile dist)")
    parser.add_argument("--sizes", type=numbers, default=SIZES, help="models (default: 100,1000,10000)")
    parser.add_argument("--only", type=figures, help=f"figures, with commas between: {', '.join([*SIZED, *OTHERS])}")
    parser.add_argument("--patience", type=float, default=120, help="seconds after which something never ends (default: 120)")
    parser.add_argument("--quick", action="store_true", help="short measurements, to see that the benchmark works")
    parser.add_argument("--output", type=Path, help="folder for results (default: one under bench/target/results)")
    parser.add_argument("--beside", type=Path, metavar="RESULTS", help="earlier results, whose figures come first")
    parser.add_argument("--report", type=Path, metavar="RESULTS", help="only make the table of these results again")
    return parser.parse_args()


def numbers(text):
    """The value of `--sizes`."""
    found = [int(word) for word in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError("a fleet has a model at least")
    return found


def figures(text):
    """The value of `--only`."""
    names = text.split(",")
    if unknown := set(names) - {*SIZED, *OTHERS}:
        raise argparse.ArgumentTypeError(f"no such figures: {', '.join(sorted(unknown))}")
    return names


def main():
    """Measures; the exit code."""
    options = arguments()
    # Its end is that of all it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    earlier = report.read(options.beside) if options.beside else None
    if options.report:
        print(report.markdown(report.read(options.report), earlier))
        return 0
    try:
        measure(options, earlier)
    except Missing as error:
        print(f"bench/scale: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options, earlier):
    """Builds, measures, and writes `results.jsonl` and `table.md`."""
    raise_file_limit()
    output = options.output or BENCH / "target" / "results" / time.strftime("scale-%Y%m%d-%H%M%S")
    output.mkdir(parents=True, exist_ok=True)
    machine = describe(ROOT, options.gateway)
    binary = find_gateway(options).resolve()
    with tempfile.TemporaryDirectory(prefix="scale-") as folder, open(output / "results.jsonl", "w") as results:
        stub = Stub(folder)
        bench = Bench(binary, ROOT / "plugins", Path(folder), stub, options.patience, options.quick)
        write(results, {"machine": machine, "quick": options.quick, "patience": options.patience})
        try:
            for name, measured, size in plan(options):
                write(results, {"figure": name, "size": size, **figure(bench, name, measured, size)})
        finally:
            stub.process.stop()
    table = report.markdown(report.read(output / "results.jsonl"), earlier)
    (output / "table.md").write_text(table)
    print(table)
    print(f"bench/scale: results and table are in {output}", file=sys.stderr)


def find_gateway(options):
    """The build that is measured."""
    if options.gateway:
        return options.gateway
    build(ROOT, "gateway", "dist")
    return cargo_target(ROOT) / "dist" / "gateway"


def plan(options):
    """`(name, function, size)` of all that is measured, small fleets first."""
    wanted = options.only or [*SIZED, *OTHERS]
    for size in options.sizes:
        yield from ((name, measured, size) for name, measured in SIZED.items() if name in wanted)
    for name, (measured, sizes) in OTHERS.items():
        if name in wanted:
            yield from ((name, measured, size) for size in sizes)


def figure(bench, name, measured, size):
    """One figure, or why it could not be measured, and the load average before it."""
    begin = time.monotonic()
    load = os.getloadavg()[0]
    try:
        values = measured(bench, size)
    except (Refused, OSError, ValueError, http.client.HTTPException) as error:
        values = {"error": f"{type(error).__name__}: {error}"}
    print(f"{name} {size}: {time.monotonic() - begin:.0f} s {values.get('error', '')}", file=sys.stderr)
    return {**values, "load_average": load}


def write(results, record):
    """Adds a line to the results."""
    results.write(json.dumps(record) + "\n")
    results.flush()
