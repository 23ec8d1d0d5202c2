"""The gateway, and the two files that it is started with."""

import json

from rig.contender import LOCAL_PERCENT, Contender, run


class Gateway(Contender):
    """The gateway in its default configuration: health probes, limits, ejection, a line in the access log for each request.

    `models` and `deployments` (of each model, at least 2) make a larger fleet of `ports`, or of the two engines;
    `strategy` is the routing strategy. The first half of a model's deployments is local.
    """

    name = "gateway"
    notes = "the default configuration: `fixed`, health probes, limits, ejection, JSON access log"

    def __init__(self, binary, models=1, deployments=2, strategy="fixed", ports=None):
        super().__init__()
        self.binary = binary
        self.models = models
        self.deployments = deployments
        self.strategy = strategy
        self.ports = ports

    def find(self):
        """Its version."""
        return run(self.binary, "--version").split()[-1]

    def command(self, setup):
        """Writes models.yaml and routing.yaml, which are JSON, as all JSON is YAML."""
        ports = self.ports[: self.deployments] if self.ports else [setup.local, setup.remote]
        names = ["bench-model", *(f"model-{number}" for number in range(2, self.models + 1))]
        models = [{"id": name, "base_url": f"http://127.0.0.1:{ports[0]}"} for name in names]
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
        if setup.streams:
            routing["limits"] = {"requests": setup.streams + 100}
            routing["concurrency"] = {"max": setup.streams + 100}
        (setup.folder / "models.yaml").write_text(json.dumps({"models": models}))
        (setup.folder / "routing.yaml").write_text(json.dumps(routing))
        argv = [self.binary, "--models", "models.yaml", "--routing", "routing.yaml", "--port", setup.port]
        return argv, {}
