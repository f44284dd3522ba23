"""The local host: what it serves, and how it fails."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.commands import Command
from tests.support.storage import StorageAccount
from tools.localhost.ports import free_port

BINDINGS = [
    {"type": "httpTrigger", "direction": "in", "name": "req", "route": "Echo/Here"},
    {"type": "http", "direction": "out", "name": "$return"},
]
ECHO = """
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


def _add_echo(app: Path, source: str = ECHO, **changes: object) -> None:
    (app / "Echo").mkdir()
    (app / "Echo" / "__init__.py").write_text(source)
    (app / "Echo" / "function.json").write_text(json.dumps({"bindings": BINDINGS, **changes}))


ENVIRONMENT = {
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "AcrReconcileSchedule": "0 0 0 1 1 *",
    "NO_COLOR": "1",
}


def _start(app: Path, port: int, *options: str, **settings: str) -> Command:
    own = {**ENVIRONMENT, **settings}
    return Command("host", "--port", str(port), *options, folder=app, settings=own)


def _fails(app: Path, **settings: str) -> str:
    """What the host says when it stops by itself, with exit status 1."""
    ended = _start(app, free_port(), **settings).wait()
    assert ended.status == 1
    return ended.errors


@contextmanager
def _serving(app: Path, port: int, *options: str, **settings: str) -> Iterator[str]:
    """Serves the app; what it said until it served."""
    command = _start(app, port, *options, **settings)
    try:
        yield command.until("AcrWebhook:")
    finally:
        command.stop(signal.SIGINT)
        status = command.wait(traceback_allowed=True).status
    assert status == 0


async def test_requests_arrive_and_answers_leave_unchanged(
    app: Path, http: aiohttp.ClientSession
) -> None:
    _add_echo(app)
    port = free_port()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with _serving(app, port):
        # Routes are matched without regard to case.
        url = f"http://127.0.0.1:{port}/API/echo/here?a=1&a=2&b=%C3%A9"
        headers = {"X-Two": "2", "traceparent": trace}
        async with http.put(url, data=b"\x00\xff", headers=headers) as response:
            assert response.status == 209
            assert response.headers["x-one"] == "1"
            assert response.headers["content-type"] == "application/json"
            seen = await response.json()
    assert seen["method"] == "PUT"
    assert seen["query"] == {"a": "1,2", "b": "é"}
    assert seen["headers"]["x-two"] == "2"
    assert seen["body"] == "00ff"
    assert seen["trace"] == trace
    assert seen["invocation"]


async def test_a_function_that_raises_or_returns_nothing_is_an_empty_500(
    app: Path, http: aiohttp.ClientSession
) -> None:
    _add_echo(app)
    port = free_port()
    with _serving(app, port):
        for how in ("raise", "none"):
            url = f"http://127.0.0.1:{port}/api/Echo/Here?how={how}"
            async with http.get(url) as response:
                assert response.status == 500
                assert await response.read() == b""


async def test_a_path_that_is_no_functions_is_404(app: Path, http: aiohttp.ClientSession) -> None:
    port = free_port()
    with _serving(app, port):
        for path in ("/", "/api", "/api/Other", "/AcrWebhook", "/api/AcrWebhook/x"):
            async with http.post(f"http://127.0.0.1:{port}{path}") as response:
                assert response.status == 404


