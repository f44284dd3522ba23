"""`routes check` and `routes explain`: the routes in routes.json, and where an event goes."""

from collections.abc import Mapping
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from shared.core import regions
from shared.core.actions import actions, event_actions
from shared.core.cloud_event import CloudEvent
from shared.core.normalization import to_cloud_event
from shared.core.problems import Problem
from shared.core.registries import AllowList
from shared.core.routing import VALUES, Routes, RoutesError
from shared.core.validation import PayloadValidator
from shared.settings import misconfigured
from tools import examples, references
from tools.localhost.function_app import ToolError


def load(app_settings: Mapping[str, str], file: Path) -> Routes:
    """The routes in `file`. Raises ToolError."""
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
        grid.add_row(
            *map(escape, (route.name, route.queue, "\n".join(filters) or "none: every event"))
        )
    grid.add_row("[dim]refused[/]", escape(routes.rejected_queue), "[dim]refused deliveries[/]")
    return grid


def unwanted(routes: Routes) -> list[str]:
    """The actions that no route matches."""
    wanted = [route.filters.get("actions") for route in routes.routes]
    return [
        action
        for action in event_actions()
        if not any(chosen is None or chosen.matches(action) for chosen in wanted)
    ]


def event(
    action: str,
    reference: str,
    registry: str | None,
    media_type: str | None,
    region: str | None,
    app_settings: Mapping[str, str],
) -> CloudEvent:
    """The event that `action` on `reference` would raise in the app with these settings.

    Other values come from the documented example. Raises ToolError where it lacks a given part.
    """
    if action not in event_actions():
        raise ToolError(f"{action!r} raises no event; these do: {', '.join(event_actions())}.")
    delivery = examples.documented(action, registry)
    references.put(reference, delivery, registry)
    if media_type is not None:
        if "mediaType" not in delivery["target"]:
            raise ToolError(f"A {action} has no mediaType.")
        delivery["target"]["mediaType"] = media_type
    try:
        allowed = AllowList.parse(app_settings.get("ACR_REGISTRIES", ""))
        payload = PayloadValidator([action]).validate(delivery)
        host = payload.get("request", {}).get("host")
        source = allowed.registry(host, registry)
        raised_in = regions.region(host, region)
    except Problem as problem:
        errors = "\n".join(f"{v.pointer} {v.detail}".strip() for v in problem.violations)
        raise ToolError(f"The app would refuse that.\n{errors}") from None
    except ValueError as error:
        raise ToolError(str(error)) from None
    return to_cloud_event(payload, actions()[action], source, region=raised_in)


def seen(event: CloudEvent) -> str:
    """The values of `event` that the filters read."""
    values = {name: look(event) for name, look in VALUES.items()}
    return "\n".join(f"{name}: {value or '(none)'}" for name, value in values.items())


def explanation(routes: Routes, event: CloudEvent) -> Table:
    """Each route: whether it matches `event`, or which filters `event` does not pass."""
    grid = Table("route", "queue", "matches")
    for route in routes.routes:
        reasons = [f"{name}: {why}" for name, why in route.mismatch_reasons(event).items()]
        verdict = escape("\n".join(reasons)) if reasons else "[green]yes[/]"
        grid.add_row(escape(route.name), escape(route.queue), verdict)
    return grid
