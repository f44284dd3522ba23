"""The filters of the commands that work on dead letters."""

from datetime import datetime
from typing import Annotated

import typer

from tools.cli.output import utc
from tools.message_facts import Selection, login_server

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
) -> Selection:
    """What the filters select."""
    return Selection(
        frozenset(reasons or ()),
        frozenset(filter(None, map(login_server, registries or ()))),
        frozenset(ids or ()),
        utc(since),
    )
