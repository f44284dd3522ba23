"""Queue triggers of the local host: a small version of the platform's.

The rules of the platform: messages are received in batches, and each is a call of its own. A
message is deleted if the function raises no exception. Otherwise it is received again, and moves to
the poison queue after `maxDequeueCount` times.
https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger
"""

import asyncio
import logging
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient
from azure_functions_runtime_v1.bindings.datumdef import Datum

from tools.localhost.function_app import (
    ToolError,
    app_setting,
    host_extension,
    read_json,
    with_app_settings,
)

# For which a message in hand is hidden from other readers.
_VISIBILITY_TIMEOUT_SECONDS = 600
_FIRST_PAUSE_SECONDS = 0.1

# Calls the function with a message and its metadata. Returns whether the function succeeded.
Invoke = Callable[[Datum, dict[str, Datum]], Awaitable[bool]]

log = logging.getLogger("host")


@dataclass(frozen=True)
class Options:
    """`extensions.queues` of host.json, with the defaults of the platform.

    https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue
    """

    batch_size: int = 16
    max_dequeue_count: int = 5
    visibility_timeout: float = 0  # seconds
    longest_pause: float = 60  # seconds
    base64: bool = True

    @classmethod
    def read(cls, queues: Mapping[str, Any]) -> "Options":
        """The options in `queues`. Raises ValueError."""
        return cls(
            int(queues.get("batchSize", cls.batch_size)),
            int(queues.get("maxDequeueCount", cls.max_dequeue_count)),
            _seconds(queues.get("visibilityTimeout", "00:00:00")),
            _seconds(queues.get("maxPollingInterval", "00:01:00")),
            queues.get("messageEncoding", "base64") == "base64",
        )


def _seconds(text: str) -> float:
    """The seconds of a time span as host.json has it, hours:minutes:seconds."""
    found = re.fullmatch(r"(\d+):(\d{2}):(\d{2}(?:\.\d+)?)", text)
    if not found:
        raise ValueError(f"{text!r} is no time span, as 00:00:30 is one")
    hours, minutes, seconds = found.groups()
    return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()


def queue_trigger(root: Path, folder: Path, binding: Mapping[str, Any]) -> "QueueTrigger":
    """The trigger of the function in `folder`, of the app in `root`, which `binding` declares.

    Raises ToolError.
    """
    if "extensionBundle" not in read_json(root / "host.json"):
        raise ToolError(
            f"{folder.name}: queue triggers need an extensionBundle in host.json, in Azure as here."
        )
    try:
        return QueueTrigger(binding, Options.read(host_extension(root, "queues")))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ToolError(f"{folder.name}: its queue trigger cannot be used: {reason}") from None


class QueueTrigger:
    """Calls a function with the messages of one queue."""

    def __init__(self, binding: Mapping[str, Any], options: Options) -> None:
        """Raises ToolError where the binding names an app setting that is not set."""
        connection = str(binding.get("connection") or "AzureWebJobsStorage")
        self.queue = with_app_settings(binding["queueName"])
        self._options = options
        self._connection = app_setting(connection)
        self._client(self.queue)  # raises ValueError where it is no connection string

    async def run(self, invoke: Invoke, stop: asyncio.Event) -> None:
        """Calls `invoke` with messages until `stop` is set. A running call is not cut off."""
        pause = _FIRST_PAUSE_SECONDS
        async with self._client(self.queue) as client:
            while not stop.is_set():
                if await self._batch(client, invoke):
                    pause = _FIRST_PAUSE_SECONDS
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
                pause = min(pause * 2, self._options.longest_pause)

    def _client(self, queue: str) -> QueueClient:
        return QueueClient.from_connection_string(self._connection, queue, retry_total=0)

    async def _batch(self, client: QueueClient, invoke: Invoke) -> bool:
        """Handles one batch. Returns whether there was one."""
        size = self._options.batch_size
        try:
            messages = [
                message
                async for message in client.receive_messages(
                    max_messages=size,
                    messages_per_page=size,
                    visibility_timeout=_VISIBILITY_TIMEOUT_SECONDS,
                )
            ]
            for result in await asyncio.gather(
                *(self._one(client, message, invoke) for message in messages),
                return_exceptions=True,
            ):
                if isinstance(result, BaseException):
                    log.error("%s: %s", self.queue, str(result).partition("\n")[0])
        except ResourceNotFoundError:
            return False  # the platform waits for a queue too
        except Exception as error:  # noqa: BLE001 (on unusual responses the SDK raises anything)
            log.warning("%s cannot be read: %s", self.queue, str(error).partition("\n")[0])
            return False
        return bool(messages)

    async def _one(self, client: QueueClient, message: QueueMessage, invoke: Invoke) -> None:
        try:
            body = b64decode(message.content, validate=True) if self._options.base64 else None
            text = body.decode() if body is not None else message.content
        except ValueError:
            log.warning("%s: message %s is not base64 of UTF-8.", self.queue, message.id)
            taken, last = False, True
        else:
            taken = await invoke(Datum(text, "string"), _metadata(message))
            last = (message.dequeue_count or 0) >= self._options.max_dequeue_count
        if not taken and not last:
            await client.update_message(
                message, visibility_timeout=int(self._options.visibility_timeout)
            )
            return
        if not taken:
            await self._to_poison(message)
        await client.delete_message(message)

    async def _to_poison(self, message: QueueMessage) -> None:
        name = f"{self.queue}-poison"
        log.error("Message %s goes to %s.", message.id, name)
        async with self._client(name) as poison:
            with suppress(ResourceExistsError):
                await poison.create_queue()
            await poison.send_message(message.content, time_to_live=-1)


def _metadata(message: QueueMessage) -> dict[str, Datum]:
    def utc_timestamp(value: datetime | None) -> Datum:
        return Datum(value.isoformat() if value else "", "string")

    return {
        "Id": Datum(message.id, "string"),
        "DequeueCount": Datum(str(message.dequeue_count), "string"),
        "InsertionTime": utc_timestamp(message.inserted_on),
        "ExpirationTime": utc_timestamp(message.expires_on),
        "NextVisibleTime": utc_timestamp(message.next_visible_on),
        "PopReceipt": Datum(message.pop_receipt, "string"),
    }
