"""The story of one delivery, from all that can be asked without taking a message."""

import json
from dataclasses import dataclass, field

from shared.core.webhooks import Webhook
from shared.reconcile.delivery_log import Verdict
from shared.reconcile.ledger import entry_key, row_key
from shared.reconcile.page import DeliveryLogUnavailable
from shared.reconcile.table import LedgerUnavailable
from tools import queue_table
from tools.localhost.function_app import ToolError
from tools.message_facts import facts
from tools.recovery.sources import Listed, Sources

Step = dict[str, str | None]

_WORDS = {
    Verdict.DELIVERED: "delivered: the response was 2xx",
    Verdict.REFUSED: "rejected by the app, which kept it as a dead letter",
    Verdict.MALFORMED: "the entry is not readable",
}


@dataclass
class Trace:
    """What is known of a delivery, what could not be seen, and which sources did not respond."""

    steps: list[Step] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, source: str, time: str | None, what: str) -> None:
        """Adds what `source` knows."""
        self.steps.append({"source": source, "time": time, "what": what})


async def trace(sources: Sources, id_: str) -> Trace:
    """What the delivery logs, the queues and the ledger know of the delivery `id_`."""
    found = Trace()
    if not sources.settings.webhooks:
        found.errors.append("The delivery log was not asked: use --webhook or set ACR_WEBHOOKS.")
    for webhook in sources.settings.webhooks:
        try:
            async for page in sources.listed(webhook):
                for listed in page:
                    _add_entry(found, webhook, listed, id_)
        except DeliveryLogUnavailable as error:
            found.errors.append(f"{webhook.label}: {error}")
    await _ask_queues(found, sources, id_)
    try:
        for row in await sources.ledger.rows(row_key("event", id_)):
            to = f", to {', '.join(row.queues)}" if row.queues else ""
            found.add("ledger", row.at.isoformat(), f"{row.outcome or 'recovered'}{to}")
    except LedgerUnavailable as error:
        found.errors.append(str(error))
    return found


def _add_entry(found: Trace, webhook: Webhook, listed: Listed, id_: str) -> None:
    entry = listed.entry
    if id_ != entry.id or entry_key(entry) != row_key("event", id_):
        return
    what = _WORDS.get(entry.verdict, f"not confirmed ({entry.verdict.value})")
    if entry.timed_out:
        what = "timed out (504): no response within five seconds"
    at = listed.at.isoformat() if listed.at else None
    found.add(f"delivery log of {webhook.label}", at, what)


async def _ask_queues(found: Trace, sources: Sources, id_: str) -> None:
    """Looks at the first messages of every queue. Those behind them cannot be seen."""
    try:
        async for queue in queue_table.peek(sources.app.settings.storage):
            for message in queue.messages:
                about = facts(message)
                if about.id == id_:
                    found.add(f"queue {queue.name}", about.time, about.detail)
            if (hidden := queue.length - len(queue.messages)) > 0:
                found.unseen.append(f"{queue.name}: {hidden} more messages cannot be seen.")
    except ToolError as error:
        found.errors.append(str(error))


def query(id_: str) -> str:
    """The query for every log line about the delivery `id_`, in Application Insights."""
    quoted = json.dumps(id_)
    return (
        "let operations = traces\n"
        f'| where message startswith "acr_delivery " and message has {quoted}\n'
        "| distinct operation_Id;\n"
        "traces\n"
        "| where operation_Id in (operations)\n"
        '| where message startswith "acr_delivery " or message startswith "acr_lost_delivery "\n'
        "| project timestamp, message\n"
        "| order by timestamp asc"
    )
