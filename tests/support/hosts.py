"""The local host as a process, with a function of the test's own."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.commands import Command
from tools.localhost.ports import free_port

ENVIRONMENT = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "AcrReconcileSchedule": "0 0 0 1 1 *",
    "NO_COLOR": "1",
}
_BINDINGS = [
    {"type": "httpTrigger", "direction": "in", "name": "req", "route": "Echo/Here"},
    {"type": "http", "direction": "out", "name": "$return"},
]
_ECHO = """
import json
import azure.functions as func

def main(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    if req.params.get("how") == "raise":
        raise RuntimeError("secret-in-exception")
    if req.params.get("how") == "none":
        return None
    return func.HttpResponse(
        json.dumps({
            "method": req.method, "url": req.url, "query": dict(req.params),
            "headers": dict(req.headers), "body": req.get_body().hex(),
            "trace": context.trace_context.Traceparent,
            "state": context.trace_context.Tracestate,
            "invocation": context.invocation_id,
        }),
        status_code=209,
        headers={"x-one": "1"},
        mimetype="application/json",
    )
"""


def add_echo(app: Path, source: str = _ECHO, **changes: object) -> None:
    """Adds the function `Echo` to the app. By default it responds with its request."""
    (app / "Echo").mkdir()
    (app / "Echo" / "__init__.py").write_text(source)
    (app / "Echo" / "function.json").write_text(json.dumps({"bindings": _BINDINGS, **changes}))


def start_host(app: Path, port: int, *options: str, **settings: str) -> Command:
    """Starts the host for the app on `port`."""
    own = {**ENVIRONMENT, **settings}
    return Command("host", "--port", str(port), *options, folder=app, settings=own)


def failed_start(app: Path, **settings: str) -> str:
    """Starts a host that ends by itself with exit status 1, and returns its errors."""
    ended = start_host(app, free_port(), **settings).wait()
    assert ended.status == 1
    return ended.errors


@contextmanager
def serving(app: Path, port: int, *options: str, **settings: str) -> Iterator[str]:
    """Serves the app, and yields the host's output until it serves."""
    command = start_host(app, port, *options, **settings)
    try:
        yield command.until("AcrWebhook:")
    finally:
        command.stop(signal.SIGINT)
        status = command.wait(traceback_allowed=True).status
    assert status == 0
