"""`send`: post example deliveries."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tools import examples, references
from tools.cli.common import PORT, console, exit_statuses, progress_bar, run
from tools.localhost.function_app import ToolError
from tools.localhost.processes import function_url


def command(
    action: Annotated[
        str | None, typer.Argument(help=f"One of: {', '.join(examples.actions())}.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Argument(help="repository[:tag][@digest]; of a chart, name:version. Else as there."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="A delivery, sent as it is.", exists=True, dir_okay=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help=f"The app's port; else {PORT}.", min=1, max=65535)
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The function's URL, instead of a port of this machine.")
    ] = None,
    registry: Annotated[
        str | None, typer.Option(help="Login server: as ?registry=, and in the example.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Function key.", envvar="ACR_WEBHOOK_KEY", show_envvar=True)
    ] = None,
    repeat: Annotated[
        int, typer.Option(help="How many; examples get an id each if more than 1.", min=1)
    ] = 1,
    concurrency: Annotated[int, typer.Option(help="How many at a time.", min=1, max=256)] = 16,
) -> None:
    """Post a delivery to the function: the documented example of ACTION, or a file.

    With REFERENCE, the example is about it, and has an id of its own.
    Exit status: 0 if every response has a status below 300, else 1, also without a response.
    """
    from tools.deliveries import Outcome, post

    with exit_statuses():
        if url and port:
            raise ToolError("Name either a --url or a --port.")
        target = url or function_url(port or PORT)
        bodies = _bodies(action, reference, file, registry, repeat)

        async def post_all(seen: Callable[[Outcome], None]) -> None:
            sending = post(target, bodies, registry=registry, key=key, concurrency=concurrency)
            async for outcome in sending:
                seen(outcome)

        statuses: dict[int, int] = {}
        last: list[Outcome] = []
        with progress_bar() as progress:
            task = progress.add_task(
                escape(f"{file or action} → {target}"), total=repeat, visible=repeat > 1
            )

            def seen(outcome: Outcome) -> None:
                statuses[outcome.status] = statuses.get(outcome.status, 0) + 1
                last[:] = [outcome]
                progress.advance(task)

            run(post_all(seen))
        if repeat == 1:
            console.print(f"{last[0].status}", highlight=False)
            console.print_json(data=last[0].response)
        else:
            for status, count in sorted(statuses.items()):
                console.print(f"{count} × {status}", highlight=False)
        if any(status >= 300 for status in statuses):
            raise typer.Exit(1)


def _bodies(
    action: str | None, reference: str | None, file: Path | None, registry: str | None, repeat: int
) -> list[bytes]:
    """What to send. Raises ToolError."""
    if (file is None) == (action is None):
        raise ToolError("Name either an action or a --file.")
    if file:
        return [file.read_bytes()] * repeat
    if action not in examples.actions():
        known = ", ".join(examples.actions())
        raise ToolError(f"There is no example of {action!r}; there is one of: {known}.")
    example = examples.documented(action, registry)
    if reference:
        references.put(reference, example, registry)
    # Consumers take two deliveries with one id for the same.
    if not reference and repeat == 1:
        return [json.dumps(example).encode()]
    return [json.dumps(examples.with_new_id(example)).encode() for _ in range(repeat)]
