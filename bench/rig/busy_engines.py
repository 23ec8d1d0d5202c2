"""The rows of `bench/busy` for real engines: llama.cpp's server and vLLM, each with a tiny random model.

What an engine could have answered is measured: clients ask it directly, one for each of its places. That alternates with
clients of the gateway, far more than the engine has places for, and an API takes the rest. So a machine that slows down slows
both. The requests are long enough to last about `SERVICE` where all places are taken.
"""

import http.client
import json
import threading
import time
from dataclasses import dataclass, replace

from rig.contender import Missing
from rig.engines import ENGINES, Running
from rig.stage import between, get, stub

PLACES = 4
SERVICE = 0.5
"""Seconds that a request shall take at a full engine."""
CLIENTS = 24
ROUNDS = 3
SETTLING = 1.5
"""Seconds at the begin of each measurement that do not count."""
TRIAL_TOKENS = 32
JSON = {"content-type": "application/json"}
"""vLLM takes nothing else."""


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    engine: str
    name: str
    stream: bool = False
    queue: int | None = None
    """Requests that the engine queues. It refuses those beyond. None: it queues all."""
    routing: str = "timeouts: {first_byte: 1.2}\n"
    goal: float = 0.90


CASES = [
    Case("llama.cpp", "queues, first_byte: 1.2"),
    Case("llama.cpp", "queues, first_byte: 1.2, streams", stream=True),
    Case("vllm", "queues, first_byte: 1.2"),
    Case("vllm", "queues, first_byte: 1.2, streams", stream=True),
    Case("vllm", "503 by --max-num-queued-reqs", queue=0, routing="", goal=0.95),
]


@dataclass(frozen=True)
class Answer:
    """The end of a request."""

    begun: float
    ended: float
    status: int
    """0: no answer, or one that is not whole."""
    engine: bool
    """Whether the engine gave it, not the API."""

    def within(self, begin, end):
        """The part of the request between two times. So short measurements count requests that they cut in parts."""
        return max(0.0, min(self.ended, end) - max(self.begun, begin)) / (self.ended - self.begun)


class Clients:
    """Clients in a closed loop, each with a connection of its own."""

    def __init__(self, port, count, tokens, stream):
        self.port, self.tokens, self.stream = port, tokens, stream
        self.stopping, self.answers = threading.Event(), []
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        """Asks until it is stopped. No two requests are alike, so that no engine repeats its work."""
        connection, asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60), 0
        while not self.stopping.is_set():
            asked += 1
            begun, status, engine = time.monotonic(), 0, False
            try:
                connection.request("POST", "/v1/chat/completions", self.body(f"{number} {asked}"), JSON)
                answer = connection.getresponse()
                body = answer.read()
                engine = answer.getheader("x-stub-engine") is None
                status = answer.status if answer.status != 200 or is_whole(body, self.stream) else 0
            except (OSError, http.client.HTTPException):
                connection.close()
            self.answers.append(Answer(begun, time.monotonic(), status, engine))

    def body(self, words):
        """A request for an answer of `tokens`."""
        message = {"role": "user", "content": words}
        asked = {"model": "m", "messages": [message], "max_tokens": self.tokens, "ignore_eos": True}
        return json.dumps({**asked, "stream": self.stream})

    def stop(self):
        """Ends them after the requests under way. Returns the answers."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        return self.answers


def is_whole(body, stream):
    """Whether an answer of status 200 came to its end and has content."""
    if stream:
        return body.rstrip().endswith(b"data: [DONE]") and b'"content"' in body
    try:
        return bool(json.loads(body)["choices"][0]["message"]["content"])
    except (ValueError, LookupError):
        return False


def rate(port, clients, tokens, stream, seconds):
    """The engine's good answers a second, and all answers."""
    asking = Clients(port, clients, tokens, stream)
    time.sleep(SETTLING)
    begin = time.monotonic()
    time.sleep(seconds)
    end = time.monotonic()
    answers = asking.stop()
    good = sum(answer.within(begin, end) for answer in answers if answer.status == 200 and answer.engine)
    return good / (end - begin), answers


def tokens_for(port, stream):
    """The length of answers that take `SERVICE` where all places are taken."""
    for _ in range(2):  # The first one warms the engine up.
        answered, _ = rate(port, PLACES, TRIAL_TOKENS, stream, 2)
    if not answered:
        raise Missing("the engine gives no good answer")
    return max(4, round(TRIAL_TOKENS * SERVICE * answered / PLACES))


def measure(binary, folder, running, case, seconds):
    """One row: what the engine answered of what it could, and what was seen beside it."""
    api, api_port = stub(binary, folder, "api", {"--latency-ms": 500})
    gateway = between(binary, folder / "gateway", {"engine": running.port}, {"api": api_port}, case.routing)
    try:
        tokens = tokens_for(running.port, case.stream)
        alone, through, answers = [], [], []
        for _ in range(ROUNDS):
            alone.append(rate(running.port, PLACES, tokens, case.stream, seconds / 2)[0])
            answered, all_answers = rate(gateway.port, CLIENTS, tokens, case.stream, seconds)
            through.append(answered)
            answers += all_answers
        alone.append(rate(running.port, PLACES, tokens, case.stream, seconds / 2)[0])
        shown = gateway.shown("engine")
        metrics = get(gateway.port, "/metrics")[1].decode()
    finally:
        gateway.process.stop()
        api.stop()
    could = sum((before + after) / 2 for before, after in zip(alone, alone[1:]))
    return {
        "used": sum(through) / could,
        "alone": sum(alone) / len(alone),
        "tokens": tokens,
        "lost": sum(answer.status != 200 for answer in answers),
        "answers": len(answers),
        "ejections": ejections(metrics),
        "shown": shown,
    }


def ejections(metrics):
    """How often the engine was ejected."""
    lines = [line for line in metrics.splitlines() if line.startswith("gateway_ejections_total{") and '"engine"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def table(binary, folder, name, tools, seconds, only, goal):
    """Installs an engine, and prints a row for each of its cases. `goal`: see `--goal`. Returns how many missed their goal."""
    engine = next(kind for kind in ENGINES if kind.name == name)(tools)
    engine.install()
    print("| engine | full, it | alone, requests/s | used | goal | refused | lost | ejections | limit | stalls | state |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    cases = [case for case in CASES if case.engine == name and (not only or only in case.name)]
    missed = 0
    for queue in dict.fromkeys(case.queue for case in cases):
        running = Running(engine, folder, PLACES, queue)
        try:
            for case in (case for case in cases if case.queue == queue):
                place = folder / str(CASES.index(case))
                place.mkdir()
                shown = case if goal is None else replace(case, goal=goal)
                missed += not show(shown, measure(binary, place, running, case, seconds))
        finally:
            running.process.stop()
    return missed


def show(case, row):
    """Prints a row. Returns whether it meets its goals."""
    shown = row["shown"]
    print(
        f"| {case.engine} | {case.name} | {row['alone']:.1f} of {row['tokens']} tokens | {row['used']:.1%} | {case.goal:.0%} |"
        f" {shown['refusals'] / max(1, row['answers']):.1%} | {row['lost']} of {row['answers']} | {row['ejections']:.0f} |"
        f" {shown['limit']} | {shown['stalls']} | {shown['state']} |",
        flush=True,
    )
    return row["used"] >= case.goal and row["lost"] == row["ejections"] == 0
