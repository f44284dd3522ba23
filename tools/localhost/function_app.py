"""The files of a function app, as Core Tools read them."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class ToolError(Exception):
    """An error that the user can correct. The message says how."""


class SettingMissing(ToolError):
    """An app setting that a binding names is not set."""


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`. Raises ToolError."""
    try:
        document = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ToolError(f"{file.name} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ToolError(f"{file.name} must hold a JSON object.")
    return document


def local_settings(root: Path) -> dict[str, str]:
    """`Values` of local.settings.json; nothing where there is no such file. Raises ToolError."""
    file = root / "local.settings.json"
    if not file.exists():
        return {}
    with _as_expected(file):
        values = read_json(file).get("Values", {})
        for name, value in values.items():
            if not isinstance(value, str):
                raise TypeError(f"Values.{name} must be text")
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"Values.{name} cannot be an environment variable")
            value.encode()
        return dict(values)


def fill_environment(root: Path) -> None:
    """Puts local.settings.json into the environment, as Core Tools do. Raises ToolError.

    A variable that is set already stays as it is.
    """
    for name, value in local_settings(root).items():
        os.environ.setdefault(name, value)


def route_prefix(root: Path) -> str:
    """The first part of every function's path, without slashes. Default: `api`."""
    return str(host_extension(root, "http").get("routePrefix", "api")).strip("/")


def host_extension(root: Path, name: str) -> dict[str, Any]:
    """The options of one extension in host.json. Raises ToolError."""
    file = root / "host.json"
    with _as_expected(file):
        options = read_json(file).get("extensions", {}).get(name, {})
        if not isinstance(options, dict):
            raise TypeError(f"extensions.{name} must be an object")
        return options


def function_json(folder: Path) -> dict[str, Any]:
    """The function.json in `folder`; each of its bindings has a name, a type and a direction."""
    file = folder / "function.json"
    document = read_json(file)
    with _as_expected(file):
        for binding in document["bindings"]:
            binding.setdefault("direction", "in")
            if not all(isinstance(binding[key], str) for key in ("name", "type")):
                raise TypeError("name and type of a binding must be text")
            if binding["direction"] not in ("in", "out", "inout"):
                raise ValueError(f"{binding['direction']} is no direction")
            methods = binding.get("methods", [])
            if not isinstance(methods, list) or not all(isinstance(m, str) for m in methods):
                raise TypeError("methods of a binding must be a list of texts")
        for key in ("scriptFile", "entryPoint"):
            if not isinstance(document.get(key, ""), str):
                raise TypeError(f"{key} must be text")
    return document


def http_path(root: Path, folder: Path) -> str:
    """The path at which the function in `folder`, which has an HTTP trigger, is served.

    Raises ToolError where its route has parameters.
    """
    trigger = next(b for b in function_json(folder)["bindings"] if b["type"] == "httpTrigger")
    route = str(trigger.get("route", folder.name)).strip("/")
    if "{" in route:
        raise ToolError(f"{folder.name}: the local host knows no route parameters ({route}).")
    return "/" + "/".join(filter(None, (route_prefix(root), route)))


def app_setting(name: str) -> str:
    """The app setting `name`. Raises SettingMissing."""
    value = os.environ.get(name)
    if not value:
        raise SettingMissing(f"The app setting {name} is not set.")
    return value


def with_app_settings(text: str) -> str:
    """`text` with app settings in the place of %NAME%. Raises SettingMissing."""
    return re.sub("%([^%]+)%", lambda found: app_setting(found[1]), text)


@contextmanager
def _as_expected(file: Path) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ToolError(f"{file.parent.name}/{file.name} is not as it must be: {reason}") from None
