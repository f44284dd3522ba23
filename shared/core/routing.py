"""Which events go to which queue: `routes.json`."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.core.actions import event_actions
from shared.core.cloud_event import CloudEvent
from shared.core.filters import Filter
from shared.core.misconfiguration import Misconfiguration
from shared.core.parsing import decode
from shared.core.placeholders import fill, missing, placeholders
from shared.core.route_checks import misconfigured
from shared.core.schemas import validator
from shared.core.text import quoted
from shared.core.violations import violations

ROUTES_FILE = Path(__file__).parent.parent.parent / "routes.json"
# The dead-letter queue where an invalid file names no other.
REJECTED_QUEUE = "acr-rejected"

_SCHEMA = "routes.v1.json"

# The part of an event that each filter looks at.
VALUES: Mapping[str, Callable[[CloudEvent], str | None]] = {
    "actions": lambda event: event["data"]["action"],
    "registries": lambda event: event.get("acrregistry"),
    "regions": lambda event: event.get("acrregion"),
    "repositories": lambda event: event["data"]["target"].get("repository"),
    "tags": lambda event: event["data"]["target"].get("tag"),
    "mediaTypes": lambda event: event["data"]["target"].get("mediaType"),
}

# Filters whose values are in lower case, and what these values are.
_LOWER_CASE = {"registries": "login server", "regions": "region"}


class RoutesError(ValueError):
    """Routes that cannot be used. The message has a line with place and reason for each error."""


@dataclass(frozen=True, slots=True)
class Route:
    """A queue, and the filters by name that an event must pass to go there.

    A `fallback` route gets only events that no other route matches.
    """

    name: str
    queue: str
    filters: Mapping[str, Filter]
    fallback: bool = False

    def matches(self, event: CloudEvent) -> bool:
        """Whether `event` passes every filter."""
        # Every delivery runs this loop: a generator would cost more than most filters do.
        for name, chosen in self.filters.items():  # noqa: SIM110
            if not chosen.matches(VALUES[name](event)):
                return False
        return True

    def mismatch_reasons(self, event: CloudEvent) -> dict[str, str]:
        """The filters that `event` does not pass, each with its reason."""
        found = {
            name: chosen.mismatch_reason(VALUES[name](event))
            for name, chosen in self.filters.items()
        }
        return {name: reason for name, reason in found.items() if reason}


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes, and the dead-letter queue.

    `app_settings` are the names of those that the file refers to. `misconfigured` is what can
    never match. `digest` tells one content of the file from another.
    """

    routes: tuple[Route, ...]
    rejected_queue: str
    app_settings: frozenset[str] = frozenset()
    misconfigured: tuple[Misconfiguration, ...] = ()
    digest: str = ""

    @classmethod
    def load(cls, app_settings: Mapping[str, str], file: Path | None = None) -> "Routes":
        """The routes in `file`, or else in `ROUTES_FILE`. Raises RoutesError."""
        file = file or ROUTES_FILE
        try:
            content = file.read_bytes()
        except OSError as error:
            raise RoutesError(f"{file.name} cannot be read: {error}") from None
        try:
            return cls.parse(content, app_settings)
        except RoutesError as error:
            lines = "\n".join(f"  {line}" for line in str(error).splitlines())
            raise RoutesError(f"{file.name} cannot be used:\n{lines}") from None

    @classmethod
    def unusable(
        cls, error: RoutesError, app_settings: Mapping[str, str], file: Path | None = None
    ) -> "Routes":
        """The stand-in for an invalid `file`: no route, and its dead-letter queue."""
        file = file or ROUTES_FILE
        queue = REJECTED_QUEUE
        with suppress(OSError, ValueError, TypeError, KeyError):
            named = fill(decode(file.read_bytes())["rejectedQueue"], app_settings)
            if not list(_unfit("", "", named, validator(_SCHEMA).document["$defs"]["queueName"])):
                queue = named
        rule = "cannot be used: the app keeps every event on the dead-letter queue"
        advice = f"Correct it, and replay. {error}"
        found = (Misconfiguration(file.name, rule, advice),)
        return cls((), queue, misconfigured=found, digest=digest_of(file))

    @classmethod
    def parse(cls, content: bytes, app_settings: Mapping[str, str]) -> "Routes":
        """The routes in `content`, which `schemas/routes.v1.json` describes.

        `app_settings` has the values for %NAME%. Raises RoutesError, which quotes none of them.
        """
        try:
            document = decode(content)
        except ValueError as error:
            raise RoutesError(f"not JSON: {error}") from None
        _require_none(
            f"{_line(violation.pointer) or '(top)'}: {violation.detail}"
            for violation in violations(validator(_SCHEMA), document)
        )
        _require_none(missing(document, app_settings))
        filled = fill(document, app_settings)
        _require_none(_contradictions(document, filled))
        return cls(
            tuple(
                Route(
                    route.get("name", route["queue"]),
                    route["queue"],
                    {name: Filter(route[name]) for name in VALUES if name in route},
                    route.get("fallback", False),
                )
                for route in filled["routes"]
            ),
            filled["rejectedQueue"],
            frozenset(name for _, name in placeholders(document)),
            tuple(misconfigured(document["routes"], filled["routes"], list(VALUES))),
            _digest(content),
        )

    @property
    def queues(self) -> list[str]:
        """The queues of all routes and the dead-letter queue, each once."""
        return list(dict.fromkeys([*(route.queue for route in self.routes), self.rejected_queue]))

    def queues_for(self, event: CloudEvent) -> list[str]:
        """The queues of `routes_for`, each once."""
        return list(dict.fromkeys([route.queue for route in self.routes_for(event)]))

    def routes_for(self, event: CloudEvent) -> list[Route]:
        """The routes that `event` takes, in their order: fallback routes if no other matches."""
        matching = [route for route in self.routes if route.matches(event)]
        return [route for route in matching if not route.fallback] or matching


