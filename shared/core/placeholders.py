"""App settings in `routes.json`: `%NAME%` stands for the value of the app setting NAME."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.core.text import quoted

_APP_SETTING = re.compile(r"%([^%]+)%")

# Members in which %NAME% stands for itself.
_PLAIN = ("$schema", "name")


def missing(part: Any, app_settings: Mapping[str, str]) -> Iterator[str]:
    """An error for each app setting that `part` names and that is not set."""
    for pointer, name in placeholders(part):
        if not app_settings.get(name, "").strip():
            yield f"{pointer}: the app setting {quoted(name)} is not set"


def placeholders(part: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Each place in `part` that refers to an app setting, and the setting's name."""
    if isinstance(part, str):
        for name in _APP_SETTING.findall(part):
            yield pointer, name
    for step, inner in _members(part):
        yield from placeholders(inner, f"{pointer}/{step}")


def _members(part: Any) -> Iterable[tuple[str | int, Any]]:
    match part:
        case dict():
            return [item for item in part.items() if item[0] not in _PLAIN]
        case list():
            return enumerate(part)
    return ()


def fill(part: Any, app_settings: Mapping[str, str]) -> Any:
    """`part` with the value of each app setting in place of its name."""
    match part:
        case str():
            return _APP_SETTING.sub(lambda found: app_settings[found[1]].strip(), part)
        case list():
            return [fill(item, app_settings) for item in part]
        case dict():
            return {
                name: value if name in _PLAIN else fill(value, app_settings)
                for name, value in part.items()
            }
    return part
