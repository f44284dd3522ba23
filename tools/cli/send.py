"""`send`: post example deliveries."""

import json
from collections.abc import Callable
from typing import Annotated

import typer
from rich.markup import escape

from tools import examples
from tools.cli.common import PORT, console, exit_statuses, progress_bar, run
from tools.localhost.function_app import ToolError
from tools.localhost.processes import function_url


def command(
    action: Annotated[str, typer.Argument(help=f"One of: {', '.join(examples.actions())}.")],
    url: Annotated[
        str | None, typer.Option(help="The function's URL; without it, that of `start`.")
    ] = None,
    registry: Annotated[
        str | None, typer.Option(help="Login server: sent as ?registry= and as the event's host.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Function key.", envvar="ACR_WEBHOOK_KEY", show_envvar=True)
    ] = None,
    repeat: Annotated[
        int, typer.Option(help="How many; each gets an id of its own if more than 1.", min=1)
    ] = 1,
    concurrency: Annotated[int, typer.Option(help="How many at a time.", min=1, max=256)] = 16,
) -> None:
    """Post the documented example of ACTION to the function."""
    from tools.deliveries import Outcome, post

    with exit_statuses():
        if action not in examples.actions():
            known = ", ".join(examples.actions())
            raise ToolError(f"There is no example of {action!r}; there is one of: {known}.")
        target = url or function_url(PORT)
        example = examples.documented(action, registry)
        many = [examples.with_new_id(example) for _ in range(repeat)] if repeat > 1 else [example]
        bodies = [json.dumps(delivery).encode() for delivery in many]

        async def post_all(seen: Callable[[Outcome], None]) -> None:
            sending = post(target, bodies, registry=registry, key=key, concurrency=concurrency)
            async for outcome in sending:
                seen(outcome)

        statuses: dict[int, int] = {}
        last: list[Outcome] = []
        with progress_bar() as progress:
            task = progress.add_task(
                escape(f"{action} → {target}"), total=repeat, visible=repeat > 1
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
