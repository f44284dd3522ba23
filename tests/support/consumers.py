"""The consumers in examples/ as child processes."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port

EXAMPLES = processes.ROOT / "examples"
WORKERS = ["python_worker", "node_worker"]
CONSUMERS = ["python_function", *WORKERS]
QUEUE = "consumed"

# An event as Event Grid sends it, without attributes of the app.
EVENT_GRID = {
    "specversion": "1.0",
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "source": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images"
    "/providers/Microsoft.ContainerRegistry/registries/contoso",
    "type": "Microsoft.ContainerRegistry.ImagePushed",
    "subject": "grid:v1",
    "time": "2018-04-25T21:39:47.6549614Z",
    "data": {"id": "831e1650-001e-001b-66ab-eeb76e069631", "action": "push"},
}

# In a copy of an example: work that takes a time, a shorter time for which a message is hidden,
# and a shorter reservation.
_CHANGES = {
    "python_function": [
        ("consume/__init__.py", "import os\n", "import os\nimport time\n"),
        (
            "consume/__init__.py",
            "-> None:\n    reference",
            '-> None:\n    logging.info("begun")\n    time.sleep({work})\n    reference',
        ),
        ("host.json", '"00:00:30"', '"00:00:0{hidden}"'),
    ],
    "python_worker": [
        (
            "worker.py",
            "-> None:\n    reference",
            '-> None:\n    print("begun", flush=True)\n    time.sleep({work})\n    reference',
        ),
        ("worker.py", "HIDDEN = 30 ", "HIDDEN = {hidden} "),
        ("seen.py", "seconds=60", "seconds={reserved}"),
    ],
    "node_worker": [
        (
            "worker.mjs",
            "function work(event) {{\n",
            'async function work(event) {{\n  console.log("begun");\n'
            "  await setTimeout({work} * 1000);\n",
        ),
        ("worker.mjs", "HIDDEN = 30;", "HIDDEN = {hidden};"),
        ("seen.mjs", "60_000", "{reserved}_000"),
    ],
}


def changed(name: str, folder: Path, *, work: int = 0, hidden: int = 3, reserved: int = 60) -> Path:
    """A new folder in `folder` with a copy of an example; all times are in seconds."""
    copy = folder / f"{name}-{work}-{hidden}-{reserved}"
    shutil.copytree(EXAMPLES / name, copy)
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(processes.ROOT / "node_modules")
    for file, old, new in _CHANGES[name]:
        text = (copy / file).read_text()
        times = {"work": work, "hidden": hidden, "reserved": reserved}
        assert text.count(old.format(**times)) == 1, (file, old)
        (copy / file).write_text(text.replace(old.format(**times), new.format(**times)))
    return copy


def command(name: str, folder: Path, queue: str = QUEUE) -> list[str]:
    """The command that runs the consumer `name`, which is in `folder`."""
    return {
        "python_function": [
            sys.executable, "-m", "tools", "host", "--port", str(free_port()),
            "--no-local-settings", "--app", str(folder),
        ],
        "python_worker": [sys.executable, str(folder / "worker.py"), queue],
        "node_worker": ["node", str(folder / "worker.mjs"), queue],
    }[name]  # fmt: skip


def message(document: object) -> str:
    """The content of a message with a document."""
    return b64encode(json.dumps(document).encode()).decode()


async def empty(storage: StorageAccount) -> None:
    """Waits until no message is on QUEUE, not even a hidden one."""
    queue = storage.service.get_queue_client(QUEUE)
    for _ in range(600):
        if (await queue.get_queue_properties()).approximate_message_count == 0:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("The consumer left a message on the queue.")


class Consumer:
    """A process of a consumer, and its output."""

    def __init__(self, run: list[str], settings: Mapping[str, str], output: Path) -> None:
        self._output = output
        self._file = output.open("wb")
        self.process = subprocess.Popen(
            run,
            cwd=processes.ROOT,
            env={**os.environ, "AcrQueue": QUEUE, **settings},
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "Consumer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._file.close()

    @property
    def lines(self) -> list[str]:
        return self._output.read_text().splitlines()

    async def until(self, is_met: Callable[[list[str]], Any]) -> list[str]:
        """Waits until the lines of the output meet a condition."""
        for _ in range(600):
            if is_met(self.lines):
                return self.lines
            assert self.process.poll() is None, self.lines
            await asyncio.sleep(0.1)
        raise AssertionError(self.lines[-50:])

    async def prints(self, text: str) -> list[str]:
        """Waits until the output has a text."""
        return await self.until(lambda lines: any(text in line for line in lines))

    async def end(self, sent: int = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit status."""
        self.process.send_signal(sent)
        return await self.status()

    async def status(self) -> int:
        """Waits until the process has ended, and returns its exit status."""
        return await asyncio.to_thread(self.process.wait, 60)
