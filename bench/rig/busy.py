"""The benchmark `bench/busy`: how much of what a full engine can answer it does answer, whatever it says when it is full.

One local engine of four places, half a second for each request, one API of 0.2 s for the rest, `local-first`, and clients in
a closed loop. The engines are stub engines, so that what is measured is the gateway's judgement.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from rig import busy_engines
from rig.contender import Missing
from rig.engines import ENGINES
from rig.stage import between, get, stub

ROOT = Path(__file__).resolve().parent.parent.parent
PASSED_OVER = 75
"""The exit code where an engine cannot be installed or started."""
SERVICE = 0.5
"""Seconds that the engine takes for a request."""
PLACES = 4
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]})


@dataclass
class Case:
    """A row of the table."""

    name: str
    goal: float
    """The least share of what the engine can answer."""
    engine: dict = field(default_factory=dict)
    """Flags of the stub engine."""
    routing: str = ""
    """Further lines of routing.yaml."""
    clients: int = 12
    gateways: int = 1
    places: tuple = ((0.0, PLACES),)
    """The engine's places, each from a part of the measured time on."""
    remote: bool = False
    """The engine is an API with an allowance, beside another API."""
    at_least: float = 0.0
    """The shortest time that is measured, in seconds."""


FULL = {"--places": PLACES, "--queue": 0}
LINGERS = {"--places": PLACES, "--linger-ms": 1000}
"""It looks for clients that have left once a second, as llama.cpp does."""
CASES = [
    Case("503", 0.95, FULL),
    Case("503, Retry-After: 1", 0.95, {**FULL, "--retry-after": 1}),
    Case("429", 0.95, {**FULL, "--refusal": 429}),
    Case("503, max is two above", 0.95, FULL, "concurrency: {local: {max: 6}, remote: {max: 1000}}\n"),
    Case("queues, first_byte: 1.2", 0.90, {"--places": PLACES}, "timeouts: {first_byte: 1.2}\n", clients=24),
    Case("the same, goes on 1 s for who left", 0.90, LINGERS, "timeouts: {first_byte: 1.2}\n", clients=24),
    Case("503, two gateways", 0.80, FULL, gateways=2),
    Case("503, capacity changes", 0.95, FULL, places=((0.0, 4), (0.25, 2), (0.5, 4), (0.75, 8)), at_least=80),
    Case("429, 240 a minute", 0.90, {"--requests-per-minute": 240}, remote=True),
]


def client(port, stop, answers):
    """Asks again and again. Appends each answer to `answers`: when it came, its status, and the engine that gave it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not stop.is_set():
        status, engine = 0, None
        try:
            connection.request("POST", "/v1/chat/completions", BODY)
            answer = connection.getresponse()
            answer.read()
            status, engine = answer.status, answer.getheader("x-stub-engine")
        except (OSError, http.client.HTTPException):
            connection.close()
        answers.append((time.monotonic(), status, engine))


def measure(binary, folder, case, seconds):
    """One row: what the engine answered of what it could, for each gateway, and what was seen beside it."""
    latency = {"--latency-ms": 1 if case.remote else int(SERVICE * 1000)}
    engine, engine_port = stub(binary, folder, "engine", {**latency, **case.engine})
    api, api_port = stub(binary, folder, "api", {"--latency-ms": 200})
    engine_side, api_side = {"engine": engine_port}, {"api": api_port}
    local, remote = ({}, {**engine_side, **api_side}) if case.remote else (engine_side, api_side)
    gateways = [between(binary, folder / f"gateway-{n}", local, remote, case.routing) for n in range(case.gateways)]
    stop, answers = threading.Event(), [[] for _ in gateways]
    clients = [
        threading.Thread(target=client, args=(gateway.port, stop, answers[n]))
        for n, gateway in enumerate(gateways)
        for _ in range(case.clients)
    ]
    for one in clients:
        one.start()
    time.sleep(seconds / 6)
    begun, could = time.monotonic(), 0.0
    spans = [*case.places, (1.0, 0)]
    for (start, places), (end, _) in zip(spans, spans[1:]):
        if len(case.places) > 1:
            get(engine_port, "/stub", "POST", json.dumps({"places": places}))
        time.sleep(max(0.0, begun + end * seconds - time.monotonic()))
        could += (end - start) * seconds * places / SERVICE
    ended = time.monotonic()
    if case.remote:
        could = (ended - begun) * case.engine["--requests-per-minute"] / 60
    shown = [gateway.shown("engine") for gateway in gateways]
    stop.set()
    for one in clients:
        one.join()
    for process in [*(gateway.process for gateway in gateways), engine, api]:
        process.stop()
    good = lambda at, status, engine: begun <= at < ended and status == 200 and engine == "engine"
    return {
        "used": [sum(good(*answer) for answer in each) / could for each in answers],
        "refused": sum(one["refusals"] for one in shown) / max(1, sum(map(len, answers))),
        "lost": sum(status != 200 for each in answers for _, status, _ in each),
        "states": sorted({one["state"] for one in shown}),
        "limits": [one["limit"] for one in shown],
        "stalls": sum(one["stalls"] for one in shown),
    }


def main():
    """Prints a row for each case. Returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", type=Path, default=ROOT / "target/release/gateway", help="the binary")
    parser.add_argument("--seconds", type=float, default=30, help="measured time of each case")
    parser.add_argument("--only", help="only the cases whose name contains this")
    parser.add_argument("--engine", choices=[engine.name for engine in ENGINES], help="a real engine, not stub engines")
    parser.add_argument("--tools", type=Path, default=ROOT / "bench/target/tools", help="where real engines are installed")
    parser.add_argument("--goal", type=float, help="least share of use that passes, in place of that of each row")
    arguments = parser.parse_args()
    if arguments.engine:
        return with_engine(arguments)
    cases = [case for case in CASES if not arguments.only or arguments.only in case.name]
    if arguments.goal is not None:
        cases = [replace(case, goal=arguments.goal) for case in cases]
    print("| the full engine says | used | goal | of it each gateway | refused | lost | limit | stalls | state |")
    print("|---|---|---|---|---|---|---|---|---|")
    missed = 0
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            seconds = max(arguments.seconds, case.at_least)
            row = measure(arguments.gateway.resolve(), Path(folder), case, seconds)
        used = sum(row["used"])
        missed += used < case.goal or row["lost"] > 0
        each = ", ".join(f"{part:.0%}" for part in row["used"])
        limits = ", ".join(map(str, row["limits"]))
        print(
            f"| {case.name} | {used:.1%} | {case.goal:.0%} | {each} | {row['refused']:.1%} | {row['lost']} |"
            f" {limits} | {row['stalls']} | {', '.join(row['states'])} |",
            flush=True,
        )
    return 1 if missed else 0


def with_engine(arguments):
    """The table of a real engine. Returns 1 if a goal is missed, and `PASSED_OVER` if it cannot be installed."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            binary, tools = arguments.gateway.resolve(), arguments.tools.resolve()
            missed = busy_engines.table(
                binary,
                Path(folder),
                arguments.engine,
                tools,
                arguments.seconds / busy_engines.ROUNDS,
                arguments.only,
                arguments.goal,
            )
    except Missing as error:
        print(f"{arguments.engine} cannot be measured here: {error}", file=sys.stderr)
        return PASSED_OVER
    return 1 if missed else 0
