"""All that talks to Azure Storage queues."""
