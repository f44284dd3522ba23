"""What the pictures in the documents show."""

import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from tests.support.documents import ROOT

IMAGES = ROOT / "docs" / "images"
PICTURES = sorted(IMAGES.glob("*.svg"))

_SVG = "{http://www.w3.org/2000/svg}"


def elements(picture: Path, tag: str) -> list[ET.Element]:
    """The elements of an SVG picture that have this tag, in their order."""
    return list(ET.parse(picture).iter(_SVG + tag))  # noqa: S314 (the project's own)


def terminal_lines(picture: Path) -> list[str]:
    """The lines of text in a picture of a terminal, less the spaces at their ends."""
    pieces: dict[float, list[tuple[int, str]]] = defaultdict(list)
    for text in elements(picture, "text"):
        content, length = (
            (text.text or "").replace("\N{NO-BREAK SPACE}", " "),
            text.get("textLength"),
        )
        if length:  # the window's title has none
            column = float(text.attrib["x"]) / (float(length) / len(content))
            pieces[float(text.attrib["y"])].append((round(column), content))
    lines = []
    for _, placed in sorted(pieces.items()):
        line = ""
        for column, content in sorted(placed):
            line = line.ljust(column) + content
        lines.append(line.rstrip())
    return lines
