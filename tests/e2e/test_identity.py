"""The app as an identity, without a key: Azurite by HTTPS in its OAuth mode."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shared.core.actions import event_actions
from shared.storage.credentials import TokenUnavailable
from tests.support.apps import ServeAsIdentity, served
from tests.support.certificates import certificates
from tests.support.cloud import CLIENT_ID, HEADER, SENDER, Cloud
from tests.support.commands import run_tools_async
from tests.support.deliveries import example
from tests.support.servers import Listen
from tools.localhost import processes
from tools.localhost.ports import free_azurite_port, free_port


@pytest.fixture(scope="session")
def secure_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an Azurite that takes tokens, by HTTPS."""
    options = ["--oauth", "basic"]
    options += [
        "--cert",
        str(certificates() / "cert.pem"),
        "--key",
        str(certificates() / "key.pem"),
    ]
    port = free_azurite_port()
    with processes.azurite(port, tmp_path_factory.mktemp("secure"), options):
        yield port


@pytest.fixture
async def cloud(secure_azurite: int, listen: Listen) -> Cloud:
    cloud = Cloud(secure_azurite)
    token_port = await listen(cloud.token)
    uri = f"https://127.0.0.1:{await listen(cloud.storage, tls=True)}/{processes.ACCOUNT}"
    cloud.settings = {
        "AzureWebJobsStorage": "",
        "AcrEventsStorage": "",
        "AcrEventsStorage__queueServiceUri": uri,
        "AcrEventsStorage__credential": "managedidentity",
        "AcrEventsStorage__clientId": CLIENT_ID,
        "ACR_REGISTRIES": "",
        "IDENTITY_ENDPOINT": f"http://127.0.0.1:{token_port}/msi/token",
        "IDENTITY_HEADER": HEADER,
        "SSL_CERT_FILE": str(certificates() / "ca.pem"),
    }
    return cloud


@pytest.fixture
async def serve_as_identity(cloud: Cloud, app: Path) -> AsyncIterator[ServeAsIdentity]:
    """Serves a copy of the app with one queue for all, by default a new one."""
    with ExitStack() as stack:

        async def start(queue: str, **settings: str) -> str:
            routes = {"routes": [{"queue": queue}], "rejectedQueue": f"{queue}-rejected"}
            (app / "routes.json").write_text(json.dumps(routes))
            own = {**cloud.settings, **settings}
            # This loop serves the app's requests.
            if own["SSL_CERT_FILE"]:
                return await asyncio.to_thread(stack.enter_context, served(own, folder=app))
            # Commands that start fast trust the tests' own certificates.
            child = processes.app(free_port(), own, folder=app)
            return (await asyncio.to_thread(stack.enter_context, child)).address

        yield start


async def _post(
    http: aiohttp.ClientSession, url: str, delivery: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    async with http.post(url, json=delivery) as response:
        return response.status, await response.json()


async def test_every_event_is_enqueued_with_an_identity_and_no_key_in_any_setting(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    assert not any("AccountKey" in value for value in cloud.settings.values())
    url = await serve_as_identity("by-identity")
    for action in event_actions():
        status, answer = await _post(http, url, example(action))
        assert (status, answer.get("queues")) == (202, ["by-identity"]), answer
    assert set(cloud.tokens) == {CLIENT_ID}
    assert len(cloud.tokens) == 1  # one token serves them all
    ended = await run_tools_async("peek", "by-identity", "--json", **cloud.settings)
    assert ended.status == 0
    assert [
        json.loads(line)["data"]["action"] for line in ended.output.splitlines()
    ] == event_actions()


async def test_the_role_to_send_is_enough_where_the_queue_exists(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    url = await serve_as_identity("only-sender")
    await _post(http, url, example("push"))
    cloud.roles = SENDER
    cloud.calls.clear()
    status, _ = await _post(http, url, example("push"))
    assert status == 202
    assert cloud.calls == [("send", f"/{processes.ACCOUNT}/only-sender/messages")]
    async with http.get(url.replace("AcrWebhook", "health")) as response:
        assert response.status == 200


async def test_a_missing_queue_that_may_not_be_created_is_named_with_the_role_that_would_help(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    cloud.roles = SENDER
    url = await serve_as_identity("not-there")
    status, answer = await _post(http, url, example("push"))
    assert status == 503
    assert answer["detail"] == (
        "not-there: there is no such queue, and the app may not create it: create it, or "
        "give the app's identity the role Storage Queue Data Contributor."
    )
    # Trying again would not help.
    assert cloud.calls.count(("create", f"/{processes.ACCOUNT}/not-there")) == 1


async def test_storage_that_is_busy_when_a_queue_is_created_is_tried_again(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    cloud.busy = 2
    status, _ = await _post(http, await serve_as_identity("busy-at-first"), example("push"))
    assert (status, cloud.busy) == (202, 0)


async def test_an_identity_that_may_not_send_is_told_the_role_it_needs(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    cloud.roles = frozenset()
    status, answer = await _post(http, await serve_as_identity("no-role"), example("push"))
    assert status == 503
    assert "no-role: Storage does not allow it" in answer["detail"]
    assert "Storage Queue Data Message Sender" in answer["detail"]


@pytest.mark.timing
async def test_without_a_token_the_answer_comes_in_time_and_says_so(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    cloud.has_identity = False
    url = await serve_as_identity("no-token", ACR_BUDGET_SECONDS="1")
    started = time.monotonic()
    status, answer = await _post(http, url, example("push"))
    assert time.monotonic() - started < 1.5
    assert status == 503
    assert answer["detail"] == f"no-token: {TokenUnavailable()}."
    # It comes back with the platform's identity, without a restart.
    cloud.has_identity = True
    status, _ = await _post(http, url, example("push"))
    assert status == 202


async def test_peek_without_a_token_says_so(cloud: Cloud) -> None:
    cloud.has_identity = False
    ended = await run_tools_async("peek", **cloud.settings)
    assert ended.status == 1
    assert (
        f"The queues cannot be read: {TokenUnavailable()}." in ended.errors
    )


async def test_peek_without_a_role_names_the_one_it_needs(cloud: Cloud) -> None:
    cloud.roles = SENDER
    ended = await run_tools_async("peek", **cloud.settings)
    assert ended.status == 1
    assert "Storage Queue Data Reader to look at messages" in " ".join(ended.errors.split())


async def test_replay_works_as_an_identity_too(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    url = await serve_as_identity("to-replay", ACR_REGISTRIES="other.azurecr.io")
    status, _ = await _post(http, url, example("push"))
    assert status == 403
    ended = await run_tools_async("replay", "--queue", "to-replay-rejected", **cloud.settings)
    assert (ended.status, "passed" in ended.output) == (0, True), ended.output
    assert ("send", f"/{processes.ACCOUNT}/acr-push/messages") in cloud.calls


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    url = await serve_as_identity("no-trust", SSL_CERT_FILE="", ACR_BUDGET_SECONDS="2")
    status, answer = await _post(http, url, example("push"))
    assert (status, answer["detail"]) == (503, "no-trust: Storage cannot be reached.")
    assert not cloud.calls
