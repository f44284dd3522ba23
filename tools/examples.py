"""The example deliveries in tests/examples, a folder for each action."""

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    # The local host imports this module, and must load the modules of the app itself.
    from shared.core.delivery import Payload

EXAMPLES = Path(__file__).parent.parent / "tests" / "examples"


def actions() -> list[str]:
    """The actions that have an example."""
    return sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())


def documented(action: str, registry: str | None = None) -> dict[str, Any]:
    """The documented example of `action`. A given `registry` replaces the one that it names."""
    example: dict[str, Any] = json.loads((EXAMPLES / action / "documented.json").read_bytes())
    if registry and "request" in example:
        example["request"]["host"] = registry
    return example


def names() -> list[str]:
    """Every example, as in `push/by-digest`."""
    return sorted(f"{file.parent.name}/{file.stem}" for file in EXAMPLES.glob("*/*.json"))


def named(name: str) -> dict[str, Any]:
    """The example `name`, as in `push/by-digest`; `push` is its documented one."""
    path = name if "/" in name else f"{name}/documented"
    example: dict[str, Any] = json.loads((EXAMPLES / f"{path}.json").read_bytes())
    return example


def payload(action: str, registry: str | None = None) -> "Payload":
    """As `documented`, which is valid."""
    return cast("Payload", documented(action, registry))


def with_new_id(example: dict[str, Any]) -> dict[str, Any]:
    """The same delivery with a new id."""
    return {**example, "id": str(uuid.uuid4())}
