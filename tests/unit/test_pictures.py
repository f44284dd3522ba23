"""The pictures in the documents show what the documents say, and need no network."""

import re
from pathlib import Path

import pytest

from tests.support.documents import read
from tests.support.pictures import IMAGES, PICTURES, elements
from tools.bench import chart

CHART = IMAGES / "benchmarks.svg"

_any_picture = pytest.mark.parametrize("picture", PICTURES, ids=lambda file: file.name)

# A row of the table of ratios: figure, median, extremes, pairs, target, reached.
_ROW = re.compile(
    r"^\| (.+) \| ([\d.]+(?: %)?) \| .+ … .+ \| \d+ \| ([≥≤] .+) \| (yes|no) \|$", re.M
)


def _ratios() -> list[tuple[str, str, str, str]]:
    """The ratios of docs/benchmarks.md: meaning, median, target, and whether it is reached."""
    found = [
        (meaning.replace("`", ""), *row)
        for meaning, *row in _ROW.findall(read("docs/benchmarks.md"))
    ]
    assert len(found) == 6
    return found


@_any_picture
def test_picture_needs_no_network(picture: Path) -> None:
    """A picture names no other host and refers to nothing outside itself."""
    source = picture.read_text()
    assert set(re.findall(r"\w+://[^\"'\s)]+", source)) == {"http://www.w3.org/2000/svg"}
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))
    assert not re.search(r"\bhref\b|@import|@font-face|<image|<script", source)


@_any_picture
def test_picture_has_title_and_description(picture: Path) -> None:
    """A picture says in words what it shows."""
    root = elements(picture, "svg")[0]
    assert root.get("role") == "img"
    named = (root.get("aria-labelledby") or "").split()
    texts = {
        each.get("id"): each.text for tag in ("title", "desc") for each in elements(picture, tag)
    }
    assert named == ["title", "description"]
    assert all(texts[each] for each in named)


def test_chart_shows_published_figures() -> None:
    """Each bar has the meaning, median, target and verdict of docs/benchmarks.md."""
    titles = [title.text for title in elements(CHART, "title")[1:]]
    words = {"yes": "reached", "no": "missed"}
    expected = [
        (f"{median}, target {target}, {words[reached]}", meaning)
        for meaning, median, target, reached in _ratios()
    ]
    assert titles == [f"{meaning}: {figures}" for figures, meaning in expected]
    drawn = [text.text for text in elements(CHART, "text") if text.get("class") == "figure"]
    assert drawn == [figures for figures, _ in expected]


def test_chart_bars_have_their_lengths() -> None:
    """A bar is to the line of its target as the median is to the target."""
    bars = [bar for bar in elements(CHART, "rect") if bar.get("class") == "bar"]
    for bar, line, (_, median, target, _) in zip(
        bars, elements(CHART, "line"), _ratios(), strict=True
    ):
        start = float(bar.attrib["x"])
        share = float(bar.attrib["width"]) / (float(line.attrib["x1"]) - start)
        figures = [float(text.strip("≥≤ %")) for text in (median, target)]
        assert share == pytest.approx(figures[0] / figures[1], abs=0.005)
        assert start + float(bar.attrib["width"]) < 600


def test_chart_is_up_to_date() -> None:
    """The chart is what `make bench` draws from docs/benchmarks.md."""
    assert CHART.read_text() == chart.svg(read("docs/benchmarks.md"))


def test_missed_target_is_drawn_differently() -> None:
    """A ratio that misses its target has another color, and says so."""
    report = read("docs/benchmarks.md").replace("| ≥ 1.20 | yes |", "| ≥ 1.20 | no |")
    drawn = chart.svg(report)
    assert drawn.count('fill="#bc4c00"') == 1
    assert "1.21, target ≥ 1.20, missed" in drawn
