"""Replay: sends dead letters through the pipeline again, with today's schemas and routes."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from azure.storage.queue import BinaryBase64EncodePolicy, QueueMessage
from azure.storage.queue.aio import QueueClient

from shared.app import App
from shared.core.limits import MAX_MESSAGE_BYTES
from shared.core.problems import Problem
from shared.core.routing import RoutesError
from shared.settings import SettingsError
from shared.storage.clients import connect
from shared.storage.errors import is_missing, reason
from shared.storage.transport import MESSAGES_BYTES, responses_up_to
from tools import dead_letters
from tools.localhost.function_app import ToolError

# A delivery in hand is hidden from other readers for so long, even if replay is killed.
# https://learn.microsoft.com/rest/api/storageservices/get-messages
VISIBILITY_TIMEOUT_SECONDS = 300

# For one message, or one page of them.
_CALL_SECONDS = 15

# The most that Storage returns at once.
# https://learn.microsoft.com/rest/api/storageservices/get-messages
_PAGE_MESSAGES = 32

_T = TypeVar("_T")

NOT_A_DEAD_LETTER = "not a dead letter"
TRUNCATED = "kept incomplete: it was too large for a message"
DAMAGED = "damaged: the body does not match its length or its SHA-256"
UNAVAILABLE = "storage-unavailable"


@dataclass
class Summary:
    """The result of a replay: how many passed, and how many stayed, by reason."""

    passed: int = 0
    stayed: Counter[str] = field(default_factory=Counter)


class Replay:
    """Replays the dead letters on one queue.

    A delivery is deleted only after every queue of its event has confirmed the event, and a dead
    letter is updated in place. If a replay is killed, nothing is lost: at worst an event is stored
    twice, under the same id.
    """

    def __init__(
        self,
        app_settings: Mapping[str, str],
        *,
        queue: str | None = None,
        hold: int = VISIBILITY_TIMEOUT_SECONDS,
        dry_run: bool = False,
    ) -> None:
        """Raises ToolError where settings or routes cannot be used."""
        self.summary = Summary()
        try:
            # A dead letter that no route matches stays, even if the app does not keep such events.
            self._app = App.from_environment(
                {**app_settings, "ACR_KEEP_UNROUTED": "true"}, registry_waits=False
            )
        except (RoutesError, SettingsError) as error:
            raise ToolError(str(error)) from None
        self._is_named = queue is not None
        self._queue = queue or self._app.routes.rejected_queue
        self._hold = hold
        self._dry_run = dry_run
        # The pop receipts of the messages that stay, by message id. They are hidden until the end,
        # so that each message is received once.
        self._stayed: dict[str, str | None] = {}

    async def run(
        self, most: int | None, started: Callable[[int], None], advanced: Callable[[], None]
    ) -> None:
        """Replays up to `most` messages (None: as many as there are when it begins).

        `started` gets their number, `advanced` is called after each. Raises ToolError
        where Storage does not respond; `summary` has the result until then.
        """
        async with connect(self._app.settings.storage) as service:
            client = service.get_queue_client(
                self._queue, message_encode_policy=BinaryBase64EncodePolicy()
            )
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    properties = await client.get_queue_properties()
                # Never too low. Deliveries that are refused meanwhile wait for the next replay.
                # https://learn.microsoft.com/rest/api/storageservices/get-queue-metadata
                there = properties.approximate_message_count or 0
                there = there if most is None else min(most, there)
                started(there)
                try:
                    async for page in self._pages(client, there):
                        async with asyncio.TaskGroup() as group:
                            for message in page:
                                group.create_task(self._one(client, message, advanced))
                finally:
                    await self._release(client)
            except Exception as error:  # noqa: BLE001 (on unusual responses the SDK raises anything)
                if not is_missing(error):
                    raise ToolError(f"{self._queue} cannot be replayed: {reason(error)}.") from None
                if self._is_named:
                    raise ToolError(f"There is no queue {self._queue}.") from None
                started(0)
            finally:
                await self._app.queues.close()

    async def _pages(self, client: QueueClient, most: int) -> AsyncIterator[list[QueueMessage]]:
        met = 0
        while met < most:
            page = await _finish_first(self._take(client, min(_PAGE_MESSAGES, most - met)))
            if page is None:
                return
            met += len(page)
            yield page

    async def _take(self, client: QueueClient, size: int) -> list[QueueMessage] | None:
        """Up to `size` messages that are new to this replay. None where the queue has no more."""
        with responses_up_to(MESSAGES_BYTES):
            messages = [
                message
                async for message in client.receive_messages(
                    max_messages=size, messages_per_page=size, visibility_timeout=self._hold
                )
            ]
        # A message that is held for longer than it is hidden is received again: it is known.
        page = [message for message in messages if message.id not in self._stayed]
        self._stayed |= {message.id: message.pop_receipt for message in messages}
        return page if messages else None

    async def _one(
        self, client: QueueClient, message: QueueMessage, advanced: Callable[[], None]
    ) -> None:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                reason = await self._replayed(client, message)
        except Exception:  # noqa: BLE001 (on unusual responses the SDK raises anything)
            reason = UNAVAILABLE
        if reason is None:
            self.summary.passed += 1
        else:
            self.summary.stayed[reason] += 1
        advanced()

    async def _replayed(self, client: QueueClient, message: QueueMessage) -> str | None:
        """Replays one message. Returns why it stays, None where it passed."""
        kept = dead_letters.read(message.content)
        if kept is None:
            return NOT_A_DEAD_LETTER
        if kept.is_damaged:
            return DAMAGED
        if kept.document["body"]["truncated"]:
            await self._note(client, message, kept.document)
            return TRUNCATED
        try:
            document = self._app.pipeline.parse(kept.delivery)
            routed = self._app.pipeline.route(document, kept.delivery)
        except Problem as problem:
            await self._note(client, message, kept.rejected_again(problem))
            return problem.kind.reason
        if self._dry_run:
            return None
        if await self._app.pipeline.enqueue(routed):
            return UNAVAILABLE
        await client.delete_message(message)
        del self._stayed[message.id]
        return None

    async def _note(
        self, client: QueueClient, message: QueueMessage, document: dict[str, Any]
    ) -> None:
        """Replaces the dead letter in `message` by `document`, with one more attempt.

        Where it does not fit, it names the first violation only.
        """
        if self._dry_run:
            return
        attempts = document.get("attempts", 0) + 1
        for errors in (document["errors"], document["errors"][:1]):
            updated = {**document, "attempts": attempts, "errors": errors}
            content = json.dumps(updated, ensure_ascii=False, separators=(",", ":")).encode()
            if len(content) <= MAX_MESSAGE_BYTES:
                await _finish_first(self._replace(client, message, content))
                return

    async def _replace(self, client: QueueClient, message: QueueMessage, content: bytes) -> None:
        updated = await client.update_message(
            message, content=content, visibility_timeout=self._hold
        )
        self._stayed[message.id] = updated.pop_receipt

    async def _release(self, client: QueueClient) -> None:
        """Makes the messages that stay visible to other readers again."""
        stayed = list(self._stayed.items())
        for start in range(0, len(stayed), _PAGE_MESSAGES):
            releases = (
                client.update_message(id_, pop_receipt=receipt, visibility_timeout=0)
                for id_, receipt in stayed[start : start + _PAGE_MESSAGES]
            )
            # A message that cannot be released becomes visible when its time is over.
            await asyncio.gather(*releases, return_exceptions=True)


async def _finish_first(call: Coroutine[Any, Any, _T]) -> _T:
    """Awaits a call that hides messages. A cancellation waits for its end.

    Only then the receipts for releasing the messages are known.
    """

    async def bounded() -> _T:
        async with asyncio.timeout(_CALL_SECONDS):
            return await call

    running = asyncio.create_task(bounded())
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        with suppress(Exception):
            await running
        raise
