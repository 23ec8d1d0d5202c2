"""Less traffic to deployments that have more to do. See README.md."""

import json

from wit_world import exports
from wit_world.exports.policy import Description, Facts
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
            "description": "Prompts of at least this many tokens stay on local deployments.",
            "type": "integer", "minimum": 1, "default": 4000,
        },
{{end}}
    },
}

parameters = {}
places: list[Place] = []


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
        )

    def configure(self, text, given):
        # Refuse parameters that the schema cannot rule out here: raise
        # componentize_py_types.Err("why")
        global parameters, places
        parameters, places = json.loads(text), given

    def assign(self, local, remote):
        factor = parameters.get("remote", 1) if local else 1
        return Weights([share(d) for d in local], [factor * share(d) for d in remote])


{{request}}
class RequestPolicy(exports.RequestPolicy):
    def assign_request(self, request, local, remote):
        weights = Policy().assign(local, remote)
        if local and (request.prompt_tokens or 0) >= parameters.get("long_prompt", 4000):
            weights.remote = [0.0] * len(remote)
        return weights


{{end}}
def share(deployment):
    """Only proportions count. `places[deployment.id]` has the name, the capacity and the price."""
    return 1 / (1 + deployment.in_flight)
