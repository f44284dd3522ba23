"""A stand-in for Azure Storage and for the platform's tokens, faster than any client of it.

`python -m tools.bench.stand_in CERTIFICATE PAUSE` serves until its standard input ends. It prints
three ports: of storage over HTTPS and over HTTP, and of the tokens. It understands no more than
what is measured: every request to storage gets the response of a stored message, after PAUSE
seconds.
"""

import asyncio
import json
import ssl
import sys
import time
from email.utils import formatdate
from typing import cast

_STORED = (
    b'<?xml version="1.0" encoding="utf-8"?><QueueMessagesList><QueueMessage>'
    b"<MessageId>5974b586-0df3-4e2d-ad0c-18e3892bfca2</MessageId>"
    b"<InsertionTime>Fri, 09 Oct 2026 21:04:30 GMT</InsertionTime>"
    b"<ExpirationTime>Fri, 31 Dec 9999 23:59:59 GMT</ExpirationTime>"
    b"<PopReceipt>YzQ4Yzg1MDItYTc0Ny00OWNjLTkxYTUtZGM0MDFiZDAwYzEw</PopReceipt>"
    b"<TimeNextVisible>Fri, 09 Oct 2026 21:04:30 GMT</TimeNextVisible>"
    b"</QueueMessage></QueueMessagesList>"
)
_DAY_SECONDS = 86_400


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Date: {formatdate(usegmt=True)}\r\nx-ms-version: 2021-12-02\r\n\r\n"
    )
    return head.encode() + body


class _Responder(asyncio.Protocol):
    """Responds to each request with the same bytes."""

    def __init__(self, response: bytes, pause_seconds: float = 0) -> None:
        self._response = response
        self._pause_seconds = pause_seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            start = head.find(b"content-length:")
            length = int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            if self._pause_seconds:
                loop = asyncio.get_running_loop()
                loop.call_later(self._pause_seconds, self._transport.write, self._response)
            else:
                self._transport.write(self._response)


async def _serve(certificate: str, pause_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stored = _response("201 Created", "application/xml", _STORED)
    token = {
        "access_token": "a" * 1200,
        "expires_on": str(int(time.time()) + _DAY_SECONDS),
        "resource": "https://storage.azure.com",
        "token_type": "Bearer",
    }
    tokens = _response("200 OK", "application/json", json.dumps(token).encode())
    servers = [
        await loop.create_server(lambda: _Responder(stored, pause_seconds), "127.0.0.1", 0, ssl=tls)
        for tls in (context, None)
    ]
    servers.append(await loop.create_server(lambda: _Responder(tokens), "127.0.0.1", 0))
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], float(sys.argv[2])))
