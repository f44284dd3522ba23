"""Fixtures that the reconcile tests share."""

import re

import pytest
from aiohttp import web
from azure.data.tables.aio import TableServiceClient

from tests.support.certificates import certificates
from tests.support.commands import Command
from tests.support.registry import KEY, PutInFront, Reconcile, Registry, Report, webhook_id
from tests.support.servers import Guard, Listen, forward
from tests.support.storage import StorageAccount


@pytest.fixture
async def registry(azurite: str, storage: StorageAccount, listen: Listen) -> Registry:
    """The registry stand-in, with an account without queues and an empty ledger."""
    registry = Registry()
    registry.port = await listen(registry.list_events, tls=True)
    registry.settings = {
        "AcrEventsStorage": azurite,
        "ACR_REGISTRIES": "",
        "ACR_WEBHOOKS": webhook_id(),
        "AcrManagement__endpoint": f"https://127.0.0.1:{registry.port}",
        "AcrManagement__credential": "managedidentity",
        "AcrReconcileSchedule": "0 0 0 1 1 *",
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{await listen(registry.token)}/msi/token",
        "IDENTITY_HEADER": "the-platform-s-own",
        "SSL_CERT_FILE": str(certificates() / "ca.pem"),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    tables = TableServiceClient.from_connection_string(azurite)
    async with tables:
        async for table in tables.list_tables():
            await tables.delete_table(table.name)
    return registry


@pytest.fixture
def guarded(azurite: str, listen: Listen) -> PutInFront:
    """Puts a guard in front of the account."""

    async def put(guard: Guard) -> str:
        connection = azurite
        for port in set(re.findall(r"Endpoint=http://127.0.0.1:(\d+)/", azurite)):

            async def handle(request: web.Request, port: str = port) -> web.StreamResponse:
                return await guard(request, lambda: forward(request, f"http://127.0.0.1:{port}"))

            connection = connection.replace(f":{port}/", f":{await listen(handle)}/")
        return connection

    return put


@pytest.fixture
def reconcile(registry: Registry) -> Reconcile:
    """`python -m tools reconcile`, with the settings of the registry stand-in."""

    async def run(*arguments: str, patch: str = "", **settings: str) -> Report:
        own = {**registry.settings, **settings}
        ended = await Command("reconcile", *arguments, settings=own, patch=patch).ended()
        output = ended.output + ended.errors
        assert KEY not in output
        counts: dict[str, int] = {}
        for line in output.splitlines():
            row = [part.strip() for part in line.split("│")]
            if len(row) == 5 and row[3].isdigit():
                counts[row[2]] = counts.get(row[2], 0) + int(row[3])
        return Report(ended.status, output, counts)

    return run
