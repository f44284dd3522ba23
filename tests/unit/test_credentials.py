"""Which credential an identity gets, and how it is asked."""

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
    """In the place of every credential: gives a token when `may_answer` is set."""

    made: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012 (reset for each test)
    last: "_Platform"

    def __init__(self, **options: Any) -> None:
        _Platform.made.append((type(self).__name__, options))
        _Platform.last = self
        self.asked = 0
        self.valid_for = 3600
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked += 1
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return AccessToken(f"token for {scopes}", int(time.time()) + self.valid_for)


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
async def test_the_credential_is_the_managed_identitys_or_else_the_developers(
    managed: bool, client_id: str | None, made: tuple[str, dict[str, Any]]
) -> None:
    credential(Principal(managed, client_id), TRANSPORT)
    assert _Platform.made == [made]


def _credential() -> tuple[Any, _Platform]:
    made = credential(Principal(managed=True, client_id=None), TRANSPORT)
    return made, _Platform.last


async def test_a_token_that_comes_late_serves_those_who_ask_after_the_first_gave_up() -> None:
    made, platform = _credential()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await made.get_token("scope")
    second = asyncio.create_task(made.get_token("scope"))
    await asyncio.sleep(0)
    platform.may_answer.set()
    assert (await second).token.endswith("('scope',)")
    assert platform.asked == 1


async def test_a_platform_that_never_answers_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_REQUEST_TIMEOUT_SECONDS", 0.01)
    made, platform = _credential()
    for asked in (1, 2):
        with pytest.raises(TokenUnavailable):
            await made.get_token("scope")
        assert platform.asked == asked


async def test_a_platform_without_a_token_is_an_error_with_its_reason_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, platform = _credential()
    platform.error = RuntimeError("no identity is assigned\nlong story")
    platform.may_answer.set()
    with caplog.at_level(logging.ERROR), pytest.raises(TokenUnavailable):
        await made.get_token("scope")
    assert caplog.messages == ["acr_identity RuntimeError: no identity is assigned"]


async def test_while_a_token_is_renewed_the_one_before_serves_as_long_as_it_is_valid() -> None:
    made, platform = _credential()
    platform.valid_for = 240
    platform.may_answer.set()
    first = await made.get_token("scope")
    platform.may_answer.clear()
    async with asyncio.timeout(1):
        assert await made.get_token("scope") == first
    assert platform.asked == 2
    platform.error = RuntimeError("no")
    platform.may_answer.set()
    await asyncio.sleep(0)
    assert await made.get_token("scope") == first
    platform.error, platform.valid_for = None, 3600
    assert (await made.get_token("scope")).expires_on > first.expires_on


async def test_a_token_that_is_hardly_valid_does_not_serve() -> None:
    made, platform = _credential()
    platform.valid_for = 30
    platform.may_answer.set()
    await made.get_token("scope")
    platform.error = RuntimeError("no")
    with pytest.raises(TokenUnavailable):
        await made.get_token("scope")


async def test_tokens_for_different_scopes_are_different() -> None:
    made, platform = _credential()
    platform.may_answer.set()
    both = await asyncio.gather(made.get_token("one"), made.get_token("two", tenant_id="t"))
    assert [token.token for token in both] == ["token for ('one',)", "token for ('two',)"]


async def test_a_platform_that_keeps_failing_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, platform = _credential()
    platform.error = RuntimeError("no")
    platform.may_answer.set()
    for _ in range(20):
        with pytest.raises(TokenUnavailable):
            await made.get_token("scope")
    assert len(caplog.messages) == 1
