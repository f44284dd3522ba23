"""How long a page of the delivery log holds up the event loop, on which deliveries wait."""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from shared.core.webhooks import Webhook
from shared.reconcile.delivery_log import Window
from shared.reconcile.page import Page
from shared.reconcile.webhook_run import Plan, WebhookRun
from shared.storage.transport import LOG_PAGE_BYTES
from tools import examples

_WEBHOOK = Webhook.parse(
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/contoso"
    "/webhooks/events"
)
# Of an entry: what the headers and the response take, beside the delivery (seen: 1.6 KB in all).
_PADDING = "x" * 600


def holds() -> Mapping[str, float]:
    """Milliseconds for which the loop was held at most, by the kind of page of the largest size."""
    ordinary = _entry(examples.documented("push"), _PADDING)
    return {
        "entries of an ordinary size": asyncio.run(_held(ordinary)),
        "100,000 small entries": asyncio.run(_held(_entry({}, ""), 100_000)),
    }


def _entry(content: Mapping[str, Any], padding: str) -> bytes:
    request = {"content": {**content}, "headers": {"x": padding}}
    response = {"statusCode": "202"}
    return json.dumps({"eventRequestMessage": request, "eventResponseMessage": response}).encode()


async def _held(entry: bytes, most: int = LOG_PAGE_BYTES) -> float:
    """Milliseconds, for a page of `most` entries or of the largest size, whichever is shorter."""
    count = min(most, (LOG_PAGE_BYTES - 20) // (len(entry) + 1))
    body = b'{"value":[' + b",".join([entry] * count) + b"]}"
    now = datetime.now(UTC)
    window = Window(now - timedelta(days=30), now)
    plan = Plan(window, window.since, None, True, lambda _: "", lambda _: None)
    # Every entry was delivered: nothing is sent, and the ledger is not read.
    nothing = cast("Any", None)
    run = WebhookRun(plan, _WEBHOOK, nothing, nothing, nothing)
    longest = 0.0

    async def wait() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    await run.page(Page(body))
    waiting.cancel()
    return longest * 1000
