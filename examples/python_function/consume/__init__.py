import hashlib
import logging
import os
from typing import Any

import azure.functions as func
from azure.core.messaging import CloudEvent
from azure.data.tables import TableServiceClient

logging.getLogger("azure.core").setLevel(logging.WARNING)  # else it logs every request


def main(message: func.QueueMessage) -> None:
    event: CloudEvent[dict[str, Any]] = CloudEvent.from_json(message.get_body().decode())
    key = hashlib.sha256(f"{event.source} {event.id}".encode()).hexdigest()
    with TableServiceClient.from_connection_string(os.environ["AcrEventsStorage"]) as account:
        seen = account.create_table_if_not_exists("seen")
        if list(seen.query_entities(f"PartitionKey eq '{key}'")):
            logging.info("seen before: %s", event.id)
            return
        reference = (event.extensions or {}).get("acrreference", event.subject)
        logging.info("%s: %s", event.type, reference)  # your work
        # After the work: a process that stops before this line gets the event again.
        seen.upsert_entity({"PartitionKey": key, "RowKey": ""})
