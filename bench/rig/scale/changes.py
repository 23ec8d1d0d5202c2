"""Figures of changes: deployments that go down, are ejected, or cool, and edits meanwhile."""

import time
from concurrent.futures import ThreadPoolExecutor

from rig.scale.fleet import EACH
from rig.scale.subject import Window

MOST = 1_000
"""Deployments that change their state within a second, in a fleet that has so many."""

REFUSALS = 137
"""Answers with status 429."""

CLIENTS = 8
"""Requests at a time."""

LATER = 0.5
"""Seconds from the begin of the changes to the edit in the middle of them."""

QUIET = 0.02
"""The share of a core, beyond that at rest, below which a thread counts as settled."""


def down(bench, models):
    """Health probes of up to 1,000 deployments begin to fail within one second."""
    places = min(MOST, models * EACH)
    fleet = bench.fleet(models, places, health_check=1, timeout=5, health={"down_after": 1})

    def begin(_):
        bench.stub.change(probes_fail=True)

    return both(bench, fleet, begin, places)


def ejections(bench, models):
    """One request to each of up to 1,000 models fails, and one failure ejects a deployment."""
    changes = min(MOST, models)
    settings = {"ejection": {"consecutive": 1, "base": 3600, "max": 3600}}
    fleet = bench.fleet(models, **settings, **plenty())

    def begin(subject):
        bench.stub.change(first_status=500)
        send(subject, fleet.names()[:changes])

    return both(bench, fleet, begin, changes)


def cooling(bench, models):
    """137 answers with status 429, spread over the models, then an edit."""
    fleet = bench.fleet(models, **plenty())
    names = fleet.names()
    step = max(1, models // REFUSALS)
    asked = [names[number * step % models] for number in range(REFUSALS)]
    with bench.start(fleet) as subject:
        bench.rest(subject)
        bench.stub.change(first_status=429, fail_every_other=True)
        window = Window(subject)
        send(subject, asked)
        sent = window.seconds()
        edit = subject.edit(bench.patience)
        refused = bench.stub.counts()["failed"]
        values = {"refused": refused, "sending_s": sent, "control_cpu_s": window.control(), "threads": window.threads()}
    bench.stub.reset()
    return {**values, **delay(edit, bench)}


def plenty():
    """Settings by which each request that fails is tried once more."""
    return {"fallback": {"budget": {"percent": 10_000, "per_second": 100_000}}}


def send(subject, names):
    """One request to each of the models."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(subject.chat, names))


def both(bench, fleet, begin, changes):
    """What the changes cost. Then, in a fresh gateway, how long an edit in the middle takes."""
    try:
        with bench.start(fleet) as subject:
            bench.rest(subject)
            values = settle(bench, subject, begin, changes)
        bench.stub.reset()
        with bench.start(fleet) as subject:
            bench.rest(subject)
            begin(subject)
            time.sleep(LATER)
            edit = subject.edit(bench.patience)
    finally:
        bench.stub.reset()
    return {"changes": changes, **values, **delay(edit, bench)}


def settle(bench, subject, begin, changes):
    """Begins the changes; when they are all seen, when it is quiet again, and what that has cost.

    What the control side does at rest, and for the pages that are asked for on the way, is taken off.
    """
    at_rest = shares_at_rest(subject, bench.seconds(4, 2))
    page_s, page_cpu = page_cost(subject, at_rest)
    calls = sum(subject.strategy_calls().values())
    window = Window(subject)
    begin(subject)
    pages, shown = 0, None
    while shown is None and window.seconds() < bench.patience:
        pages += 1
        if subject.out_of_use() >= changes:
            shown = window.seconds()
        else:
            time.sleep(max(0.1, page_s * 5))
    quiet = until_quiet(bench, subject, window, at_rest)
    seconds = quiet or window.seconds()
    cpu = max(0, window.beyond(at_rest) - page_cpu * pages)
    threads = window.threads()
    calls = sum(subject.strategy_calls().values()) - calls
    return {
        "shown_s": shown,
        "settled_s": seconds,
        "settled_within_patience": quiet is not None,
        "control_cpu_s": cpu,
        "cpu_ms_per_change": cpu / changes * 1e3,
        "control_shares_at_rest": at_rest,
        "strategy_calls": calls,
        "threads": threads,
    }


def shares_at_rest(subject, seconds):
    """The share of a core that each thread of the control side takes when nothing changes."""
    window = Window(subject)
    time.sleep(seconds)
    return window.control_shares()


def page_cost(subject, at_rest, pages=3):
    """Wall time of `/routing`, and the CPU time of the control side for it."""
    window = Window(subject)
    for _ in range(pages):
        subject.out_of_use()
    return window.seconds() / pages, window.beyond(at_rest) / pages


def until_quiet(bench, subject, window, at_rest):
    """Seconds from the begin of the window until each thread was as at rest again, or None."""
    while (began := window.seconds()) < bench.patience:
        shares = shares_at_rest(subject, 1)
        if all(share < at_rest.get(name, 0) * 1.5 + QUIET for name, share in shares.items()):
            return began
    return None


def delay(edit, bench):
    """How long an edit took; where it was not in use in time, so long at least."""
    return {"edit_s": bench.patience if edit is None else edit, "edit_in_use": edit is not None}
