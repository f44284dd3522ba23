"""Posting example deliveries, as the registry would."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from tools.localhost.function_app import ToolError

_SECONDS = 5  # as long as the registry waits


@dataclass(frozen=True)
class Outcome:
    """What a delivery was answered; `answer` is the parsed body, or its text."""

    status: int
    answer: Any


async def post(
    url: str,
    bodies: Sequence[bytes],
    *,
    registry: str | None = None,
    key: str | None = None,
    concurrency: int = 16,
) -> AsyncIterator[Outcome]:
    """Posts each of `bodies` to `url`; yields the answers as they come.

    Raises ToolError where there is none within five seconds.
    """
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if key:
        headers["x-functions-key"] = key
    parameters = {"registry": registry} if registry else None
    gate = asyncio.Semaphore(concurrency)
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:

        async def one(body: bytes) -> Outcome:
            async with gate, session.post(url, data=body, params=parameters) as response:
                return Outcome(response.status, _parsed(await response.text(errors="replace")))

        tasks = [asyncio.create_task(one(body)) for body in bodies]
        try:
            for finished in asyncio.as_completed(tasks):
                yield await finished
        except TimeoutError:
            raise ToolError(f"{url} did not answer within {_SECONDS} s.") from None
        except (aiohttp.ClientError, ValueError) as error:
            # A ValueError: of a host or a header that cannot be one.
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
