"""Engines that misbehave: each has one kind of fault, which half of its requests meet."""

import asyncio
import json
import random
import socket
import struct

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = 12
"""Words of a good answer."""
POISON = "poison"
"""A prompt with this word fails at every engine of the kind `poison`."""


def chunk(data):
    """A chunk of the transfer coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta, finish=None):
    """An event of a stream, in a chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = json.dumps({"object": "chat.completion.chunk", "model": "m", "choices": [choice]})
    return chunk(f"data: {data}\n\n".encode())


def answer(status, body, kind="application/json", more=""):
    """A whole answer."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def good(stream):
    """The pieces of a good answer."""
    if not stream:
        message = {"role": "assistant", "content": " ".join(["word"] * WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": WORDS, "total_tokens": WORDS + 3}
        return [answer(200, {"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})]
    words = [event({"content": "word "}) for _ in range(WORDS)]
    return [STREAM, event({"role": "assistant"}), *words, event({}, "stop"), chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n"]


def reset(writer):
    """Closes a connection by a reset."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


class Closed(Exception):
    """The engine closes the connection."""


async def refuses(wire, stream, prompt):
    """It is full."""
    status, more = random.choice([(503, ""), (503, "retry-after: 1\r\n"), (429, ""), (429, "retry-after: 1\r\n"), (529, "")])
    wire.write(answer(status, {"error": {"message": "full", "code": status}}, more=more))


async def stalls(wire, stream, prompt):
    """It sends a part, and then nothing until the gateway leaves."""
    pieces = good(stream)
    whole = b"".join(pieces)
    wire.write(whole[: random.choice([20, len(pieces[0]) // 2, len(whole) // 2])])
    await wire.until_closed()


async def cuts(wire, stream, prompt):
    """It closes the connection in the middle of an answer."""
    whole = b"".join(good(stream))
    wire.write(whole[: random.randrange(1, len(whole) - 1)])
    raise Closed


async def resets(wire, stream, prompt):
    """The same by a reset, also before the first byte."""
    whole = b"".join(good(stream))
    wire.write(whole[: random.choice([0, 0, random.randrange(1, len(whole) - 1)])])
    await asyncio.sleep(0.01)
    reset(wire.writer)
    raise Closed


async def hangs(wire, stream, prompt):
    """It sends nothing until the gateway leaves."""
    await wire.until_closed()


async def lies(wire, stream, prompt):
    """It answers 200 with something else."""
    error = {"error": {"message": "CUDA out of memory", "code": random.choice([429, 500, 503])}}
    wire.write(
        random.choice(
            [
                answer(200, b"<html>sign in</html>", "text/html"),
                answer(200, b'{"choices": [{"message": {"content": "cut'),
                answer(200, error),
                answer(200, b"", "text/event-stream"),
                answer(500, error),
                answer(502, b"bad gateway", "text/plain"),
                answer(200, b"data: " + json.dumps(error).encode() + b"\n\n", "text/event-stream"),
                b"HTTP/1.1 2OO OK\r\n\r\n",
            ]
        )
    )
    raise Closed


async def poison(wire, stream, prompt):
    """A request breaks it."""
    if POISON in prompt:
        wire.write(answer(500, {"error": {"message": "assertion failed", "code": 500}}))
    else:
        await well(wire, stream, prompt)


async def well(wire, stream, prompt):
    """A good answer, one piece after the other."""
    for piece in good(stream):
        wire.write(piece)
        if stream:
            await asyncio.sleep(0.005)


KINDS = (refuses, stalls, cuts, resets, hangs, lies, poison)


class Wire:
    """A connection of the gateway."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def write(self, data):
        """Sends bytes. Raises `Closed` if the gateway has left."""
        if self.writer.is_closing():
            raise Closed
        self.writer.write(data)

    async def until_closed(self):
        """Waits until the gateway closes the connection."""
        while await self.reader.read(4096):
            pass
        raise Closed

    async def request(self):
        """The next request: whether it wants a stream, and its prompt. Raises `Closed` where there is none.

        Answers probes.
        """
        try:
            while (head := await self.reader.readuntil(b"\r\n\r\n")).startswith(b"GET"):
                self.write(answer(200, {"status": "ok"}))
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = json.loads(await self.reader.readexactly(int(length.split(b":")[1])))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Closed from error
        return body.get("stream", False), body["messages"][0]["content"]


class Engine:
    """An engine with one kind of fault, on a port of its own."""

    def __init__(self, kind):
        self.kind, self.server, self.port = kind, None, 0

    async def listen(self):
        """Listens. Connections wait in the system's queue meanwhile."""
        self.server = await asyncio.start_server(self.converse, "127.0.0.1", self.port, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]

    async def converse(self, reader, writer):
        """Answers the requests of one connection."""
        wire = Wire(reader, writer)
        try:
            while True:
                stream, prompt = await wire.request()
                faulty = self.kind is poison or random.random() < 0.5
                await (self.kind if faulty else well)(wire, stream, prompt)
                await writer.drain()
        except (Closed, OSError, asyncio.CancelledError):
            pass  # Cancelled: the soak is over.
        finally:
            writer.close()
