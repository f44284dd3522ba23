"""Receives events from a queue and prints what to pull: python worker.py <queue>"""

import os
import signal
import sys
import time
from base64 import b64decode
from typing import Any, NoReturn

import seen
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.identity import DefaultAzureCredential
from azure.storage.queue import QueueClient, QueueServiceClient

ATTEMPTS = 5
HIDDEN = 30  # seconds for which a message in hand is hidden: longer than the work takes
PAUSE = 2  # seconds between looks at an empty queue


def work(event: CloudEvent[Any]) -> None:
    reference = (event.extensions or {}).get("acrreference", "")
    print(event.type, event.subject, reference, flush=True)


def connect() -> QueueServiceClient:
    uri = os.environ.get("AcrEventsStorage__queueServiceUri")
    if uri and os.environ.get("ConsumerStorage__tableServiceUri"):
        return QueueServiceClient(uri, credential=DefaultAzureCredential())
    emulator = os.environ.get("AcrEventsStorage")
    if not emulator:
        fail(
            2,
            "Set AcrEventsStorage__queueServiceUri and ConsumerStorage__tableServiceUri, "
            "or AcrEventsStorage for Azurite.",
        )
    return QueueServiceClient.from_connection_string(emulator)


def take(queue: QueueClient, poison: QueueClient) -> bool:
    """Processes one message. Returns whether there was one."""
    message = queue.receive_message(visibility_timeout=HIDDEN)
    if message is None:
        return False
    try:
        if (message.dequeue_count or 0) > ATTEMPTS:
            move(message.content, poison)
        else:
            event = CloudEvent[Any].from_json(b64decode(message.content).decode())
            if row := seen.reserve(queue.queue_name, event, message.id):
                work(event)
                seen.done(row)
            else:
                print("seen before:", event.id, flush=True)
        queue.delete_message(message)
    except Exception as error:  # the message is visible again when its time is over
        print(f"{message.id}, attempt {message.dequeue_count}: {error}", file=sys.stderr)
    return True


def move(content: str, poison: QueueClient) -> None:
    try:
        poison.send_message(content, time_to_live=-1)
    except ResourceNotFoundError:
        poison.create_queue()
        poison.send_message(content, time_to_live=-1)


def fail(status: int, reason: object) -> NoReturn:
    print(str(reason).partition("\n")[0], file=sys.stderr)
    sys.exit(status)


def explain(error: AzureError, name: str, account: QueueServiceClient) -> str:
    code = getattr(error, "error_code", None)
    if code in ("AuthorizationPermissionMismatch", "AuthorizationFailure"):
        return f"Storage refuses: give the identity the roles that a worker needs ({code})."
    if code != "QueueNotFound":
        return str(error)
    try:
        names = ", ".join(queue.name for queue in account.list_queues())
        return f"There is no queue {name}. There are: {names or 'none'}."
    except AzureError:  # the role does not allow to list them
        return f"There is no queue {name}."


def main() -> None:
    if len(sys.argv) != 2:
        fail(2, "Name the queue: python worker.py <queue>")
    name = sys.argv[1]
    account = connect()
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda sent, _: stop.append(sent))  # ends after the message in hand
    queue, poison = (account.get_queue_client(each) for each in (name, f"{name}-poison"))
    try:
        seen.connect()
        while not stop:
            if not take(queue, poison):
                time.sleep(PAUSE)
    except AzureError as error:
        fail(1, explain(error, name, account))


if __name__ == "__main__":
    main()
