"""Replay: rejected deliveries through the pipeline again, with today's schemas and routes."""

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
from tools import dead_letters
from tools.localhost.function_app import ToolError

# A delivery in hand is hidden from others for so long. If replay is killed, they see it again then.
VISIBILITY_TIMEOUT_SECONDS = 300

# For one message, or one page of them.
_CALL_SECONDS = 15

_PAGE = 32  # as many as Storage hands out at once

_T = TypeVar("_T")

NOT_A_RECORD = "not a record of a rejected delivery"
TRUNCATED = "kept incomplete: it was too large for a message"
UNAVAILABLE = "storage-unavailable"


@dataclass
class Summary:
    """What a replay did: how many passed, and how many stayed, by reason."""

    passed: int = 0
    stayed: Counter[str] = field(default_factory=Counter)


class Replay:
    """Replays the messages of one queue of rejected deliveries.

    A delivery leaves the queue only after every queue of its event has confirmed it, and a record
    is replaced in place: whenever this is killed, nothing is lost, and at worst an event comes
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
            # What is kept already stays kept, whatever the app does with an event nobody takes.
            self._app = App.from_environment({**app_settings, "ACR_KEEP_UNROUTED": "true"})
        except (RoutesError, SettingsError) as error:
            raise ToolError(str(error)) from None
        self._is_named = queue is not None
        self._queue = queue or self._app.routes.rejected_queue
        self._hold = hold
        self._dry_run = dry_run
        # What stays unless it is deleted, by message id: hidden until the end, so that each is met
        # once.
        self._stayed: dict[str, str | None] = {}

    async def run(
        self, most: int | None, started: Callable[[int], None], advanced: Callable[[], None]
    ) -> None:
        """Replays up to `most` messages (None: as many as there are when it begins).

        `started` gets their number, `advanced` is called after each. Raises ToolError
        where Storage does not answer; `summary` tells what was done until then.
        """
        async with connect(self._app.settings.storage) as service:
            client = service.get_queue_client(
                self._queue, message_encode_policy=BinaryBase64EncodePolicy()
            )
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    properties = await client.get_queue_properties()
                # Never too low, says Storage. What is refused meanwhile waits for the next time.
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
            page = await _finish_first(self._take(client, min(_PAGE, most - met)))
            if page is None:
                return
            met += len(page)
            yield page

    async def _take(self, client: QueueClient, size: int) -> list[QueueMessage] | None:
        """Up to `size` messages that were not met before; None where the queue shows no more."""
        messages = [
            message
            async for message in client.receive_messages(
                max_messages=size, messages_per_page=size, visibility_timeout=self._hold
            )
        ]
        # Held longer than it was hidden, one comes back, and is known already.
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
        """Replays one message; the reason why it stays, None where it passed."""
        kept = dead_letters.read(message.content)
        if kept is None:
            return NOT_A_RECORD
        if kept.record["body"]["truncated"]:
            await self._note(client, message, kept.record)
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
        self, client: QueueClient, message: QueueMessage, record: dict[str, Any]
    ) -> None:
        """Puts `record` in the place of the old one, with one more attempt.

        Where it has no room, only the first of the violations is named.
        """
        if self._dry_run:
            return
        record["attempts"] = record.get("attempts", 0) + 1
        for errors in (record["errors"], record["errors"][:1]):
            document = {**record, "errors": errors}
            content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
            if len(content) <= MAX_MESSAGE_BYTES:
                await _finish_first(self._replace(client, message, content))
                return

    async def _replace(self, client: QueueClient, message: QueueMessage, content: bytes) -> None:
        updated = await client.update_message(
            message, content=content, visibility_timeout=self._hold
        )
        self._stayed[message.id] = updated.pop_receipt

    async def _release(self, client: QueueClient) -> None:
        """Shows others again what stayed."""
        stayed = list(self._stayed.items())
        for start in range(0, len(stayed), _PAGE):
            releases = (
                client.update_message(id_, pop_receipt=receipt, visibility_timeout=0)
                for id_, receipt in stayed[start : start + _PAGE]
            )
            # One that cannot be released shows itself when its time is over.
            await asyncio.gather(*releases, return_exceptions=True)


async def _finish_first(call: Coroutine[Any, Any, _T]) -> _T:
    """Awaits a call that hides messages anew: a cancellation waits for its end.

    Only then is it known by which receipts they can be released.
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
