"""The figures. Each function measures one contender, and returns numbers whose names carry the units."""

import time
from dataclasses import dataclass

from rig.load import Engines, Load, LoadError

OPEN_RATE = 500
"""Requests/s in the open loop. A slow contender gets at most half of its own maximum."""

STREAM_RATE = 100
"""New streams a second, for the time to the first chunk. The same bound applies."""

STREAMS = 200
"""Streams at a time, for the CPU time of chunks and for the first burst."""


@dataclass
class Bench:
    """The settings that all figures share."""

    engines: Engines
    load: Load
    quick: bool
    """True for short measurements."""
    most_streams: int
    """10,000, or the most that one process can hold at two descriptors for each stream."""

    def seconds(self, full, quick):
        """Returns the seconds of a measurement."""
        return quick if self.quick else full


def closed(bench, running, body, **options):
    """Requests/s in a closed loop and their CPU time, after a second of warm-up."""
    bench.load.wrk(running.port, body, 1, **options)
    before = cpu_ms(running)
    # An answer may take seconds under this load, and many of them must arrive.
    seconds = bench.seconds(30, 15) if running.slow else bench.seconds(6, 2)
    seen = bench.load.wrk(running.port, body, seconds, **options)
    if not seen["requests"]:
        raise LoadError(f"no answer within {seconds} s")
    seen["rps"] = seen["requests"] / seen["seconds"]
    if running.process:
        seen["cpu_ms_per_1000"] = (cpu_ms(running) - before) / seen["requests"] * 1000
    return seen


def open_loop(bench, running, rps):
    """Latency of plain answers at a fixed rate, from the due time. `rps` is the closed loop's result."""
    return flat(bench.load.open(running.port, "1k", open_rate(rps), bench.seconds(10, 3)))


def open_loop_oha(bench, running, rps):
    """The same latency by oha, whose clock starts when its timer fires."""
    return bench.load.oha(running.port, "1k", open_rate(rps), bench.seconds(10, 3))


def open_rate(rps):
    """Returns the fixed rate for a contender that reached `rps` in the closed loop."""
    return max(1, min(OPEN_RATE, int(rps / 2)))


def first_chunk(bench, running, rps):
    """Time to the first chunk of streams at a fixed rate, on warm connections."""
    bench.engines.pace(chunks=5, gap_ms=10)
    rate = max(1, min(STREAM_RATE, int(rps / 4)))
    return flat(bench.load.open(running.port, "stream", rate, bench.seconds(10, 3)))


def start_up(_, running):
    """Time from the start of the process to its first answer."""
    return {"ms": running.start_up_ms}


def first_burst(bench, running):
    """Time to the first chunk of `STREAMS` simultaneous streams, at a contender just started."""
    bench.engines.pace(chunks=5, gap_ms=10)
    return flat(bench.load.streams(running.port, STREAMS))


def chunks(bench, running, gap_ms, repeat):
    """CPU time of chunks: `STREAMS` streams at a time, 50 chunks each, `gap_ms` apart."""
    bench.engines.pace(chunks=50, gap_ms=gap_ms)
    before = cpu_ms(running)
    seen = flat(bench.load.streams(running.port, STREAMS, 1 if running.slow else repeat))
    if running.process and seen["chunks"]:
        seen["cpu_ms_per_1000"] = (cpu_ms(running) - before) / seen["chunks"] * 1000
    seen["failed"] = seen["streams"] - seen["whole"]
    return seen


def idle_memory(bench, running):
    """Memory when idle, after one answer."""
    time.sleep(bench.seconds(1, 0.5))
    kib, rss = running.process.memory()
    running.idle_kib = kib
    return {"kib": kib, "rss_kib": rss}


def held_memory(bench, running, streams):
    """Memory with `streams` open, each with a chunk a second, and the growth for each stream."""
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
    """Returns the CPU time of the contender so far, in milliseconds."""
    return running.process.cpu_seconds() * 1000 if running.process else 0


def flat(seen):
    """Returns `seen` with its quantiles moved to the top level."""
    return {**seen.pop("latency", {}), **seen.pop("first", {}), **seen}
