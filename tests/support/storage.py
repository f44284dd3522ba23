"""A storage account, seen from outside the app."""

import json
from typing import Any

from azure.storage.queue import BinaryBase64DecodePolicy, QueueMessage

from shared.storage.clients import connect
from shared.storage.connections import ConnectionString
from shared.storage.transport import MESSAGES_BYTES, PAGE_BYTES, responses_up_to


class StorageAccount:
    """Looks at the queues of an account."""

    def __init__(self, connection: str) -> None:
        self.connection = connection
        self.service = connect(ConnectionString("AcrEventsStorage", connection))

    async def queues(self) -> list[str]:
        """The names of all queues."""
        with responses_up_to(PAGE_BYTES):
            return [str(queue.name) async for queue in self.service.list_queues()]

    async def take(self, queue: str) -> list[QueueMessage]:
        """Takes every message off `queue`. Its content is bytes."""
        client = self.service.get_queue_client(
            queue, message_decode_policy=BinaryBase64DecodePolicy()
        )
        messages = []
        with responses_up_to(MESSAGES_BYTES):
            async for message in client.receive_messages(messages_per_page=32):
                await client.delete_message(message)
                messages.append(message)
        return messages

    async def documents(self, queue: str) -> list[dict[str, Any]]:
        """Takes every message off `queue`, parsed."""
        return [json.loads(message.content) for message in await self.take(queue)]

    async def ids(self, queue: str) -> list[str]:
        """Takes every event off `queue`. Returns their ids; none if the queue does not exist."""
        if queue not in await self.queues():
            return []
        return [event["id"] for event in await self.documents(queue)]

    async def stored_ids(self) -> list[str]:
        """Takes every message off every queue. Returns the ids of their deliveries."""
        ids = []
        for queue in await self.queues():
            for document in await self.documents(queue):
                kept = json.loads(document["body"]["content"]) if "body" in document else document
                ids.append(kept["id"])
        return ids
