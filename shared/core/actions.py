"""The actions of Azure Container Registry and what becomes of them: the table `actions.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the table.

    `type` is the CloudEvents type, None for an action that is answered but raises no event.
    `subject` lists templates over the fields of `target`; the first whose fields are all there
    makes the event's subject.
    """

    name: str
    type: str | None
    subject: tuple[str, ...] = ()


@cache
def actions() -> Mapping[str, Action]:
    """The table, by the action's name.

    Types and subjects are Event Grid's for the same occurrence; `quarantine`, which Event Grid
    does not know, is named in the same manner. Action names are plain text: the registry's list
    is declared extensible.
    """
    table = json.loads((Path(__file__).parent.parent / "actions.json").read_bytes())
    return {
        name: Action(name, line["type"], tuple(line.get("subject", ())))
        for name, line in table.items()
    }


def event_actions() -> list[str]:
    """The names of the actions that raise an event."""
    return [name for name, action in actions().items() if action.type]
