"""A local host for the function app, for development and tests.

Serves every function folder as Azure would: HTTP by aiohttp, queues by queue_trigger.py,
timers by timer_trigger.py. The functions are loaded and run by Microsoft's own runtime for
this programming model, `azure-functions-runtime-v1`, so that what passes here loads and answers the
same there. It checks no keys and must not face a network.
"""

import asyncio
import logging
import re
import secrets
import signal
import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from aiohttp import web
from azure_functions_runtime_v1 import function_load_request, worker_init_request
from azure_functions_runtime_v1.bindings.datumdef import Datum
from azure_functions_runtime_v1.native_invocation import invocation_request_native

from tools.localhost.function_app import (
    SettingMissing,
    ToolError,
    fill_environment,
    function_json,
    http_path,
)
from tools.localhost.queue_trigger import QueueTrigger, queue_trigger
from tools.localhost.timer_trigger import TimerTrigger, timer_trigger

_MAX_BODY_BYTES = 100 * 1024 * 1024  # the platform's own limit
_GRACE = 10  # seconds for what functions have in hand when the host is stopped
_ALL_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

log = logging.getLogger("host")


class _Message(SimpleNamespace):
    """Stands in for the classes of the worker's protocol, of which the runtime needs few."""


class _StatusResult(_Message):
    Failure, Success = 0, 1


PROTOS = SimpleNamespace(
    BindingInfo=SimpleNamespace(undefined=0, out=1, inout=2),
    StatusResult=_StatusResult,
    RpcException=_Message,
    WorkerMetadata=_Message,
    WorkerInitResponse=_Message,
    FunctionLoadResponse=_Message,
)
_DIRECTIONS = {"in": 0, "out": 1, "inout": 2}


@dataclass(frozen=True)
class HttpFunction:
    """A function with an HTTP trigger: its name, trigger parameter, path and methods."""

    name: str
    parameter: str
    path: str
    methods: frozenset[str]


@dataclass(frozen=True)
class QueueFunction:
    """A function with a queue trigger: its name, trigger parameter and trigger."""

    name: str
    parameter: str
    trigger: QueueTrigger


@dataclass(frozen=True)
class TimerFunction:
    """A function with a timer trigger: its name, trigger parameter and trigger."""

    name: str
    parameter: str
    trigger: TimerTrigger


Function = HttpFunction | QueueFunction | TimerFunction


def _look_here_last(root: Path) -> None:
    """As in Azure: the app's folder is the last place where modules are looked for."""
    not_azures = {root, Path.cwd()}
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in not_azures]
    sys.path.append(str(root))


def _function_folders(root: Path) -> list[Path]:
    return sorted(file.parent for file in root.glob("*/function.json"))


async def load(root: Path) -> list[Function]:
    """Loads every function of the app in `root`. Raises ToolError where one cannot be."""
    _look_here_last(root)
    init = SimpleNamespace(worker_init_request=SimpleNamespace(capabilities={}))
    await worker_init_request(
        SimpleNamespace(request=init, properties={"host": "127.0.0.1", "protos": PROTOS})
    )
    folders = _function_folders(root)
    if not folders:
        raise ToolError(f"{root} holds no function: no folder in it has a function.json.")
    functions = []
    for folder in folders:
        try:
            functions.append(await _load_function(root, folder))
        except SettingMissing as error:
            # As in Azure: the others are served.
            log.error("%s is not run: %s", folder.name, error)  # noqa: TRY400 (says it all)
    return functions


