"""Asks the strategy and the library the same questions. See `compare`."""

import argparse
import json
import random
import subprocess
import sys
import time

from llm_routewise import NoProviderError, Provider, Router, Tuning
from llm_routewise._output_length import _OutputLengthEstimator
from llm_routewise.core.cost import quota_effective_cost

MINUTE = 60_000
NOW = 100 * 24 * 60 * MINUTE  # milliseconds since 1970
LEASE = 60_000


class Chosen(Router):
    """A library router whose draw is chosen, so that each deployment of a weight can be looked at."""

    choice = None

    def _sample_locked(self, weights):
        return self.choice if self.choice in weights else next(iter(weights))


def market(dice):
    """A case: providers, what was measured of them, and a request."""
    size = dice.choice([1, 2, 3, 5, 8, 8, 12])
    # Cases of the window of 15 minutes, and cases in which a day counts, as too little is known.
    day = dice.random() < 0.3
    prices = [round(10 ** dice.uniform(-1.5, 1.5), dice.choice([1, 3, 9])) for _ in range(max(1, size - dice.randrange(3)))]
    deployments = []
    for number in range(size):
        price_in, price_out = dice.choice(prices), dice.choice(prices)
        median = 10 ** dice.uniform(1.5, 4)
        events = []
        for _ in range(count(dice, day)):
            age = dice.uniform(1, 24 * 60 * MINUTE if day and events else 15 * MINUTE)
            late = dice.lognormvariate(0, dice.choice([0.1, 0.5, 1.2]))
            fails = dice.random() < dice.choice([0, 0, 0.05, 0.6])
            events.append([NOW - int(age), None if fails else median * late])
        events.sort(key=lambda event: event[0])
        deployments.append({
            "name": f"p{dice.randrange(100)}-{number}",
            "price": [price_in, dice.choice([price_in, price_in / 10, 0.0]), price_out],
            "cached": dice.choice([0, 0, 300, 10**6]),
            "events": events,
            "leased": False,
        })
    prompt = dice.choice([0, 1, 200, 3_000, 90_000])
    return {
        "kind": "market",
        "now": NOW,
        "day": day,
        "alpha": dice.choice([0, 0.25, 0.5, 0.75, 1, dice.random()]),
        "objective": dice.choice([400.0, 1_000.0, 3_000.0, dice.uniform(50, 20_000)]),
        "prompt": prompt,
        "output": dice.choice([0, 1, 500, dice.uniform(1, 4_000)]),
        "lease": dice.choice([None, None, 30_000, 59_000, 61_000]),
        "deployments": deployments,
    }


def count(dice, day):
    if dice.random() < 0.15:
        return 0
    # Fewer than ten in the window, so that a day counts: one is in the window, the others may be.
    return dice.randint(1, 9) if day else dice.choice([1, 4, 5, 10, 40, 120])


def library(case):
    """What the library decides, and the microseconds of a decision. None: it finds no provider."""
    now = [0.0]
    providers = [
        Provider(one["name"], one["price"][0], one["price"][2], one["price"][1])
        for one in case["deployments"]
    ]
    tuning = Tuning(window_min=24 * 60.0 if case["day"] else 15.0)
    router = Chosen(
        providers, alpha=case["alpha"], slo_ms=case["objective"], clock=lambda: now[0], tuning=tuning
    )
    cached = {one["name"]: one["cached"] for one in case["deployments"]}

    def route():
        return router.route(
            input_tokens=case["prompt"],
            estimated_output_tokens=case["output"],
            estimated_cached_tokens=cached,
        )

    events = [(at, one["name"], took) for one in case["deployments"] for at, took in one["events"]]
    for at, name, took in sorted(events, key=lambda event: event[0]):
        now[0] = at / 1000
        router.observe(name, ttft_ms=took) if took is not None else router.observe(name, kind="health")
    try:
        if case["lease"] is not None:
            take_lease(case, router, route, now)
        now[0] = case["now"] / 1000
        router.choice = None
        decision = route()
        weights = dict(decision.weights)
        explored = decision.trace.get("exploration_target")
        seconds = {}
        for name in sorted(weights, key=lambda name: name == explored):
            router.choice = name
            if name != decision.provider:
                decision = route()
            seconds[name] = second(decision)
        router.choice = None
        return {"weights": weights, "seconds": seconds, "explored": explored}
    except NoProviderError:
        return None


def take_lease(case, router, route, now):
    """An earlier request measures an unknown provider, if the library sends it there."""
    since = max(case["now"] - case["lease"], max((e[-1][0] for e in (o["events"] for o in case["deployments"]) if e), default=0))
    now[0] = since / 1000
    names = {one["name"]: one for one in case["deployments"]}
    for name, one in names.items():
        if one["events"]:
            continue
        router.choice = name
        decision = route()
        if decision.trace.get("exploration_target") == decision.provider:
            names[decision.provider]["leased"] = case["now"] - since < LEASE
        break


def second(decision):
    for after in decision.checkpoints_ms:
        attempt = decision.hedge_now(elapsed_ms=after)
        if attempt is not None:
            return [after, attempt.provider]
    return None


