"""The subjects of `make bench`: `python -m tools.bench.subjects NAME[,NAME] COUNT...`.

For each COUNT each subject in turn takes as many deliveries, CONCURRENT at a time, and prints a
line: the seconds that took, the CPU seconds, the bytes of memory that the process then holds, and
the 50th and 99th percentile of the seconds of a delivery.
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
SDK_QUEUE = "bench-sdk"

_CONNECTION = "AcrEventsStorage"
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
async def sdk() -> AsyncIterator[Deliver]:
    """One shared asynchronous client with every option at its default. It sends the body unchanged.

    It has less to do than the app: nothing is checked, and the message is the shorter one.
    """
    from azure.storage.queue.aio import QueueClient

    url = os.environ.get(f"{_CONNECTION}__queueServiceUri")
    if url:
        from azure.identity.aio import ManagedIdentityCredential

        client = QueueClient(url, SDK_QUEUE, credential=ManagedIdentityCredential())
    else:
        client = QueueClient.from_connection_string(os.environ[_CONNECTION], SDK_QUEUE)
    # Both cost CPU time for each request unless the level is higher, and the app turns it off.
    logging.getLogger("azure").setLevel(logging.WARNING)

    async def deliver(request: func.HttpRequest) -> None:
        await client.send_message(request.get_body().decode())

    async with client:
        yield deliver


_SUBJECTS: dict[str, Callable[[], AbstractAsyncContextManager[Deliver]]] = {
    subject.__name__: subject for subject in (function, one_queue, ten_queues, sdk)
}


def _body() -> bytes:
    """A push of about 900 bytes, under an id of its own."""
    return json.dumps(examples.with_new_id(examples.documented("push"))).encode()


def push() -> func.HttpRequest:
    """A delivery of a push, as the worker gives it to a function."""
    url = "http://127.0.0.1/api/AcrWebhook"
    return func.HttpRequest(method="POST", url=url, headers={}, params={}, body=_body())


def _require_accepted(response: func.HttpResponse) -> None:
    if response.status_code != 202:
        raise RuntimeError(f"got {response.status_code}: {response.get_body().decode()}")


async def _take(count: int, deliver: Deliver) -> tuple[float, float, list[float]]:
    """Seconds and CPU seconds of this process for `count` deliveries, and the seconds of each."""
    requests = [push() for _ in range(count)]
    waiting = iter(requests)
    taken = []

    async def take() -> None:
        for request in waiting:
            began = time.perf_counter()
            await deliver(request)
            taken.append(time.perf_counter() - began)

    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.gather(*(take() for _ in range(min(CONCURRENT, count))))
    return time.perf_counter() - started, time.process_time() - cpu_started, sorted(taken)


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
                seconds, cpu_seconds, taken = await _take(count, deliver)
                p50, p99 = (taken[int(len(taken) * share)] for share in (0.5, 0.99))
                print(seconds, cpu_seconds, _resident_bytes(), p50, p99, flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1].split(","), map(int, sys.argv[2:])))
