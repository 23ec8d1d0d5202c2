"""Clients of the soak: they stay, leave in the middle, or read slowly. Each request ends in one word."""

import asyncio
import json
import random

from rig.soak.faults import POISON

PATIENCE = 60
"""Seconds after which a request counts as lost."""
FRESH = 5
"""Seconds for which a connection is used again."""


class Lost(Exception):
    """The client stayed, and got no whole answer."""


class Answer:
    """Reads one HTTP/1.1 answer."""

    def __init__(self, reader, pause):
        self.reader, self.pause = reader, pause
        self.status, self.reusable = 0, False
        self.tail = b""
        """The end of the body, for the error event."""

    async def read(self):
        """Reads it all. Raises `Lost` if it does not end as its head says."""
        try:
            await self.head()
            if self.length is None:
                while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    await self.body(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            else:
                await self.body(self.length)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise Lost(f"{self.status} {error}") from error

    async def head(self):
        """Reads the status and the framing."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        self.length = None if headers.get("transfer-encoding") == "chunked" else int(headers["content-length"])
        self.reusable = headers.get("connection") != "close"

    async def body(self, size):
        """Reads a part of the body, a slow client in small pieces."""
        while size:
            piece = await self.reader.readexactly(min(size, 64) if self.pause else size)
            self.tail = (self.tail + piece)[-4096:]
            size -= len(piece)
            await asyncio.sleep(self.pause)


class Clients:
    """Sends requests at a rate, of all kinds to all models, and counts how they end."""

    def __init__(self, port, models, rate, most=500):
        self.port, self.models, self.rate = port, models, rate
        self.ends, self.idle, self.lost = {}, [], []
        self.late = 0.0
        """The most seconds that a request was sent late, because the machine had no time for the load."""
        self.under_way, self.most = set(), most

    async def run(self, until):
        """Sends until that time of the loop, and waits for the ends."""
        loop, due = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        self.begun = due
        while due < until:
            due = max(due + random.expovariate(self.rate), loop.time() - 1)
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.late = max(self.late, loop.time() - due)
            if len(self.under_way) < self.most:
                task = asyncio.create_task(self.ask(random.choice(self.models)))
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)
        if self.under_way:
            await asyncio.wait(self.under_way)
        for _, writer in [pair for _, pair in self.idle]:
            writer.close()

    async def ask(self, model):
        """One request. Counts its end."""
        way = random.choices(["stays", "leaves", "slow"], [8, 1, 1])[0]
        try:
            end = await asyncio.wait_for(self.request(model, way), PATIENCE)
        except (Lost, OSError, asyncio.TimeoutError) as error:
            end = "lost"
            at = asyncio.get_running_loop().time() - self.begun
            self.lost.append(f"{model} after {at:.0f} s: {error!r}")
        self.ends[model, end] = self.ends.get((model, end), 0) + 1

    async def request(self, model, way):
        """Returns the status, `told` of a failure in the middle, or `left`."""
        reader, writer, is_new = await self.connection()
        stream = random.random() < 0.6
        prompt = f"{random.random()} {POISON if random.random() < 0.3 else 'hello'}"
        asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}]}
        body = json.dumps(asked).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        message = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        try:
            return await self.exchange(reader, writer, message, way)
        except Lost as error:
            raise Lost(f"{error}, {way}, on {'a new' if is_new else 'an idle'} connection") from error
        finally:
            if not any(writer is kept for _, (_, kept) in self.idle):
                writer.close()

    async def exchange(self, reader, writer, message, way):
        """Sends a request and reads the answer."""
        if way == "slow":
            for begin in range(0, len(message), 50):
                writer.write(message[begin : begin + 50])
                await asyncio.sleep(0.02)
        else:
            writer.write(message)
        reading = Answer(reader, 0.01 if way == "slow" else 0)
        if way == "leaves":
            try:
                await asyncio.wait_for(reading.read(), random.choice([0.001, 0.03, 0.3]))
            except (asyncio.TimeoutError, Lost):
                pass
            return "left"
        try:
            await reading.read()
        except Lost:
            if reading.status == 200 and b'data: {"error"' in reading.tail:
                return "told"
            raise
        if reading.reusable:
            self.idle.append((asyncio.get_running_loop().time(), (reader, writer)))
        return reading.status

    async def connection(self):
        """An idle connection or a new one, and which of them it is."""
        now = asyncio.get_running_loop().time()
        while self.idle:
            since, (reader, writer) = self.idle.pop()
            if now - since < FRESH and not reader.at_eof():
                return reader, writer, False
            writer.close()
        return *await asyncio.open_connection("127.0.0.1", self.port), True
