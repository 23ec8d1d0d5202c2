"""A market of 8 providers over a day, as a file that the strategy and the library both live through.

Each line is a request: its time in milliseconds, its tokens, and for each provider how long its first byte
would take if it were sent there (null: it would fail). So both see the same world, whatever they choose.
"""

import json
import math
import random

DAY = 24 * 3_600_000
SLO = 3_000.0
SPEED = 60.0  # tokens a second of an answer, once it has begun

# Dollars a million tokens of prompt and answer; median first byte in milliseconds; how heavy its tail is;
# how much its latency swings over the day, and when it is slowest; how much its price swings.
PROVIDERS = [
    # name, prompt, answer, median, sigma, swing, hour, price swing
    ("alpha", 0.10, 0.40, 1_100, 0.55, 0.6, 15, 0.0),
    ("bravo", 0.14, 0.50, 800, 0.60, 0.8, 20, 0.3),
    ("charlie", 0.20, 0.70, 900, 0.35, 0.3, 3, 0.0),
    ("delta", 0.25, 0.90, 550, 0.50, 0.7, 10, 0.0),
    ("echo", 0.30, 1.20, 450, 0.70, 0.5, 17, 0.3),
    ("foxtrot", 0.45, 1.80, 380, 0.40, 0.4, 13, 0.0),
    ("quota", 0.0, 0.0, 600, 0.40, 0.4, 12, 0.0),
    ("slots", 0.0, 0.0, 500, 0.45, 0.2, 9, 0.0),
]
QUOTA, WINDOW = 250, 4 * 3_600_000  # requests of the provider `quota` in four hours
SLOTS = 2  # requests at a time of the provider `slots`


def price(number, now):
    """Dollars a token of prompt and answer. Prices that swing change every hour."""
    _, prompt, answer, *_, swing = PROVIDERS[number]
    factor = 1.0 + swing * math.sin(2 * math.pi * (now // 3_600_000) / 24)
    return prompt * factor / 1e6, answer * factor / 1e6


def slowness(number, now):
    _, _, _, _, _, swing, hour, _ = PROVIDERS[number]
    return 1.0 + swing * (1.0 + math.cos(2 * math.pi * (now / 3_600_000 - hour) / 24)) / 2


def requests(seed, count):
    dice = random.Random(seed)
    # Heavy-tailed pauses: a few are very long, most are short, so that requests come in bursts.
    pauses = [dice.paretovariate(1.5) for _ in range(count)]
    scale = DAY / sum(pauses)
    # Half an hour of trouble for each provider, at another time.
    trouble = [dice.uniform(0, DAY) for _ in PROVIDERS]
    now = 0.0
    for pause in pauses:
        now += pause * scale
        first_bytes = []
        for number, (_, _, _, median, sigma, *_) in enumerate(PROVIDERS):
            is_troubled = trouble[number] <= now < trouble[number] + 1_800_000
            took = median * slowness(number, now) * dice.lognormvariate(0, sigma) * (5 if is_troubled else 1)
            if dice.random() < 0.01:
                took *= 8  # now and then a request is stuck
            fails = dice.random() < (0.2 if is_troubled else 0.002)
            first_bytes.append(None if fails else round(took, 3))
        prompt = max(1, min(30_000, int(dice.lognormvariate(math.log(1_200), 1.0))))
        output = max(1, min(4_000, int(dice.lognormvariate(math.log(250), 0.8))))
        prices = [price(number, now) for number in range(len(PROVIDERS))]
        yield {"at": int(now), "prompt": prompt, "output": output, "first_bytes": first_bytes, "prices": prices}


def write(path, seed, count):
    with open(path, "w") as file:
        for request in requests(seed, count):
            print(json.dumps(request), file=file)