def quota(dice):
    low = 10 ** dice.uniform(-6, 0)
    return {
        "kind": "quota",
        "used": dice.choice([0.0, 1.0, dice.random(), dice.uniform(0.99, 1.01)]),
        "low": low,
        "high": low * 10 ** dice.uniform(0.001, 4),
    }


def lengths(dice):
    seen = [[int(2 ** dice.uniform(0, 22)), dice.choice([0, dice.randint(1, 4_000)])] for _ in range(dice.randint(0, 60))]
    prompt = dice.choice([0, int(2 ** dice.uniform(0, 22))])
    return {"kind": "lengths", "seen": seen, "prompt": prompt}


def expected(case):
    if case["kind"] == "market":
        return library(case)
    if case["kind"] == "quota":
        return {"cost": quota_effective_cost(case["used"], L=case["low"], U=case["high"])}
    estimator = _OutputLengthEstimator(
        min_bucket_samples=3, min_global_samples=3, default_output_tokens=512.0
    )
    for prompt, answer in case["seen"]:
        estimator.update(prompt, answer)
    return {"tokens": estimator.predict(case["prompt"])}


def differs(case, wanted, got):
    """What differs, in words. None: nothing."""
    for key in ("cost", "tokens"):
        if key in wanted and abs(wanted[key] - got[key]) > 1e-9 * max(1.0, abs(wanted[key])):
            return f"{key}: {got[key]}, the library says {wanted[key]}"
    if "weights" not in wanted:
        return None
    names = set(wanted["weights"]) | set(got["weights"])
    if any(abs(wanted["weights"].get(name, 0) - got["weights"].get(name, 0)) > 1e-9 for name in names):
        return f"weights {got['weights']}, the library says {wanted['weights']}"
    if wanted["explored"] != got["explored"]:
        return f"explores {got['explored']}, the library {wanted['explored']}"
    for name, second in wanted["seconds"].items():
        mine = got["seconds"][name]
        alike = (second is None) == (mine is None)
        if not alike or second and (abs(second[0] - mine[0]) > 1e-6 or second[1] != mine[1]):
            return f"second attempt beside {name}: {mine}, the library says {second}"
    return None


def timed(cases, program):
    """The microseconds of a decision, by the library and by the strategy's own code."""
    some = [case for case in cases if case["kind"] == "market" and len(case["deployments"]) == 8][:20]
    took = []
    for case in some:
        case = {**case, "lease": None}
        now = [0.0]
        providers = [Provider(o["name"], o["price"][0], o["price"][2], o["price"][1]) for o in case["deployments"]]
        router = Router(providers, alpha=case["alpha"], clock=lambda: now[0])
        for one in case["deployments"]:
            router.observe(one["name"], ttft_ms=500.0)
        began = time.perf_counter()
        for _ in range(200):
            router.route(input_tokens=case["prompt"], estimated_output_tokens=case["output"])
        took.append((time.perf_counter() - began) / 200 * 1e6)
    lines = "\n".join(json.dumps(case) for case in some) + "\n"
    run = subprocess.run([program, "1000"], input=lines, capture_output=True, text=True, check=True)
    own = [json.loads(line).get("us") for line in run.stdout.splitlines()]
    own = [us for us in own if us is not None]
    return sorted(took)[len(took) // 2], sorted(own)[len(own) // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--cases", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--time", action="store_true", help="also time a decision of both")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    makers = [market] * 8 + [quota, lengths]
    cases = [dice.choice(makers)(dice) for _ in range(options.cases)]
    wanted = [expected(case) for case in cases]
    lines = "\n".join(json.dumps(case) for case in cases) + "\n"
    run = subprocess.run([options.program], input=lines, capture_output=True, text=True, check=True)
    got = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(got) == len(cases), "an answer for each case"
    wrong, seen = 0, {"mixes": 0, "explored": 0, "seconds": 0, "none": 0}
    for case, want, mine in zip(cases, wanted, got):
        if want is None:
            seen["none"] += 1  # the library gives up where the strategy falls back
            continue
        seen["mixes"] += len(want.get("weights", ())) == 2
        seen["explored"] += want.get("explored") is not None
        seen["seconds"] += any(want.get("seconds", {}).values())
        difference = differs(case, want, mine)
        if difference:
            wrong += 1
            if wrong <= 3:
                print(json.dumps(case), difference, sep="\n", file=sys.stderr)
    print(f"{len(cases) - seen['none']} cases alike but {wrong}: {seen['mixes']} mixes of two, "
          f"{seen['explored']} that explore, {seen['seconds']} with a second attempt; "
          f"the library has no provider in {seen['none']} more")
    if options.time:
        theirs, ours = timed(cases, options.program)
        print(f"a decision among 8: {theirs:.1f} us by the library, {ours:.2f} us by the strategy's code")
    # Cases that exercise nothing prove nothing.
    few = min(seen["mixes"], seen["explored"], seen["seconds"]) < options.cases // 50
    sys.exit(1 if wrong or few else 0)


if __name__ == "__main__":
    main()
