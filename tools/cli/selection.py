"""The filters of the commands that work on dead letters."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tools.cli.output import utc

if TYPE_CHECKING:
    from tools.message_facts import Selection

Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only those with this reason; repeatable.")
]
Registries = Annotated[
    list[str] | None, typer.Option("--registry", help="Only those of this registry; repeatable.")
]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Only this event id; repeatable.")]
Since = Annotated[
    datetime | None,
    typer.Option(
        help="Only those received since then (UTC).", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
    ),
]


def selection(
    reasons: list[str] | None,
    registries: list[str] | None,
    ids: list[str] | None,
    since: datetime | None,
) -> "Selection":
    """What the filters select."""
    # Only now: the host, which is a command too, loads the modules of the app that it serves.
    from tools.message_facts import Selection, login_server

    return Selection(
        frozenset(reasons or ()),
        frozenset(filter(None, map(login_server, registries or ()))),
        frozenset(ids or ()),
        utc(since),
    )