async def _load_function(root: Path, folder: Path) -> Function:
    declared = function_json(folder)
    bindings = {
        binding["name"]: SimpleNamespace(
            type=binding["type"], direction=_DIRECTIONS[binding["direction"]], data_type=0
        )
        for binding in declared["bindings"]
    }
    metadata = SimpleNamespace(
        name=folder.name,
        directory=str(folder),
        script_file=str(folder / declared.get("scriptFile", "__init__.py")),
        entry_point=declared.get("entryPoint", "main"),
        bindings=bindings,
    )
    load_request = SimpleNamespace(function_id=folder.name, metadata=metadata)
    response = await function_load_request(
        SimpleNamespace(request=SimpleNamespace(function_load_request=load_request))
    )
    if response.result.status != _StatusResult.Success:
        raise ToolError(f"{folder.name} cannot be loaded.\n{response.result.exception.message}")
    for binding in declared["bindings"]:
        if binding["type"] == "httpTrigger":
            methods = frozenset(m.upper() for m in binding.get("methods", _ALL_METHODS))
            path = http_path(root, folder)
            return HttpFunction(folder.name, binding["name"], path, methods)
        if binding["type"] == "queueTrigger":
            trigger = queue_trigger(root, folder, binding)
            return QueueFunction(folder.name, binding["name"], trigger)
        if binding["type"] == "timerTrigger":
            return TimerFunction(folder.name, binding["name"], timer_trigger(folder, binding))
    raise ToolError(f"{folder.name}: this host knows HTTP, queue and timer triggers only.")


def configure_logging() -> None:
    """The app's own log on standard error, a line each."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # The runtime's own log: what fails there is reported here.
    logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
    # The SDK, which this host uses too, tells of every request.
    logging.getLogger("azure.core.pipeline.policies").setLevel(logging.WARNING)


def web_app(functions: Iterable[HttpFunction]) -> web.Application:
    """An aiohttp application that hands requests to `functions`."""
    # Routes are matched without regard to case, and a wrong method is a 404, both as in Azure.
    routes = {
        (method, function.path.lower()): function
        for function in functions
        for method in function.methods
    }

    async def serve(request: web.Request) -> web.StreamResponse:
        function = routes.get((request.method, request.path.rstrip("/").lower()))
        if function is None:
            return web.Response(status=404)
        return await _answer(function, request)

    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", serve)
    return app


async def _answer(function: HttpFunction, request: web.Request) -> web.Response:
    def text(value: str) -> Datum:
        return Datum(value, "string")

    http = {
        "method": text(request.method),
        "url": text(str(request.url)),
        "headers": {
            name.lower(): text(",".join(request.headers.getall(name))) for name in request.headers
        },
        "query": {name: text(",".join(request.query.getall(name))) for name in request.query},
        "params": {},
        "body": Datum(await request.read(), "bytes"),
    }
    ok, result = await _invoke(
        function,
        Datum(http, "http"),
        {},
        trace_parent=_trace_parent(request.headers.get("traceparent", "")),
        trace_state=request.headers.get("tracestate", ""),
    )
    if not ok or result is None:
        return web.Response(status=500)
    if result.type != "http":
        return web.Response(text=str(result.value))
    return web.Response(
        status=int(result.value["status_code"].value),
        headers={name: value.value for name, value in result.value["headers"].items()},
        body=result.value["body"].value,
    )


async def _invoke(
    function: Function, given: Datum, metadata: dict[str, Datum], **trace: str
) -> tuple[bool, Datum | None]:
    """Whether `function` ended without an exception, and what it returned."""
    ok, result, _, error, where = await invocation_request_native(
        str(uuid.uuid4()), function.name, [(function.parameter, given)], metadata, **trace
    )
    if not ok:
        log.error("%s failed: %s\n%s", function.name, error, where)
    return ok, result


async def _tick(function: TimerFunction, occasion: Datum) -> None:
    await _invoke(function, occasion, {})


async def _take(function: QueueFunction, message: Datum, metadata: dict[str, Datum]) -> bool:
    ok, _ = await _invoke(function, message, metadata)
    return ok


def _trace_parent(header: str) -> str:
    """As the platform does: the caller's trace goes on; without one, a new one begins."""
    if _TRACEPARENT.fullmatch(header):
        return header
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


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
    # A body is handed on as it came: the platform does not decompress either.
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
            triggers.append(asyncio.create_task(one.trigger.run(partial(_take, one), stop)))
        elif isinstance(one, TimerFunction):
            running = one.trigger.run(partial(_tick, one), stop, at_once=timers_at_once)
            triggers.append(asyncio.create_task(running))
    await stop.wait()
    if triggers:
        # What is in hand is finished, as far as it can be.
        _, pending = await asyncio.wait(triggers, timeout=_GRACE)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    await runner.cleanup()
    # The app's connections die with the process, as they do in Azure; asyncio need not warn.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
