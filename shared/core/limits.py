"""Limits of Azure Storage queues."""

# Bytes of a message before base64, which makes four bytes of three. Storage stores at most 64 KiB.
# https://learn.microsoft.com/azure/storage/queues/scalability-targets
MAX_MESSAGE_BYTES = 48 * 1024
