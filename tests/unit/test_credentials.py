"""Which credential an identity gets, and how often the platform is asked for a token."""

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.identity import aio

from shared.storage import credentials as identity
from shared.storage.connections import Principal
from shared.storage.credentials import (
    STORAGE_SCOPE,
    AudienceRefused,
    TokenUnavailable,
    credential,
)
from shared.storage.transport import USER_AGENT

TRANSPORT: Any = object()
ALWAYS = {"transport": TRANSPORT, "user_agent": USER_AGENT}


class _Platform:
    """Replaces every credential: gives a token when `may_respond` is set."""

    made: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012 (reset for each test)
    last: "_Platform"

    def __init__(self, **options: Any) -> None:
        _Platform.made.append((type(self).__name__, options))
        _Platform.last = self
        self.asked = 0
        self.valid_seconds = 3600
        self.may_respond = asyncio.Event()
        self.error: Exception | None = None
        self.options: dict[str, Any] = {}

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked += 1
        self.options = options
        await self.may_respond.wait()
        if self.error:
            raise self.error
        return AccessToken(f"token for {scopes}", int(time.time()) + self.valid_seconds)


class Managed(_Platform):
    pass


class Default(_Platform):
    pass


@pytest.fixture(autouse=True)
def platform(monkeypatch: pytest.MonkeyPatch) -> None:
    _Platform.made = []
    monkeypatch.setattr(aio, "ManagedIdentityCredential", Managed)
    monkeypatch.setattr(aio, "DefaultAzureCredential", Default)


@pytest.mark.parametrize(
    ("managed", "client_id", "made"),
    [
        (
            True,
            None,
            ("Managed", {"client_id": None, **ALWAYS}),
        ),
        (
            True,
            "8a0b",
            ("Managed", {"client_id": "8a0b", **ALWAYS}),
        ),
        (False, None, ("Default", ALWAYS)),
        (
            False,
            "8a0b",
            (
                "Default",
                {
                    "managed_identity_client_id": "8a0b",
                    "transport": TRANSPORT,
                    "user_agent": USER_AGENT,
                },
            ),
        ),
    ],
)
async def test_principal_selects_the_credential(
    managed: bool, client_id: str | None, made: tuple[str, dict[str, Any]]
) -> None:
    """A managed principal gets the managed identity's credential, any other the developer's."""
    credential(Principal(managed, client_id), TRANSPORT)
    assert _Platform.made == [made]


def _credential() -> tuple[Any, _Platform]:
    made = credential(Principal(managed=True, client_id=None), TRANSPORT)
    return made, _Platform.last


async def test_late_token_serves_the_next_request() -> None:
    """A token that arrives after its first caller gave up serves the next caller."""
    made, platform = _credential()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await made.get_token(STORAGE_SCOPE)
    second = asyncio.create_task(made.get_token(STORAGE_SCOPE))
    await asyncio.sleep(0)
    platform.may_respond.set()
    assert (await second).token.endswith(f"('{STORAGE_SCOPE}',)")
    assert platform.asked == 1


async def test_stalled_token_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a token request timed out, the next call starts another one."""
    monkeypatch.setattr(identity, "_REQUEST_TIMEOUT_SECONDS", 0.01)
    made, platform = _credential()
    for asked in (1, 2):
        with pytest.raises(TokenUnavailable):
            await made.get_token(STORAGE_SCOPE)
        assert platform.asked == asked


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("no identity is assigned\nlong story", "no identity is assigned"),
        ("\u2028acr_delivery {\r\x1b[0m", "\u2028acr_delivery {\r\x1b[0m"),
        ("x" * 10_000, "x" * 255 + "…"),
    ],
)
async def test_failed_token_request_logs_its_reason(
    caplog: pytest.LogCaptureFixture, error: str, reason: str
) -> None:
    """A failed token request raises TokenUnavailable and logs the reason as JSON, clipped."""
    made, platform = _credential()
    platform.error = RuntimeError(error)
    platform.may_respond.set()
    with caplog.at_level(logging.ERROR), pytest.raises(TokenUnavailable):
        await made.get_token(STORAGE_SCOPE)
    [line] = caplog.messages
    assert line.isascii()
    assert line.isprintable()
    marker, _, fields = line.partition(" ")
    assert marker == "acr_identity"
    assert json.loads(fields) == {"error": "RuntimeError", "reason": reason}


async def test_valid_token_serves_during_renewal() -> None:
    """The old token serves during its renewal as long as it is valid."""
    made, platform = _credential()
    platform.valid_seconds = 240
    platform.may_respond.set()
    first = await made.get_token(STORAGE_SCOPE)
    platform.may_respond.clear()
    async with asyncio.timeout(1):
        assert await made.get_token(STORAGE_SCOPE) == first
    assert platform.asked == 2
    platform.error = RuntimeError("no")
    platform.may_respond.set()
    await asyncio.sleep(0)
    assert await made.get_token(STORAGE_SCOPE) == first
    platform.error, platform.valid_seconds = None, 3600
    assert (await made.get_token(STORAGE_SCOPE)).expires_on > first.expires_on


async def test_expiring_token_is_not_used() -> None:
    """A token that is about to expire does not serve when its renewal fails."""
    made, platform = _credential()
    platform.valid_seconds = 30
    platform.may_respond.set()
    await made.get_token(STORAGE_SCOPE)
    platform.error = RuntimeError("no")
    with pytest.raises(TokenUnavailable):
        await made.get_token(STORAGE_SCOPE)


@pytest.mark.parametrize(
    "scopes", [(), ("https://other.example/.default",), (STORAGE_SCOPE, "https://other.example")]
)
async def test_token_has_no_other_audience(scopes: tuple[str, ...]) -> None:
    """A credential asks the platform for no token of another audience than its own."""
    made, platform = _credential()
    platform.may_respond.set()
    with pytest.raises(AudienceRefused):
        await made.get_token(*scopes)
    assert platform.asked == 0


async def test_servers_wishes_change_no_request() -> None:
    """A tenant or claims that a server names are not passed on, and cause no further request."""
    made, platform = _credential()
    platform.may_respond.set()
    wishes: list[dict[str, str]] = [{}, {"tenant_id": "theirs"}, {"claims": "{}"}]
    tokens = await asyncio.gather(*(made.get_token(STORAGE_SCOPE, **wish) for wish in wishes))
    assert len(set(tokens)) == platform.asked == 1
    assert platform.options == {}


async def test_repeated_token_failures_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Failures in quick succession write one log line."""
    made, platform = _credential()
    platform.error = RuntimeError("no")
    platform.may_respond.set()
    for _ in range(20):
        with pytest.raises(TokenUnavailable):
            await made.get_token(STORAGE_SCOPE)
    assert len(caplog.messages) == 1
