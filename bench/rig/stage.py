"""What the benchmarks of behaviour are played on: a gateway, stub engines, and single requests."""

import http.client
import json

from rig.process import Process, free_port, wait_for


def stub(binary, folder, name, flags, port=None):
    """A stub engine, and its port."""
    port = port or free_port()
    argv = [binary, "stub", "--port", port, "--name", name, *(word for pair in flags.items() for word in pair)]
    process = Process(argv, folder, log=name)
    if not wait_for(lambda: get(port, "/health")[0] == 200, 20, 0.05):
        process.stop()
        raise SystemExit(f"the stub engine does not start: {(folder / name).read_text(errors='replace')[-500:]}")
    return process, port


def get(port, path, method="GET", body=None, headers=None):
    """One request. Returns the status, 0 without an answer, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Gateway:
    """A gateway with these two files, in a folder that it makes."""

    def __init__(self, binary, folder, models, routing, env=None):
        folder.mkdir()
        self.folder = folder
        (folder / "models.yaml").write_text(models)
        (folder / "routing.yaml").write_text(routing)
        self.port = free_port()
        argv = [binary, "--models", "models.yaml", "--routing", "routing.yaml", "--port", self.port]
        self.process = Process(argv, folder, env)
        has_ended = lambda: self.process.popen.poll() is not None
        wait_for(lambda: has_ended() or get(self.port, "/health")[0] == 200, 20, 0.05)
        if has_ended():
            raise SystemExit(f"the gateway does not start: {(folder / 'output').read_text(errors='replace')[-500:]}")

    def shown(self, name):
        """What `/routing` says of a deployment of the model `m`."""
        model = json.loads(get(self.port, "/routing")[1])["models"]["m"]
        return next(one for one in model["deployments"] if one["name"] == name)


def between(binary, folder, local, remote, more):
    """A gateway for the model `m`. Each side is a dict of names and ports. `more` are further lines of routing.yaml."""
    sides = "".join(f"{side}_deployment:{entries(ports)}" for side, ports in (("local", local), ("remote", remote)))
    return Gateway(binary, folder, "models: [{id: m}]\n", f"routing_strategy: local-first\n{sides}{more}")


def entries(ports):
    """The deployments of a side."""
    lines = "".join(
        f"  - {{endpoint: 'http://127.0.0.1:{port}', name: {name}, models: [m]}}\n" for name, port in ports.items()
    )
    return f"\n{lines}" if lines else " []\n"
