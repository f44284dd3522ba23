"""The subjects of `make bench`: `python -m tools.bench.subjects NAME[,NAME] COUNT...`.

For each COUNT each subject in turn takes as many deliveries, CONCURRENT at a time, and prints a
line: the seconds that took, the CPU seconds, and the bytes of memory that the process then holds.
What a subject alone needs is imported where it is used: a cold start pays for its own imports only.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import azure.functions as func

from tools import examples

CONCURRENT = 16
CONNECTION = "AcrEventsStorage"
SDK_QUEUE = "bench-sdk"
TUTORIAL_QUEUE = "bench-tutorial"

_STATM = Path("/proc/self/statm")
_INVOCATION = "0d799b14-404b-4859-b2f6-50c5ee2a2c3a"

Deliver = Callable[[func.HttpRequest], Awaitable[object]]


class _Formatted(logging.Handler):
    """Formats each record, and writes nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


@asynccontextmanager
async def function() -> AsyncIterator[Deliver]:
    """`main` of AcrWebhook, called as by the worker. Every delivery must get 202."""
    # As in the worker, each log record is formatted. Writing it costs nothing here.
    logging.basicConfig(level=logging.INFO, handlers=[_Formatted()])

    from AcrWebhook import main
    from shared.app import app

    context = cast("func.Context", SimpleNamespace(invocation_id=_INVOCATION))

    async def deliver(request: func.HttpRequest) -> None:
        _require_accepted(await main(request, context))

    try:
        yield deliver
    finally:
        await app().queues.close()


def one_queue() -> AbstractAsyncContextManager[Deliver]:
    """The pipeline with a route for one queue."""
    return _fan_out(1)


def ten_queues() -> AbstractAsyncContextManager[Deliver]:
    """The pipeline with routes for ten queues, all of which match the delivery."""
    return _fan_out(10)


@asynccontextmanager
async def _fan_out(count: int) -> AsyncIterator[Deliver]:
    from shared.core.delivery import Delivery
    from shared.core.routing import Routes
    from shared.pipeline import Pipeline
    from shared.settings import Settings
    from shared.storage.queues import StorageQueues

    settings = Settings.read(os.environ)
    routes = [{"queue": f"bench-{number}-of-{count}"} for number in range(count)]
    document = json.dumps({"routes": routes, "rejectedQueue": "bench-rejected"}).encode()
    queues = StorageQueues(settings.storage)
    pipeline = Pipeline(settings, Routes.parse(document, {}), queues)

    async def deliver(request: func.HttpRequest) -> None:
        delivery = Delivery(request.get_body(), None, None, datetime.now(UTC), _INVOCATION)
        response = await pipeline.process(delivery)
        if response.status != 202:
            raise RuntimeError(f"got {response.status}: {response.body.decode()}")

    try:
        yield deliver
    finally:
        await queues.close()


@asynccontextmanager
async def send() -> AsyncIterator[Deliver]:
    """The SDK call at the end of the pipeline alone: same client, same message."""
    from azure.storage.queue import BinaryBase64EncodePolicy

    from shared.app import app
    from shared.core.delivery import Delivery
    from shared.storage.clients import connect
    from shared.storage.messages import NEVER_EXPIRES

    pipeline, delivery = app().pipeline, Delivery(_body(), None, None, datetime.now(UTC))
    routed = pipeline.route(pipeline.parse(delivery), delivery)
    async with connect(app().settings.storage) as service:
        client = service.get_queue_client(
            routed.queues[0], message_encode_policy=BinaryBase64EncodePolicy()
        )

        async def deliver(_: func.HttpRequest) -> None:
            await client.send_message(
                routed.message, time_to_live=NEVER_EXPIRES, client_request_id=_INVOCATION
            )

        yield deliver


@asynccontextmanager
async def sdk() -> AsyncIterator[Deliver]:
    """One shared asynchronous client with every option at its default. It sends the body unchanged.

    It has less to do than the app: nothing is checked, and the message is the shorter one. Its
    logger is silent, as it is in the app.
    """
    from azure.storage.queue.aio import QueueClient

    async with QueueClient.from_connection_string(os.environ[CONNECTION], SDK_QUEUE) as client:

        async def deliver(request: func.HttpRequest) -> None:
            await client.send_message(request.get_body().decode())

        yield deliver


@asynccontextmanager
async def tutorial() -> AsyncIterator[Deliver]:
    """The function that a tutorial would give, on the thread pool that the worker would use.

    Its schema is the app's own, in one piece.
    """
    import jsonschema
    from azure.storage.queue import QueueClient, TextBase64EncodePolicy

    from shared.core.schemas import schema

    push = schema("deliveries/push.json")

    def main(request: func.HttpRequest) -> func.HttpResponse:
        delivery = request.get_json()
        jsonschema.validate(delivery, push)
        with QueueClient.from_connection_string(
            os.environ[CONNECTION], TUTORIAL_QUEUE, message_encode_policy=TextBase64EncodePolicy()
        ) as client:
            client.send_message(json.dumps(delivery))
        return func.HttpResponse(status_code=202)

    async def deliver(request: func.HttpRequest) -> None:
        # The worker's pool has as many threads as this one: Python's default.
        _require_accepted(await asyncio.to_thread(main, request))

    yield deliver


_SUBJECTS: dict[str, Callable[[], AbstractAsyncContextManager[Deliver]]] = {
    subject.__name__: subject for subject in (function, one_queue, ten_queues, send, sdk, tutorial)
}


def _body() -> bytes:
    """A push of about 900 bytes, under an id of its own."""
    return json.dumps(examples.with_new_id(examples.documented("push"))).encode()


def _request() -> func.HttpRequest:
    url = "http://127.0.0.1/api/AcrWebhook"
    return func.HttpRequest(method="POST", url=url, headers={}, params={}, body=_body())


def _require_accepted(response: func.HttpResponse) -> None:
    if response.status_code != 202:
        raise RuntimeError(f"got {response.status_code}: {response.get_body().decode()}")


async def _take(count: int, deliver: Deliver) -> tuple[float, float]:
    """Seconds and CPU seconds of this process for `count` deliveries."""
    requests = [_request() for _ in range(count)]
    waiting = iter(requests)

    async def take() -> None:
        for request in waiting:
            await deliver(request)

    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.gather(*(take() for _ in range(min(CONCURRENT, count))))
    return time.perf_counter() - started, time.process_time() - cpu_started


def _resident_bytes() -> int:
    """The memory of this process in bytes. Where that is not known, its highest value so far."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in a unit of the system's
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _run(names: Iterable[str], counts: Iterable[int]) -> None:
    async with AsyncExitStack() as stack:
        subjects = [await stack.enter_async_context(_SUBJECTS[name]()) for name in names]
        for count in counts:
            for deliver in subjects:
                seconds, cpu_seconds = await _take(count, deliver)
                print(seconds, cpu_seconds, _resident_bytes(), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1].split(","), map(int, sys.argv[2:])))
