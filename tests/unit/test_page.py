"""Pages of the delivery log, parsed entry by entry."""

import json
import random
from typing import Any

import pytest

from shared.reconcile.page import MOST_ENTRY_CHARS, DeliveryLogUnavailable, Page


def _read(body: bytes) -> tuple[list[Any], str | None]:
    page = Page(body)
    return list(page), page.next_link


@pytest.mark.parametrize("indent", [None, 0, 7])
def test_page_reads_as_json(indent: int | None) -> None:
    """A page has the entries and the link that its JSON has, whatever stands around them."""
    chosen = random.Random(18)
    values: list[Any] = [None, True, 1, -2.5, "é😀\u2028", "", {}, [], {"a": [{"b": "]}"}]}]
    entries = [chosen.choice(values) for _ in range(2_000)]
    document = {"@x": {"value": [1]}, "value": entries, "nextLink": "https://a/b?c", "y": [[]]}
    body = json.dumps(document, indent=indent, ensure_ascii=False).encode()
    assert _read(b"\xef\xbb\xbf \n" + body + b"\n") == (entries, "https://a/b?c")


def test_long_entries_cross_the_window() -> None:
    """Entries up to the limit are read wherever they stand, with any space between them."""
    lengths = [1, MOST_ENTRY_CHARS - 2, 10, MOST_ENTRY_CHARS // 2, MOST_ENTRY_CHARS - 2, 3]
    entries = ["x" * length for length in lengths]
    for space in ("", " " * 1000, "\n" * (3 * MOST_ENTRY_CHARS)):
        body = f'{{{space}"value"{space}:[{space}' + f"{space},{space}".join(
            map(json.dumps, entries)
        )
        assert _read(f"{body}{space}]{space}}}".encode()) == (entries, None)


@pytest.mark.parametrize("link", ["null", '""'])
def test_last_page_has_no_link(link: str) -> None:
    """A link that is null or empty ends the log."""
    assert _read(f'{{"nextLink":{link},"value":[]}}'.encode()) == ([], None)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "at character 0 is no {"),
        (b"[]", "at character 0 is no {"),
        (b"{}", "it has no list `value`"),
        (b'{"Value":[]}', "it has no list `value`"),
        (b'{"value":null}', "at character 9 is no ["),
        (b'{"value":{}}', "at character 9 is no ["),
        (b'{"value":[1 2]}', "at character 12 is no ]"),
        (b'{"value":[1', "at character 11 is no ]"),
        (b'{"value":[', "at character 10 is no JSON value"),
        (b'{"value":[]', "at character 11 is no }"),
        (b'{"value":[],"nextLink":5}', "its `nextLink` is no URL"),
        (b'{"value":["' + b"x" * 3 * MOST_ENTRY_CHARS + b'"]}', "of at most 262,144 characters"),
        (b'{"value":[' + b"[" * 500_000, "is no JSON value"),
        (b'{"value":[' + b"1" * 5000 + b"]}", "is no JSON value"),
        (b"\x1f\x8b", "at character 0 is no {"),
    ],
)
def test_unreadable_page_says_where(body: bytes, why: str) -> None:
    """A page that cannot be read says where, and what an operator can check."""
    with pytest.raises(DeliveryLogUnavailable, match="AcrManagement__endpoint") as caught:
        _read(body)
    assert str(caught.value).startswith("the response cannot be read: ")
    assert why in str(caught.value)


def test_bad_bytes_stop_no_entry() -> None:
    """Bytes that are not UTF-8 are replaced: the other entries are still read."""
    assert _read(b'{"value":["\xff",1]}') == (["\ufffd", 1], None)
