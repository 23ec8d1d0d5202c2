"""Less traffic to deployments that have more to do. See README.md."""

import functools
import json
import math

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import Description, Facts, Signal
{{request}}
from wit_world.exports.request_policy import Plan, Verdict_Hold, Verdict_Route, WhenFull_AsConfigured
{{end}}
from wit_world.imports import logging, signals
from wit_world.imports.types import Place, Weights

# A JSON Schema: the gateway checks `routing_parameter` against it before it calls `configure`.
PARAMETERS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "remote": {
            "description": "The weight of a remote deployment, relative to an equally busy local one.",
            "type": "number", "minimum": 0, "maximum": 1, "default": 1,
        },
{{request}}
        "long_prompt": {
            "description": "Prompts of at least this many tokens stay on local deployments that have room.",
            "type": "integer", "minimum": 1, "default": 4000,
        },
        "patience": {
            "description": "Milliseconds that a long prompt waits for room at a local deployment.",
            "type": "integer", "minimum": 1, "maximum": 60000, "default": 1000,
        },
{{end}}
    },
}

# `gateway strategy inspect FILE --signals` lists all.
SIGNALS = ["engine.running", "engine.waiting"]

parameters = {}
places: list[Place] = []


def logged(function):
    """
    Logs an exception and its line, on standard error of `gateway strategy test` too. The gateway itself
    sees only that the strategy trapped. `Err` is no fault: it refuses parameters.
    """
    @functools.wraps(function)
    def call(*arguments):
        try:
            return function(*arguments)
        except Err:
            raise
        except Exception as error:
            last = error.__traceback__
            while last.tb_next:
                last = last.tb_next
            logging.log(logging.Level.ERROR, f"{function.__name__}, line {last.tb_lineno}: {error!r}")
            raise
    return call


class Policy(exports.Policy):
    def describe(self):
        return Description(
            name="{{name}}",
            version="0.1.0",
            summary="Less traffic to deployments that have more to do",
            parameters=json.dumps(PARAMETERS),
            refresh_interval=1000,  # the load changes, so the gateway asks again each second
{{request}}
            needs=Facts.PROMPT_TOKENS,
{{end}}
{{plain}}
            needs=Facts(0),
{{end}}
            signals=[Signal(name, optional=False) for name in SIGNALS],
            reasons=[],
        )

    @logged
    def configure(self, text, models, given):
        # `text` has the parameters as they were given, without the defaults of the schema. Refuse
        # those that the schema cannot rule out here: raise Err("why")
        global parameters, places
        parameters, places = json.loads(text), given

    @logged
    def assign(self, local, remote):
        loads = read_loads(local + remote)
        factor = parameters.get("remote", 1) if local else 1
        # Only proportions count.
        weights = [1 / (1 + load) for load in loads]
        return Weights(weights[:len(local)], [factor * weight for weight in weights[len(local):]])


{{request}}
class RequestPolicy(exports.RequestPolicy):
    @logged
    def assign_request(self, request, local, remote):
        weights = Policy().assign(local, remote)
        if local and (request.prompt_tokens or 0) >= parameters.get("long_prompt", 4000):
            if any(one.in_flight < one.limit for one in local):
                weights.remote = [0.0] * len(remote)
            elif request.held == 0:
                # Asked again when there is room, or when the time is over.
                return Verdict_Hold(parameters.get("patience", 1000))
        as_configured = WhenFull_AsConfigured()
        return Verdict_Route(Plan(weights, tiers=None, when_full=as_configured, hedge=None, reason=None))


{{end}}
def read_loads(deployments):
    """
    The requests that each deployment has to do. Its engine counts those of others, too. Where it does
    not tell, its signals are NaN. `places[deployment.id]` has the name, the capacity and the price.
    """
    values = iter(signals.read())
    told = [next(values) + next(values) for _ in deployments]
    return [one.in_flight if math.isnan(load) else load for one, load in zip(deployments, told)]
