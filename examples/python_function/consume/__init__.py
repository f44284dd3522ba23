import logging
import os
from typing import Any

import azure.functions as func
from azure.core.messaging import CloudEvent

from . import seen

logging.getLogger("azure").setLevel(logging.WARNING)  # else it logs every request


def work(event: CloudEvent[Any]) -> None:
    reference = (event.extensions or {}).get("acrreference", "")
    logging.info("%s %s %s", event.type, event.subject, reference)


def main(message: func.QueueMessage) -> None:
    event = CloudEvent[Any].from_json(message.get_body().decode())
    row = seen.reserve(os.environ["AcrQueue"], event, message.id or "")
    if row is None:
        logging.info("seen before: %s", event.id)
        return
    work(event)
    seen.done(row)  # a process that stops before this line gets the event again
