"""The configuration of a fleet of models x 4 deployments, two local and two remote."""

import json
from dataclasses import dataclass, field

EACH = 4
"""Deployments of each model."""

OWN = "/own/"
"""What health paths of single deployments begin with."""

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
        return [model_id(number) for number in range(self.models)]

    def models_file(self):
        """The text of `models.yaml`, which is JSON, as all JSON is YAML."""
        return compact({"models": [self.model(number) for number in range(self.models)]})

    def model(self, number):
        """One model. Only deployments with a health path of their own are routes: a file has at
        most 1 MiB.
        """
        endpoints = [f"http://127.0.0.1:{port}" for port in self.ports]
        routes = [
            {"base_url": endpoint, "health": f"{OWN}{number}-{index}"}
            for index, endpoint in enumerate(endpoints)
            if index * self.models + number < self.places
        ]
        return {"id": model_id(number), **({"route": routes} if routes else {"base_url": endpoints[0]})}

    def routing_file(self, **changes):
        """The text of `routing.yaml`, with `changes` to the settings."""
        entries = {"local_deployment": [], "remote_deployment": []}
        for index, (side, port) in enumerate(zip(SIDES, self.ports, strict=True)):
            entry = {"endpoint": f"http://127.0.0.1:{port}", "name": f"{side}-{index}", "models": self.names()}
            entries[f"{side}_deployment"].append(entry)
        return compact({**strategy("fixed"), **self.settings, **changes, **entries})


def model_id(number):
    """The id of a model."""
    return f"m-{number:05}"


def compact(value):
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def strategy(name):
    """A strategy and its parameters, as `routing.yaml` and its `strategies` name them."""
    return {"routing_strategy": name, "routing_parameter": PARAMETERS.get(name, {})}
