"""The check `bench/signals`: the load of a real engine, as the gateway shows it and as the engine itself tells it.

An engine of four places is idle, is used by clients of the gateway, and by others who ask it directly. The gateway's numbers
must become those of the engine's own `/metrics`, which is read before and after.
"""

import argparse
import http.client
import json
import re
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.busy import PASSED_OVER, ROOT
from rig.contender import Missing
from rig.engines import ENGINES, Running
from rig.process import wait_for
from rig.stage import between, get

PLACES = 4
INTERVAL = 0.2
PATIENCE = 60
"""Seconds in which the numbers must agree."""
MORE = f"signals: {{interval: {INTERVAL}, always: true}}\ntimeouts: {{first_byte: 600, idle: 600, total: 1200}}\n"
LONG = 1500
"""Tokens of an answer that lasts until it is cancelled."""
PREFIX = " ".join(f"w{n}" for n in range(100))
"""The beginning of every prompt. It fills blocks of an engine's prefix cache."""
JSON = {"content-type": "application/json"}

SERIES = {
    "llama.cpp": {"running": "llamacpp:requests_processing", "waiting": "llamacpp:requests_deferred"},
    "vllm": {
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        "kv": "vllm:kv_cache_usage_perc",
    },
}
"""The series that tell a number, by engine."""
PROMPTS = {
    "llama.cpp": ("llamacpp:prompt_tokens_cached_total", ["llamacpp:prompt_tokens_cached_total", "llamacpp:prompt_tokens_total"]),
    "vllm": ("vllm:prefix_cache_hits_total", ["vllm:prefix_cache_queries_total"]),
}
"""By engine: the counter of prompt tokens found in the cache, and the counters whose sum is all prompt tokens."""


@dataclass(frozen=True)
class Case:
    """A row of the table: clients of the gateway, and clients of the engine itself."""

    name: str
    through: int
    beside: int

    def expected(self):
        """The requests that run and wait."""
        both = self.through + self.beside
        return min(both, PLACES), max(both - PLACES, 0)


CASES = [
    Case("idle", 0, 0),
    Case("clients of the gateway", 3, 0),
    Case("more than its places", 9, 0),
    Case("others use it, too", 2, 5),
    Case("only others use it", 0, 6),
    Case("idle again", 0, 0),
]


def body(number, tokens, stream):
    """A request. All prompts begin alike."""
    message = {"role": "user", "content": f"{PREFIX} {number}"}
    asked = {"model": "m", "messages": [message], "max_tokens": tokens, "ignore_eos": True, "stream": stream}
    return json.dumps(asked)


@contextmanager
def clients(port, count):
    """Clients with an answer that goes on until the end of the context. They then leave."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE) for _ in range(count)]
    stopping = threading.Event()

    def run(number, connection):
        """Asks again when an answer has ended."""
        while not stopping.is_set():
            try:
                connection.request("POST", "/v1/chat/completions", body(number, LONG, True), JSON)
                answer = connection.getresponse()
                while not stopping.is_set() and answer.read1(65536):
                    pass
            except (OSError, http.client.HTTPException):
                pass
            connection.close()

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(connections)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def value(text, name):
    """The sum of the series of a name."""
    return sum(map(float, re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)))


def told(port, series):
    """What the engine tells of each signal."""
    text = get(port, "/metrics")[1].decode()
    return {signal: value(text, name) for signal, name in series.items()}


def shown(gateway):
    """What the gateway shows of the engine."""
    return gateway.shown("engine").get("engine") or {}


def agree(running, gateway, series, case):
    """The numbers of both, once the engine's are those of the case and the gateway's are equal. None: not yet."""
    before = told(running.port, series)
    says = shown(gateway)
    after = told(running.port, series)
    if (before["running"], before["waiting"]) != case.expected() or says.get("age_ms", 1e9) > 1e3 * 10 * INTERVAL:
        return None
    counts = all(before[signal] == says[signal] == after[signal] for signal in ("running", "waiting"))
    # A cache fills between two reads.
    kv = "kv" not in series or says["kv"] in (before["kv"], after["kv"])
    return (after, says) if counts and kv else None


def hits(port, gateway, name):
    """The share of the tokens of a repeated prompt that the engine found in its cache: by its counters, and as shown."""
    hit, all_of_them = PROMPTS[name]

    def scrapes():
        return value(get(gateway.port, "/metrics")[1].decode(), "gateway_engine_scrapes_total")

    def ask():
        """Asks for one token again and again, until the gateway has scraped twice more."""
        enough = scrapes() + 2
        wait_for(lambda: get(port, "/v1/chat/completions", "POST", body(0, 1, False), JSON) and scrapes() >= enough, PATIENCE, 0)

    def counters():
        """The tokens found so far, and all."""
        text = get(port, "/metrics")[1].decode()
        return value(text, hit), sum(value(text, counter) for counter in all_of_them)

    ask()
    before = counters()
    ask()
    after = counters()
    return (after[0] - before[0]) / max(1, after[1] - before[1]), shown(gateway).get("prefix_hit")


def told_to_client(gateway, form):
    """The load that a client is told with an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    headers = {**JSON, **({"endpoint-load-metrics-format": form} if form else {})}
    connection.request("POST", "/v1/chat/completions", body(0, 1, False), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.getheader("endpoint-load-metrics")


def check(binary, folder, engine):
    """Prints a row for each case. Returns how many failed."""
    running, series, failed = Running(engine, folder, PLACES), SERIES[engine.name], 0
    gateway = None
    try:
        gateway = between(binary, folder / "gateway", {"engine": running.port}, {}, MORE)
        print("| engine | case | it says | the gateway shows |\n|---|---|---|---|")
        for case in CASES:
            with clients(gateway.port, case.through), clients(running.port, case.beside):
                both = wait_for(lambda: agree(running, gateway, series, case), PATIENCE, 0.05)
                if not both:
                    failed += 1
                    both = told(running.port, series), shown(gateway)
            print(f"| {engine.name} | {case.name} | {both[0]} | {both[1]} |", flush=True)
        share, says = hits(running.port, gateway, engine.name)
        failed += says is None or share < 0.5 or abs(share - says) > 0.05
        print(f"| {engine.name} | the same prompt again and again | prefix-hit: {share} | prefix_hit: {says} |")
        if engine.name == "vllm":
            reports = [told_to_client(gateway, form) for form in (None, "json", "TEXT")]
            failed += reports[0] is not None or not all(reports[1:]) or not reports[2].startswith("TEXT ")
            print(f"| {engine.name} | clients that ask for no report, JSON, TEXT | | {reports} |")
    finally:
        if gateway:
            gateway.process.stop()
        running.process.stop()
    return failed


def main():
    """Returns 1 if the gateway shows other numbers than the engine, and `PASSED_OVER` if it cannot be installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gateway", type=Path, default=ROOT / "target/release/gateway", help="the binary")
    parser.add_argument("--engine", choices=[engine.name for engine in ENGINES], required=True)
    parser.add_argument("--tools", type=Path, default=ROOT / "bench/target/tools", help="where engines are installed")
    arguments = parser.parse_args()
    engine = next(kind for kind in ENGINES if kind.name == arguments.engine)(arguments.tools.resolve())
    try:
        engine.install()
        with tempfile.TemporaryDirectory() as folder:
            failed = check(arguments.gateway.resolve(), Path(folder), engine)
    except Missing as error:
        print(f"{arguments.engine} cannot be checked here: {error}", file=sys.stderr)
        return PASSED_OVER
    if failed:
        print(f"{failed} cases failed", file=sys.stderr)
    return 1 if failed else 0
