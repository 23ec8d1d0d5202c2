"""Processes of the rig: ports, resource use, and orderly ends."""

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def raise_file_limit():
    """Raises the limit on open files, which children inherit. Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port(besides=None):
    """Returns a free port of 127.0.0.1 that it has not returned before."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        if port != besides:
            return port


class Process:
    """A process in a session of its own, with all its descendants."""

    def __init__(self, argv, cwd, env=None, log="output", **kwargs):
        """Starts `argv` in the folder `cwd`. Its output goes to the file `log` there, or to `stdout`."""
        self.stopped = False
        with open(Path(cwd) / log, "ab") as output:
            kwargs.setdefault("stdout", output)
            self.popen = subprocess.Popen(
                [str(word) for word in argv],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=kwargs.pop("stdin", subprocess.DEVNULL),
                stderr=output,
                start_new_session=True,
                **kwargs,
            )

    def tree(self):
        """Returns the ids of the session's living processes, orphans included."""
        alive = {int(entry): read_stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
        return [pid for pid, stat in alive.items() if stat and int(stat[3]) == self.popen.pid]

    def cpu_seconds(self):
        """Returns the user and system time of the tree, with that of children already waited for."""
        stats = filter(None, map(read_stat, self.tree()))
        return sum(sum(map(int, stat[11:15])) for stat in stats) / TICKS

    def settle(self, seconds=20):
        """Waits until the tree uses less than a tenth of a core, at most for this many seconds."""
        pause = 0.1
        before = self.cpu_seconds()

        def is_quiet():
            nonlocal before
            earlier, before = before, self.cpu_seconds()
            return before - earlier < pause / 10

        time.sleep(pause)
        wait_for(is_quiet, seconds, pause)

    def memory(self):
        """Returns `(kib, rss)` of the tree in KiB.

        `kib` counts the private memory of all processes, and their shared memory once. `rss` is the sum of the
        resident sets, which counts shared memory for each process. The proportional set size would depend on
        other processes that run the same program.
        """
        private, shared, rss = 0, 0, 0
        for pid in self.tree():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            sizes = {key: int(rest.split()[0]) for key, rest in (line.split(":", 1) for line in lines[1:])}
            own = sizes["Private_Clean"] + sizes["Private_Dirty"]
            private += own
            shared = max(shared, sizes["Rss"] - own)
            rss += sizes["Rss"]
        return private + shared, rss

    def stop(self):
        """Ends the tree: two signals, of which the second means "at once" to the gateway, then a kill by id."""
        if self.stopped:
            return
        for patience in (0.3, 2):
            if self.popen.poll() is None:
                self.popen.send_signal(signal.SIGTERM)
                try:
                    self.popen.wait(patience)
                except subprocess.TimeoutExpired:
                    pass
        for pid in self.tree():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.popen.wait()
        self.stopped = True


def read_stat(pid):
    """Returns the fields of /proc/PID/stat from the state on. None: the process has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()


def wait_for(condition, seconds, pause=0.0005):
    """Calls `condition` until its result is true, and returns that. None after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(pause)
    return None
