"""A local host for function apps, for development and tests.

It serves every function folder as Azure would: HTTP, queues and timers. It checks no keys and must
not face a network.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aiohttp import web
from azure_functions_runtime_v1.bindings.datumdef import Datum

from tools.localhost.function_app import ToolError, fill_environment
from tools.localhost.functions import (
    Function,
    HttpFunction,
    QueueFunction,
    TimerFunction,
    invoke,
    load,
)
from tools.localhost.http_trigger import web_app

# Calls that run when the host is stopped get so long to end.
_GRACE_SECONDS = 10


def configure_logging() -> None:
    """The log of the app, on standard error."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Errors in the runtime's own log are reported here too.
    logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
    # The SDK, which this host uses too, logs every request.
    logging.getLogger("azure.core.pipeline.policies").setLevel(logging.WARNING)


async def _tick(function: TimerFunction, occasion: Datum) -> None:
    await invoke(function, occasion, {})


async def _handle_message(
    function: QueueFunction, message: Datum, metadata: dict[str, Datum]
) -> bool:
    ok, _ = await invoke(function, message, metadata)
    return ok


async def serve(
    root: Path,
    port: int,
    ready: Callable[[list[Function]], None],
    *,
    local_settings: bool = True,
    timers_at_once: bool = False,
) -> None:
    """Serves the app in `root`, an absolute path, on the loopback until SIGINT or SIGTERM.

    `timers_at_once`: functions with a timer are called at the start, too.
    """
    if local_settings:
        fill_environment(root)
    functions = await load(root)
    # The function gets the body unchanged: the platform does not decompress either (seen).
    over_http = web_app(one for one in functions if isinstance(one, HttpFunction))
    runner = web.AppRunner(over_http, access_log=None, auto_decompress=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        await runner.cleanup()
        raise ToolError(
            f"Port {port} cannot be used ({error.strerror}): choose another with --port."
        ) from None
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ready(functions)
    triggers: list[asyncio.Task[None]] = []
    for one in functions:
        if isinstance(one, QueueFunction):
            triggers.append(
                asyncio.create_task(one.trigger.run(partial(_handle_message, one), stop))
            )
        elif isinstance(one, TimerFunction):
            running = one.trigger.run(partial(_tick, one), stop, at_once=timers_at_once)
            triggers.append(asyncio.create_task(running))
    await stop.wait()
    if triggers:
        # Calls that have begun get some time to end.
        _, pending = await asyncio.wait(triggers, timeout=_GRACE_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    await runner.cleanup()
    # As in Azure, connections end with the process. asyncio must not warn about that.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
