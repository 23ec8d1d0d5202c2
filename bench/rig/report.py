"""Makes the tables from the results, which are JSON lines."""

import json
import statistics
from collections import defaultdict

BASE = "nginx"
"""The contender that ratios refer to."""

ROWS = [
    # title, figure, key, digits, whether to subtract the value of `direct` in the round
    ("requests/s, 1 KiB body", "closed_1k", "rps", 0, False),
    ("requests/s, 32 KiB body", "closed_32k", "rps", 0, False),
    ("CPU-ms for 1,000 requests, 1 KiB", "closed_1k", "cpu_ms_per_1000", 1, False),
    ("CPU-ms for 1,000 requests, 32 KiB", "closed_32k", "cpu_ms_per_1000", 1, False),
    ("added latency p50, ms", "open", "p50_ms", 3, True),
    ("added latency p99, ms", "open", "p99_ms", 3, True),
    ("added latency p50 by oha, ms", "open_oha", "p50_ms", 3, True),
    ("added latency p99 by oha, ms", "open_oha", "p99_ms", 3, True),
    ("added time to first chunk p50, ms", "first_chunk", "p50_ms", 3, True),
    ("added time to first chunk p99, ms", "first_chunk", "p99_ms", 3, True),
    ("first chunk of the first 200 streams p50, ms", "first_burst", "p50_ms", 2, False),
    ("first chunk of the first 200 streams p99, ms", "first_burst", "p99_ms", 2, False),
    ("CPU-ms for 1,000 chunks, 10 ms apart", "chunks_paced", "cpu_ms_per_1000", 1, False),
    ("CPU-ms for 1,000 chunks, flooded", "chunks_flood", "cpu_ms_per_1000", 1, False),
    ("memory idle, MiB", "memory_idle", "mib", 1, False),
    ("memory with 1,000 streams, MiB", "memory_1000", "mib", 1, False),
    ("KiB for each of 1,000 streams", "memory_1000", "kib_per_stream", 1, False),
    ("KiB for each of 10,000 streams", "memory_10000", "kib_per_stream", 1, False),
    ("start to first answer, ms", "start_up", "ms", 0, False),
]


class Results:
    """The results of one run."""

    def __init__(self, records):
        self.machine = {}
        self.missing = {}
        self.quick = False
        self.versions = {}
        self.notes = {}
        self.errors = []
        # The number of streams in place of 10,000.
        self.many_streams = 0
        # figure -> contender or variant -> round -> measurements
        self.measured = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        for record in records:
            self.take(record)

    def take(self, record):
        """Adds one line of the file."""
        if "machine" in record:
            self.machine, self.missing, self.quick = record["machine"], record["missing"], record["quick"]
        elif "version" in record:
            self.versions[record["contender"]] = record["version"]
            self.notes[record["contender"]] = record["notes"]
        else:
            if "kib" in record:
                record["mib"] = record["kib"] / 1024
            if record["figure"] == "memory_10000":
                self.many_streams = max(self.many_streams, record.get("streams", 0))
            if record.get("error"):
                self.errors.append(record)
            elif record.get("failed"):
                self.errors.append({**record, "error": f"{record['failed']} failed"})
            name = record.get("variant", record["contender"])
            self.measured[record["figure"]][name][record["round"]].append(record)

    def rounds(self, figure, name, key, added=False):
        """Returns the mean of each measured round, less that of `direct` if `added`."""
        values = {}
        for number, records in self.measured[figure][name].items():
            found = [record[key] for record in records if record.get(key) is not None]
            if found:
                values[number] = statistics.fmean(found)
        if added:
            direct = self.rounds(figure, "direct", key)
            return {number: value - direct[number] for number, value in values.items() if number in direct}
        return values

    def beside(self, figure, name, first, key):
        """Returns the ratios of a variant to the mean of the `first` right before and after it.

        The first has ratios to its own neighbours. They show the error of the other ratios.
        """
        distance = 2 if name == first else 1
        ratios = []
        for number, records in self.measured[figure][name].items():
            bases = [base for base in self.measured[figure][first][number] if base.get(key)]
            for record in records:
                near = [base for base in bases if abs(base.get("turn", 0) - record.get("turn", 0)) == distance]
                # Results of earlier versions have no turn.
                if (near or bases) and record.get(key):
                    ratios.append(record[key] / statistics.fmean(base[key] for base in near or bases))
        return ratios