def digest_of(file: Path) -> str:
    """The digest of `file`, valid or not. Empty where it cannot be read."""
    try:
        return _digest(file.read_bytes())
    except OSError:
        return ""


def _digest(content: bytes) -> str:
    """Enough of the SHA-256 to tell versions of a file apart."""
    return hashlib.sha256(content).hexdigest()[:12]


def _line(pointer: str) -> str:
    """`pointer` on one line, even if a name in it contains a line break."""
    return json.dumps(pointer, ensure_ascii=False)[1:-1]


def _require_none(errors: Iterable[str]) -> None:
    if lines := list(errors):
        raise RoutesError("\n".join(lines))


def _contradictions(document: dict[str, Any], filled: dict[str, Any]) -> Iterator[str]:
    """The errors of `document` that the schema cannot find.

    `filled` is `document` with the values of its app settings. An error quotes `document` alone: a
    setting could be a secret that was named by mistake.
    """
    rejected = filled["rejectedQueue"]
    definitions = validator(_SCHEMA).document["$defs"]
    is_queue, is_pattern = definitions["queueName"], definitions["patterns"]["items"]
    yield from _unfit("/rejectedQueue", document["rejectedQueue"], rejected, is_queue)
    names: dict[str, int] = {}
    for number, (route, chosen) in enumerate(
        zip(document["routes"], filled["routes"], strict=True)
    ):
        place = f"/routes/{number}"
        yield from _unfit(f"{place}/queue", route["queue"], chosen["queue"], is_queue)
        for name in filter(chosen.__contains__, VALUES):
            for index, (written, pattern) in enumerate(zip(route[name], chosen[name], strict=True)):
                # The file decides whether a pattern excludes, not the setting.
                body = pattern[1:] if written.startswith("!") else pattern
                yield from _unfit(f"{place}/{name}/{index}", written, f"!{body}", is_pattern)
        if chosen["queue"] == rejected:
            yield f"{place}/queue: is the rejectedQueue, which gets no events"
        if "name" in route and (first := names.setdefault(route["name"], number)) != number:
            yield f"{place}/name: {quoted(route['name'])} is the name of /routes/{first} too"
        for index, pattern in enumerate(chosen.get("actions", ())):
            if not any(map(Filter([pattern.removeprefix("!")]).matches, event_actions())):
                yield (
                    f"{place}/actions/{index}: {quoted(route['actions'][index])} matches no action "
                    f"that raises an event; these do: {', '.join(event_actions())}"
                )
        if not any(map(Filter(chosen.get("actions", ())).matches, event_actions())):
            yield f"{place}/actions: leave no action that raises an event"
        for name, what in _LOWER_CASE.items():
            for index, pattern in enumerate(chosen.get(name, ())):
                if pattern != pattern.lower() and "[" not in pattern:
                    yield (
                        f"{place}/{name}/{index}: {quoted(route[name][index])} matches no {what}, "
                        "as these are in lower case"
                    )


def _unfit(place: str, written: str, meant: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """An error where `meant`, which `written` stands for, does not match `schema`."""
    if not re.search(schema["pattern"], meant):
        yield f"{place}: {quoted(written)} stands for no valid {schema['title']}"
