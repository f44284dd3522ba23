"""A table that notes its calls."""

from typing import Any


class Table:
    """Notes each call; its outcome is the next of `outcomes`, or an entity's metadata."""

    def __init__(self, *outcomes: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._outcomes = list(outcomes)

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, *arguments, options))
            outcome = self._outcomes.pop(0) if self._outcomes else {"etag": "e"}
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return call
