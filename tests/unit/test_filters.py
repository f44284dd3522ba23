"""Filters compared with a reference that matches patterns without compilation."""

import pytest
from hypothesis import example as by_example
from hypothesis import given
from hypothesis import strategies as st

from shared.core.filters import Filter


def _matches(pattern: str, value: str) -> bool:
    """Whether `pattern` of literals, `*` and `?` matches the whole of `value`."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return any(_matches(pattern[1:], value[start:]) for start in range(len(value) + 1))
    return bool(value) and pattern[0] in ("?", value[0]) and _matches(pattern[1:], value[1:])


def _passes(patterns: list[str], value: str | None) -> bool:
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if value is None:
        return not wanted
    if any(_matches(pattern, value) for pattern in unwanted):
        return False
    return not wanted or any(_matches(pattern, value) for pattern in wanted)


# Few characters, so that patterns and values meet often; the special ones of regular expressions.
_TEXT = st.text("abA/.-+|(\n", max_size=8)
_PATTERN = st.builds(
    str.__add__, st.sampled_from(["", "!"]), st.text("abA/.-+|(*?", min_size=1, max_size=6)
)


@given(st.lists(_PATTERN, max_size=4), st.none() | _TEXT)
@by_example(["a|b"], "b")
@by_example(["!a", "b|a"], "a")
@by_example(["a*"], "a\n")
@by_example(["a"], "a\n")
def test_compiled_filter_agrees_with_reference(patterns: list[str], value: str | None) -> None:
    """A compiled filter matches exactly the values that the reference matches."""
    chosen = Filter(patterns)
    assert chosen.matches(value) is _passes(patterns, value)
    assert (chosen.mismatch_reason(value) is None) is chosen.matches(value)


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("v[0-9]", "v1", True),
        ("v[0-9]", "va", False),
        ("v[!0-9]", "va", True),
        ("team-a/*", "team-a/web/api", True),
        ("team-a/*", "Team-A/web", False),
        ("team-?", "team-a/x", False),
    ],
)
def test_pattern_syntax_has_documented_meaning(pattern: str, value: str, matches: bool) -> None:
    """A star crosses slashes, brackets list characters, and case counts."""
    assert Filter([pattern]).matches(value) is matches


@pytest.mark.parametrize(
    ("patterns", "value", "reason"),
    [
        (["team-a/*", "!*-x"], "team-a/x-x", '"team-a/x-x" is excluded by !*-x'),
        (["v*", "!v0*"], "latest", '"latest" is none of: v*, !v0*'),
        (["v*"], None, "the event has none"),
        (["!v*"], None, None),
        ([], "x", None),
    ],
)
def test_mismatch_reason_names_deciding_pattern(
    patterns: list[str], value: str | None, reason: str | None
) -> None:
    """A mismatch reason names the patterns that decided, and a match has none."""
    assert Filter(patterns).mismatch_reason(value) == reason


def test_many_stars_match_fast() -> None:
    """A pattern of many stars does not make matching exponentially slow."""
    # A backtracking engine would need exponential time for this.
    assert not Filter(["*a" * 200 + "b"]).matches("a" * 2000)
