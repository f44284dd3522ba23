"""Retries under a deadline.

The SDK's own retries sleep up to 93 seconds in all (measured), far beyond the five seconds that the
registry waits.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

# An attempt may take half of the time that is left: a slow account can answer, and after a stalled
# connection there is time for another one.
_SHARE = 0.5
_SHORTEST_ATTEMPT_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5


async def retry_until(
    deadline: float, attempt: Callable[[], Awaitable[None]], may_pass: Callable[[Exception], bool]
) -> None:
    """Calls `attempt` until it succeeds, its error cannot pass, or the deadline is near.

    Raises the error of the last attempt. An attempt that the deadline cut off says less than the
    one before it, so the earlier error is raised then.

    Args:
        deadline: A time of the running loop's clock.
        attempt: What to do. It may raise any exception.
        may_pass: Whether another attempt may succeed after this error.

    """
    cause: Exception | None = None
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            async with asyncio.timeout_at(_end_of_attempt(deadline)):
                await attempt()
            return
        except Exception as error:  # noqa: BLE001 (which errors may pass is for the caller)
            if cause is None or not isinstance(error, TimeoutError):
                cause = error
            pause *= random.uniform(1, 2)  # noqa: S311 (jitter, not a secret)
            if not may_pass(error) or _now() + pause >= deadline:
                raise cause from None
        await asyncio.sleep(pause)
        pause = min(pause, _LONGEST_PAUSE_SECONDS)


def _end_of_attempt(deadline: float) -> float:
    now = _now()
    return min(deadline, now + max(_SHORTEST_ATTEMPT_SECONDS, (deadline - now) * _SHARE))


def _now() -> float:
    return asyncio.get_running_loop().time()
