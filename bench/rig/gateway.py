"""The gateway and its two configuration files."""

import json

from rig.contender import LOCAL_PERCENT, Contender, run


class Gateway(Contender):
    """The gateway in its default configuration, with health probes, limits, ejection and an access log.

    A larger fleet has `models` with `deployments` each (at least 2), at the engines of `ports`, else at the two
    engines. The first half of a model's deployments is local. `strategy` is the routing strategy. `budgets`, if
    given, says how many budgets cover all deployments, which then have prices. They are never spent.
    """

    name = "gateway"
    notes = "the default configuration: `fixed`, health probes, limits, ejection, JSON access log"

    def __init__(self, binary, models=1, deployments=2, strategy="fixed", ports=None, budgets=None):
        super().__init__()
        self.binary = binary
        self.models = models
        self.deployments = deployments
        self.strategy = strategy
        self.ports = ports
        self.budgets = budgets

    def find(self):
        """Returns the version."""
        return run(self.binary, "--version").split()[-1]

    def command(self, setup):
        """Writes models.yaml and routing.yaml as JSON, which is valid YAML."""
        ports = self.ports[: self.deployments] if self.ports else [setup.local, setup.remote]
        names = ["bench-model", *(f"model-{number}" for number in range(2, self.models + 1))]
        priced = {
            "context_length": 100_000,
            "max_output_length": 10_000,
            "pricing": {"per_million": True, "prompt": 0.15, "completion": 0.6},
        }
        priced = {} if self.budgets is None else priced
        models = [{"id": name, "base_url": f"http://127.0.0.1:{ports[0]}", **priced} for name in names]
        routing = {
            "routing_strategy": self.strategy,
            "timeout": 2,
            "health_check": 30,
            "logging": {"output": "access.log"},
        }
        for side, part in (("local", ports[: len(ports) // 2]), ("remote", ports[len(ports) // 2 :])):
            endpoints = [{"endpoint": f"http://127.0.0.1:{port}", "models": names} for port in part]
            routing[f"{side}_deployment"] = endpoints
        if self.strategy == "fixed":
            routing["routing_parameter"] = {"local_fraction": LOCAL_PERCENT / 100}
        if self.strategy == "session-affinity":
            routing["request"] = {"session_header": "x-session-id"}
        if self.budgets:
            amount = {"amount": 1_000_000, "per": "month"}
            routing["budgets"] = [{"name": f"budget-{number}", **amount} for number in range(self.budgets)]
            routing["ledger"] = {"file": "ledger.redb"}
        if setup.streams:
            routing["limits"] = {"requests": setup.streams + 100}
            routing["concurrency"] = {"max": setup.streams + 100}
        (setup.folder / "models.yaml").write_text(json.dumps({"models": models}))
        (setup.folder / "routing.yaml").write_text(json.dumps(routing))
        argv = [self.binary, "--models", "models.yaml", "--routing", "routing.yaml", "--port", setup.port]
        return argv, {}
