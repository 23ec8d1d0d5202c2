"""Asks for `/health` over several connections in turn, and says how long the longest answer took.

`python -m rig.scale.pings PORT SECONDS` prints one JSON object. A serving core that does something
else for 100 ms lets one of its connections wait so long. The connections are spread over all cores.
"""

import json
import socket
import sys
import time

CONNECTIONS = 8

REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

PAUSE = 0.0005
"""Seconds between two rounds: short enough to meet every hold of a millisecond."""


def connect(port):
    """A connection to the gateway."""
    return socket.create_connection(("127.0.0.1", port), 120)


def main(port, seconds):
    """Pings for `seconds`; the result."""
    connections = [connect(port) for _ in range(CONNECTIONS)]
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number, connection in enumerate(connections):
            begin = time.monotonic()
            connection.sendall(REQUEST)
            # A core that was held for longer than its time limits closes what has waited.
            if not connection.recv(4096):
                connections[number] = connect(port)
            times.append(time.monotonic() - begin)
        time.sleep(PAUSE)
    times.sort()
    return {
        "pings": len(times),
        "max_ms": times[-1] * 1e3,
        "p999_ms": times[len(times) * 999 // 1000] * 1e3,
        "p50_ms": times[len(times) // 2] * 1e3,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), float(sys.argv[2]))))
