"""The report of `make bench`: a table and a chart for the terminal, Markdown for docs/."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.localhost.processes import ROOT

REPORT = ROOT / "docs" / "benchmarks.md"

_BAR = 40  # characters


@dataclass(frozen=True)
class Target:
    """The target of a ratio: at least `bound`, or at most."""

    bound: float
    at_least: bool

    def reached_by(self, ratio: float) -> bool:
        """Whether `ratio` is good enough."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound


@dataclass(frozen=True)
class Figure:
    """A ratio, once for each pair of measurements.

    Without a `target` it is reported only. `limit` is what it cannot pass. `unit`: decimals.
    """

    name: str
    meaning: str
    target: Target | None
    ratios: Sequence[float]
    limit: str
    unit: int = 2

    @property
    def reached(self) -> bool:
        """Whether the median reaches the target."""
        return self.target is None or self.target.reached_by(median(self.ratios))

    def row(self) -> list[str]:
        """Median, extremes, number of pairs, target and verdict, as text."""
        return [
            self._shown(median(self.ratios)),
            f"{self._shown(min(self.ratios))} … {self._shown(max(self.ratios))}",
            str(len(self.ratios)),
            self._target,
            ("yes" if self.reached else "no") if self.target else "–",
        ]

    @property
    def _target(self) -> str:
        if self.target is None:
            return "–"
        return f"{'≥' if self.target.at_least else '≤'} {self._shown(self.target.bound)}"

    def _shown(self, ratio: float) -> str:
        return f"{ratio:.{self.unit}f}"


def machine() -> dict[str, str]:
    """The machine and the versions of the measurement, without the name of the machine."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607 (the one that ran Express)
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "System": f"{_system()}, {platform.machine()}",
        "Python": platform.python_version(),
        "Node.js": node.stdout.strip().removeprefix("v"),
        **{name: version(name) for name in ("azure-functions", "azure-storage-queue", "aiohttp")},
        **_node_packages(),
        "Date": datetime.now(UTC).date().isoformat(),
    }


def _node_packages() -> dict[str, str]:
    names = ("express", "ajv", "@azure/storage-queue")
    modules = ROOT / "tools" / "bench" / "express" / "node_modules"
    return {
        name: json.loads((modules / name / "package.json").read_bytes())["version"]
        for name in names
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "unknown")


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


_FIGURE_HEADINGS = ("median", "pairs from … to", "pairs", "target", "reached")


def show(console: Console, figures: Sequence[Figure], held: Mapping[str, float]) -> None:
    """Prints the table, the chart, and how long a page holds the event loop."""
    grid = Table("figure", title="Ratios", title_justify="left")
    for heading in _FIGURE_HEADINGS:
        grid.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        grid.add_row(figure.name, *figure.row(), style=None if figure.reached else "red")
    console.print(grid)
    console.print(_chart(figures))
    for page, milliseconds in held.items():
        console.print(f"A page of the delivery log, {page}: loop held {milliseconds:.0f} ms")


def _chart(figures: Sequence[Figure]) -> Table:
    """A bar for each ratio; the target stands in the middle of each."""
    chart = Table(title="Median, and target (│)", title_justify="left")
    for heading in ("figure", ""):
        chart.add_column(heading, no_wrap=True)
    for figure in figures:
        if figure.target is None:
            continue
        wanted = "│ or more" if figure.target.at_least else "│ or less"
        share = median(figure.ratios) / figure.target.bound / 2
        bar = _bar(min(share, 1), "green" if figure.reached else "red", _BAR, mark=_BAR // 2)
        chart.add_row(figure.name, bar + Text(f"  {wanted}", "dim"))
    return chart


def _bar(share: float, color: str, width: int, mark: int | None = None) -> Text:
    """`share` of `width` characters, to an eighth of one, with a line at `mark`."""
    eighths = max(0, math.floor(share * width * 8))
    part = " ▏▎▍▌▋▊▉"[eighths % 8]
    text = Text(("█" * (eighths // 8) + part).ljust(width)[:width], color)
    if mark is None:
        return text
    return text[:mark] + Text("│", "bold") + text[mark:]


def markdown(
    figures: Sequence[Figure], held: Mapping[str, float], described: Mapping[str, str]
) -> str:
    """The report: ratios, what limits each, how long a page holds the loop, and the machine."""
    ratios = [[figure.meaning, *figure.row()] for figure in figures]
    limits = [[figure.name, figure.limit] for figure in figures]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`. A ratio is measured as pairs, taken in turn in one run "
            "on one machine, and its median counts. The app and the SDK run as deployed: with an "
            "identity over HTTPS, unless a row says otherwise. Storage and the platform's tokens "
            "are a stand-in that is faster than either, so that nothing else is measured. CPU time "
            "is that of the whole process, user and system.",
            "",
            *_markdown_table(("figure", *_FIGURE_HEADINGS), ratios),
            "",
            "What each figure cannot pass:",
            "",
            *_markdown_table(("figure", "limit"), limits),
            "",
            "The longest time for which reading the largest page of ACR's delivery log (8 MiB) "
            "holds up the event loop:",
            "",
            *_markdown_table(("page", "ms"), [[page, f"{ms:.0f}"] for page, ms in held.items()]),
            "",
            "The machine:",
            "",
            *_markdown_table(("", ""), [list(pair) for pair in described.items()]),
            "",
        ]
    )


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(row)} |"
