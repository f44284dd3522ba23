"""Filters: which values a list of glob patterns lets pass."""

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase, translate

from shared.core.text import shown


class Filter:
    """A list of glob patterns, compiled once.

    `*` stands for any characters, `/` too, `?` for one, `[…]` for one of those; case counts. What
    begins with `!` excludes. A value passes that no `!` pattern matches and one of the others does;
    where there are no others, all the rest passes. No pattern matches a value that is not there.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = tuple(patterns)
        self._excludes = _compiled(p[1:] for p in patterns if p.startswith("!"))
        self._includes = _compiled(p for p in patterns if not p.startswith("!"))

    def passes(self, value: str | None) -> bool:
        """Whether `value`, None where there is none, passes."""
        if value is None:
            return self._includes is None
        if self._excludes and self._excludes(value):
            return False
        return self._includes is None or self._includes(value) is not None

    def objection(self, value: str | None) -> str | None:
        """Why `value` does not pass; None where it does."""
        if self.passes(value):
            return None
        if value is None:
            return "the event has none"
        for pattern in self.patterns:
            if pattern.startswith("!") and fnmatchcase(value, pattern[1:]):
                return f"{shown(value)} is excluded by {pattern}"
        return f"{shown(value)} is none of: {', '.join(self.patterns)}"


def _compiled(patterns: Iterable[str]) -> Callable[[str], object] | None:
    """A test whether one of `patterns` matches; None where there are none."""
    # In Python 3.11 and later, what `translate` makes of stars never backtracks.
    alternatives = "|".join(map(translate, patterns))
    return re.compile(alternatives).match if alternatives else None
