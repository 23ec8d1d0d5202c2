"""Figures of strategies that are compiled: many of them, and one that takes long."""

import json
import os
import threading
import time

from rig.process import wait_for
from rig.scale import component
from rig.scale.fleet import model_id, strategy
from rig.scale.subject import Refused, Window

LARGE_MIB = 2.3
"""A component that compiles for longer than the gateway waits."""

BASE = "fixed"
"""The built-in strategy that components are made of."""

COMPILERS = ("strategy-compil", "ended", "children")
"""Where the CPU time of compiling is found. The kernel cuts names after 15 bytes."""

TRIAL_S = 60
"""An edit that is not in use after so long was refused for good."""


def strategies(bench, count):
    """`count` models with a strategy each, all different: a cold start, a warm start, an edit."""
    own = {model_id(number): {**strategy(BASE), "routing_strategy": f"own-{number}"} for number in range(count)}
    fleet = bench.fleet(count, strategies=own)
    cache = bench.folder / f"cache-of-{count}"
    values = {"strategies": count}
    for name in ("cold", "warm"):
        with CacheWatch(cache) as watch:
            try:
                subject = bench.start(fleet, cache, plugins=write_strategies(bench, count))
            except Refused as refused:
                return {**values, name: {"error": str(refused), "compiled": watch.compiled()}}
        with subject:
            values[name] = {**vars(subject.started), "rss_kib": subject.rss_kib(), "compiled": watch.compiled()}
            if name == "warm":
                bench.rest(subject)
                values["edit"] = unrelated_edit(bench, subject, cache)
    return values


def unrelated_edit(bench, subject, cache):
    """An edit that has nothing to do with the strategies."""
    with CacheWatch(cache) as watch:
        window = Window(subject)
        edit = subject.edit(bench.patience)
        time.sleep(0.5)
        return {"edit_s": edit, "cpu_s": window.control(), "compiled": watch.compiled()}


def write_strategies(bench, count):
    """A folder with `count` components that differ by a name in each."""
    folder = bench.folder / f"strategies-{count}"
    if not folder.exists():
        folder.mkdir()
        built = bench.component(BASE)
        for number in range(count):
            (folder / f"own-{number}.wasm").write_bytes(component.distinct(built, f"strategy {number}"))
    return folder


class CacheWatch:
    """Counts the files that come into a cache during a `with` block: what was compiled.

    A file that is there already at the begin does not count, nor one that is not whole yet.
    """

    def __init__(self, folder):
        self.folder = folder
        self.seen = set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look_again)
        self.look()
        self.already = set(self.seen)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def look_again(self):
        """Looks until the block ends, and then once more."""
        while not self.over.wait(0.005):
            self.look()
        self.look()

    def look(self):
        """Takes the files that are there now."""
        try:
            entries = list(os.scandir(self.folder))
        except FileNotFoundError:
            return
        for entry in entries:
            try:
                whole = not entry.name.endswith(".unfinished")
                if whole:
                    self.seen.add((entry.name, entry.inode(), entry.stat().st_mtime_ns))
            except FileNotFoundError:
                continue

    def compiled(self):
        """How many have come so far."""
        self.look()
        return len(self.seen - self.already)


def compiling(bench, _):
    """An edit names a large component. One second later a good edit is saved, then one with a small
    new component."""
    folder = bench.folder / "compiling"
    folder.mkdir(exist_ok=True)
    built = bench.component(BASE)
    (folder / "large.wasm").write_bytes(component.large(built, LARGE_MIB))
    (folder / "small.wasm").write_bytes(component.distinct(built, "small"))
    patience = min(TRIAL_S, bench.patience)
    cache = bench.folder / "cache-of-compiling"
    with bench.start(bench.fleet(100), cache, plugins=folder) as subject:
        bench.rest(subject)
        before, tasks = subject.rss_kib(), subject.tasks()
        with Memory(subject) as memory:
            window = Window(subject)
            subject.save(strategies={model_id(0): {**strategy(BASE), "routing_strategy": "large"}})
            time.sleep(1)
            good = subject.edit(patience)
            small = subject.edit(patience, strategies={model_id(0): {**strategy(BASE), "routing_strategy": "small"}})
            error = json.loads(subject.get("/routing"))["reload"]["last_error"]
            # Compiling goes on, in a thread or in a child, until there is one task less.
            wait_for(lambda: subject.tasks() <= tasks, bench.patience, pause=0.5)
            threads = window.threads()
        return {
            "component_bytes": (folder / "large.wasm").stat().st_size,
            "good_edit_s": good,
            "small_edit_s": small,
            "error_of_small": None if small else error,
            "rss_before_kib": before,
            "rss_peak_kib": memory.gateway,
            "children_peak_kib": memory.children,
            "rss_after_kib": subject.rss_kib(),
            "compiling_cpu_s": sum(threads.get(name, 0) for name in COMPILERS),
            "threads": threads,
        }


class Memory:
    """The largest resident sets during a `with` block: the gateway's, and its children's."""

    def __init__(self, subject):
        self.subject = subject
        self.gateway = self.children = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def watch(self):
        """Looks ten times a second."""
        while not self.over.wait(0.1):
            own = self.subject.rss_kib()
            self.gateway = max(self.gateway, own)
            self.children = max(self.children, self.subject.children_rss_kib())
