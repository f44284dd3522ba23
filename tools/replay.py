"""Replay: sends dead letters through the pipeline again, with today's schemas and routes."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from tools.held_messages import CALL_SECONDS, VISIBILITY_TIMEOUT_SECONDS, HeldMessages
from tools.localhost.function_app import ToolError
from tools.message_facts import NOT_A_DEAD_LETTER, Facts, Selection, content_of, facts

TRUNCATED = "kept incomplete: it was too large for a message"
DAMAGED = "damaged: the body does not match its length or its SHA-256"
UNAVAILABLE = "storage-unavailable"


@dataclass(frozen=True)
class Replayed:
    """The result for one message: the queues of its event, or why it stays."""

    message: str
    facts: Facts
    queues: tuple[str, ...] = ()
    stays: str | None = None


@dataclass
class Summary:
    """The result of a replay: how many passed, and how many stayed, by reason.

    Args:
        passed: The selected ones that passed.
        stayed: The selected ones that stay, by reason.
        others: How many were not selected.
        untried: How many are left because of `most`.
        elsewhere: How many another reader has in hand.
        unreleased: How many of those in hand could not be released.
        back_at: When the latter two are visible again at the latest, if the other reader holds
            messages for as long as this replay.

    """

    passed: int = 0
    stayed: Counter[str] = field(default_factory=Counter)
    others: int = 0
    untried: int = 0
    elsewhere: int = 0
    unreleased: int = 0
    back_at: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether every selected message passed, and none was out of reach."""
        return not (self.stayed or self.untried or self.elsewhere or self.unreleased)


@dataclass(frozen=True)
class Watcher:
    """Who is informed: each function gets the steps of a run as they happen."""

    started: Callable[[int], None] = lambda _: None
    advanced: Callable[[], None] = lambda: None
    seen: Callable[[Replayed], None] = lambda _: None
    releasing: Callable[[int], None] = lambda _: None


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
        selection: Selection | None = None,
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
        self._selection = selection or Selection()

    async def run(self, most: int | None, watcher: Watcher | None = None) -> None:
        """Replays up to `most` messages (None: as many as there are when it begins).

        Raises ToolError where Storage does not respond; `summary` has the result until then.
        """
        watcher = watcher or Watcher()
        async with connect(self._app.settings.storage) as service:
            client = service.get_queue_client(
                self._queue, message_encode_policy=BinaryBase64EncodePolicy()
            )
            try:
                await self._all(client, most, watcher)
            except Exception as error:  # noqa: BLE001 (on unusual responses the SDK raises anything)
                if not is_missing(error):
                    raise ToolError(f"{self._queue} cannot be replayed: {reason(error)}.") from None
                if self._is_named:
                    raise ToolError(f"There is no queue {self._queue}.") from None
                watcher.started(0)
            finally:
                await self._app.queues.close()

    async def _all(self, client: QueueClient, most: int | None, watcher: Watcher) -> None:
        held = HeldMessages(client, self._hold)
        summary = self.summary
        # Deliveries that are refused meanwhile wait for the next replay.
        there = await held.count()
        chosen = there if most is None else min(most, there)
        watcher.started(chosen)
        met = 0
        try:
            async for page in held.pages(chosen):
                met += len(page)
                async with asyncio.TaskGroup() as group:
                    for message in page:
                        group.create_task(self._one(held, message, watcher))
            summary.elsewhere = held.elsewhere
            summary.untried = 0 if held.elsewhere else there - met
        finally:
            await held.release(watcher.releasing, watcher.advanced)
            summary.unreleased = held.unreleased
            summary.back_at = held.back_at().isoformat()

    async def _one(self, held: HeldMessages, message: QueueMessage, watcher: Watcher) -> None:
        about = facts(content_of(message.content))
        if not self._selection.matches(about):
            self.summary.others += 1
            watcher.advanced()
            return
        try:
            async with asyncio.timeout(CALL_SECONDS):
                result = await self._replayed(held, message, about)
        except Exception:  # noqa: BLE001 (on unusual responses the SDK raises anything)
            result = Replayed(message.id, about, stays=UNAVAILABLE)
        if result.stays is None:
            self.summary.passed += 1
        else:
            self.summary.stayed[result.stays] += 1
        watcher.seen(result)
        watcher.advanced()

    async def _replayed(self, held: HeldMessages, message: QueueMessage, about: Facts) -> Replayed:
        kept = dead_letters.read(message.content)
        if kept is None:
            return Replayed(message.id, about, stays=NOT_A_DEAD_LETTER)
        if kept.is_damaged:
            return Replayed(message.id, about, stays=DAMAGED)
        if kept.document["body"]["truncated"]:
            await self._note(held, message, kept.document)
            return Replayed(message.id, about, stays=TRUNCATED)
        try:
            document = self._app.pipeline.parse(kept.delivery)
            routed = self._app.pipeline.route(document, kept.delivery)
        except Problem as problem:
            await self._note(held, message, kept.rejected_again(problem))
            return Replayed(message.id, about, stays=problem.kind.reason)
        if not self._dry_run:
            if await self._app.pipeline.enqueue(routed):
                return Replayed(message.id, about, stays=UNAVAILABLE)
            await held.delete(message)
        return Replayed(message.id, about, tuple(routed.queues))

    async def _note(
        self, held: HeldMessages, message: QueueMessage, document: dict[str, Any]
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
                await held.replace(message, content)
                return
