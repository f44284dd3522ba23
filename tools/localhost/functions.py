"""The functions of an app, loaded and invoked by Microsoft's own runtime.

The runtime is `azure-functions-runtime-v1`, which Azure uses for this programming model. A function
loads and responds here as it does there.
"""

import logging
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from azure_functions_runtime_v1 import function_load_request, worker_init_request
from azure_functions_runtime_v1.bindings.datumdef import Datum
from azure_functions_runtime_v1.native_invocation import invocation_request_native

from tools.localhost.function_app import SettingMissing, ToolError, function_json, http_path
from tools.localhost.queue_trigger import QueueTrigger, queue_trigger
from tools.localhost.timer_trigger import TimerTrigger, timer_trigger

_ALL_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")

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
    """Puts the folder of the app last in the search path of modules, as Azure does (seen)."""
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
            log.error("%s is not run: %s", folder.name, error)  # noqa: TRY400 (the message is complete)
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


async def invoke(
    function: Function, given: Datum, metadata: dict[str, Datum], **trace: str
) -> tuple[bool, Datum | None]:
    """Whether `function` ended without an exception, and what it returned."""
    ok, result, _, error, where = await invocation_request_native(
        str(uuid.uuid4()), function.name, [(function.parameter, given)], metadata, **trace
    )
    if not ok:
        log.error("%s failed: %s\n%s", function.name, error, where)
    return ok, result
