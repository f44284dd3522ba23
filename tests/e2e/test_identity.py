"""The app as an identity, without a key: Azurite by HTTPS in its OAuth mode."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web

from shared.actions import event_actions
from tools import processes

Example = Callable[..., dict[str, Any]]
CLIENT_ID = "8a0b1c2d-0000-0000-0000-000000000000"
HEADER = "the-platform-s-own"
ALL = frozenset({"send", "create", "read"})
SENDER = frozenset({"send"})
_DENIED = b"<Error><Code>AuthorizationPermissionMismatch</Code><Message>No.</Message></Error>"


@dataclass
class Cloud:
    """What Azure puts around the app: tokens for its identity, and roles that are looked at.

    The roles stand in front of Azurite, which knows none.
    """

    azurite: int
    hand_on: Callable[[web.Request, str], Awaitable[web.Response]]
    roles: frozenset[str] = ALL
    has_identity: bool = True
    busy: int = 0  # so many queues are not created, as storage is busy
    calls: list[tuple[str, str]] = field(default_factory=list)  # what was asked of Storage
    tokens: list[str] = field(default_factory=list)  # for whom a token was asked
    settings: dict[str, str] = field(default_factory=dict)

    async def token(self, request: web.Request) -> web.Response:
        """As App Service gives them to an app."""
        assert request.headers["X-IDENTITY-HEADER"] == HEADER
        assert request.query["resource"] == "https://storage.azure.com"
        self.tokens.append(request.query.get("client_id", ""))
        if not self.has_identity:
            return web.json_response({"message": "No identity is assigned."}, status=400)
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
        }
        token = jwt.encode(claims, "x" * 32, "HS256")
        document = {"access_token": token, "expires_on": str(now + 3600), "token_type": "Bearer"}
        return web.json_response(document | {"resource": request.query["resource"]})

    async def storage(self, request: web.Request) -> web.Response:
        """Hands a request on to Azurite, if a role allows it."""
        assert request.headers["Authorization"].startswith("Bearer ")
        if request.path.endswith("/messages") and request.method == "POST":
            needed = "send"
        else:
            needed = "create" if request.method == "PUT" and not request.query else "read"
        self.calls.append((needed, request.path))
        if needed == "create" and self.busy:
            self.busy -= 1
            return web.Response(status=503, headers={"x-ms-error-code": "ServerBusy"})
        if needed not in self.roles:
            headers = {"x-ms-error-code": "AuthorizationPermissionMismatch"}
            return web.Response(
                status=403, body=_DENIED, headers=headers, content_type="application/xml"
            )
        return await self.hand_on(request, f"https://127.0.0.1:{self.azurite}")


@pytest.fixture(scope="session")
def secure_azurite(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an Azurite that takes tokens, by HTTPS."""
    options = ["--oauth", "basic"]
    options += ["--cert", str(certificates / "cert.pem"), "--key", str(certificates / "key.pem")]
    port = processes.free_azurite_port()
    with processes.azurite(port, tmp_path_factory.mktemp("secure"), options):
        yield port


@pytest.fixture
async def cloud(secure_azurite: int, certificates: Path, listen: Any, hand_on: Any) -> Cloud:
    cloud = Cloud(secure_azurite, hand_on)
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
        "SSL_CERT_FILE": str(certificates / "ca.pem"),
    }
    return cloud


@pytest.fixture
async def serve_as_identity(cloud: Cloud, app: Path) -> AsyncIterator[Callable[..., Any]]:
    """Serves a copy of the app with one queue for all, by default a new one."""
    with ExitStack() as stack:

        async def start(queue: str, **settings: str) -> str:
            routes = {"routes": [{"queue": queue}], "rejectedQueue": f"{queue}-rejected"}
            (app / "routes.json").write_text(json.dumps(routes))
            served = processes.app(
                processes.free_port(), {**cloud.settings, **settings}, folder=app
            )
            # The app's requests are served by this loop.
            return (await asyncio.to_thread(stack.enter_context, served)).address

        yield start


async def _tool(cloud: Cloud, *arguments: str, **settings: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools", *arguments,
        cwd=processes.ROOT, env={**os.environ, **cloud.settings, **settings},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def _post(
    http: aiohttp.ClientSession, url: str, delivery: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    async with http.post(url, json=delivery) as response:
        return response.status, await response.json()


async def test_every_event_is_enqueued_with_an_identity_and_no_key_in_any_setting(
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
) -> None:
    assert not any("AccountKey" in value for value in cloud.settings.values())
    url = await serve_as_identity("by-identity")
    for action in event_actions():
        status, answer = await _post(http, url, example(action))
        assert (status, answer.get("queues")) == (202, ["by-identity"]), answer
    assert set(cloud.tokens) == {CLIENT_ID}
    assert len(cloud.tokens) == 1  # one token serves them all
    status, shown = await _tool(cloud, "peek", "by-identity", "--json")
    assert status == 0
    assert [json.loads(line)["data"]["action"] for line in shown.splitlines()] == event_actions()


async def test_the_role_to_send_is_enough_where_the_queue_exists(
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
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
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
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
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
) -> None:
    cloud.busy = 2
    status, _ = await _post(http, await serve_as_identity("busy-at-first"), example("push"))
    assert (status, cloud.busy) == (202, 0)


async def test_an_identity_that_may_not_send_is_told_the_role_it_needs(
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
) -> None:
    cloud.roles = frozenset()
    status, answer = await _post(http, await serve_as_identity("no-role"), example("push"))
    assert status == 503
    assert "no-role: Storage does not allow it" in answer["detail"]
    assert "Storage Queue Data Message Sender" in answer["detail"]


async def test_without_a_token_the_answer_comes_in_time_and_says_so(
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
) -> None:
    cloud.has_identity = False
    url = await serve_as_identity("no-token", ACR_BUDGET_SECONDS="1")
    started = time.monotonic()
    status, answer = await _post(http, url, example("push"))
    assert time.monotonic() - started < 1.5
    assert status == 503
    assert answer["detail"] == "no-token: nobody gives the app a token for its identity."
    # It comes back with the platform's identity, without a restart.
    cloud.has_identity = True
    status, _ = await _post(http, url, example("push"))
    assert status == 202


async def test_peek_without_a_token_says_so(cloud: Cloud) -> None:
    cloud.has_identity = False
    status, said = await _tool(cloud, "peek")
    assert status == 1
    assert "The queues cannot be read: nobody gives the app a token for its identity." in said
    assert "Traceback" not in said


async def test_peek_without_a_role_names_the_one_it_needs(cloud: Cloud) -> None:
    cloud.roles = SENDER
    status, said = await _tool(cloud, "peek")
    assert status == 1
    assert "Storage Queue Data Reader to look at messages" in " ".join(said.split())


async def test_replay_works_as_an_identity_too(
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
) -> None:
    url = await serve_as_identity("to-replay", ACR_REGISTRIES="other.azurecr.io")
    status, _ = await _post(http, url, example("push"))
    assert status == 403
    status, said = await _tool(cloud, "replay", "--queue", "to-replay-rejected")
    assert (status, "passed" in said) == (0, True), said
    assert ("send", f"/{processes.ACCOUNT}/acr-push/messages") in cloud.calls


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    cloud: Cloud, serve_as_identity: Any, http: aiohttp.ClientSession, example: Example
) -> None:
    url = await serve_as_identity("no-trust", SSL_CERT_FILE="", ACR_BUDGET_SECONDS="2")
    status, answer = await _post(http, url, example("push"))
    assert (status, answer["detail"]) == (503, "no-trust: Storage cannot be reached.")
    assert not cloud.calls
