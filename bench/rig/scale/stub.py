"""The engine behind every deployment of the benchmark: one process, several ports.

`python -m rig.scale.stub LISTENERS` prints its ports as JSON and answers until it is killed.

- `GET /health` and `GET /own/...` are health probes. Those of the second kind can be made to fail.
- `POST /v1/...` is a request. The first request for each model can be made to fail.
- `POST /control` changes the settings, with a JSON object of `Engine`'s settings.
- `GET /control` returns what was counted, and forgets it.
"""

import asyncio
import json
import sys
import time
from functools import partial

from rig.scale.fleet import OWN

BACKLOG = 4096
"""Connections that wait for `accept`: all probes of a fleet can start in one instant."""


class Engine:
    """The settings, and what was counted."""

    def __init__(self):
        self.probes_fail = False
        self.first_status = None
        self.fail_every_other = False
        self.record = False
        self.forget()

    def forget(self):
        """Forgets what was counted."""
        self.arrivals = []
        self.calls = {}
        self.failed = 0

    def change(self, settings):
        """Takes new settings, and forgets what was counted."""
        self.forget()
        for name, value in settings.items():
            setattr(self, name, value)

    def counts(self):
        """What was counted since it was last asked. Times are seconds of the monotonic clock."""
        counted = {"arrivals": self.arrivals, "failed": self.failed, "calls": sum(self.calls.values())}
        self.forget()
        return counted

    def answer(self, method, path, body):
        """The status and the body of an answer."""
        if path == "/health" or path.startswith(OWN):
            if self.record:
                self.arrivals.append(time.monotonic())
            return (503 if self.probes_fail and path != "/health" else 200), b"{}"
        if path == "/control":
            if method == "POST":
                self.change(json.loads(body))
                return 200, b"{}"
            return 200, json.dumps(self.counts()).encode()
        return self.infer(json.loads(body)["model"])

    def infer(self, model):
        """Answers a request for `model`, or refuses it where the settings say so."""
        number = self.calls[model] = self.calls.get(model, 0) + 1
        is_due = number % 2 == 1 if self.fail_every_other else number == 1
        if self.first_status and is_due:
            self.failed += 1
            return self.first_status, b'{"error":{"message":"as it was told"}}'
        message = {"role": "assistant", "content": "Hello."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
        return 200, json.dumps(answer).encode()


class Connection(asyncio.Protocol):
    """One connection: HTTP/1.1 with `Content-Length` bodies, which is what the gateway sends."""

    def __init__(self, engine):
        self.engine = engine
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            lines = self.buffer[:end].split(b"\r\n")
            lengths = [int(line[15:]) for line in lines[1:] if line[:15].lower() == b"content-length:"]
            whole = end + 4 + sum(lengths)
            if len(self.buffer) < whole:
                return
            body, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            method, path, _ = lines[0].decode().split(" ", 2)
            self.respond(*self.engine.answer(method, path, body))

    def respond(self, status, body):
        """Writes an answer. One with status 429 says when to come back."""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if status == 429:
            head += "Retry-After: 60\r\n"
        self.transport.write(f"{head}\r\n".encode() + body)


async def serve(listeners):
    """Listens, says where, and answers for ever."""
    engine, loop = Engine(), asyncio.get_running_loop()
    listen = partial(loop.create_server, lambda: Connection(engine), "127.0.0.1", 0, backlog=BACKLOG)
    servers = [await listen() for _ in range(listeners)]
    print(json.dumps({"ports": [server.sockets[0].getsockname()[1] for server in servers]}), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
