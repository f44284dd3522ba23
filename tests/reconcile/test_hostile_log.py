"""Runs while the management API actively misbehaves."""

import json
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.support import hostile
from tests.support.deliveries import recent
from tests.support.registry import CONTOSO_EVENTS, EVENTS, Reconcile, Registry
from tests.support.servers import Handler, Listen
from tests.support.storage import StorageAccount

MOST_BYTES = 256 * 1024 * 1024
CHECK = "heck what responds at AcrManagement__endpoint"
JSON = "application/json"

# Not the usage of child processes: that includes the size of this process.
MEASURED = """
from shared.reconcile.runner import Reconciliation
run = Reconciliation.run
async def measured(self):
    await run(self)
    [line] = [l for l in open('/proc/self/status') if l.startswith('VmHWM')]
    print('peak', line.split()[1])
Reconciliation.run = measured
"""


def _peak_bytes(output: str) -> int:
    [peak] = [line.split()[1] for line in output.splitlines() if line.startswith("peak ")]
    return int(peak) * 1024


def _page(entries: list[bytes]) -> bytes:
    return b'{"value":[' + b",".join(entries) + b"]}"


def _small_values() -> bytes:
    """An entry of 9 MB."""
    return _page([b"[" + b",".join(b'"ab"' for _ in range(1_800_000)) + b"]"])


BEYOND: dict[str, tuple[Callable[[], Handler], str]] = {
    "redirect": (lambda: hostile.redirects(307, 1), "307 is a redirect, which is not followed"),
    "gzip bomb": (lambda: hostile.gzip_bomb(200, JSON), "200 is compressed"),
    "endless": (lambda: hostile.endless(200, JSON), "200 has more than 8,388,608 bytes"),
    "entities": (lambda: hostile.entities(200, JSON), "200 declares a document type"),
    "long entry": (lambda: hostile.responds(200, _small_values(), JSON), "200 has more than"),
    "utf-16": (
        lambda: hostile.responds(200, b"{}", f"{JSON}; charset=utf-16"),
        "200 is in a charset",
    ),
    "no value": (lambda: hostile.responds(200, b"{}", JSON), "it has no list `value`"),
    "huge value": (
        lambda: hostile.responds(200, _page([b"[" * 300_000]), JSON),
        "is no JSON value of at most 262,144 characters",
    ),
}


@pytest.mark.parametrize("kind", BEYOND)
async def test_hostile_page_ends_run_of_webhook(
    registry: Registry, reconcile: Reconcile, storage: StorageAccount, kind: str
) -> None:
    """A page beyond the bounds is an error with its remedy, and other webhooks are reconciled."""
    make, error = BEYOND[kind]
    registry[CONTOSO_EVENTS].fails = make()
    missed = recent()
    registry[EVENTS].entries = [registry.entry(missed)]
    result = await reconcile(ACR_WEBHOOKS=f"{CONTOSO_EVENTS},{EVENTS}", patch=MEASURED)
    assert result.status == 1
    output = " ".join(result.output.split())
    assert error in output
    assert CHECK in output
    assert result.counts["recovered"] == 1
    assert await storage.ids("acr-push") == [missed["id"]]
    assert _peak_bytes(result.output) < MOST_BYTES


async def test_redirect_leads_nowhere(
    registry: Registry, reconcile: Reconcile, listen: Listen
) -> None:
    """A management API or a token endpoint that redirects is a failure: nobody else is called."""
    calls = []

    async def elsewhere(request: web.Request) -> web.Response:
        calls.append(request.path)
        return web.json_response({"value": []})

    port = await listen(elsewhere, tls=True)
    registry[EVENTS].fails = hostile.redirects(308, port)
    assert "308 is a redirect" in " ".join((await reconcile()).output.split())
    tokens = await listen(hostile.redirects(307, await listen(elsewhere)))
    result = await reconcile(IDENTITY_ENDPOINT=f"http://127.0.0.1:{tokens}/msi/token")
    assert "could not get an access token" in " ".join(result.output.split())
    assert calls == []


async def test_repeated_link_ends_run(registry: Registry, reconcile: Reconcile) -> None:
    """Pages whose links lead back to an earlier page are an error."""

    async def circle(request: web.Request) -> web.Response:
        number = int(request.query.get("page", "0"))
        link = f"https://127.0.0.1:{registry.port}{request.path}?page={(number + 1) % 3}"
        return web.json_response({"value": [], "nextLink": link})

    registry[EVENTS].fails = circle
    result = await reconcile()
    assert result.status == 1
    assert "a link to its next page repeats" in " ".join(result.output.split())
    assert registry[EVENTS].asked == 4


@pytest.mark.slow
async def test_tiny_entries_need_bounded_memory(registry: Registry, reconcile: Reconcile) -> None:
    """A page of 100,000 tiny entries is read to its end, with bounded memory."""
    entries = [json.dumps({"id": str(number)}).encode() for number in range(99_990)]
    delivered = [b'{"eventResponseMessage":{"statusCode":"202"}}'] * 10
    registry[EVENTS].fails = hostile.responds(200, _page(entries + delivered), JSON)
    result = await reconcile("--dry-run", patch=MEASURED)
    assert result.status == 1
    assert result.counts == {"missed": 99_990, "delivered": 10}
    assert _peak_bytes(result.output) < MOST_BYTES


@pytest.mark.slow
async def test_largest_values_need_bounded_memory(registry: Registry, reconcile: Reconcile) -> None:
    """A page within the limit, of what takes a parser the most memory, has bounded memory."""
    entry = b"[" + b",".join([b"[]"] * 85_000) + b"]"
    registry[EVENTS].fails = hostile.responds(200, _page([entry] * 32), JSON)
    result = await reconcile("--dry-run", patch=MEASURED)
    assert sum(result.counts.values()) == 32
    assert _peak_bytes(result.output) < MOST_BYTES


async def test_challenge_asks_for_no_other_audience(
    registry: Registry, reconcile: Reconcile, listen: Listen
) -> None:
    """A management API that names an audience or claims with its 401 gets no other token."""
    asked = []

    async def token(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return await registry.token(request)

    wish = (
        'Bearer authorization_uri="https://login.example/theirs", error="insufficient_claims", '
        'claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==", resource="https://vault.azure.net"'
    )
    registry[EVENTS].fails = hostile.responds(401, headers={"WWW-Authenticate": wish})
    port = await listen(token)
    result = await reconcile(IDENTITY_ENDPOINT=f"http://127.0.0.1:{port}/msi/token")
    assert "401: the app's identity may not read" in result.output
    assert [query["resource"] for query in asked] == [f"https://127.0.0.1:{registry.port}"]
