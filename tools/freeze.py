"""`python -m tools.freeze`: keeps the event's schema of this version in tests/released/."""

import json
from pathlib import Path
from typing import Any

from shared import __version__

ROOT = Path(__file__).resolve().parent.parent
RELEASED = ROOT / "tests" / "released"


def frozen(document: Any, folder: Path) -> Any:
    """`document` with every reference to a file of `folder` replaced by the document there.

    A member beside a reference, such as a description, replaces that member of the document.
    """
    if isinstance(document, list):
        return [frozen(each, folder) for each in document]
    if not isinstance(document, dict):
        return document
    members = {name: frozen(value, folder) for name, value in document.items() if name != "$ref"}
    if "$ref" not in document:
        return members
    file = folder / document["$ref"]
    referred = frozen(json.loads(file.read_bytes()), file.parent)
    return {n: v for n, v in referred.items() if n not in ("$schema", "$id")} | members


def freeze(target: Path = RELEASED) -> Path:
    """Writes the schema of the event as this version emits it."""
    source = ROOT / "shared" / "schemas" / "event.v1.json"
    file = target / f"event.{__version__}.json"
    document = frozen(json.loads(source.read_bytes()), source.parent)
    file.write_text(json.dumps(document, indent=2, ensure_ascii=True) + "\n", "utf-8")
    return file


if __name__ == "__main__":
    print(freeze().relative_to(ROOT))
