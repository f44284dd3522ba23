"""`routes explain`: what the app would do with a delivery, and why."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from shared.core.actions import event_actions
from shared.core.cloud_event import CloudEvent
from shared.core.delivery import Delivery
from shared.core.problems import Problem
from shared.core.routing import VALUES, Routes
from shared.pipeline import Pipeline
from shared.settings import Settings
from shared.storage import connections
from tools import examples
from tools.localhost.function_app import ToolError

# The member of `target` that a filter reads.
_MEMBERS = {"repositories": "repository", "tags": "tag", "mediaTypes": "mediaType"}


@dataclass(frozen=True)
class Asked:
    """What to explain, and which filters read a value that the user did not give.

    `registry` and `region` are the parameters of the webhook's URL.
    """

    body: bytes
    registry: str | None = None
    region: str | None = None
    assumed: frozenset[str] = field(default_factory=frozenset)


def from_file(file: Path, registry: str | None, region: str | None) -> Asked:
    """A delivery in a file, as the registry would send it. Raises ToolError."""
    try:
        return Asked(file.read_bytes(), registry, region)
    except OSError as error:
        raise ToolError(f"{file} cannot be read: {error.strerror}.") from None


def from_example(name: str, registry: str | None, region: str | None) -> Asked:
    """An example by its name: `push`, or `push/by-digest`. Raises ToolError."""
    example = examples.named(name)
    if registry and "request" in example:
        example["request"]["host"] = registry
    return Asked(json.dumps(example).encode(), registry, region)


def from_fields(
    action: str,
    reference: str,
    registry: str | None,
    region: str | None,
    media_type: str | None,
) -> Asked:
    """A delivery with these fields. All others are those of the documented example.

    `reference` is `repository[:tag][@digest]`, or for charts `[repository/]name[:version]`. Raises
    ToolError.
    """
    if action not in event_actions():
        raise ToolError(f"{action!r} raises no event; these do: {', '.join(event_actions())}.")
    delivery = examples.documented(action, registry)
    target = delivery["target"]
    is_chart = "version" in target
    given = _chart(reference) if is_chart else _image(reference, registry)
    given["mediaType"] = media_type
    for name, value in given.items():
        if value is not None and name not in target:
            raise ToolError(f"A {action} has no {name}.")
    if not is_chart and given["tag"] is None:
        target.pop("tag", None)
    target |= {name: value for name, value in given.items() if value is not None}
    if is_chart:
        target["tag"] = f"{target['name']}-{target['version']}"
    assumed = {
        name for name, member in _MEMBERS.items() if member in target and given.get(member) is None
    }
    if registry is None and "request" in delivery:
        assumed.add("registries")
    return Asked(json.dumps(delivery).encode(), registry, region, frozenset(assumed))


def _image(reference: str, registry: str | None) -> dict[str, str | None]:
    """The parts of `reference`, which is in `registry` if one is given.

    Raises ToolError where it names a registry. A repository can have a dot there, too.
    """
    name, _, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    if slash and (":" in first or ("." in first and registry is None)):
        raise ToolError(f"Name the registry separately: {rest} --registry {first}")
    repository, _, tag = name.partition(":")
    return {"repository": repository, "tag": tag or None, "digest": digest or None}


def _chart(reference: str) -> dict[str, str | None]:
    """The parts of a chart's `reference`."""
    path, _, version = reference.partition(":")
    repository, _, name = path.rpartition("/")
    return {"repository": repository or None, "name": name, "version": version or None}


@dataclass(frozen=True)
class Explanation:
    """What the app would do. A ping and a refused delivery have no `event`."""

    verdict: str
    event: CloudEvent | None = None
    enqueued: bool = False
    refused: bool = False


def explain(asked: Asked, routes: Routes, app_settings: Mapping[str, str]) -> Explanation:
    """What the app with these routes and settings would do. Runs its own stages, sends nothing."""
    pipeline = Pipeline(_settings(app_settings), routes, _NoQueues())
    delivery = Delivery(asked.body, asked.registry, None, datetime.now(UTC), region=asked.region)
    try:
        routed = pipeline.route(pipeline.parse(delivery), delivery)
    except Problem as problem:
        errors = "\n".join(f"{v.pointer} {v.detail}".strip() for v in problem.violations)
        kept = f"It responds {problem.kind.status}, and keeps the delivery on "
        verdict = f"The app would refuse that. {kept}{routes.rejected_queue}:\n{errors}"
        return Explanation(verdict, refused=True)
    if routed.event is None:
        return Explanation("The app responds 200. It enqueues nothing.")
    if not routed.queues:
        return Explanation(
            "No route matches the event. The app responds 202, and stores it nowhere.", routed.event
        )
    queues = ", ".join(routed.queues)
    return Explanation(
        f"The app responds 202. It enqueues to: {queues}", routed.event, enqueued=True
    )


def _settings(app_settings: Mapping[str, str]) -> Settings:
    """The app's settings, with any account: none is used."""
    others = {
        name: value
        for name, value in app_settings.items()
        if name.partition("__")[0] not in connections.NAMES
    }
    return Settings.read({**others, connections.NAMES[0]: "UseDevelopmentStorage=true"})


class _NoQueues:
    async def send(
        self, queue: str, message: bytes, deadline: float, request_id: str | None = None
    ) -> None:
        raise NotImplementedError


def seen(event: CloudEvent, asked: Asked) -> str:
    """The values of `event` that the filters read. What was not given is marked."""
    lines = []
    for name, look in VALUES.items():
        mark = " (assumed)" if name in asked.assumed else ""
        lines.append(f"{name}: {look(event) or '(none)'}{mark}")
    if asked.assumed:
        lines.append("(assumed): you did not give it. It follows the documented example.")
    return "\n".join(lines)


def table(routes: Routes, event: CloudEvent) -> Table:
    """Each route: whether it gets `event`, or why not."""
    grid = Table("route", "queue", "matches")
    matching = routes.routes_for(event)
    for route in routes.routes:
        reasons = [f"{name}: {why}" for name, why in route.mismatch_reasons(event).items()]
        if not reasons and route not in matching:
            reasons = ["fallback: another route matches"]
        verdict = escape("\n".join(reasons)) if reasons else "[green]yes[/]"
        grid.add_row(escape(route.name), escape(route.queue), verdict)
    return grid