async def test_the_route_prefix_of_host_json_is_honoured(
    app: Path, http: aiohttp.ClientSession
) -> None:
    document = {"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}
    (app / "host.json").write_text(json.dumps(document))
    port = free_port()
    with _serving(app, port):
        ping = (app / "tests/examples/ping/documented.json").read_bytes()
        async with http.post(f"http://127.0.0.1:{port}/AcrWebhook", data=ping) as response:
            assert response.status == 200


async def test_values_of_local_settings_json_are_settings_where_the_environment_has_none(
    app: Path, http: aiohttp.ClientSession, azurite: str
) -> None:
    values = {"ACR_REGISTRIES": "contoso.azurecr.io", "AzureWebJobsStorage": "nonsense"}
    (app / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    port = free_port()
    with _serving(app, port, AzureWebJobsStorage=azurite):
        ping = (app / "tests/examples/ping/documented.json").read_bytes()
        url = f"http://127.0.0.1:{port}/api/AcrWebhook?registry=other.azurecr.io"
        async with http.post(url, data=ping) as response:
            assert response.status == 403


def test_it_says_that_it_is_for_local_use(app: Path) -> None:
    port = free_port()
    with _serving(app, port) as said:
        assert "development only" in said
        assert f"AcrWebhook: [POST] http://127.0.0.1:{port}/api/AcrWebhook" in said


def test_a_missing_connection_stops_the_app_and_is_named(app: Path) -> None:
    said = _fails(app, AzureWebJobsStorage="", AcrEventsStorage="")
    assert "AcrWebhook cannot be loaded" in said
    assert "AcrEventsStorage is not set" in said


def test_a_connection_that_cannot_be_one_stops_the_app_without_showing_it(app: Path) -> None:
    said = _fails(app, AcrEventsStorage="AccountKey=c2VjcmV0")
    assert "AcrEventsStorage: " in said
    assert "c2VjcmV0" not in said


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"AcrEventsStorage": "AccountName=a;AccountKey=YQ"}, "account key is not base64"),
        ({"ACR_REGISTRIES": "[/x].io"}, '"[/x].io" is not a host name'),
    ],
)
def test_a_setting_that_cannot_be_used_stops_the_app_with_its_name(
    app: Path, settings: dict[str, str], says: str
) -> None:
    said = _fails(app, **settings)
    assert f"{next(iter(settings))}: " in said
    assert says in said


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("host.json", '{"extensions": null}'),
        ("host.json", '{"extensions": {"http": []}}'),
        ("host.json", "[]"),
        ("local.settings.json", '{"Values": null}'),
        ("local.settings.json", '{"Values": ["x"]}'),
        ("local.settings.json", '{"Values": {"A": null}}'),
        ("local.settings.json", '{"Values": {"A=B": "x"}}'),
        ("local.settings.json", '{"Values": {"A": "x\\u0000"}}'),
        ("local.settings.json", '{"Values": {"A": "\\ud800"}}'),
        ("local.settings.json", '{"Values": {"": "x"}}'),
        ("local.settings.json", "{"),
        ("AcrWebhook/function.json", "{}"),
        ("AcrWebhook/function.json", '{"bindings": [{}]}'),
        ("AcrWebhook/function.json", '{"bindings": null}'),
        ("AcrWebhook/function.json",
         '{"bindings": [{"type": "http", "name": "x", "direction": "sideways"}]}'),
        ("AcrWebhook/function.json",
         '{"bindings": [{"type": "httpTrigger", "name": "x", "methods": null}]}'),
        ("AcrWebhook/function.json",
         '{"bindings": [{"type": "httpTrigger", "name": "x", "methods": "post"}]}'),
        ("AcrWebhook/function.json", '{"bindings": [], "scriptFile": 5}'),
    ],
)  # fmt: skip
def test_a_file_of_the_app_that_is_not_as_it_must_be_is_named(
    app: Path, file: str, content: str
) -> None:
    (app / file).write_text(content)
    assert Path(file).name in _fails(app)


async def test_a_body_is_handed_on_as_it_came_though_it_says_it_is_compressed(
    app: Path, http: aiohttp.ClientSession
) -> None:
    _add_echo(app)
    port = free_port()
    with _serving(app, port):
        url = f"http://127.0.0.1:{port}/api/Echo/Here"
        headers = {"Content-Encoding": "gzip", "tracestate": "a=1"}
        async with http.post(url, data=b"\x1f\x8b", headers=headers) as response:
            seen = await response.json()
    assert seen["body"] == "1f8b"
    assert seen["state"] == "a=1"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", seen["trace"])


def test_bad_routes_stop_the_app_with_place_and_reason(app: Path) -> None:
    (app / "routes.json").write_text('{"routes": [{"queue": "Bad"}], "rejectedQueue": "acr-bad"}')
    said = _fails(app)
    assert "routes.json cannot be used" in said
    assert "/routes/0/queue" in said
    assert '"Bad"' in said


def test_a_function_that_cannot_be_loaded_is_named(app: Path) -> None:
    _add_echo(app, "def main(req, other): ...")
    assert "Echo cannot be loaded" in _fails(app)


