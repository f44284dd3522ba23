"""Receives events from a queue and prints what to pull: python worker.py <queue>"""

import os
import sys
import time
from base64 import b64decode
from contextlib import suppress
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.core.messaging import CloudEvent
from azure.storage.queue import QueueClient

ATTEMPTS = 5
HIDDEN = 30  # seconds for which a message in hand is hidden: longer than the work takes
PAUSE = 2  # seconds between looks at an empty queue


def work(event: CloudEvent[dict[str, Any]]) -> None:
    print(event.type, (event.extensions or {}).get("acrreference", event.subject), flush=True)


def take(queue: QueueClient, poison: QueueClient) -> bool:
    message = queue.receive_message(visibility_timeout=HIDDEN)
    if message is None:
        return False
    if (message.dequeue_count or 0) > ATTEMPTS:
        poison.send_message(message.content, time_to_live=-1)
    else:
        try:
            work(CloudEvent.from_json(b64decode(message.content).decode()))
        except Exception as error:
            print(f"{message.id}, attempt {message.dequeue_count}: {error}", file=sys.stderr)
            return True  # it is visible again when its time is over
    queue.delete_message(message)
    return True


def main(name: str) -> None:
    account = os.environ["AcrEventsStorage"]
    with (
        QueueClient.from_connection_string(account, name) as queue,
        QueueClient.from_connection_string(account, f"{name}-poison") as poison,
    ):
        for each in (queue, poison):
            with suppress(ResourceExistsError):
                each.create_queue()
        while True:
            if not take(queue, poison):
                time.sleep(PAUSE)


if __name__ == "__main__":
    main(sys.argv[1])
