"""`demo`: sends every kind of delivery to the app, and shows the results."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from tools.cli.common import DEFAULTS, console, exit_statuses, temporary_azurite
from tools.localhost.ports import free_port
from tools.localhost.processes import app as served_app


def command(
    picture: Annotated[
        Path | None, typer.Option(help="Where to write a picture of the output.", hidden=True)
    ] = None,
) -> None:
    """Start Azurite and the app on free ports, send every kind of delivery, show the queues."""
    from tools import demo as demonstration
    from tools import demo_picture

    settings = {**os.environ, **DEFAULTS}
    output = demo_picture.recorder() if picture else console
    with (
        exit_statuses(),
        temporary_azurite() as storage,
        served_app(
            free_port(), {"AcrEventsStorage": storage.address, **DEFAULTS}, quiet=True
        ) as running,
    ):
        asyncio.run(demonstration.run(running.address, storage.address, settings, output))
    if picture:
        demo_picture.save(output, picture)
