"""Posting example deliveries, as the registry would."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from tools.localhost.function_app import ToolError

# As long as the registry waits.
# Reported, not documented: https://github.com/MicrosoftDocs/azure-docs/issues/54638
_RESPONSE_SECONDS = 5


@dataclass(frozen=True)
class Outcome:
    """The status and the response to a delivery: the parsed body, or its text."""

    status: int
    response: Any


async def post(
    url: str,
    bodies: Sequence[bytes],
    *,
    registry: str | None = None,
    key: str | None = None,
    concurrency: int = 16,
) -> AsyncIterator[Outcome]:
    """Posts each of `bodies` to `url`; yields the responses as they come.

    Raises ToolError where there is none within five seconds.
    """
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if key:
        # https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
        headers["x-functions-key"] = key
    parameters = {"registry": registry} if registry else None
    gate = asyncio.Semaphore(concurrency)
    timeout = aiohttp.ClientTimeout(total=_RESPONSE_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:

        async def one(body: bytes) -> Outcome:
            async with gate, session.post(url, data=body, params=parameters) as response:
                return Outcome(response.status, _parsed(await response.text(errors="replace")))

        tasks = [asyncio.create_task(one(body)) for body in bodies]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        except TimeoutError:
            raise ToolError(f"{url} did not respond within {_RESPONSE_SECONDS} s.") from None
        except aiohttp.ClientConnectorError as error:
            here = error.host in ("127.0.0.1", "localhost")
            if here and isinstance(error.os_error, ConnectionRefusedError):
                question = "Does `make start` run, and on this port?"
                raise ToolError(f"Nothing listens at {url}. {question}") from None
            raise ToolError(f"{url} cannot be reached: {error}") from None
        except (aiohttp.ClientError, ValueError) as error:
            # A ValueError comes from an invalid host or header.
            raise ToolError(f"{url} cannot be reached: {error}") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
