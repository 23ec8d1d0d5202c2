"""Figures of a gateway without traffic: starts, decisions, reloads, pages, probes."""

import json
import statistics
import subprocess
import sys
import time

from rig.scale.bench import BUILT_IN, RIG
from rig.scale.fleet import model_id, strategy
from rig.scale.subject import Refused, Window

PAGES = ("/metrics", "/v1/models", "/routing")

EDITED = ("fixed", "prompt-length")
"""Strategies that are asked at no fixed times, so that all calls are of the reload: the second one
decides for each request."""

MOST_PLACES = 10_000
"""Places that are probed at most: each can have a connection, and descriptors are limited."""


def start(bench, models):
    """A start with each built-in strategy for all models, and then what it takes at rest."""
    return {name: start_with(bench, models, name) for name in BUILT_IN}


def start_spill(bench, models):
    """The same with `spill` alone."""
    return {"spill": start_with(bench, models, "spill")}


def start_with(bench, models, name):
    """A start with one strategy. A refused start has an error."""
    try:
        # With the deadlines that a user has who sets none.
        with bench.start(bench.fleet(models, sandbox={}, **strategy(name))) as subject:
            wall, cpu = subject.started.wall_s, subject.started.cpu_s
            rss = subject.rss_kib()
            bench.rest(subject)
            return {"wall_s": wall, "cpu_s": cpu, "rss_kib": rss, **share(bench, subject)}
    except Refused as refused:
        return {"error": str(refused)}


def one(bench, models):
    """Each built-in strategy for one model, with `fixed` for the others: what it takes at rest."""
    values = {}
    for name in BUILT_IN:
        fleet = bench.fleet(models, strategies={model_id(0): strategy(name)})
        try:
            with bench.start(fleet) as subject:
                bench.rest(subject)
                values[name] = share(bench, subject, name)
        except Refused as refused:
            values[name] = {"error": str(refused)}
    return values


def share(bench, subject, name=None):
    """The share of a core of the control side, and calls of a strategy or of all, without traffic.

    Calls are counted from one `/metrics` to the next, CPU time between the two: a page takes long
    itself with a large fleet.
    """

    def count():
        found = subject.strategy_calls()
        return found.get(name, 0) if name else sum(found.values())

    calls, counted = count(), time.monotonic()
    window = Window(subject)
    time.sleep(bench.seconds(6, 2))
    threads, part = window.threads(), window.control() / window.seconds()
    calls = count() - calls
    per_second = calls / (time.monotonic() - counted)
    return {
        "control_share": part,
        "calls_per_s": per_second,
        "cpu_us_per_call": part / per_second * 1e6 if calls else None,
        "threads": threads,
    }


def reload(bench, models):
    """An edit at rest: its delay, its cost, and how often each model's strategy is asked."""
    values = {}
    for name in EDITED:
        try:
            with bench.start(bench.fleet(models, **strategy(name))) as subject:
                bench.rest(subject)
                values[name] = edit_at_rest(bench, subject, models)
        except Refused as refused:
            values[name] = {"error": str(refused)}
    return values


def edit_at_rest(bench, subject, models):
    """One edit, less what goes on without it."""
    idle = share(bench, subject)
    calls = sum(subject.strategy_calls().values())
    window = Window(subject)
    edit = subject.edit(bench.patience)
    time.sleep(1)
    seconds = window.seconds()
    cpu = window.control() - idle["control_share"] * seconds
    calls = sum(subject.strategy_calls().values()) - calls - idle["calls_per_s"] * seconds
    return {"edit_s": edit, "control_cpu_s": max(0, cpu), "calls_per_model": max(0, calls) / models}


def pages(bench, models):
    """Pages: size, time, CPU time of serving threads, and how long a serving core is held."""
    with bench.start(bench.fleet(models)) as subject:
        bench.rest(subject)
        values = {"held_without": pings(bench, subject, lambda: time.sleep(0.1))}
        for path in PAGES:
            values[path] = page(bench, subject, path)
        body = subject.chat("no-such-model")[1]
        values["unknown_model"] = {"status": 404, "bytes": len(body), "shown_bytes": len(subject.get("/v1/models/none"))}
    return values


def page(bench, subject, path):
    """One page."""
    times, sizes = [], []
    window = Window(subject)
    for _ in range(bench.seconds(7, 3)):
        begin = time.monotonic()
        sizes.append(len(subject.get(path)))
        times.append(time.monotonic() - begin)
    values = {
        "ms": statistics.median(times) * 1e3,
        "bytes": sizes[-1],
        "serving_cpu_ms": window.serving() / len(times) * 1e3,
        "control_cpu_ms": window.control() / len(times) * 1e3,
    }

    def scrape():
        subject.get(path)
        time.sleep(0.1)

    return {**values, "held": pings(bench, subject, scrape)}


def pings(bench, subject, meanwhile):
    """The longest answers to small requests on all cores while `meanwhile` is repeated."""
    argv = [sys.executable, "-m", "rig.scale.pings", str(subject.port), str(bench.seconds(4, 2))]
    pinging = subprocess.Popen(argv, cwd=RIG, stdout=subprocess.PIPE, text=True)
    while pinging.poll() is None:
        meanwhile()
    answer = pinging.stdout.read()
    return json.loads(answer) if answer else {"error": "the pings had no end"}


def probes(bench, models):
    """Probes of places with a path of their own: when they arrive, and what memory they take."""
    places = min(MOST_PLACES, models * 2)
    interval = bench.seconds(10, 5)
    with bench.start(bench.fleet(models, places)) as subject:
        bench.rest(subject)
        without = subject.rss_kib()
    probing = bench.fleet(models, places, health_check=interval, timeout=interval)
    with bench.start(probing) as subject:
        # The first round begins with the process. The second is the first of many like it.
        time.sleep(interval * 1.5)
        window, sizes, arrivals = Window(subject), [], []
        bench.stub.change(record=True)
        # A busy machine takes longer than an interval for one round.
        while len(arrivals) < places and window.seconds() < interval * 6:
            for _ in range(interval * 10):
                sizes.append(subject.rss_kib())
                time.sleep(0.1)
            arrivals += bench.stub.counts()["arrivals"]
        cpu = window.control() / window.seconds()
    bench.stub.reset()
    kib = [(size - without) / places for size in (statistics.median(sizes), max(sizes))]
    spread = {"probes": len(arrivals), "interval_s": interval, **spread_of(arrivals, interval)}
    return {"places": places, **spread, "kib_per_place": kib[0], "peak_kib_per_place": kib[1], "control_share": cpu}


def spread_of(arrivals, interval):
    """How evenly probes arrive. An even spread has 0.9 and 0.05."""
    if not arrivals:
        return {}
    arrivals.sort()
    middle = arrivals[len(arrivals) * 95 // 100] - arrivals[len(arrivals) * 5 // 100]
    # The densest twentieth of the interval.
    first = densest = 0
    for last, at in enumerate(arrivals):
        while at - arrivals[first] > interval / 20:
            first += 1
        densest = max(densest, last - first + 1)
    return {"middle_90_percent": middle / interval, "densest_twentieth": densest / len(arrivals)}
