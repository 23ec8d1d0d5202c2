"""Results, as JSON lines, made into tables: one column a size, then how the figures grow."""

import json
from dataclasses import dataclass, field

from rig.report import table
from rig.scale.bench import BUILT_IN
from rig.scale.rest import EDITED, PAGES

NONE = "–"


@dataclass
class Row:
    """A line of a table: where its number is in a record."""

    title: str
    figure: str
    path: tuple
    digits: int = 2
    factor: float = 1
    reached: str | None = None
    """The key, beside the number, that is false where the number is only a lower bound."""


def changing(figure, title):
    """The lines of deployments that change their state."""
    return [
        Row(f"{title}: how many", figure, ("changes",), 0),
        Row(f"{title}: CPU-s of the control side", figure, ("control_cpu_s",), 2, 1, "settled_within_patience"),
        Row(f"{title}: CPU-ms a change", figure, ("cpu_ms_per_change",), 2, 1, "settled_within_patience"),
        Row(f"{title}: s until `/routing` shows all", figure, ("shown_s",)),
        Row(f"{title}: s until it is quiet", figure, ("settled_s",), 1, 1, "settled_within_patience"),
        Row(f"{title}: strategy calls", figure, ("strategy_calls",), 0),
        Row(f"{title}: s until an edit in the middle is in use", figure, ("edit_s",), 2, 1, "edit_in_use"),
    ]


ROWS = [
    *changing("down", "probes fail"),
    *changing("ejections", "ejections"),
    Row("137 answers of 429: how many", "cooling", ("refused",), 0),
    Row("137 answers of 429: s until an edit after them is in use", "cooling", ("edit_s",), 2, 1, "edit_in_use"),
    Row("137 answers of 429: CPU-s of the control side", "cooling", ("control_cpu_s",)),
    Row("a decision, one model with `spill`: CPU-ms", "one", ("spill", "cpu_us_per_call"), 3, 1e-3),
    *(Row(f"one model with `{name}`, at rest: % of a core", "one", (name, "control_share"), 2, 100) for name in BUILT_IN),
    *(Row(f"all models with `{name}`, at rest: % of a core", "start", (name, "control_share"), 2, 100) for name in BUILT_IN),
    *(Row(f"all models with `{name}`: start, CPU-s", "start", (name, "cpu_s")) for name in BUILT_IN),
    *(Row(f"all models with `{name}`: start, s", "start", (name, "wall_s")) for name in BUILT_IN),
    Row("memory after the start, `fixed`: MiB", "start", ("fixed", "rss_kib"), 1, 1 / 1024),
    *(
        row
        for name in EDITED
        for row in (
            Row(f"an edit at rest, `{name}`: s until it is in use", "reload", (name, "edit_s")),
            Row(f"an edit at rest, `{name}`: CPU-s", "reload", (name, "control_cpu_s")),
            Row(f"an edit at rest, `{name}`: strategy calls a model", "reload", (name, "calls_per_model"), 1),
        )
    ),
    *(
        row
        for path in PAGES
        for row in (
            Row(f"`{path}`: KiB", "pages", (path, "bytes"), 1, 1 / 1024),
            Row(f"`{path}`: ms", "pages", (path, "ms"), 1),
            Row(f"`{path}`: CPU-ms of serving threads", "pages", (path, "serving_cpu_ms"), 1),
            Row(f"`{path}`: CPU-ms of the control side", "pages", (path, "control_cpu_ms"), 1),
            Row(f"`{path}`: longest answer meanwhile, ms", "pages", (path, "held", "max_ms"), 1),
        )
    ),
    Row("no page: longest answer, ms", "pages", ("held_without", "max_ms"), 1),
    Row("404 for an unknown model: bytes", "pages", ("unknown_model", "bytes"), 0),
    Row("404 of `/v1/models/NAME`: bytes", "pages", ("unknown_model", "shown_bytes"), 0),
    Row("probes: places", "probes", ("places",), 0),
    Row("probes: the middle 90 % within this share of the interval", "probes", ("middle_90_percent",)),
    Row("probes: share in the densest twentieth of the interval", "probes", ("densest_twentieth",)),
    Row("probes: KiB a place, median", "probes", ("kib_per_place",), 1),
    Row("probes: KiB a place, peak", "probes", ("peak_kib_per_place",), 1),
    Row("probes: % of a core", "probes", ("control_share",), 1, 100),
]

SPILL = [
    Row("start, s", "start_spill", ("spill", "wall_s")),
    Row("start, CPU-s", "start_spill", ("spill", "cpu_s")),
]

STRATEGIES = [
    *(
        row
        for name in ("cold", "warm")
        for row in (
            Row(f"{name} start: s", "strategies", (name, "wall_s")),
            Row(f"{name} start: CPU-s", "strategies", (name, "cpu_s")),
            Row(f"{name} start: compiled", "strategies", (name, "compiled"), 0),
            Row(f"{name} start: memory, MiB", "strategies", (name, "rss_kib"), 1, 1 / 1024),
        )
    ),
    Row("unrelated edit: s until it is in use", "strategies", ("edit", "edit_s")),
    Row("unrelated edit: CPU-s", "strategies", ("edit", "cpu_s")),
    Row("unrelated edit: compiled", "strategies", ("edit", "compiled"), 0),
]

