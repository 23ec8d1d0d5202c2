"""The library and the strategy live through the same day of a market: see `world.py` and `market`."""

import argparse
import heapq
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import world
from llm_routewise import NoProviderError, Provider, Router
from llm_routewise.core.cost import quota_effective_cost

NAMES = [provider[0] for provider in world.PROVIDERS]
QUOTA, SLOTS = NAMES.index("quota"), NAMES.index("slots")
FAILED = 1_000.0  # milliseconds until a failure shows


class Market(Router):
    """The library's router with the two prepaid tiers of the paper, by the library's own prices of them."""

    used = 0.0
    costs = []
    prices = None

    def _price(self, provider, input_tokens, cached_tokens, output_tokens):
        number = NAMES.index(provider.name)
        if number == SLOTS:
            return 0.0
        if number == QUOTA:
            low, high = envelope(self.costs)
            return quota_effective_cost(self.used, L=low, U=high) if low < high else low
        prompt, output = self.prices[number]
        return prompt * input_tokens + output * output_tokens


def envelope(costs):
    """P10 and P90 of what recent requests cost at the cheapest provider that is paid by the token."""
    if len(costs) < 2:
        return 0.0, 0.0
    ordered = sorted(costs)
    return ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]


def library(requests, alpha, seed):
    """One day with the library. Returns a tally."""
    now = [0.0]
    router = Market([Provider(name, 0, 0) for name in NAMES], alpha=alpha, slo_ms=world.SLO, seed=seed, clock=lambda: now[0])
    tally, busy, window, used = Tally(), 0, 0, 0
    events, order = [], 0

    def push(at, *event):
        nonlocal order
        order += 1
        heapq.heappush(events, (at, order, event))

    for number in range(len(requests)):
        push(requests[number]["at"], "arrive", number)
    state = {}

    def send(request, number, attempt, at, is_backup):
        nonlocal busy, used
        busy += number == SLOTS
        used += number == QUOTA
        took = requests[request]["first_bytes"][number]
        state[request]["attempts"].append([number, attempt, at, took, True])
        push(at + (FAILED if took is None else took), "first", request, len(state[request]["attempts"]) - 1)

    while events:
        at, _, (kind, request, *rest) = heapq.heappop(events)
        now[0] = at / 1000
        asked = requests[request]
        if at // world.WINDOW != window:
            window, used = at // world.WINDOW, 0
        router.used = used / world.QUOTA
        if kind == "arrive":
            router.prices = asked["prices"]
            paid = [p * asked["prompt"] + o * asked["output"] for n, (p, o) in enumerate(asked["prices"]) if n not in (QUOTA, SLOTS)]
            router.costs = (router.costs + [min(paid)])[-256:]
            exclude = [NAMES[n] for n, gone in ((SLOTS, busy >= world.SLOTS), (QUOTA, used >= world.QUOTA)) if gone]
            try:
                decision = router.route(input_tokens=asked["prompt"], exclude=exclude)
            except NoProviderError:
                tally.refused += 1
                continue
            state[request] = {"at": at, "decision": decision, "attempts": [], "done": False, "tried": set()}
            number = NAMES.index(decision.provider)
            send(request, number, decision.primary, at, False)
            for after in decision.checkpoints_ms:
                push(at + after, "check", request, after)
            continue
        one = state.get(request)
        if one is None:
            continue
        if kind == "check":
            if not one["done"] and len(one["attempts"]) == 1 and one["attempts"][0][4]:
                backup = one["decision"].hedge_now(elapsed_ms=rest[0])
                if backup is not None:
                    number = NAMES.index(backup.provider)
                    if (number == SLOTS and busy >= world.SLOTS) or (number == QUOTA and used >= world.QUOTA):
                        backup.declined()
                    else:
                        tally.hedged += 1
                        send(request, number, backup, at + 5, True)
            continue
        if kind == "first":
            number, attempt, since, took, alive = one["attempts"][rest[0]]
            if not alive or one["done"]:
                continue
            one["attempts"][rest[0]][4] = False
            if took is None:
                attempt.failed(kind="health", code="server_error")
                busy -= number == SLOTS
                one["tried"].add(NAMES[number])
                if not any(other[4] for other in one["attempts"]):
                    retry(router, asked, one, request, at, send, busy, used, tally)
                continue
            one["done"] = True
            tally.first_byte(at - one["at"])
            tally.cost(asked, number, asked["output"])
            attempt.first_token(ttft_ms=took, adopted=True)
            for other in one["attempts"]:
                if other[4]:
                    other[4] = False
                    other[1].cancelled()
                    busy -= other[0] == SLOTS
                    tally.cost(asked, other[0], 0)
            push(at + asked["output"] / world.SPEED * 1000, "end", request, rest[0])
            continue
        number, attempt, *_ = one["attempts"][rest[0]]
        attempt.completed(output_tokens=asked["output"])
        busy -= number == SLOTS
        del state[request]
    return tally


def retry(router, asked, one, request, at, send, busy, used, tally):
    """After a failure the next provider gets the request, chosen as for a new one."""
    gone = [NAMES[n] for n, is_gone in ((SLOTS, busy >= world.SLOTS), (QUOTA, used >= world.QUOTA)) if is_gone]
    try:
        decision = router.route(input_tokens=asked["prompt"], exclude=set(gone) | one["tried"])
    except NoProviderError:
        one["done"] = True
        tally.refused += 1
        return
    one["decision"] = decision
    send(request, NAMES.index(decision.provider), decision.primary, at, False)


class Tally:
    def __init__(self):
        self.times, self.dollars, self.hedged, self.refused = [], 0.0, 0, 0

    def first_byte(self, took):
        self.times.append(took)

    def cost(self, asked, number, output):
        prompt_price, output_price = asked["prices"][number]
        self.dollars += prompt_price * asked["prompt"] + output_price * output

    def figures(self):
        ordered = sorted(self.times)
        count = len(ordered)
        return {
            "dollars": self.dollars,
            "mean": sum(ordered) / count,
            "p50": ordered[count // 2],
            "p99": ordered[count * 99 // 100],
            "late": sum(took > world.SLO for took in ordered) / count,
            "hedged": self.hedged / count,
            "refused": self.refused,
        }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--requests", type=int, default=14_233)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    worse = 0
    print("| seed | alpha | who | dollars | mean | p50 | p99 | over 3 s | hedged | none |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "world.jsonl"
            world.write(path, seed, options.requests)
            requests = [json.loads(line) for line in open(path)]
            for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
                theirs = library(requests, alpha, seed).figures()
                run = subprocess.run([options.program, str(path), str(alpha)], capture_output=True, text=True, check=True)
                ours = json.loads(run.stdout)
                for who, figures in (("library", theirs), ("strategy", ours)):
                    print(
                        f"| {seed} | {alpha} | {who} | {figures['dollars']:.3f} | {figures['mean']:.0f} ms | {figures['p50']:.0f} ms "
                        f"| {figures['p99']:.0f} ms | {figures['late']:.2%} | {figures['hedged']:.2%} | {figures['refused']} |"
                    )
                worse += ours["p99"] > theirs["p99"]
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
