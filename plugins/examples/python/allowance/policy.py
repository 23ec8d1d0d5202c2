"""Uses remote deployments while there is money for them. See README.md."""

import json

from wit_world import exports
from wit_world.exports.policy import Description, Facts
from wit_world.imports import logging, store
from wit_world.imports.types import Weights

PARAMETERS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["dollars"],
    "properties": {
        "dollars": {
            "description": "What remote deployments may cost in one period, in US dollars.",
            "type": "number", "minimum": 0,
        },
        "period": {
            "description": "Seconds of a period; it begins with the first cost in it.",
            "type": "integer", "minimum": 1, "maximum": 2_592_000, "default": 3600,
        },
        "saving": {
            "description": "The share of the dollars after which only the cheapest remote deployment is used.",
            "type": "number", "minimum": 0, "maximum": 1, "default": 0.8,
        },
    },
}

parameters = {}
places = []


class Policy(exports.Policy):
    def describe(self):
        return Description(
            name="allowance",
            version="0.1.0",
            summary="Remote deployments while there is money for them",
            parameters=json.dumps(PARAMETERS),
            refresh_interval=1000,
            needs=Facts(0),
        )

    def configure(self, text, given):
        global parameters, places
        parameters, places = {"period": 3600, "saving": 0.8, **json.loads(text)}, given

    def assign(self, local, remote):
        used = affordable(local, remote)
        return Weights([free(d) for d in local], [free(d) if d.id in used else 0.0 for d in remote])


class Learning(exports.Learning):
    def outcome(self, attempts):
        cost = sum(a.cost or 0.0 for a in attempts)
        if cost == 0:
            return
        before = spent()
        if before is None:
            # A strategy has no clock. The period ends when this value expires.
            store.set("period", b"", parameters["period"] * 1000)
        after = (before or 0.0) + cost
        store.set("spent", repr(after).encode(), None)
        if (before or 0.0) < parameters["dollars"] <= after:
            logging.log(logging.Level.WARN, f"${parameters['dollars']} are spent for this period")


def spent():
    """Returns the dollars spent in this period, or None before it. The store survives faults."""
    if store.get("period") is None:
        return None
    return float(store.get("spent") or b"0")


def affordable(local, remote):
    """Returns the ids of the remote deployments that the money allows."""
    money = spent() or 0.0
    if money < parameters["dollars"] * parameters["saving"]:
        return {d.id for d in remote}
    if remote and (money < parameters["dollars"] or not local):
        # Without a local deployment, spending more is better than a failed request.
        return {min(remote, key=price).id}
    return set()


def price(deployment):
    known = places[deployment.id].price
    return known.prompt + known.completion if known else 0.0


def free(deployment):
    """Returns the free places, and a little for a full deployment: not all weights may be 0."""
    return max(places[deployment.id].capacity - deployment.in_flight, 0.01)
