"""The report of `make bench`: tables and charts for the terminal, Markdown for docs/."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

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
    """A ratio, once for each pair of measurements."""

    name: str
    meaning: str
    target: Target
    ratios: Sequence[float]
    percent: bool = False

    @property
    def reached(self) -> bool:
        """Whether the median reaches the target."""
        return self.target.reached_by(median(self.ratios))

    def row(self) -> list[str]:
        """Median, extremes, number of pairs, target and verdict, as text."""
        sign = "≥" if self.target.at_least else "≤"
        return [
            self._shown(median(self.ratios)),
            f"{self._shown(min(self.ratios))} … {self._shown(max(self.ratios))}",
            str(len(self.ratios)),
            f"{sign} {self._shown(self.target.bound)}",
            "yes" if self.reached else "no",
        ]

    def _shown(self, ratio: float) -> str:
        return f"{ratio:.1%}".replace("%", " %") if self.percent else f"{ratio:.2f}"


@dataclass
class Load:
    """Deliveries over HTTP with `concurrent` under way at a time: rate of each lap, latencies."""

    concurrent: int
    rates: list[float] = field(default_factory=list)  # deliveries per second
    latencies: list[float] = field(default_factory=list)  # seconds, of all laps

    def row(self) -> list[str]:
        """Deliveries per second, and the 50th and 99th percentile of milliseconds to a response."""
        percentiles = quantiles(self.latencies, n=100)
        return [
            str(self.concurrent),
            f"{median(self.rates):.0f}",
            f"{min(self.rates):.0f} … {max(self.rates):.0f}",
            f"{percentiles[49] * 1000:.1f}",
            f"{percentiles[98] * 1000:.1f}",
        ]


def machine() -> dict[str, str]:
    """The machine and the versions of the measurement, without the name of the machine."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)  # noqa: S607 (the one that ran Azurite)
    azurite = json.loads((ROOT / "node_modules" / "azurite" / "package.json").read_bytes())
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "System": f"{_system()}, {platform.machine()}",
        "Python": platform.python_version(),
        "Node.js": node.stdout.strip().removeprefix("v"),
        **{name: version(name) for name in ("azure-functions", "azure-storage-queue", "aiohttp")},
        "Azurite": azurite["version"],
        "Date": datetime.now(UTC).date().isoformat(),
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
_LOAD_HEADINGS = ("concurrent", "deliveries/s", "laps from … to", "p50 ms", "p99 ms")


def show(console: Console, figures: Sequence[Figure], loads: Sequence[Load]) -> None:
    """Prints the tables and the charts."""
    grid = Table("figure", title="Ratios", title_justify="left")
    for heading in _FIGURE_HEADINGS:
        grid.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        grid.add_row(figure.name, *figure.row(), style=None if figure.reached else "red")
    console.print(grid)
    console.print(_chart(figures))

    over_http = Table(title="Over HTTP through the local host", title_justify="left")
    for heading in _LOAD_HEADINGS:
        over_http.add_column(heading, justify="right", no_wrap=True)
    over_http.add_column("")
    fastest = max(median(load.rates) for load in loads)
    for load in loads:
        over_http.add_row(*load.row(), _bar(median(load.rates) / fastest, "cyan", _BAR // 4))
    console.print(over_http)


def _chart(figures: Sequence[Figure]) -> Table:
    """A bar for each ratio; the target stands in the middle of each."""
    chart = Table(title="Median, and target (│)", title_justify="left")
    for heading in ("figure", ""):
        chart.add_column(heading, no_wrap=True)
    for figure in figures:
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


def markdown(figures: Sequence[Figure], loads: Sequence[Load], described: Mapping[str, str]) -> str:
    """The report: both tables, and the machine."""
    ratios = [[figure.meaning, *figure.row()] for figure in figures]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`. A ratio is measured as pairs, taken in turn in one run "
            "on one machine against Azurite, and its median counts. Times and rates are those of "
            "this machine and promise nothing for another.",
            "",
            *_markdown_table(("figure", *_FIGURE_HEADINGS), ratios),
            "",
            "Over HTTP, through the local host, with the load generator on the same machine:",
            "",
            *_markdown_table(_LOAD_HEADINGS, [load.row() for load in loads]),
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
