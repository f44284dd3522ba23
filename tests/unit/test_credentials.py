"""Which credential an identity gets, and how often the platform is asked for a token."""

import asyncio
import logging
import time
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.identity import aio

from shared.storage import credentials as identity
from shared.storage.connections import Principal
from shared.storage.credentials import TokenUnavailable, credential
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

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked += 1
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
            await made.get_token("scope")
    second = asyncio.create_task(made.get_token("scope"))
    await asyncio.sleep(0)
    platform.may_respond.set()
    assert (await second).token.endswith("('scope',)")
    assert platform.asked == 1


async def test_stalled_token_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a token request timed out, the next call starts another one."""
    monkeypatch.setattr(identity, "_REQUEST_TIMEOUT_SECONDS", 0.01)
    made, platform = _credential()
    for asked in (1, 2):
        with pytest.raises(TokenUnavailable):
            await made.get_token("scope")
        assert platform.asked == asked


async def test_failed_token_request_logs_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failed token request raises TokenUnavailable and logs the first line of its reason."""
    made, platform = _credential()
    platform.error = RuntimeError("no identity is assigned\nlong story")
    platform.may_respond.set()
    with caplog.at_level(logging.ERROR), pytest.raises(TokenUnavailable):
        await made.get_token("scope")
    assert caplog.messages == ["acr_identity RuntimeError: no identity is assigned"]


async def test_valid_token_serves_during_renewal() -> None:
    """The old token serves during its renewal as long as it is valid."""
    made, platform = _credential()
    platform.valid_seconds = 240
    platform.may_respond.set()
    first = await made.get_token("scope")
    platform.may_respond.clear()
    async with asyncio.timeout(1):
        assert await made.get_token("scope") == first
    assert platform.asked == 2
    platform.error = RuntimeError("no")
    platform.may_respond.set()
    await asyncio.sleep(0)
    assert await made.get_token("scope") == first
    platform.error, platform.valid_seconds = None, 3600
    assert (await made.get_token("scope")).expires_on > first.expires_on


async def test_expiring_token_is_not_used() -> None:
    """A token that is about to expire does not serve when its renewal fails."""
    made, platform = _credential()
    platform.valid_seconds = 30
    platform.may_respond.set()
    await made.get_token("scope")
    platform.error = RuntimeError("no")
    with pytest.raises(TokenUnavailable):
        await made.get_token("scope")


async def test_each_scope_has_its_token() -> None:
    """Requests for different scopes get different tokens."""
    made, platform = _credential()
    platform.may_respond.set()
    both = await asyncio.gather(made.get_token("one"), made.get_token("two", tenant_id="t"))
    assert [token.token for token in both] == ["token for ('one',)", "token for ('two',)"]


async def test_repeated_token_failures_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Failures in quick succession write one log line."""
    made, platform = _credential()
    platform.error = RuntimeError("no")
    platform.may_respond.set()
    for _ in range(20):
        with pytest.raises(TokenUnavailable):
            await made.get_token("scope")
    assert len(caplog.messages) == 1
