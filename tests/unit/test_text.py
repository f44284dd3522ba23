"""Text that is cut and quoted."""

from typing import Any

import pytest

from shared.core.text import clip, quoted


@pytest.mark.parametrize(
    ("text", "clipped"),
    [("x" * 80, "x" * 80), ("x" * 81, "x" * 79 + "…"), ("", "")],
)
def test_text_is_cut_at_80_characters(text: str, clipped: str) -> None:
    """A longer text is cut to 80 characters, of which the last is an ellipsis."""
    assert clip(text) == clipped


def test_caller_can_set_the_limit() -> None:
    """The caller can set another limit."""
    assert [clip("abc", limit) for limit in (3, 2)] == ["abc", "a…"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"key": "secret"}, "an object"),
        (["secret"], "an array"),
        ("a\nb\ud800", '"a\\nb\\ud800"'),
        (None, "null"),
        (1.5, "1.5"),
        ("x" * 80, '"' + "x" * 78 + "…"),
    ],
)
def test_values_are_quoted_short(value: Any, text: str) -> None:
    """A value is quoted as short JSON in ASCII, and a container is named but not quoted."""
    assert quoted(value) == text
