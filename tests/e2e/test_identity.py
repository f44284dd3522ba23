"""The app with an identity and without a key, on Azurite over HTTPS in its OAuth mode."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shared.core.actions import event_actions
from shared.storage.credentials import TokenUnavailable
from tests.support.apps import ServeAsIdentity, served
from tests.support.cloud import CLIENT_ID, SENDER, Cloud
from tests.support.commands import run_tools_async
from tests.support.deliveries import example
from tools.localhost import processes
from tools.localhost.ports import free_port


@pytest.fixture
async def serve_as_identity(cloud: Cloud, app: Path) -> AsyncIterator[ServeAsIdentity]:
    """Serves a copy of the app with one queue for all events."""
    with ExitStack() as stack:

        async def start(queue: str, **settings: str) -> str:
            routes = {"routes": [{"queue": queue}], "rejectedQueue": f"{queue}-rejected"}
            (app / "routes.json").write_text(json.dumps(routes))
            own = {**cloud.settings, **settings}
            # This event loop serves the app's requests, so the start runs in a thread.
            if own["SSL_CERT_FILE"]:
                return await asyncio.to_thread(stack.enter_context, served(own, folder=app))
            # `served` always trusts the tests' certificates, and this process must not.
            child = processes.app(free_port(), own, folder=app)
            return (await asyncio.to_thread(stack.enter_context, child)).address

        yield start


async def _post(
    http: aiohttp.ClientSession, url: str, delivery: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    async with http.post(url, json=delivery) as response:
        return response.status, await response.json()


async def test_identity_enqueues_every_event(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """The app enqueues every event with an identity and without a key in any setting."""
    assert not any("AccountKey" in value for value in cloud.settings.values())
    url = await serve_as_identity("by-identity")
    for action in event_actions():
        status, response = await _post(http, url, example(action))
        assert (status, response.get("queues")) == (202, ["by-identity"]), response
    assert set(cloud.tokens) == {CLIENT_ID}
    assert len(cloud.tokens) == 1  # one token is enough for all
    ended = await run_tools_async("peek", "by-identity", "--json", **cloud.settings)
    assert ended.status == 0
    assert [
        json.loads(line)["data"]["action"] for line in ended.output.splitlines()
    ] == event_actions()


async def test_sender_role_suffices(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """The role to send is enough if the queue exists."""
    url = await serve_as_identity("only-sender")
    await _post(http, url, example("push"))
    cloud.roles = SENDER
    cloud.calls.clear()
    status, _ = await _post(http, url, example("push"))
    assert status == 202
    assert cloud.calls == [("send", f"/{processes.ACCOUNT}/only-sender/messages")]
    async with http.get(url.replace("AcrWebhook", "health")) as response:
        assert response.status == 200


async def test_missing_queue_names_needed_role(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """The error for a queue that the app may not create names the queue and the role."""
    cloud.roles = SENDER
    url = await serve_as_identity("not-there")
    status, response = await _post(http, url, example("push"))
    assert status == 503
    assert response["detail"] == (
        "not-there: there is no such queue, and the app may not create it: create it, or "
        "give the app's identity the role Storage Queue Data Contributor."
    )
    # A retry would not help.
    assert cloud.calls.count(("create", f"/{processes.ACCOUNT}/not-there")) == 1


async def test_busy_queue_creation_is_retried(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """The app retries to create a queue while Storage is busy."""
    cloud.busy = 2
    status, _ = await _post(http, await serve_as_identity("busy-at-first"), example("push"))
    assert (status, cloud.busy) == (202, 0)


async def test_denied_send_names_needed_role(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """The response to a denied send names the role that the identity needs."""
    cloud.roles = frozenset()
    status, response = await _post(http, await serve_as_identity("no-role"), example("push"))
    assert status == 503
    assert "no-role: Storage does not allow it" in response["detail"]
    assert "Storage Queue Data Message Sender" in response["detail"]


@pytest.mark.timing
async def test_missing_token_gets_503_in_time(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """A missing token results in 503 in time, and a later token in 202."""
    cloud.has_identity = False
    url = await serve_as_identity("no-token", ACR_BUDGET_SECONDS="1")
    started = time.monotonic()
    status, response = await _post(http, url, example("push"))
    assert time.monotonic() - started < 1.5
    assert status == 503
    assert response["detail"] == f"no-token: {TokenUnavailable()}."
    # The app sends again once the platform issues tokens, without a restart.
    cloud.has_identity = True
    status, _ = await _post(http, url, example("push"))
    assert status == 202


async def test_peek_reports_missing_token(cloud: Cloud) -> None:
    """`peek` fails with an error if it gets no token."""
    cloud.has_identity = False
    ended = await run_tools_async("peek", **cloud.settings)
    assert ended.status == 1
    assert f"The queues cannot be read: {TokenUnavailable()}." in ended.errors


async def test_peek_names_needed_role(cloud: Cloud) -> None:
    """`peek` names the role that its identity needs."""
    cloud.roles = SENDER
    ended = await run_tools_async("peek", **cloud.settings)
    assert ended.status == 1
    assert "Storage Queue Data Reader to look at messages" in " ".join(ended.errors.split())


async def test_replay_works_with_identity(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """`replay` sends a dead letter's event with an identity."""
    url = await serve_as_identity("to-replay", ACR_REGISTRIES="other.azurecr.io")
    status, _ = await _post(http, url, example("push"))
    assert status == 403
    ended = await run_tools_async("replay", "--queue", "to-replay-rejected", **cloud.settings)
    assert (ended.status, "passed" in ended.output) == (0, True), ended.output
    assert ("send", f"/{processes.ACCOUNT}/acr-push/messages") in cloud.calls


async def test_untrusted_certificate_is_refused(
    cloud: Cloud, serve_as_identity: ServeAsIdentity, http: aiohttp.ClientSession
) -> None:
    """The app sends no request to a server with an untrusted certificate."""
    url = await serve_as_identity("no-trust", SSL_CERT_FILE="", ACR_BUDGET_SECONDS="2")
    status, response = await _post(http, url, example("push"))
    assert (status, response["detail"]) == (503, "no-trust: Storage cannot be reached.")
    assert not cloud.calls
