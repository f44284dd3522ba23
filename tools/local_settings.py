"""local.settings.json, as Core Tools read it."""

import json
import os
from pathlib import Path
from typing import Any

from tools.processes import ToolError


def read_local_settings(root: Path) -> None:
    """Puts `Values` of local.settings.json into the environment, where a name is not set yet."""
    file = root / "local.settings.json"
    if file.exists():
        for name, value in read_json(file).get("Values", {}).items():
            os.environ.setdefault(name, str(value))


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises ToolError."""
    try:
        document = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ToolError(f"{file.name} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ToolError(f"{file.name} must hold a JSON object.")
    return document
