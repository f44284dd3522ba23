"""A TCP proxy in front of Azurite that fails the ways a storage account can."""

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

Hook = Callable[[int], Awaitable[None]]


class FaultProxy:
    """Forwards requests to Azurite, but for what `fault` does to those whose path has `only`.

    pass      nothing; `before` is called before a request is served, `after` before its answer
    refuse    no listener: connections are refused, open ones broken off
    stall     the request is read and never answered
    busy      503 ServerBusy
    cut       the connection is broken off instead of an answer; nothing is stored
    half      the connection is broken off in the middle of the answer; the request was served
    drip      the answer comes at one byte a second; the request was served
    late      the request is served and answered after one and a half seconds
    swallow   the request is served and never answered
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
        """Listens no more, and breaks off what is open."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def set(self, fault: str, *, only: str = "", times: int | None = None) -> None:
        """From now on `fault` happens; to as many requests as `times` says, or to all."""
        self.fault, self.only, self.times = fault, only, times
        if fault == "refuse":
            await self.stop()
        else:
            for writer in self._open:  # what is under way belongs to the fault before
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
                if not await self._answer(request, writer, number):
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

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter, number: int) -> bool:
        """Answers one request; whether the connection can take another."""
        match self._fault_for(request):
            case "stall":
                await asyncio.sleep(3600)
            case "busy":
                writer.write(_BUSY)
            case "deleting":
                writer.write(_BEING_DELETED)
            case "cut":
                return False
            case "half":
                answer = await self._forward(request)
                writer.write(answer[: len(answer) // 2])
                await writer.drain()
                await asyncio.sleep(0.01)
                return False
            case "drip":
                for byte in await self._forward(request):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(1)
            case "late":
                answer = await self._forward(request)
                await asyncio.sleep(1.5)
                writer.write(answer)
            case "swallow":
                await self._forward(request)
                await asyncio.sleep(3600)
            case _:
                answer = await self._forward(request)
                if self.after:
                    await self.after(number)
                writer.write(answer)
        await writer.drain()
        return True

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        head, _, body = request.partition(b"\r\n\r\n")
        writer.write(head + b"\r\nConnection: close\r\n\r\n" + body)
        answer = await reader.read(-1)
        writer.close()
        # The connection behind us ends with the answer, the one before us goes on.
        return answer.replace(b"\r\nConnection: close", b"", 1)


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
