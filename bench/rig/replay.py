"""The benchmark `bench/replay`: a scenario with a Mooncake trace, played through the real gateway, and simulated.

Each strategy gets the same requests, at the same stub engines, which read prompts at a set pace and cache them. The
simulator plays the same scenario. Where it sees a clear difference between two strategies, the real gateway must show
the same order.
"""

import argparse
import asyncio
import json
import math
import random
import re
import string
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from rig.stage import Gateway, stub

ROOT = Path(__file__).resolve().parent.parent.parent
STRATEGIES = "prefix-affinity,session-affinity,lmetric,least-load"
BLOCK = 512
"""Prompt tokens of a block of the trace. A token is a word of four bytes, as the gateway estimates."""
SHORTER = 10
"""Answers have this many times fewer words, written this many times more slowly: fewer events in the same time."""
CLEAR = 1.2
"""The smallest ratio that counts as a clear difference in the simulator."""
WORDS = ["".join(letters) for letters in zip(*[iter(random.Random(1).choices(string.ascii_lowercase, k=3 * 8192))] * 3)]


@dataclass
class Request:
    """A request of the trace."""

    at: float
    """Seconds of the scenario."""
    session: int
    body: bytes


@dataclass
class Answer:
    """What became of a request."""

    status: int
    first_byte: float | None
    """Seconds of the scenario."""
    cached: int
    prompt: int
    engine: str


class Scenario:
    """The numbers of a scenario whose engines are all alike."""

    def __init__(self, path):
        text = path.read_text()
        number = lambda key, default=None: float((re.search(rf"\b{key}: ([\d.e]+)", text) or [0, default])[1])
        self.path = path
        self.engines = re.findall(r"name: ([\w-]+)", text)
        self.trace = path.parent / re.search(r"\btrace: ([^\s,}]+)", text)[1]
        self.speed = number("speed", 1)
        self.parallel, self.prefill, self.cache = int(number("parallel")), number("prefill"), int(number("cache", 0))
        # Stub engines do not slow down with load: they write as an engine with a few sequences does.
        self.decode = number("decode") / (1 + 3 * number("slowdown", 0))

    def requests(self):
        """The requests of the trace in order of arrival."""
        lines = [json.loads(line) for line in self.trace.read_text().splitlines() if line.strip()]
        lines.sort(key=lambda line: line["timestamp"])
        begin, texts, ends = lines[0]["timestamp"], {}, {}
        requests = []
        for number, line in enumerate(lines):
            ids = line.get("hash_ids", [])
            session = conversation(ends, number, ids, line["input_length"])
            at = (line["timestamp"] - begin) / 1000 / self.speed
            requests.append(Request(at, session, body(texts, number, ids, line)))
        return requests


