"""Options and settings of the commands that read ACR's delivery log."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tools.cli.common import target
from tools.localhost.function_app import ToolError

if TYPE_CHECKING:
    from shared.app import App
    from shared.settings import ReconcileSettings

Webhooks = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook", help="Resource id of a webhook; several are allowed. Else ACR_WEBHOOKS."
    ),
]
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
Since = Annotated[
    datetime | None, typer.Option(help="Ignore earlier deliveries (UTC).", formats=_FORMATS)
]
Until = Annotated[
    datetime | None,
    typer.Option(help="Ignore deliveries of this time and later (UTC).", formats=_FORMATS),
]


def app_of(
    queue_port: int | None, webhook: list[str] | None, *, require_webhook: bool = True
) -> tuple["App", "ReconcileSettings"]:
    """The app with the settings of this machine, and its webhooks. Raises ToolError."""
    from shared.app import App
    from shared.settings import ReconcileSettings

    given = target(queue_port).app_settings
    if webhook:
        given["ACR_WEBHOOKS"] = ",".join(webhook)
    try:
        app = App.from_environment(given, registry_waits=False)
        settings = ReconcileSettings.read(given)
    except ValueError as error:
        raise ToolError(str(error)) from None
    if require_webhook and not settings.webhooks:
        raise ToolError("No webhook is named: use --webhook or set ACR_WEBHOOKS.")
    return app, settings
