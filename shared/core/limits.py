"""Limits of Azure Storage Queues."""

# Bytes of a message before base64; Storage takes 64 KiB after it.
MAX_MESSAGE_BYTES = 48 * 1024