def conversation(ends, number, ids, prompt):
    """The session of a request, as in the simulator: that of an earlier request if its whole blocks begin this prompt."""
    blocks = [tuple(ids[: end + 1]) for end in range(1, min(prompt // BLOCK, len(ids)))]
    session = next((ends[block] for block in reversed(blocks) if block in ends), number)
    if blocks:
        ends.setdefault(blocks[-1], session)
    return session


def body(texts, number, ids, line):
    """A streamed chat. The engine answers with the last message, so that this one has the length of the answer."""
    for block in ids:
        if block not in texts:
            texts[block] = " ".join(random.Random(block).choices(WORDS, k=BLOCK)) + " "
    words = max(1, line["input_length"])
    text = "".join(texts[block] for block in ids)[: 4 * words]
    if missing := words - len(text) // 4:
        text += " ".join(random.Random(-1 - number).choices(WORDS, k=missing))
    said = "w " * max(1, line["output_length"] // SHORTER)
    messages = [{"role": "user", "content": text}, {"role": "user", "content": said}]
    chat = {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "messages": messages}
    return json.dumps(chat).encode()


async def ask(port, request, faster, answers):
    """Sends one request, and notes its answer."""
    begun, first, tail, head = time.monotonic(), None, b"", b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"x-session-id: {request.session}\r\ncontent-length: {len(request.body)}\r\nconnection: close\r\n\r\n".encode()
        )
        writer.write(request.body)
        head = await reader.readuntil(b"\r\n\r\n")
        while data := await reader.read(65536):
            first = first or time.monotonic()
            tail = (tail + data)[-4096:]
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        pass
    status = int(head.split()[1]) if head else 0
    if status == 200 and b"[DONE]" not in tail:
        status = 0  # The answer broke off.
    number = lambda key: int((re.search(rb'"%s":(\d+)' % key, tail) or [0, 0])[1])
    engine = re.search(rb"x-stub-engine: (\S+)", head, re.I)
    first_byte = None if first is None else (first - begun) * faster
    answers.append(
        Answer(status, first_byte, number(b"cached_tokens"), number(b"prompt_tokens"), engine[1].decode() if engine else "")
    )


async def play(port, requests, faster):
    """Sends all requests at their times. Returns the answers."""
    answers, begun = [], time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for request in requests:
            await asyncio.sleep(max(0.0, begun + request.at / faster - time.monotonic()))
            tasks.create_task(ask(port, request, faster, answers))
    return answers


def measure(binary, folder, scenario, strategy, requests, faster):
    """The answers of the gateway with a strategy."""
    flags = {
        "--places": scenario.parallel,
        "--prefill-per-second": scenario.prefill * faster,
        "--tokens-per-second": scenario.decode * faster / SHORTER,
        "--cache": scenario.cache,
    }
    engines = {name: stub(binary, folder, name, flags) for name in scenario.engines}
    entries = "".join(
        f"  - {{endpoint: 'http://127.0.0.1:{port}', name: {name}, models: [m]}}\n"
        for name, (_, port) in engines.items()
    )
    routing = (
        f"routing_strategy: {strategy}\nrequest: {{session_header: x-session-id}}\n"
        f"concurrency: {{max: {scenario.parallel}, queue: 100, wait: 30}}\nlocal_deployment:\n{entries}"
    )
    gateway = Gateway(binary, folder / "gateway", "models: [{id: m}]\n", routing)
    try:
        return asyncio.run(play(gateway.port, requests, faster))
    finally:
        for process in [gateway.process, *(process for process, _ in engines.values())]:
            process.stop()


def simulated(binary, folder, scenario, strategies):
    """The share of cached tokens and the seconds to the first byte, p50 and p99, of each strategy in the simulator."""
    report = folder / "report.json"
    argv = [binary, "strategy", "simulate", *strategies, "--scenario", scenario.path, "--json", report]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    of = lambda one: (one["cached"] or 0.0, one["first_byte"]["p50"], one["first_byte"]["p99"])
    return {one["name"]: of(one) for one in json.loads(report.read_text())["strategies"]}


def quantile(values, share):
    """By the nearest rank, as in the simulator. 0 without values."""
    values = sorted(values)
    return values[max(0, math.ceil(len(values) * share) - 1)] if values else 0.0


def figures(answers):
    """The same of the real gateway."""
    good = [answer for answer in answers if answer.status == 200]
    first_bytes = [answer.first_byte for answer in good]
    cached = sum(answer.cached for answer in good) / max(1, sum(answer.prompt for answer in good))
    return cached, quantile(first_bytes, 0.5), quantile(first_bytes, 0.99)


def swapped(real, model):
    """Pairs with a clear order in the simulator, by cached tokens or median first byte, and another one in the gateway."""
    found = []
    for a, b in combinations(model, 2):
        for index, what in enumerate(["cached tokens", "first byte p50"]):
            low, high = sorted([a, b], key=lambda name: model[name][index])
            if model[high][index] > CLEAR * model[low][index] and real[high][index] <= real[low][index]:
                found.append(f"{what} of {low} and {high}")
    return found


def main():
    """Prints a row for each strategy. Returns 1 if a request was lost or the order is another one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", type=Path, default=ROOT / "target/release/gateway", help="the binary")
    parser.add_argument("--scenario", type=Path, default=ROOT / "config/scenarios/mooncake-conversation.yaml")
    parser.add_argument("--strategies", default=STRATEGIES, help="names, joined by commas")
    parser.add_argument("--faster", type=float, default=10, help="how many times as fast as the scenario")
    arguments = parser.parse_args()
    binary, scenario = arguments.gateway.resolve(), Scenario(arguments.scenario.resolve())
    requests, strategies = scenario.requests(), arguments.strategies.split(",")
    print("| strategy | lost | shares | cached | first byte p50 | p99 | in the simulator: cached | p50 | p99 |")
    print("|---|--:|---|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        model = simulated(binary, Path(folder), scenario, strategies)
    real, lost = {}, 0
    for strategy in strategies:
        with tempfile.TemporaryDirectory() as folder:
            answers = measure(binary, Path(folder), scenario, strategy, requests, arguments.faster)
        real[strategy] = figures(answers)
        missing = Counter(answer.status for answer in answers if answer.status != 200)
        lost += missing.total()
        shares = [sum(answer.engine == name for answer in answers) / len(answers) for name in scenario.engines]
        how = ", ".join(f"{count} with {status}" for status, count in sorted(missing.items()))
        row = [strategy, how or 0, ", ".join(f"{share:.0%}" for share in shares)]
        for cached, p50, p99 in (real[strategy], model[strategy]):
            row += [f"{cached:.1%}", f"{p50:.2f} s", f"{p99:.1f} s"]
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    wrong = swapped(real, model)
    for pair in wrong:
        print(f"another order than in the simulator: {pair}")
    return 1 if lost or wrong else 0
