"""The configuration of a fleet of models x 4 deployments, two local and two remote."""

import json
from dataclasses import dataclass, field

EACH = 4
"""Deployments of each model."""

SIDES = ("local", "local", "remote", "remote")

PARAMETERS = {"fixed": {"local_fraction": 0.6}}
"""Of strategies that do not work without."""


@dataclass
class Fleet:
    """What `models.yaml` and `routing.yaml` say."""

    models: int
    ports: list
    """One for each of a model's deployments: all models share the engines."""
    places: int = 0
    """Deployments with a health path of their own: first of each model one, then two, ..."""
    settings: dict = field(default_factory=dict)
    """Further keys of `routing.yaml`."""

    def names(self):
        """The ids of all models."""
        return [f"model-{number:05}" for number in range(self.models)]

    def models_file(self):
        """The text of `models.yaml`, which is JSON, as all JSON is YAML."""
        return json.dumps({"models": [self.model(number, name) for number, name in enumerate(self.names())]})

    def model(self, number, name):
        """One model. It has routes of its own only where their health paths differ."""
        routes = []
        for index, (side, port) in enumerate(zip(SIDES, self.ports, strict=True)):
            route = {"base_url": f"http://127.0.0.1:{port}", "side": side, "name": f"{side}-{index}"}
            if index * self.models + number < self.places:
                route["health"] = f"/health/own/{number}-{index}"
            routes.append(route)
        if any("health" in route for route in routes):
            return {"id": name, "route": routes}
        return {"id": name, "base_url": routes[0]["base_url"]}

    def routing_file(self, **changes):
        """The text of `routing.yaml`, with `changes` to the settings."""
        entries = {"local_deployment": [], "remote_deployment": []}
        for index, (side, port) in enumerate(zip(SIDES, self.ports, strict=True)):
            entry = {"endpoint": f"http://127.0.0.1:{port}", "name": f"{side}-{index}", "models": self.names()}
            entries[f"{side}_deployment"].append(entry)
        return json.dumps({**strategy("fixed"), **self.settings, **changes, **entries})


def strategy(name):
    """A strategy and its parameters, as both `routing.yaml` and an entry of its `strategies` name them."""
    return {"routing_strategy": name, "routing_parameter": PARAMETERS.get(name, {})}
