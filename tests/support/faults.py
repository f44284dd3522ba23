"""A TCP proxy in front of Azurite that fails in the ways that a storage account can."""

import asyncio
from collections.abc import Awaitable, Callable

from tools.localhost import processes
from tools.localhost.ports import free_port

_BUSY = b"""HTTP/1.1 503 The server is busy.\r
x-ms-error-code: ServerBusy\r
Content-Type: application/xml\r
Content-Length: 45\r
\r
<Error><Code>ServerBusy</Code></Error>       """
_BEING_DELETED = b"""HTTP/1.1 409 The specified queue is being deleted.\r
x-ms-error-code: QueueBeingDeleted\r
Content-Type: application/xml\r
Content-Length: 0\r
\r
"""

_STALL_SECONDS = 3600.0
_LATE_SECONDS = 1.5
_DRIP_SECONDS = 1.0
_FLUSH_SECONDS = 0.01

Hook = Callable[[int], Awaitable[None]]


class FaultProxy:
    """Forwards requests to Azurite. Applies `fault` to those whose request line contains `only`.

    pass      no fault; `before` is called before a request is served, `after` before its response
    refuse    no listener: new connections are refused, open ones closed
    stall     the request is read and gets no response
    busy      503 ServerBusy
    cut       the connection closes instead of a response; nothing is stored
    half      the connection closes in the middle of the response; the request was served
    drip      the response has one byte a second; the request was served
    late      the request is served, and the response comes after _LATE_SECONDS
    swallow   the request is served and gets no response
    deleting  409 QueueBeingDeleted
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.fault = "pass"
        self.only = ""
        self.times: int | None = None
        self.requests = 0
        self.last = b""
        self.before: Hook | None = None
        self.after: Hook | None = None
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connection(self) -> str:
        """The connection string of the account behind this proxy."""
        return processes.connection_string(self.port)

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Stops the listener and closes open connections."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def set(self, fault: str, *, only: str = "", times: int | None = None) -> None:
        """Applies `fault` to the next `times` requests, or to all."""
        self.fault, self.only, self.times = fault, only, times
        if fault == "refuse":
            await self.stop()
        else:
            for writer in self._open:  # open requests belong to the fault before
                writer.transport.abort()
            if self._server is None:
                await self.start()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while request := await _read_request(reader):
                self.requests += 1
                self.last = request
                number = self.requests
                if self.before:
                    await self.before(number)
                if not await self._respond(request, writer, number):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    def _fault_for(self, request: bytes) -> str:
        if self.only.encode() not in request.split(b"\r\n", 1)[0] or self.times == 0:
            return "pass"
        if self.times:
            self.times -= 1
        return self.fault

    async def _respond(self, request: bytes, writer: asyncio.StreamWriter, number: int) -> bool:
        """Responds to one request. Returns whether the connection can serve another."""
        match self._fault_for(request):
            case "stall":
                await asyncio.sleep(_STALL_SECONDS)
            case "busy":
                writer.write(_BUSY)
            case "deleting":
                writer.write(_BEING_DELETED)
            case "cut":
                return False
            case "half":
                response = await self._forward(request)
                writer.write(response[: len(response) // 2])
                await writer.drain()
                await asyncio.sleep(_FLUSH_SECONDS)
                return False
            case "drip":
                for byte in await self._forward(request):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(_DRIP_SECONDS)
            case "late":
                response = await self._forward(request)
                await asyncio.sleep(_LATE_SECONDS)
                writer.write(response)
            case "swallow":
                await self._forward(request)
                await asyncio.sleep(_STALL_SECONDS)
            case _:
                response = await self._forward(request)
                if self.after:
                    await self.after(number)
                writer.write(response)
        await writer.drain()
        return True

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            head, _, body = request.partition(b"\r\n\r\n")
            writer.write(head + b"\r\nConnection: close\r\n\r\n" + body)
            response = await reader.read(-1)
        finally:
            writer.close()
        # Azurite closes its connection after the response; the client's stays open.
        return response.replace(b"\r\nConnection: close", b"", 1)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length)
