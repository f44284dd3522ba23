"""Which events go to which queue: `routes.json`."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.parsing import decode
from shared.text import shown
from shared.validation import validator, violations

ROUTES_FILE = Path(__file__).parent.parent / "routes.json"


class RoutesError(ValueError):
    """Routes that cannot be used; the message says where and why, a line for each fault."""


@dataclass(frozen=True, slots=True)
class Route:
    """A queue and the actions whose events it gets (None: all)."""

    queue: str
    actions: frozenset[str] | None = None

    def takes(self, event: dict[str, Any]) -> bool:
        """Whether this route wants `event`, a CloudEvent."""
        return self.actions is None or event["data"]["action"] in self.actions


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes, and the queue on which rejected deliveries are kept."""

    routes: tuple[Route, ...]
    rejected_queue: str

    @classmethod
    def load(cls, known_actions: Collection[str], file: Path = ROUTES_FILE) -> "Routes":
        """The routes in `file`. Raises RoutesError."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise RoutesError(f"{file.name} cannot be read: {error}") from None
        try:
            return cls.parse(content, known_actions)
        except RoutesError as error:
            lines = "\n".join(f"  {line}" for line in str(error).splitlines())
            raise RoutesError(f"{file.name} cannot be used:\n{lines}") from None

    @classmethod
    def parse(cls, content: bytes, known_actions: Collection[str]) -> "Routes":
        """The routes in `content`, which `schemas/routes.v1.json` describes. Raises RoutesError."""
        try:
            document = decode(content)
        except ValueError as error:
            raise RoutesError(f"not JSON: {error}") from None
        faults = [
            f"{violation.pointer or '(top)'}: {violation.detail}"
            for violation in violations(validator("routes.v1.json"), document)
        ] or list(_contradictions(document, known_actions))
        if faults:
            raise RoutesError("\n".join(faults))
        return cls(
            tuple(
                Route(route["queue"], frozenset(route["actions"]) if "actions" in route else None)
                for route in document["routes"]
            ),
            document["rejectedQueue"],
        )

    @property
    def queues(self) -> list[str]:
        """Every queue that is named, each once."""
        return list(dict.fromkeys([*(route.queue for route in self.routes), self.rejected_queue]))

    def queues_for(self, event: dict[str, Any]) -> list[str]:
        """The queues of all routes that want `event`, each once, in the order of the routes."""
        return list(dict.fromkeys(route.queue for route in self.routes if route.takes(event)))


def _contradictions(document: dict[str, Any], known_actions: Collection[str]) -> Iterable[str]:
    """What the schema cannot say."""
    for number, route in enumerate(document["routes"]):
        if route["queue"] == document["rejectedQueue"]:
            yield f"/routes/{number}/queue: is the rejectedQueue, which gets no events"
        for place, action in enumerate(route.get("actions", ())):
            if action not in known_actions:
                yield (
                    f"/routes/{number}/actions/{place}: {shown(action)} is no action that raises "
                    f"an event; these do: {', '.join(known_actions)}"
                )
