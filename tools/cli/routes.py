"""`routes check` and `routes explain`."""

from pathlib import Path
from typing import Annotated

import typer

from tools.cli.common import app_settings, console, exit_statuses, say
from tools.localhost.processes import ROOT

app = typer.Typer(help="Check and explain routes.json.", no_args_is_help=True)

RoutesFile = Annotated[Path, typer.Option(help="The routes.", metavar="PATH")]


@app.command()
def check(file: RoutesFile = ROOT / "routes.json") -> None:
    """Check the file, and show the filters of each route.

    Checks the app settings on this machine too, but for those of the storage account.
    Exit status: 0 where the app can use all of it, else 1.
    """
    from tools import routes

    with exit_statuses():
        given = app_settings()
        checked = routes.load(given, file)
        routes.require_usable(checked, given)
    console.print(routes.table(checked))
    for action in routes.unwanted(checked):
        say(console, f"No route matches the action {action}.")


@app.command()
def explain(
    action: Annotated[str, typer.Argument(help="push, delete, …")],
    reference: Annotated[
        str, typer.Argument(help="Image, as in team-a/web:v1; chart, as in web:1.0.")
    ],
    registry: Annotated[str | None, typer.Option(help="Login server; else the example's.")] = None,
    region: Annotated[str | None, typer.Option(help="Region, as in westeurope.")] = None,
    media_type: Annotated[str | None, typer.Option(help="Media type; else the example's.")] = None,
    file: RoutesFile = ROOT / "routes.json",
) -> None:
    """Show which routes match an event, and which filters of the others do not.

    Exit status: 0 where a route matches, else 1.
    """
    from tools import routes

    with exit_statuses():
        given = app_settings()
        checked = routes.load(given, file)
        event = routes.event(action, reference, registry, media_type, region, given)
    say(console, routes.seen(event))
    console.print(routes.explanation(checked, event))
    if not checked.queues_for(event):
        say(console, "No route matches the event.")
        raise typer.Exit(1)