def test_a_function_json_that_is_not_json_is_named(app: Path) -> None:
    (app / "AcrWebhook" / "function.json").write_text("{")
    assert "function.json cannot be read" in _fails(app)


def test_a_trigger_that_this_host_does_not_know_is_named(app: Path) -> None:
    binding = {"type": "blobTrigger", "direction": "in", "name": "blob", "path": "p"}
    _add_echo(app, "def main(blob: bytes) -> None: ...", bindings=[binding])
    assert "Echo: this host knows HTTP, queue and timer triggers only" in _fails(app)


DEVELOPMENT = ENVIRONMENT["AzureWebJobsStorage"]
NOTHING = "def main(message: str) -> None: ..."
ON_TIME = {"type": "timerTrigger", "name": "message", "schedule": "%EchoSchedule%"}
ON_QUEUE = {
    "type": "queueTrigger", "direction": "in", "name": "message", "queueName": "%Queue%",
    "connection": "AcrEventsStorage",
}  # fmt: skip


@pytest.mark.parametrize(
    ("binding", "settings", "says"),
    [
        ({**ON_QUEUE, "queueName": 5}, {"AcrEventsStorage": DEVELOPMENT}, "its queue trigger"),
        ({"type": "queueTrigger", "name": "message"}, {}, "'queueName' is missing"),
        ({**ON_QUEUE, "queueName": "q", "connection": "SOME"}, {"SOME": "x"}, "its queue trigger"),
        ({"type": "timerTrigger", "name": "message"}, {}, "'schedule' is missing"),
        ({**ON_TIME, "schedule": "0 */5 * * *  * * *"}, {}, "is no schedule, as 0 */5 * * * * is"),
        ({**ON_TIME, "schedule": "every day"}, {}, "'every day' is no schedule"),
    ],
)
def test_a_trigger_that_cannot_be_used_stops_the_host_and_is_named(
    app: Path, binding: dict[str, Any], settings: dict[str, str], says: str
) -> None:
    _add_echo(app, NOTHING, bindings=[binding])
    _add_bundle(app)
    said = _fails(app, **{"AcrEventsStorage": "", **settings})
    assert "Echo: its " in said
    assert says in said


def _add_bundle(app: Path) -> None:
    host = json.loads((app / "host.json").read_bytes())
    (app / "host.json").write_text(json.dumps({**host, "extensionBundle": {}}))


def test_a_queue_trigger_without_an_extension_bundle_is_refused_as_azure_would(app: Path) -> None:
    _add_echo(app, NOTHING, bindings=[{**ON_QUEUE, "queueName": "q"}])
    assert "Echo: queue triggers need an extensionBundle" in _fails(app)


