"""Retries under a deadline.

The SDK's own retries sleep up to 93 seconds in all (measured). The registry waits five seconds
(reported: https://github.com/MicrosoftDocs/azure-docs/issues/54638).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

# An attempt may take half of the time that is left. A slow account can respond within it, and a
# stalled connection leaves time for another attempt.
_SHARE = 0.5
_SHORTEST_ATTEMPT_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_BEFORE_JITTER_SECONDS = 0.5


async def retry_until(
    deadline: float,
    attempt: Callable[[], Awaitable[None]],
    is_retryable: Callable[[Exception], bool],
) -> None:
    """Calls `attempt` until it succeeds, its error is not retryable, or the deadline is near.

    Raises the error of the last attempt. If the deadline cut that attempt off, the error of an
    earlier attempt explains more, and is raised instead.

    Args:
        deadline: A time of the running loop's clock.
        attempt: What to do. It may raise any exception.
        is_retryable: Whether another attempt may succeed after this error.

    """
    cause: Exception | None = None
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            async with asyncio.timeout_at(_end_of_attempt(deadline)):
                await attempt()
            return
        except Exception as error:  # noqa: BLE001 (the caller decides which are retryable)
            if cause is None or not isinstance(error, TimeoutError):
                cause = error
            pause *= random.uniform(1, 2)  # noqa: S311 (jitter, not a secret)
            if not is_retryable(error) or _now() + pause >= deadline:
                raise cause from None
        await asyncio.sleep(pause)
        pause = min(pause, _LONGEST_PAUSE_BEFORE_JITTER_SECONDS)


def _end_of_attempt(deadline: float) -> float:
    now = _now()
    return min(deadline, now + max(_SHORTEST_ATTEMPT_SECONDS, (deadline - now) * _SHARE))


def _now() -> float:
    return asyncio.get_running_loop().time()
