"""The figures: how each is measured at one contender. All return a dictionary of numbers, with units in their names."""

import time
from dataclasses import dataclass

from rig.load import Engines, Load, LoadError

OPEN_RATE = 500
"""Requests/s in the open loop, unless that is more than half of what a contender can do."""

STREAM_RATE = 100
"""Streams begun a second, for the time to the first chunk; likewise."""

STREAMS = 200
"""At a time, where streamed chunks are counted, and in the first burst."""


@dataclass
class Bench:
    """What figures are measured with."""

    engines: Engines
    load: Load
    quick: bool
    """Whether measurements may be short."""
    most_streams: int
    """10,000, or as many as a proxy of one process can have open, with two descriptors each."""

    def seconds(self, full, quick):
        """How long to measure."""
        return quick if self.quick else full


def closed(bench, running, body, **options):
    """Requests/s in a closed loop, and what they cost, after a second that does not count."""
    bench.load.wrk(running.port, body, 1, **options)
    before = cpu_ms(running)
    # Where one answer takes seconds under this load, many must have the time to come.
    seconds = bench.seconds(30, 15) if running.slow else bench.seconds(6, 2)
    seen = bench.load.wrk(running.port, body, seconds, **options)
    if not seen["requests"]:
        raise LoadError(f"no answer within {seconds} s")
    seen["rps"] = seen["requests"] / seen["seconds"]
    if running.process:
        seen["cpu_ms_per_1000"] = (cpu_ms(running) - before) / seen["requests"] * 1000
    return seen


def open_loop(bench, running, rps):
    """Latency of plain answers at a fixed rate, from when each request was due. `rps` is what the closed loop reached."""
    return flat(bench.load.open(running.port, "1k", open_rate(rps), bench.seconds(10, 3)))


def open_loop_oha(bench, running, rps):
    """The same as oha sees it, from when it has been told by its timer that a request is due."""
    return bench.load.oha(running.port, "1k", open_rate(rps), bench.seconds(10, 3))


def open_rate(rps):
    """The fixed rate at which one that can answer `rps` is asked."""
    return max(1, min(OPEN_RATE, int(rps / 2)))


def first_chunk(bench, running, rps):
    """Time to the first chunk of streams that begin at a fixed rate, on connections that are in use."""
    bench.engines.pace(chunks=5, gap_ms=10)
    rate = max(1, min(STREAM_RATE, int(rps / 4)))
    return flat(bench.load.open(running.port, "stream", rate, bench.seconds(10, 3)))


def start_up(_, running):
    """Time from the start of the process to the first answer."""
    return {"ms": running.start_up_ms}


def first_burst(bench, running):
    """Time to the first chunk of `STREAMS` streams at one time; the contender has just been started."""
    bench.engines.pace(chunks=5, gap_ms=10)
    return flat(bench.load.streams(running.port, STREAMS))


def chunks(bench, running, gap_ms, repeat):
    """CPU time of streamed chunks: `STREAMS` at a time, 50 chunks each, `gap_ms` apart."""
    bench.engines.pace(chunks=50, gap_ms=gap_ms)
    before = cpu_ms(running)
    seen = flat(bench.load.streams(running.port, STREAMS, 1 if running.slow else repeat))
    if running.process and seen["chunks"]:
        seen["cpu_ms_per_1000"] = (cpu_ms(running) - before) / seen["chunks"] * 1000
    seen["failed"] = seen["streams"] - seen["whole"]
    return seen


def idle_memory(bench, running):
    """Memory once it has answered a request and nothing is under way."""
    time.sleep(bench.seconds(1, 0.5))
    kib, rss = running.process.memory()
    running.idle_kib = kib
    return {"kib": kib, "rss_kib": rss}


def held_memory(bench, running, streams):
    """Memory with `streams` open, each with a chunk a second, and for each beyond what it was before any was."""
    bench.engines.pace(chunks=300, gap_ms=1000)
    with bench.load.hold(running.port, streams) as held:
        opened = held.open()
        time.sleep(bench.seconds(3, 2))
        kib, rss = running.process.memory()
        left = held.release()
    if left < streams:
        raise LoadError(f"of {streams} streams {opened} began and {left} were open to the end")
    return {"streams": streams, "kib": kib, "rss_kib": rss, "kib_per_stream": (kib - running.idle_kib) / streams}


def cpu_ms(running):
    """Milliseconds of CPU time that the contender has used so far."""
    return running.process.cpu_seconds() * 1000 if running.process else 0


def flat(seen):
    """`seen` with its quantiles on the top level."""
    return {**seen.pop("latency", {}), **seen.pop("first", {}), **seen}
