"""A receiver over HTTP: the app in the local host, and a receiver for Node.js in its place."""

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from shared.core.schemas import schema
from tools import examples
from tools.bench.account import environment
from tools.bench.subjects import CONCURRENT
from tools.localhost.function_app import ToolError
from tools.localhost.ports import free_port
from tools.localhost.processes import ROOT
from tools.localhost.processes import app as served_app

EXPRESS = ROOT / "tools" / "bench" / "express"
_WARM_UP, _LAP = 500, 1500


def ratio(settings: Mapping[str, str]) -> float:
    """The CPU time of a delivery to the app ÷ to the receiver for Node.js."""
    silent = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    with served_app(free_port(), {**settings, **silent}, quiet=True) as app:
        ours = _cpu_seconds(app.address, app.process.pid)
    with _express(settings) as (url, pid):
        return ours / _cpu_seconds(url, pid)


@contextmanager
def _express(settings: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    [connection] = settings.values()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(schema("deliveries/push.json"), file)
        file.flush()
        own = {"CONNECTION": connection, "QUEUE": "bench-express", "SCHEMA": file.name}
        process = subprocess.Popen(
            ["node", "server.mjs"], cwd=EXPRESS, env={**environment({}), **own},  # noqa: S607
            stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                raise ToolError("The receiver for Node.js did not start.")
            yield f"http://127.0.0.1:{port}/", process.pid
        finally:
            process.kill()
            process.communicate()


def _cpu_seconds(url: str, pid: int) -> float:
    """The CPU seconds of the process, user and system, for a lap of deliveries."""
    asyncio.run(_post(url, _WARM_UP))
    before = _process_seconds(pid)
    asyncio.run(_post(url, _LAP))
    return _process_seconds(pid) - before


def _process_seconds(pid: int) -> float:
    # After the name in parentheses; the numbers of the fields are those of proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[14 - 3]), int(fields[15 - 3])
    return (user + system) / os.sysconf("SC_CLK_TCK")


async def _post(url: str, count: int) -> None:
    """Posts `count` deliveries, each under an id of its own."""
    example = examples.documented("push")
    bodies = iter([json.dumps(examples.with_new_id(example)).encode() for _ in range(count)])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def take() -> None:
            for body in bodies:
                async with session.post(url, data=body) as response:
                    await response.read()
                if response.status != 202:
                    raise ToolError(f"A delivery got {response.status}, not 202.")

        try:
            await asyncio.gather(*(take() for _ in range(CONCURRENT)))
        except aiohttp.ClientError as error:
            raise ToolError(f"The receiver did not respond: {error}") from None