COMPILING = [
    Row("large component, MiB", "compiling", ("component_bytes",), 2, 1 / 2**20),
    Row("s until a good edit, saved 1 s later, is in use", "compiling", ("good_edit_s",)),
    Row("s until an edit with a small new component is in use", "compiling", ("small_edit_s",)),
    Row("CPU-s of compiling", "compiling", ("compiling_cpu_s",)),
    Row("memory before, MiB", "compiling", ("rss_before_kib",), 1, 1 / 1024),
    Row("memory, peak, MiB", "compiling", ("rss_peak_kib",), 1, 1 / 1024),
    Row("memory of children, peak, MiB", "compiling", ("children_peak_kib",), 1, 1 / 1024),
    Row("memory after, MiB", "compiling", ("rss_after_kib",), 1, 1 / 1024),
]


@dataclass
class Results:
    """What one run has measured."""

    machine: dict = field(default_factory=dict)
    quick: bool = False
    records: dict = field(default_factory=dict)
    """By figure and size."""

    def take(self, record):
        """Takes one line of the file."""
        if "machine" in record:
            self.machine, self.quick = record["machine"], record["quick"]
        else:
            self.records[record["figure"], record["size"]] = record

    def sizes(self, rows):
        """The sizes that some of these rows have, in their order."""
        wanted = {row.figure for row in rows}
        return sorted({size for figure, size in self.records if figure in wanted})

    def number(self, row, size):
        """The number of a row; None where there is none."""
        found = self.records.get((row.figure, size), {})
        for key in row.path:
            found = found.get(key) if isinstance(found, dict) else None
        return found * row.factor if isinstance(found, int | float) else None

    def cell(self, row, size):
        """The number as text, `>` before a lower bound; `refused` where there was no start."""
        number = self.number(row, size)
        record = self.records.get((row.figure, size), {})
        if number is None:
            return "refused" if self.error(row, record) else NONE
        bound = "> " if self.is_bound(row, size) else ""
        return f"{bound}{number:,.{row.digits}f}"

    def is_bound(self, row, size):
        """Whether the number is a lower bound: patience ended first."""
        record = self.records.get((row.figure, size), {})
        return row.reached is not None and not record.get(row.reached, True)

    def error(self, row, record):
        """What went wrong with a figure, or with the part of it that a row is of."""
        part = record.get(row.path[0]) if len(row.path) > 1 else None
        return record.get("error") or (part.get("error") if isinstance(part, dict) else None)


def read(path):
    """The results in a file."""
    results = Results()
    with open(path) as lines:
        for line in lines:
            results.take(json.loads(line))
    return results


def markdown(results, earlier=None):
    """The whole report. With `earlier` results each cell has two numbers: theirs, then these."""
    parts = [about(results, "measured")]
    if earlier:
        parts = [about(earlier, "before"), about(results, "after"), "Each cell: before → after."]
    for title, rows in (
        ("models x 4 deployments", ROWS),
        ("`spill`, models x 4 deployments", SPILL),
        ("distinct strategies", STRATEGIES),
        ("a large component", COMPILING),
    ):
        if found := grid(title, rows, results, earlier):
            parts.append(found)
    if remarks := errors(results):
        parts.append(remarks)
    return "\n\n".join(parts) + "\n"


def about(results, word):
    """The machine and the gateway."""
    machine = results.machine
    loads = [record["load_average"] for record in results.records.values()]
    return (
        f"{word}: {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, {machine['kernel']}; "
        f"gateway: {machine['gateway']}; load average {min(loads, default=0):.1f} to {max(loads, default=0):.1f}."
        + (" A quick run." if results.quick else "")
    )


def grid(title, rows, results, earlier):
    """A table: a column for each size, then the ratio of each to the one before."""
    sizes = results.sizes(rows)
    pairs = [] if earlier else list(zip(sizes, sizes[1:], strict=False))
    lines = []
    for row in rows:
        cells = [results.cell(row, size) for size in sizes]
        if earlier:
            cells = [f"{earlier.cell(row, size)} → {cell}" for size, cell in zip(sizes, cells, strict=True)]
        if any(cell not in (NONE, f"{NONE} → {NONE}") for cell in cells):
            lines.append([row.title, *cells, *(growth(results, row, pair) for pair in pairs)])
    head = [title, *(f"{size:,}" if size else "" for size in sizes)]
    head += [f"{larger:,} : {smaller:,}" for smaller, larger in pairs]
    return table(head, lines) if lines else ""


def growth(results, row, pair):
    """How much larger the figure is with the larger fleet."""
    smaller, larger = (results.number(row, size) for size in pair)
    is_bound = [results.is_bound(row, size) for size in pair]
    if not smaller or larger is None or is_bound[0]:
        return NONE
    return f"{'> ' if is_bound[1] else ''}{larger / smaller:.1f}"


def errors(results):
    """What could not be measured, and starts that were refused, in a line each."""
    lines = []
    for (figure, size), record in results.records.items():
        parts = {"": record, **{name: part for name, part in record.items() if isinstance(part, dict)}}
        lines += [f"- {figure}, {size:,} {name}: {part['error']}" for name, part in parts.items() if "error" in part]
    if error := results.records.get(("compiling", 0), {}).get("error_of_small"):
        lines.append(f"- the edit with a small new component: {error}")
    return "Refused, or not measured:\n\n" + "\n".join(lines) if lines else ""
