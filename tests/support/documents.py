"""The documents of the project, and the code blocks in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def read(name: str) -> str:
    """The text of the document `name`, a path from the root of the project."""
    return (ROOT / name).read_text()


def prose(document: Path) -> str:
    """The text of `document` without its code blocks."""
    return _FENCE.sub("", document.read_text())


def blocks(text: str, language: str) -> list[str]:
    """The code blocks in `language`."""
    return [block for tag, block in _FENCE.findall(text) if tag == language]


def block(name: str, language: str, containing: str) -> str:
    """The only code block in `language` of the document `name` that contains `containing`."""
    [found] = [block for block in blocks(read(name), language) if containing in block]
    return found