async def test_what_a_function_has_in_hand_is_finished_when_the_host_is_stopped(
    app: Path, storage: StorageAccount, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    source = f"""
import asyncio
import pathlib
import azure.functions as func

async def main(message: func.QueueMessage) -> None:
    pathlib.Path({str(told)!r}).write_text("begun")
    await asyncio.sleep(2)
    pathlib.Path({str(told)!r}).write_text("done")
"""
    _add_echo(app, source, bindings=[ON_QUEUE])
    _add_bundle(app)
    queue = await storage.service.create_queue("work")
    await queue.send_message(b64encode(b"x").decode())
    settings = {"AcrEventsStorage": storage.connection, "Queue": "work"}
    with _serving(app, free_port(), **settings):
        for _ in range(1000):
            if told.exists():
                break
            await asyncio.sleep(0.05)
    assert told.read_text() == "done"
    assert (await queue.get_queue_properties()).approximate_message_count == 0


@pytest.mark.parametrize(
    ("binding", "missing"),
    [
        (ON_QUEUE, "AcrEventsStorage"),
        (ON_QUEUE, "Queue"),
        (ON_TIME, "EchoSchedule"),
    ],
)
async def test_a_function_whose_trigger_lacks_a_setting_is_named_and_the_others_are_served(
    app: Path, http: aiohttp.ClientSession, binding: dict[str, Any], missing: str
) -> None:
    _add_echo(app, NOTHING, bindings=[binding])
    _add_bundle(app)
    port = free_port()
    settings = {"AcrEventsStorage": DEVELOPMENT, "Queue": "q", "EchoSchedule": "0 0 0 1 1 *"}
    with _serving(app, port, **{**settings, missing: ""}) as said:
        ping = (app / "tests/examples/ping/documented.json").read_bytes()
        async with http.post(f"http://127.0.0.1:{port}/api/AcrWebhook", data=ping) as response:
            assert response.status == 200
    assert f"Echo is not run: The app setting {missing} is not set." in said


async def test_a_timer_calls_its_function_on_schedule_and_at_once_where_that_is_asked_for(
    app: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    source = f"""
import pathlib
import time
import azure.functions as func

def main(message: func.TimerRequest) -> None:
    with pathlib.Path({str(calls)!r}).open("a") as file:
        print(time.time(), message.past_due, file=file)
"""
    _add_echo(app, source, bindings=[ON_TIME])
    for schedule, options, expected in (
        ("*/1 * * * * *", (), 2),
        ("0 0 0 1 1 *", (), 0),
        ("0 0 0 1 1 *", ("--timers-at-once",), 1),
    ):
        calls.write_text("")
        started = time.monotonic()
        with _serving(app, free_port(), *options, EchoSchedule=schedule):
            for _ in range(1000):
                if len(calls.read_text().splitlines()) >= expected:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.2)  # for those that should not be
        lines = calls.read_text().splitlines()
        each_second = time.monotonic() - started + 1
        most = each_second if schedule.startswith("*/1") else expected
        assert expected <= len(lines) <= most, schedule
        assert all(line.endswith(" False") for line in lines)


async def test_a_message_that_a_function_fails_on_comes_again_and_in_the_end_is_poison(
    app: Path, storage: StorageAccount, tmp_path: Path
) -> None:
    tried = tmp_path / "tried"
    source = f"""
import pathlib
import time
import azure.functions as func

def main(message: func.QueueMessage) -> None:
    if message.get_body() == b"never":
        with pathlib.Path({str(tried)!r}).open("a") as file:
            print(time.time(), file=file)
    if message.get_body() == b"never" or message.dequeue_count < 3:
        raise RuntimeError("try again")
"""
    _add_echo(app, source, bindings=[ON_QUEUE])
    options = {"maxDequeueCount": 4, "visibilityTimeout": "00:00:01",
               "maxPollingInterval": "00:00:01"}  # fmt: skip
    host = {"version": "2.0", "extensions": {"queues": options}, "extensionBundle": {}}
    (app / "host.json").write_text(json.dumps(host))
    queue = await storage.service.create_queue("work")
    poison = storage.service.get_queue_client("work-poison")
    for content in (b"never", b"third time"):
        await queue.send_message(b64encode(content).decode())
    settings = {"AcrEventsStorage": storage.connection, "Queue": "work"}
    with _serving(app, free_port(), **settings):
        for _ in range(600):
            left = (await queue.get_queue_properties()).approximate_message_count
            if "work-poison" in await storage.queues() and left == 0:
                break
            await asyncio.sleep(0.1)
        [message] = await poison.peek_messages()
    assert message.content == b64encode(b"never").decode()
    assert message.expires_on
    assert message.expires_on.year == 9999
    times = [float(line) for line in tried.read_text().splitlines()]
    assert len(times) == 4
    assert all(later - earlier >= 0.9 for earlier, later in pairwise(times))


def test_a_port_in_use_is_a_clear_error(app: Path, function_url: str) -> None:
    port = function_url.split(":")[2].split("/")[0]
    ended = _start(app, int(port)).wait()
    assert ended.status == 1
    assert f"Port {port} cannot be used" in ended.errors
    assert "--port" in ended.errors


def test_modules_of_the_app_are_looked_for_last_as_in_azure(app: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    (first / "shared").mkdir(parents=True)
    (first / "shared" / "__init__.py").write_text("raise ImportError('another shared came first')")
    # A process of its own from the start, as Python reads PYTHONPATH when it starts.
    result = subprocess.run(
        [sys.executable, "-m", "tools", "host", "--port", str(free_port())],
        cwd=app,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(first)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "another shared came first" in result.stderr
