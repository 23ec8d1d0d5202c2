"""What loads the contenders: the engines behind them, wrk, oha, and the load tool of bench/load."""

import json
import socket
import subprocess
from pathlib import Path

from rig.process import Process

CONNECTIONS = 64
"""Of wrk, in the closed loop."""

OHA_CONNECTIONS = 10
"""Of oha, which has no warm-up and lets them take turns: so few that what the first request of each costs, which includes
connecting, hardly moves the 99th percentile of some thousand."""

WRK_SCRIPT = Path(__file__).resolve().parent.parent / "wrk.lua"


class LoadError(Exception):
    """Load could not be made, or its result is worthless."""


def write_bodies(folder):
    """Writes the bodies of requests: `1k` and `32k`, whose names are their sizes in KiB, and `stream`, of 1 KiB."""
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
    """One POST to 127.0.0.1; whether its answer begins with status 200. Raises OSError where there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        return connection.recv(4096).startswith(b"HTTP/1.1 200")


class Engines:
    """The engines behind all contenders, in one process; `ports` are theirs."""

    def __init__(self, tool, folder, listeners):
        self.process = Process([tool, "engine", "--listeners", listeners], folder, log="engines", stdout=subprocess.PIPE)
        self.ports = json.loads(self.process.popen.stdout.readline())["ports"]

    def pace(self, chunks, gap_ms):
        """Sets what streams are like from now on: how many chunks, and milliseconds between two."""
        if not ask(self.ports[0], f"/bench/{chunks}/{gap_ms}"):
            raise LoadError("the engines do not take their pace")


def result(text):
    """What a tool printed from the first brace on, which is an object of JSON. Raises `LoadError` where it is not."""
    try:
        return json.loads(text[text.index("{") :])
    except ValueError as error:
        raise LoadError(f"the load has no result but {text[-200:]!r}") from error


class Load:
    """Runs what makes load; all results are dictionaries, as the tools print them."""

    def __init__(self, tool, oha, bodies, folder):
        self.tool = tool
        self.oha_path = oha
        self.bodies = bodies
        self.folder = folder

    def wrk(self, port, body, seconds, models=1, sessions=0):
        """Closed loop: as many requests as `CONNECTIONS` can make in `seconds`."""
        argv = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", WRK_SCRIPT]
        argv += [f"http://127.0.0.1:{port}", "--", self.bodies[body], models, sessions]
        return result(self.run(argv, seconds + 30))

    def open(self, port, body, rate, seconds):
        """Open loop: `rate` requests/s for `seconds`."""
        argv = [self.tool, "open", "--port", port, "--body", self.bodies[body], "--rate", rate, "--seconds", seconds]
        return result(self.run(argv, seconds * 2 + 60))

    def oha(self, port, body, rate, seconds):
        """Open loop by oha: as `open`, but for the connections, and for oha's clock, which begins when its timer is over."""
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
        """`streams` at a time, on each connection `repeat` one after the other, to their end."""
        argv = [self.tool, "streams", "--port", port, "--body", self.bodies["stream"], "--streams", streams]
        return result(self.run([*argv, "--repeat", repeat], 120))

    def hold(self, port, streams):
        """Opens `streams` and keeps them open for the length of a `with` block."""
        argv = [self.tool, "streams", "--port", port, "--body", self.bodies["stream"], "--streams", streams, "--hold"]
        return Held(argv, self.folder)

    def run(self, argv, seconds):
        """What `argv` prints; it has `seconds` for it."""
        try:
            done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise LoadError(f"no end after {seconds} s") from error
        if done.returncode:
            raise LoadError(done.stderr.strip() or f"exit code {done.returncode}")
        return done.stdout


class Held:
    """Streams that are open from the beginning of a `with` block to its end."""

    def __init__(self, argv, folder):
        self.process = Process(argv, folder, log="held", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def open(self):
        """How many are open, as of the tool's next word."""
        line = self.process.popen.stdout.readline()
        if not line:
            raise LoadError("the streams were not opened")
        return json.loads(line)["open"]

    def release(self):
        """How many were open to the end."""
        self.process.popen.stdin.write("\n")
        self.process.popen.stdin.flush()
        return self.open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.popen.stdin.close()
        self.process.stop()
