"""`routes check`: the routes in routes.json, and those that an app has loaded."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.markup import escape
from rich.table import Table

from shared.core.routing import Routes, RoutesError
from shared.settings import misconfigured
from tools.localhost.function_app import ToolError, http_path
from tools.localhost.processes import ROOT

# Health responds within two seconds. A cold start comes before that.
_HEALTH_SECONDS = 30


def load(app_settings: Mapping[str, str], file: Path | None) -> Routes:
    """The routes in `file`, or else those of the app. Raises ToolError."""
    try:
        return Routes.load(app_settings, file)
    except RoutesError as error:
        raise ToolError(str(error)) from None


def require_usable(routes: Routes, app_settings: Mapping[str, str]) -> None:
    """Raises ToolError where `Health` would report the routes or the app settings."""
    found = [
        *routes.misconfigured,
        *misconfigured(app_settings, routes.app_settings),
    ]
    if found:
        raise ToolError("The app would report as failed:\n" + "\n".join(f"  {f}" for f in found))


def table(routes: Routes) -> Table:
    """Every route: its queue and its filters."""
    grid = Table("route", "queue", "filters")
    for route in routes.routes:
        filters = [f"{name}: {', '.join(f.patterns)}" for name, f in route.filters.items()]
        if route.fallback:
            filters.append("fallback: events that no other route matches")
        grid.add_row(
            *map(escape, (route.name, route.queue, "\n".join(filters) or "none: every event"))
        )
    grid.add_row("[dim]refused[/]", escape(routes.rejected_queue), "[dim]refused deliveries[/]")
    return grid


def require_loaded(url: str, file_digest: str) -> None:
    """Raises ToolError where the app at `url` runs with other routes than the file has."""
    parts = urlsplit(url)
    health = f"{parts.scheme}://{parts.netloc}{http_path(ROOT, ROOT / 'Health')}"
    loaded = _loaded(health)
    if loaded != file_digest:
        raise ToolError(
            f"The app has loaded other routes ({loaded}) than the file has ({file_digest}). "
            "Restart or deploy it to use the file."
        )


def _loaded(health: str) -> str:
    """The digest of the routes that an app has loaded, by its health."""
    try:
        with urllib.request.urlopen(health, timeout=_HEALTH_SECONDS) as response:  # noqa: S310
            document = json.load(response)
    except urllib.error.HTTPError as error:
        # With 503 comes the same body.
        document = _document(error.read())
    except (OSError, ValueError) as error:
        raise ToolError(f"{health} cannot be read: {error}") from None
    digest = document.get("routesDigest") if isinstance(document, dict) else None
    if not isinstance(digest, str):
        raise ToolError(f"{health} names no routes: the app is older, or has invalid settings.")
    return digest


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
