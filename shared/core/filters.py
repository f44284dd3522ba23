"""Filters: lists of glob patterns."""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase, translate

from shared.core.text import quoted


class Filter:
    """A list of glob patterns, compiled once.

    `*` stands for any characters, `/` included, `?` for one, `[…]` for one of those listed. Case
    counts. A pattern that begins with `!` excludes. A value passes if no `!` pattern matches it and
    one of the other patterns does. With `!` patterns alone, every other value passes. An event
    without the value passes only where all patterns begin with `!`.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._excludes = _compiled(p[1:] for p in patterns if p.startswith("!"))
        self._includes = _compiled(p for p in patterns if not p.startswith("!"))

    def matches(self, value: str | None) -> bool:
        """Whether `value` passes. None stands for an event without one."""
        if value is None:
            return self._includes is None
        if self._excludes and self._excludes(value):
            return False
        return self._includes is None or self._includes(value) is not None

    def mismatch_reason(self, value: str | None) -> str | None:
        """Why `value` does not pass. None where it does."""
        if self.matches(value):
            return None
        if value is None:
            return "the event has none"
        for pattern in self.patterns:
            if pattern.startswith("!") and fnmatchcase(value, pattern[1:]):
                return f"{quoted(value)} is excluded by {pattern}"
        return f"{quoted(value)} is none of: {', '.join(self.patterns)}"


def _compiled(patterns: Iterable[str]) -> Callable[[str], object] | None:
    """A test whether one of `patterns` matches. None where there are none."""
    # In Python 3.11 and later, what `translate` makes of stars never backtracks.
    alternatives = "|".join(map(translate, patterns))
    return re.compile(alternatives).match if alternatives else None
