"""Processes that the rig starts: their ports, what they use, and their end."""

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def raise_file_limit():
    """Raises what may be open as far as it goes, for all that is started; returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port(besides=None):
    """A port on 127.0.0.1 that nobody listens on, as the kernel says, and not one that was found before."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        if port != besides:
            return port


class Process:
    """One process that was started in a session of its own, with all that it started in turn."""

    def __init__(self, argv, cwd, env=None, log="output", **kwargs):
        """Starts `argv` in the folder `cwd`, to whose file `log` goes what it prints, unless `stdout` is given."""
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
        """The ids of all that are alive of its session: it, its descendants, and those whose parent has ended."""
        alive = {int(entry): read_stat(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
        return [pid for pid, stat in alive.items() if stat and int(stat[3]) == self.popen.pid]

    def cpu_seconds(self):
        """What the whole tree has used, user and system, with children that were waited for."""
        stats = filter(None, map(read_stat, self.tree()))
        return sum(sum(map(int, stat[11:15])) for stat in stats) / TICKS

    def settle(self, seconds=20):
        """Waits until the tree does no more than now and then: under a tenth of a core; at most so many seconds."""
        pause = 0.1
        before = self.cpu_seconds()

        def is_quiet():
            nonlocal before
            earlier, before = before, self.cpu_seconds()
            return before - earlier < pause / 10

        time.sleep(pause)
        wait_for(is_quiet, seconds, pause)

    def memory(self):
        """`(kib, rss)` of the whole tree in KiB: what its processes have for themselves, and once what they share; and the
        sum of their resident sets, in which that counts for each of them.

        Not the proportional set size, which depends on who else runs the same program.
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
        """Ends the tree: asks twice, which the gateway takes for 'at once', then kills what is left, each by its id."""
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
    """The fields of /proc/PID/stat from the state on, or None where there is no such process (any more)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()


def wait_for(condition, seconds, pause=0.0005):
    """Calls `condition` until it returns something true, which is returned; None after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(pause)
    return None