def read(path):
    """Reads the results of a file."""
    with open(path) as lines:
        return Results(map(json.loads, lines))


def markdown(results):
    """Returns the whole report."""
    names = [name for name in results.versions if any(results.measured[row[1]][name] for row in ROWS)]
    machine = results.machine
    parts = [
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {machine['kernel']}; "
        f"gateway: {machine['gateway']}; load by {machine.get('load', 'wrk')} and `bench/load`; "
        f"load average before {machine['load_average_before']:.1f}."
        + (" A quick run: its rounds are short, and say less than whole ones." if results.quick else "")
    ]
    if names:
        columns = ["direct", *names]
        parts.append("Medians of the rounds. What is added is beyond `direct`, whose own values are in its column.")
        parts.append(table(["", *columns], [[row[0], *(absolute(results, row, name) for name in columns)] for row in ROWS]))
        if BASE in names:
            parts.append(f"Ratios to {BASE} of the same round, medians; of {names[0]} also the range.")
            head = ["", names[0], "range", *names[1:]]
            parts.append(table(head, [[row[0], *ratios(results, row, names)] for row in ROWS]))
        setups = [[name, results.versions[name], results.notes[name]] for name in names]
        parts.append(table(["", "version", "set up with"], setups, numbers=False))
    for figure, title in (("fleet", "models x deployments of each"), ("strategy", "strategy"), ("budgets", "budgets")):
        if results.measured[figure]:
            parts.append(variants(results, figure, title))
    if remarks := failures(results):
        parts.append(remarks)
    return "\n\n".join(parts) + "\n"


def absolute(results, row, name):
    """Formats a cell: the median."""
    _, figure, key, digits, added = row
    values = results.rounds(figure, name, key, added and name != "direct")
    return f"{statistics.median(values.values()):,.{digits}f}" if values else "–"


def ratios(results, row, names):
    """Formats cells: median ratios to `BASE`, with the range after the first."""
    _, figure, key, _, added = row
    base = results.rounds(figure, BASE, key, added)
    cells = []
    for name in names:
        values = results.rounds(figure, name, key, added)
        found = [value / base[number] for number, value in values.items() if base.get(number, 0) > 0]
        cells.append(f"{statistics.median(found):.2f}" if found else "–")
        if name == names[0]:
            cells.append(span(found))
    return cells


def span(values):
    """Formats the range of several values."""
    return f"{min(values):.2f} to {max(values):.2f}" if len(values) > 1 else "–"


def variants(results, figure, title):
    """Makes the table of the gateway's configurations: ratios to the first with ranges, and medians."""
    names = list(results.measured[figure])
    rows = []
    for name in names:
        row = [name]
        for key, digits in (("rps", 0), ("cpu_ms_per_1000", 1)):
            values = results.rounds(figure, name, key).values()
            beside = results.beside(figure, name, names[0], key)
            if values and beside:
                row.append(f"{statistics.median(beside):.2f}" + (f", {span(beside)}" if len(beside) > 1 else ""))
                row.append(f"{statistics.median(values):,.{digits}f}")
            else:
                row += ["–", "–"]
        rows.append(row)
    return table([title, "requests/s, ratio", "requests/s", "CPU time, ratio", "CPU-ms for 1,000 requests"], rows)


def failures(results):
    """Lists missing figures and failures, one in a line."""
    lines = [f"- {name}: {reason}" for name, reason in results.missing.items()]
    if 0 < results.many_streams < 10_000:
        lines.append(f"- 10,000 streams: {results.many_streams:,} in their place, for which descriptors suffice here")
    seen = set()
    for record in results.errors:
        key = (record["contender"], record["figure"], record.get("variant"))
        if key not in seen:
            seen.add(key)
            lines.append(f"- {record['contender']}, {record['figure']}, round {record['round']}: {record['error']}")
    return "Not measured, or not without failures:\n\n" + "\n".join(lines) if lines else ""


def table(head, rows, numbers=True):
    """Makes a markdown table. Columns of numbers are right-aligned, but for the first."""
    lines = [head, ["---", *["--:" if numbers else "---"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
