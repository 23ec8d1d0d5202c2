"""The gateway that is measured: its start, its threads, its pages, and edits of its files."""

import http.client
import json
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from rig.process import TICKS, Process, read_stat, wait_for

LARGEST_BODY_MIB = 512
"""`limits.body_mib` at the start. Each edit lowers it by one, which a request can see."""

MIB = 2**20

SERVING = "core-"
"""What the names of threads that serve begin with."""


class Refused(Exception):
    """The gateway did not start; the text says why."""


@dataclass
class Start:
    """How a start went."""

    wall_s: float
    cpu_s: float


class Window:
    """The CPU time of a gateway's threads since the beginning of the window."""

    def __init__(self, subject):
        self.subject = subject
        self.begin = time.monotonic()
        self.before = subject.threads()

    def seconds(self):
        """How long it has been open."""
        return time.monotonic() - self.begin

    def threads(self):
        """CPU seconds, by the name of the thread."""
        now = self.subject.threads()
        spent = {name: used - self.before.get(name, 0) for name, used in now.items()}
        return {name: round(used, 4) for name, used in spent.items() if used >= 0.0001}

    def control(self):
        """CPU seconds of everything that does not serve."""
        return sum(self.control_threads().values())

    def control_threads(self):
        """The same, by the name of the thread."""
        return {name: used for name, used in self.threads().items() if not name.startswith(SERVING)}

    def control_shares(self):
        """The share of a core that each of them has taken."""
        seconds = self.seconds()
        return {name: used / seconds for name, used in self.control_threads().items()}

    def beyond(self, shares):
        """CPU seconds of everything that does not serve, less what each thread takes at rest."""
        seconds = self.seconds()
        used = self.control_threads()
        return sum(max(0, spent - shares.get(name, 0) * seconds) for name, spent in used.items())

    def serving(self):
        """CPU seconds of the threads that serve."""
        return sum(used for name, used in self.threads().items() if name.startswith(SERVING))


class Subject:
    """A running gateway."""

    def __init__(self, binary, folder, fleet, cache, patience=120, plugins="."):
        """Starts it in `folder`, with machine code in the folder `cache`. Raises `Refused`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.fleet, self.body_mib = folder, fleet, LARGEST_BODY_MIB
        (folder / "models.yaml").write_text(fleet.models_file())
        self.write_routing()
        argv = [binary, "--models", "models.yaml", "--routing", "routing.yaml", "--port", 0, "--cache", cache]
        begin = time.monotonic()
        self.process = Process([*argv, "--plugins", plugins], folder)
        try:
            self.port = self.wait_until_it_listens(patience)
        except BaseException:
            self.stop()
            raise
        self.started = Start(time.monotonic() - begin, self.process.cpu_seconds())

    def wait_until_it_listens(self, patience):
        """The port that it prints."""

        def port():
            found = re.search(r"listening on http://[\d.]+:(\d+)", self.printed())
            if not found and self.process.popen.poll() is not None:
                raise Refused(self.last_error())
            return found and int(found[1])

        if found := wait_for(port, patience, pause=0.01):
            return found
        raise Refused(f"it did not start within {patience} s")

    def printed(self):
        """What it has printed so far, on both outputs."""
        return (self.folder / "output").read_text(errors="replace")

    def last_error(self):
        """The first line of the last error that it printed, without the names of folders."""
        lines = [line.strip() for line in self.printed().splitlines() if "error" in line.lower()]
        return (lines[-1] if lines else self.printed().strip())[-200:].replace(str(self.folder), "")

    def stop(self):
        """Ends it."""
        self.process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # What it uses.

    def threads(self):
        """CPU seconds so far, by the name of the thread; threads of one name are added up.

        `ended` stands for threads that are gone, and `children` for other processes of its session:
        those that run, and those it has waited for.
        """
        pid = self.process.popen.pid
        used = {}
        whole = sum(map(int, read_stat(pid)[11:13])) / TICKS
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                name = Path(f"/proc/{pid}/task/{task}/comm").read_text().strip()
                nanoseconds = int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
            except OSError:
                continue
            used[name] = used.get(name, 0) + nanoseconds / 1e9
        # The kernel tells the whole in ticks: less than two of them are a rounding error.
        if (ended := whole - sum(used.values())) > 2 / TICKS:
            used["ended"] = ended
        if children := self.children_cpu_s():
            used["children"] = children
        return used

    def children_cpu_s(self):
        """CPU seconds of its children: those that run, and those that it has waited for."""
        pid = self.process.popen.pid
        running = filter(None, (read_stat(child) for child in self.process.tree() if child != pid))
        times = [read_stat(pid)[13:15], *(stat[11:15] for stat in running)]
        return sum(int(ticks) for of_one in times for ticks in of_one) / TICKS

    def tasks(self):
        """How many threads it has, and children."""
        return len(os.listdir(f"/proc/{self.process.popen.pid}/task")) + len(self.process.tree()) - 1

    def rss_kib(self):
        """Its resident set, without that of its children."""
        return rss_kib(self.process.popen.pid)

    def children_rss_kib(self):
        """The resident sets of its children, added up."""
        return sum(rss_kib(pid) for pid in self.process.tree() if pid != self.process.popen.pid)

    # What it answers.

    def get(self, path, timeout=120):
        """The body of a page."""
        return self.ask("GET", path, timeout=timeout)[1]

    def chat(self, model, timeout=120):
        """The status and the body of an answer to a short request."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}]}
        return self.ask("POST", "/v1/chat/completions", json.dumps(body).encode(), timeout)

    def ask(self, method, path, body=None, timeout=120):
        """The status and the body of an answer, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def out_of_use(self):
        """How many deployments `/routing` shows that are not healthy."""
        page = self.get("/routing")
        return page.count(b'"state":') - page.count(b'"state":"healthy"')

    def strategy_calls(self):
        """How often strategies answered or failed, by name."""
        calls = {}
        pattern = rb'^gateway_strategy_calls_total\{[^}]*strategy="([^"]*)"[^}]*\} (\d+)'
        for name, count in re.findall(pattern, self.get("/metrics"), re.MULTILINE):
            calls[name.decode()] = calls.get(name.decode(), 0) + int(count)
        return calls

    # Its files.

    def write_routing(self, **changes):
        """Replaces `routing.yaml` in one step."""
        text = self.fleet.routing_file(limits={"body_mib": self.body_mib}, **changes)
        new = self.folder / "routing.new"
        new.write_text(text)
        new.rename(self.folder / "routing.yaml")

    def save(self, **changes):
        """Saves an edit of `routing.yaml`."""
        self.body_mib -= 1
        self.write_routing(**changes)

    def edit(self, patience, **changes):
        """Saves an edit of `routing.yaml`; seconds until a request sees it, or None."""
        self.save(**changes)
        begin = time.monotonic()
        if wait_for(self.takes_no_more, patience, pause=0.01):
            return time.monotonic() - begin
        return None

    def takes_no_more(self):
        """Whether a body larger than the last edit allows is refused at once. None is sent."""
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {self.body_mib * MIB + 1}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(head.encode())
            connection.settimeout(0.05)
            try:
                return connection.recv(64).startswith(b"HTTP/1.1 413")
            except OSError:
                return False


def rss_kib(pid):
    """The resident set of a process; 0 where there is none any more."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) if found else 0
