"""How the example workers start and end."""

import asyncio
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.consumers import (
    EVENT_GRID,
    EXAMPLES,
    QUEUE,
    WORKERS,
    Consumer,
    changed,
    command,
    empty,
    message,
)
from tests.support.storage import StorageAccount

Start = Callable[..., Consumer]


@pytest.fixture(params=WORKERS)
def name(request: pytest.FixtureRequest) -> str:
    """The folder of a worker in examples/."""
    worker: str = request.param
    return worker


@pytest.fixture
def start(name: str, azurite: str, tmp_path: Path) -> Iterator[Start]:
    """Starts the worker, of examples/ or of another folder."""
    with ExitStack() as stack:

        def run(folder: Path = EXAMPLES / name, queue: str = QUEUE, **settings: str) -> Consumer:
            output = tmp_path / f"output-{uuid.uuid4()}"
            own = {"AcrEventsStorage": azurite, **settings}
            return stack.enter_context(Consumer(command(name, folder, queue), own, output))

        yield run


def _event() -> str:
    return message(EVENT_GRID | {"id": str(uuid.uuid4())})


def test_missing_argument_is_named(name: str) -> None:
    """A worker without an argument says how to call it, in one line, and exits with 2."""
    ended = subprocess.run(command(name, EXAMPLES / name)[:-1], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("Name the queue: ")


@pytest.mark.parametrize(
    "settings",
    [{}, {"AcrEventsStorage__queueServiceUri": "https://contoso.queue.core.windows.net"}],
)
async def test_missing_settings_are_named(start: Start, settings: dict[str, str]) -> None:
    """A worker without complete settings names them, in one line, and exits with 2."""
    worker = start(AcrEventsStorage="", **settings)
    assert await worker.status() == 2
    assert worker.lines == [
        "Set AcrEventsStorage__queueServiceUri and ConsumerStorage__tableServiceUri, "
        "or AcrEventsStorage for Azurite."
    ]


async def test_missing_queue_ends_worker(start: Start, storage: StorageAccount) -> None:
    """A worker whose queue does not exist names the queues, exits with 1, and creates none."""
    await storage.service.create_queue("acr-push")
    await storage.service.create_queue("acr-delete")
    worker = start(queue="acr-psuh")
    assert await worker.status() == 1
    assert worker.lines == ["There is no queue acr-psuh. There are: acr-delete, acr-push."]
    assert await storage.queues() == ["acr-delete", "acr-push"]


async def test_deleted_queue_ends_worker(start: Start, storage: StorageAccount) -> None:
    """A worker whose queue is deleted meanwhile exits with 1, and names the queue."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(_event())
    worker = start()
    await worker.prints("grid:v1")
    await storage.service.delete_queue(QUEUE)
    assert await worker.status() == 1
    assert worker.lines[-1] == f"There is no queue {QUEUE}. There are: none."


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_idle_worker(
    start: Start, storage: StorageAccount, sent: signal.Signals
) -> None:
    """A signal ends a worker that waits for messages, without any output of it."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(_event())
    worker = start()
    await worker.prints("grid:v1")
    await empty(storage)
    assert await worker.end(sent) == 0
    assert len(worker.lines) == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_signal_lets_worker_finish(
    name: str, start: Start, storage: StorageAccount, tmp_path: Path, sent: signal.Signals
) -> None:
    """A worker that gets a signal finishes the message in hand, and takes no other."""
    queue = await storage.service.create_queue(QUEUE)
    for _ in range(2):
        await queue.send_message(_event())
    worker = start(changed(name, tmp_path, work=2))
    await worker.prints("begun")
    assert await worker.end(sent) == 0
    [begun, printed] = worker.lines
    assert (begun, "grid:v1" in printed) == ("begun", True)
    assert (await queue.get_queue_properties()).approximate_message_count == 1


async def test_killed_worker_loses_nothing(
    name: str, start: Start, storage: StorageAccount, tmp_path: Path
) -> None:
    """The event of a worker that is killed is processed once its message is visible again."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(_event())
    killed = start(changed(name, tmp_path, work=60))
    await killed.prints("begun")
    await killed.end(signal.SIGKILL)
    assert killed.lines == ["begun"]
    worker = start(changed(name, tmp_path))
    await worker.prints("grid:v1")
    await empty(storage)
    assert worker.lines.count("begun") == 1


async def test_reservation_of_lost_message_expires(
    name: str, start: Start, storage: StorageAccount, tmp_path: Path
) -> None:
    """A copy of an event is processed if the message that reserved the event is lost."""
    queue = await storage.service.create_queue(QUEUE)
    content = _event()
    await queue.send_message(content)
    killed = start(changed(name, tmp_path, work=60))
    await killed.prints("begun")
    await killed.end(signal.SIGKILL)
    await queue.clear_messages()
    await queue.send_message(content)
    worker = start(changed(name, tmp_path, reserved=4))
    await worker.prints("grid:v1")
    await empty(storage)


async def test_failed_work_is_repeated(
    name: str, start: Start, storage: StorageAccount, tmp_path: Path
) -> None:
    """An event whose work fails is processed again, though it is reserved."""
    queue = await storage.service.create_queue(QUEUE)
    await queue.send_message(_event())
    folder = changed(name, tmp_path)
    file = folder / ("worker.py" if name == "python_worker" else "worker.mjs")
    failing = {
        "python_worker": ("    time.sleep(0)\n", "    raise ValueError\n"),
        "node_worker": ("  await setTimeout(0 * 1000);\n", "  throw new Error('x');\n"),
    }[name]
    whole = file.read_text()
    assert whole.count(failing[0]) == 1
    file.write_text(whole.replace(*failing))
    worker = start(folder)
    await worker.prints("attempt 1")
    await worker.end()
    file.write_text(whole)
    again = start(folder)
    await again.prints("grid:v1")
    await asyncio.wait_for(empty(storage), 30)
