"""Ports of this machine's loopback interface for child processes.

A system takes the port of an outgoing connection from its ephemeral range: from 32768 on Linux,
from 49152 elsewhere. A port in that range can be taken between the moment it is found free and
the moment a child process listens on it, so ports come from below it. Each process claims a
range of its own and holds it by listening on the range's first port.
"""

import atexit
import random
import socket
from contextlib import ExitStack
from functools import cache

from tools.localhost.function_app import ToolError

FIRST_PORT, END_PORT, RANGE_SIZE = 20_000, 32_000, 200


class PortRange:
    """Consecutive ports that no other process that uses this class hands out."""

    def __init__(self, guard: socket.socket) -> None:
        atexit.register(guard.close)  # held while this process lives
        self._first = int(guard.getsockname()[1]) + 1
        self._end = self._first + RANGE_SIZE - 1
        self._next = self._first

    def take(self, count: int = 1) -> int:
        """The first of `count` consecutive ports on which nobody listens.

        Ports are handed out in turn: one comes again only after all others. Raises ToolError.
        """
        for _ in range(RANGE_SIZE):
            if self._next + count > self._end:
                self._next = self._first
            port = self._next
            self._next += count
            if _all_free(range(port, port + count)):
                return port
        raise ToolError(f"No {count} consecutive ports are free from {self._first} on.")


@cache
def own_range() -> PortRange:
    """The range of this process. Raises ToolError where all ranges are taken."""
    starts = list(range(FIRST_PORT, END_PORT, RANGE_SIZE))
    random.SystemRandom().shuffle(starts)
    for start in starts:
        try:
            return PortRange(_listen(start))
        except OSError:
            continue
    raise ToolError(f"All ports from {FIRST_PORT} to {END_PORT - 1} are in use.")


def free_port() -> int:
    """A port on which nobody listens."""
    return own_range().take()


def free_azurite_port() -> int:
    """A port for Azurite's queues. Its neighbors, for blobs and tables, are free as well."""
    return own_range().take(3) + 1


def _all_free(ports: range) -> bool:
    try:
        with ExitStack() as stack:
            for port in ports:
                stack.enter_context(_listen(port))
    except OSError:
        return False
    return True


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))
