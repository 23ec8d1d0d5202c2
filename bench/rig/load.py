"""Load for the contenders: engines, wrk, oha, and the load tool of bench/load."""

import json
import socket
import subprocess
from pathlib import Path

from rig.process import Process

CONNECTIONS = 64
"""Connections of wrk in the closed loop."""

OHA_CONNECTIONS = 10
"""Connections of oha. It has no warm-up, so the first request of each connection includes connecting. Ten of these
hardly move the 99th percentile of some thousand requests."""

WRK_SCRIPT = Path(__file__).resolve().parent.parent / "wrk.lua"


class LoadError(Exception):
    """The load tool failed, or its result is unusable."""


def write_bodies(folder):
    """Writes the request bodies `1k` (1 KiB), `32k` (32 KiB) and `stream` (1 KiB)."""
    bodies = {}
    for name, size, stream in (("1k", 1024, False), ("32k", 32 * 1024, False), ("stream", 1024, True)):
        request = {"model": "bench-model", "stream": stream, "max_tokens": 100, "temperature": 0.7}
        request["messages"] = [{"role": "system", "content": "Be helpful."}, {"role": "user", "content": ""}]
        words = "What do you know of the weather in the mountains, and of those who live there all year? "
        missing = size - len(json.dumps(request, separators=(",", ":")))
        request["messages"][1]["content"] = (words * (missing // len(words) + 1))[:missing]
        bodies[name] = folder / f"{name}.json"
        bodies[name].write_text(json.dumps(request, separators=(",", ":")))
    return bodies


def ask(port, target="/v1/chat/completions", body=b"", timeout=10):
    """POSTs to 127.0.0.1. Returns whether the status is 200. Raises OSError without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        return connection.recv(4096).startswith(b"HTTP/1.1 200")


class Engines:
    """The engines behind all contenders: one process that listens on `ports`."""

    def __init__(self, tool, folder, listeners):
        self.process = Process([tool, "engine", "--listeners", listeners], folder, log="engines", stdout=subprocess.PIPE)
        self.ports = json.loads(self.process.popen.stdout.readline())["ports"]

    def pace(self, chunks, gap_ms):
        """Sets the number of chunks and the milliseconds between them for later streams."""
        if not ask(self.ports[0], f"/bench/{chunks}/{gap_ms}"):
            raise LoadError("the engines do not take their pace")


def result(text):
    """Parses the JSON object that a tool printed, from the first brace on. Raises `LoadError`."""
    try:
        return json.loads(text[text.index("{") :])
    except ValueError as error:
        raise LoadError(f"the load has no result but {text[-200:]!r}") from error


class Load:
    """Runs the load tools. All results are dictionaries, as the tools print them."""

    def __init__(self, tool, oha, bodies, folder):
        self.tool = tool
        self.oha_path = oha
        self.bodies = bodies
        self.folder = folder

    def wrk(self, port, body, seconds, models=1, sessions=0):
        """Closed loop: `CONNECTIONS` connections send requests for `seconds`."""
        argv = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", WRK_SCRIPT]
        argv += [f"http://127.0.0.1:{port}", "--", self.bodies[body], models, sessions]
        return result(self.run(argv, seconds + 30))

    def open(self, port, body, rate, seconds):
        """Open loop: `rate` requests/s for `seconds`."""
        argv = [self.tool, "open", "--port", port, "--body", self.bodies[body], "--rate", rate, "--seconds", seconds]
        return result(self.run(argv, seconds * 2 + 60))

    def oha(self, port, body, rate, seconds):
        """Open loop by oha: like `open`, with other connections, and a clock that starts when the timer fires."""
        requests = rate * seconds
        argv = [self.oha_path, "--no-tui", "--output-format", "json", "--stats-success-breakdown", "--latency-correction"]
        argv += ["-c", OHA_CONNECTIONS, "-n", requests, "-q", rate, "-t", "10s", "--disable-compression", "-m", "POST"]
        argv += ["-T", "application/json", "-D", self.bodies[body], f"http://127.0.0.1:{port}/v1/chat/completions"]
        seen = result(self.run(argv, seconds * 2 + 60))
        outcomes = {**seen["statusCodeDistribution"], **seen["errorDistribution"]}
        good = outcomes.get("200", 0)
        if not good:
            raise LoadError(f"no good answer: {outcomes}")
        quantiles = {f"{name}_ms": seen["latencyPercentilesSuccessful"][name] * 1000 for name in ("p50", "p90", "p99")}
        rate = good / seen["summary"]["total"]
        return {"requests": requests, "failed": requests - good, "outcomes": outcomes, "rate": rate, **quantiles}

    def streams(self, port, streams, repeat=1):
        """Runs `streams` at a time to their end, and `repeat` in a row on each connection."""
        argv = [self.tool, "streams", "--port", port, "--body", self.bodies["stream"], "--streams", streams]
        return result(self.run([*argv, "--repeat", repeat], 120))

    def hold(self, port, streams):
        """Opens `streams` and keeps them open during a `with` block."""
        argv = [self.tool, "streams", "--port", port, "--body", self.bodies["stream"], "--streams", streams, "--hold"]
        return Held(argv, self.folder)

    def run(self, argv, seconds):
        """Returns the output of `argv`, which may take `seconds`."""
        try:
            done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise LoadError(f"no end after {seconds} s") from error
        if done.returncode:
            raise LoadError(done.stderr.strip() or f"exit code {done.returncode}")
        return done.stdout


class Held:
    """Streams that stay open during a `with` block."""

    def __init__(self, argv, folder):
        self.process = Process(argv, folder, log="held", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def open(self):
        """Waits for the tool's next line. Returns the number of open streams."""
        line = self.process.popen.stdout.readline()
        if not line:
            raise LoadError("the streams were not opened")
        return json.loads(line)["open"]

    def release(self):
        """Returns the number of streams that were open to the end."""
        self.process.popen.stdin.write("\n")
        self.process.popen.stdin.flush()
        return self.open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.popen.stdin.close()
        self.process.stop()
