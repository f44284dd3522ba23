"""Everything that talks to Azure Storage queues."""
