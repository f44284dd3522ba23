"""`make demo`: sends every kind of delivery to the real app, and shows the results."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared.core.actions import actions
from shared.core.delivery import Payload
from shared.core.normalization import to_cloud_event
from shared.core.registries import Registry
from shared.core.routing import Routes
from shared.storage.connections import ConnectionString
from tools import examples, queue_table
from tools.deliveries import post
from tools.localhost.function_app import ToolError

REGISTRY = "myregistry.azurecr.io"


@dataclass(frozen=True)
class Step:
    """A delivery and its expected result: the status, and the queues with its message."""

    name: str
    body: dict[str, Any]
    status: int
    queues: list[str]


def steps(app_settings: Mapping[str, str]) -> list[Step]:
    """The documented delivery of every action, and a bad one."""
    routes = Routes.load(app_settings)
    good = [_good(routes, examples.payload(action)) for action in examples.actions()]
    bad = examples.documented("push")
    bad["target"]["digest"] = "latest"
    del bad["request"]
    return [*good, Step("push, bad", bad, 422, [routes.rejected_queue])]


def _good(routes: Routes, delivery: Payload) -> Step:
    action = actions()[delivery["action"]]
    if action.type is None:
        return Step(action.name, dict(delivery), 200, [])
    event = to_cloud_event(delivery, action, Registry(REGISTRY))
    return Step(action.name, dict(delivery), 202, routes.queues_for(event))


async def run(url: str, connection: str, app_settings: Mapping[str, str], console: Console) -> None:
    """Sends every step to `url` and shows the messages on the queues of `connection`.

    Raises ToolError where a result is not as expected.
    """
    sent = Table(title="Deliveries", title_justify="left")
    for heading in ("delivery", "status", "response"):
        sent.add_column(heading, overflow="fold")
    errors = []
    planned = steps(app_settings)
    for step in planned:
        async for outcome in post(url, [json.dumps(step.body).encode()], registry=REGISTRY):
            sent.add_row(step.name, str(outcome.status), escape(_summary(outcome.response)))
            if outcome.status != step.status:
                errors.append(f"{step.name}: got {outcome.status}, not {step.status}")
    console.print(sent)

    account = ConnectionString("AcrEventsStorage", connection)
    found = {queue.name: queue async for queue in queue_table.peek(account)}
    grid = queue_table.table()
    for queue in found.values():
        queue_table.add(grid, queue)
    console.print(grid)
    errors += [
        f"{step.name}: is not on {queue}"
        for step in planned
        for queue in step.queues
        if step.body["id"] not in map(_event_id, _messages(found, queue))
    ]
    stored = sum(len(queue.messages) for queue in found.values())
    if stored != (wanted := sum(len(step.queues) for step in planned)):
        errors.append(f"{stored} messages are on the queues, not {wanted}")
    if errors:
        raise ToolError("The demo failed.\n" + "\n".join(errors))
    console.print(
        f"[green]✓[/] {len(planned)} deliveries, each as expected: {wanted} on a queue, "
        "and the ping got 200."
    )


def _messages(found: dict[str, queue_table.Queue], name: str) -> list[Any]:
    return found[name].messages if name in found else []


def _event_id(message: dict[str, Any]) -> str:
    """The id of the delivery in `message`, an event or a dead letter."""
    delivery = json.loads(message["body"]["content"]) if "body" in message else message
    return str(delivery["id"])


def _summary(response: Any) -> str:
    match response:
        case {"queues": queues, "subject": subject}:
            return f"{subject} → {', '.join(queues)}"
        case {"errors": errors, "title": title}:
            return "\n".join([title, *(f"{e['pointer']} {e['detail']}" for e in errors)])
        case {"detail": detail}:
            return str(detail)
    return str(response)
