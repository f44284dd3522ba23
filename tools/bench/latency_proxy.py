"""A proxy to Azurite that delays every response, as from a storage account far away."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_QUEUES = re.compile(r"(?<=QueueEndpoint=http://127\.0\.0\.1:)\d+")


@contextmanager
def latency_proxy(connection: str, pause: float) -> Iterator[str]:
    """`connection`, a connection string of an Azurite, through a proxy.

    Each response arrives `pause` seconds late. Responses do not wait for each other.
    """
    found = _QUEUES.search(connection)
    if found is None:
        raise ValueError("the connection string names no queues of this machine")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opening = asyncio.run_coroutine_threadsafe(_open(int(found[0]), pause), loop)
    try:
        yield _QUEUES.sub(str(opening.result()), connection)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _open(target: int, pause: float) -> int:
    """Listens on a free port and forwards to the port `target`. Returns the free port."""
    call_later = asyncio.get_running_loop().call_later

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        responses, requests = await asyncio.open_connection("127.0.0.1", target)

        async def back() -> None:
            while data := await responses.read(65536):
                call_later(pause, writer.write, data)
            call_later(pause, writer.close)

        async def forth() -> None:
            while data := await reader.read(65536):
                requests.write(data)
            requests.close()

        with suppress(ConnectionError):
            await asyncio.gather(back(), forth())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])
