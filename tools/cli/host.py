"""`host`: serve a function app."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from tools.cli.common import PORT, Port, errors, exit_statuses, say
from tools.localhost.processes import ROOT


def command(
    port: Port = PORT,
    local_settings: Annotated[
        bool, typer.Option(help="Read local.settings.json, as Core Tools do.")
    ] = True,
    folder: Annotated[
        Path, typer.Option("--app", help="The app's folder.", exists=True, file_okay=False)
    ] = ROOT,
    timers_at_once: Annotated[
        bool, typer.Option("--timers-at-once", help="Call functions with a timer now, too.")
    ] = False,
) -> None:
    """Serve a function app, this one or another, for local use only (no keys are checked)."""
    from tools.localhost import functions
    from tools.localhost import host as local_host

    def ready(loaded: list[functions.Function]) -> None:
        errors.print("Local host, for development only: it checks no keys.", style="dim")
        for function in loaded:
            if isinstance(function, functions.QueueFunction):
                say(errors, f"  {function.name}: queue {function.trigger.queue}")
                continue
            if isinstance(function, functions.TimerFunction):
                say(errors, f"  {function.name}: timer {function.trigger.schedule}")
                continue
            methods = ",".join(sorted(function.methods))
            url = f"http://127.0.0.1:{port}{function.path}"
            say(errors, f"  {function.name}: [{methods}] {url}")

    with exit_statuses():
        local_host.configure_logging()
        serving = local_host.serve(
            folder.resolve(),
            port,
            ready,
            local_settings=local_settings,
            timers_at_once=timers_at_once,
        )
        asyncio.run(serving)
