"""The actions of Azure Container Registry, and the event of each: the table `actions.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the table.

    `type` is the CloudEvents type. None: the action gets a response, but raises no event.
    `subject` lists templates over the fields of `target`. The first template whose fields are all
    present gives the subject of the event.
    """

    name: str
    type: str | None
    subject: tuple[str, ...] = ()


@cache
def actions() -> Mapping[str, Action]:
    """The table, by the action's name.

    Types and subjects are those of Event Grid for the same occurrence. Event Grid has no
    `quarantine` event: its name follows the same pattern.
    https://learn.microsoft.com/azure/event-grid/event-schema-container-registry

    Action names are plain text: the API definition declares the list extensible (`WebhookAction`).
    https://github.com/Azure/azure-rest-api-specs/tree/main/specification/containerregistry
    """
    table = json.loads((Path(__file__).parent.parent / "actions.json").read_bytes())
    return {
        name: Action(name, line["type"], tuple(line.get("subject", ())))
        for name, line in table.items()
    }


def event_actions() -> list[str]:
    """The names of the actions that raise an event."""
    return [name for name, action in actions().items() if action.type]
