"""The ratios of the report as a chart: `docs/images/benchmarks.svg`.

The bars share one axis, in multiples of each ratio's target: the targets stand in one line.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tools.localhost.processes import ROOT

CHART = ROOT / "docs" / "images" / "benchmarks.svg"

_WIDTH, _MARGIN = 840, 16
_PLOT = 550  # width of the axis; the figures stand to the right of it
_TOP, _LINE, _BAR, _GAP = 76, 18, 18, 22
_LABEL_CHARS = 104

# Everyone can distinguish blue from orange. The text has the same information.
_REACHED, _MISSED = "#0969da", "#bc4c00"

_STYLE = """\
text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.heading { font-size: 17px; font-weight: 600; }
.note { fill: #59636e; }
.figure { font-weight: 600; }"""


@dataclass(frozen=True)
class Bar:
    """The drawn part of a row in the table of ratios."""

    meaning: str
    median: str
    target: str
    reached: bool

    @property
    def share(self) -> float:
        """The median as a multiple of its target."""
        return _number(self.median) / _number(self.target)

    @property
    def text(self) -> str:
        """The figures as text."""
        verdict = "reached" if self.reached else "missed"
        return f"{self.median}, target {self.target}, {verdict}"


def bars(report: str) -> list[Bar]:
    """The rows of the first table in `report`, which `report.markdown` wrote."""
    table = report.split("\n\n")[2].splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in table]
    return [
        Bar(row[0].replace("`", ""), row[1], row[4], row[5] == "yes")
        for row in rows
        if row[5] != "–"  # without a target
    ]


def svg(report: str) -> str:
    """The chart of the ratios in `report`, as SVG."""
    rows = bars(report)
    scale = _PLOT / max(2, *(bar.share for bar in rows))
    bottom = _TOP + sum(_height(bar) for bar in rows)
    described = ". ".join(f"{bar.meaning}: {bar.text}" for bar in rows)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {bottom}" role="img" '
            'aria-labelledby="title description">',
            '<title id="title">Benchmark ratios with their targets</title>',
            f'<desc id="description">Medians. {escape(described, quote=False)}.</desc>',
            f"<style>\n{_STYLE}\n</style>",
            f'<rect width="{_WIDTH}" height="{bottom}" rx="6" fill="#ffffff"/>',
            _text(_MARGIN, 30, "Benchmark ratios with their targets", "heading"),
            _text(
                _MARGIN,
                52,
                "Each bar is a median, as a multiple of its target, the line. "
                "≥: the bar must reach the line. ≤: it must not pass it.",
                "note",
            ),
            *_drawn(rows, scale),
            "</svg>",
            "",
        ]
    )


def _drawn(rows: Sequence[Bar], scale: float) -> Iterator[str]:
    top, target = _TOP, _MARGIN + scale
    for bar in rows:
        labels = _labels(bar)
        y = top + len(labels) * _LINE
        yield "<g>"
        yield f"<title>{escape(f'{bar.meaning}: {bar.text}', quote=False)}</title>"
        for number, label in enumerate(labels):
            yield _text(_MARGIN, top + number * _LINE + 12, label)
        yield (
            f'<rect class="bar" x="{_MARGIN}" y="{y}" width="{bar.share * scale:.1f}" '
            f'height="{_BAR}" fill="{_REACHED if bar.reached else _MISSED}"/>'
        )
        yield (
            f'<line x1="{target:.1f}" y1="{y - 3}" x2="{target:.1f}" y2="{y + _BAR + 3}" '
            'stroke="#1f2328" stroke-width="2"/>'
        )
        yield _text(_MARGIN + _PLOT + 12, y + 14, bar.text, "figure")
        yield "</g>"
        top += _height(bar)


def _labels(bar: Bar) -> list[str]:
    return textwrap.wrap(bar.meaning, _LABEL_CHARS)


def _height(bar: Bar) -> int:
    return len(_labels(bar)) * _LINE + _BAR + _GAP


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{chosen}>{escape(text, quote=False)}</text>'


def _number(text: str) -> float:
    found = re.search(r"[\d.]+", text)
    if not found:
        raise ValueError(f"{text!r} holds no number")
    return float(found[0])
