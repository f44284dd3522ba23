"""`routes check` and `routes explain`."""

from pathlib import Path
from typing import Annotated

import typer

from tools.cli.common import app_settings, console, exit_statuses, say
from tools.localhost.function_app import ToolError

app = typer.Typer(help="Check and explain routes.json.", no_args_is_help=True)

RoutesFile = Annotated[
    Path | None, typer.Option(help="The routes; else routes.json.", metavar="PATH")
]


@app.command()
def check(
    file: RoutesFile = None,
    url: Annotated[
        str | None, typer.Option(help="An app that runs: has it loaded these routes?")
    ] = None,
) -> None:
    """Check the file, and show the filters of each route.

    Checks the app settings on this machine too, but for those of the storage account. Warns about
    events that no route matches, and about routes that get no event.
    Exit status: 0 where the app can use all of it, else 1. A warning does not count.
    """
    from tools import route_gaps, routes

    with exit_statuses():
        given = app_settings()
        checked = routes.load(given, file)
        routes.require_usable(checked, given)
        console.print(routes.table(checked))
        for warning in route_gaps.warnings(checked):
            say(console, f"Warning: {warning}")
        if url:
            routes.require_loaded(url, checked.digest)
            say(console, f"The app has loaded these routes ({checked.digest}).")


@app.command()
def explain(
    what: Annotated[
        str, typer.Argument(help="An action, an example (push/by-digest), or a JSON file.")
    ],
    reference: Annotated[
        str | None,
        typer.Argument(help="With an action: team-a/web:v1, or a chart as in wordpress:5.4.0.tgz."),
    ] = None,
    registry: Annotated[str | None, typer.Option(help="Login server; else the example's.")] = None,
    region: Annotated[str | None, typer.Option(help="Region, as in westeurope.")] = None,
    media_type: Annotated[str | None, typer.Option(help="Media type; else the example's.")] = None,
    file: RoutesFile = None,
) -> None:
    """Show what the app would do with a delivery, and which routes match its event.

    With an action and a reference, the other fields are those of the documented example. Such a
    value is marked where a filter reads it.
    Exit status: 0 where the event is enqueued, else 1.
    """
    from tools import examples, route_explanation, routes

    with exit_statuses():
        given = app_settings()
        checked = routes.load(given, file)
        if reference is not None:
            asked = route_explanation.from_fields(what, reference, registry, region, media_type)
        elif media_type:
            raise ToolError("--media-type needs an action and a reference.")
        elif what in (*examples.actions(), *examples.names()):
            asked = route_explanation.from_example(what, registry, region)
        elif what.endswith(".json") or Path(what).is_file():
            asked = route_explanation.from_file(Path(what), registry, region)
        else:
            known = ", ".join(examples.names())
            raise ToolError(f"{what!r} is no JSON file and no example; the examples are: {known}.")
        explained = route_explanation.explain(asked, checked, given)
        if explained.refused:
            raise ToolError(explained.verdict)
    if explained.event:
        say(console, route_explanation.seen(explained.event, asked))
        console.print(route_explanation.table(checked, explained.event))
    say(console, explained.verdict)
    if not explained.enqueued:
        raise typer.Exit(1)
