"""Parsing of request bodies."""

import json

import pytest

from shared.core.parsing import MAX_DEPTH, decode, parse
from shared.core.problems import Kind, Problem


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"   ", "Expecting value at line 1 column", id="blank"),
        pytest.param(b"\xef\xbb\xbf", "it is empty", id="byte order mark alone"),
        pytest.param(b"\xff\xfe{\x00}\x00", "byte 0 is not UTF-8", id="UTF-16"),
        pytest.param(b'{"id": "\xed\xa0\x80"}', "byte 8 is not UTF-8", id="surrogate in UTF-8"),
        pytest.param(b'{"id": "\xc0\xaf"}', "byte 8 is not UTF-8", id="overlong UTF-8"),
        pytest.param(b"\x00", "Expecting value", id="zero byte"),
        pytest.param(b"id=1&action=push", "Expecting value", id="form"),
        pytest.param(b"<xml/>", "Expecting value", id="XML"),
        pytest.param(b'{"id": 1', "at line 1 column 9", id="cut off"),
        pytest.param(b'{"id": 1}x', "Extra data at line 1 column 10", id="trailing garbage"),
        pytest.param(b'{"id": 1,}', "at line 1 column", id="trailing comma"),
        pytest.param(b"{'id': 1}", "at line 1 column 2", id="single quotes"),
        pytest.param(b'{"id": NaN}', "NaN is not a JSON value", id="NaN"),
        pytest.param(b'{"id": Infinity}', "Infinity is not a JSON value", id="Infinity"),
        pytest.param(b'{"id": -Infinity}', "-Infinity is not", id="-Infinity"),
        pytest.param(b'{"id": 1e999}', "too large", id="beyond a double"),
        pytest.param(b'{"id": ' + b"9" * 309 + b"}", "too large", id="integer beyond a double"),
        pytest.param(b'{"id": -' + b"9" * 309 + b"}", "too large", id="negative integer"),
        pytest.param(b'{"id": ' + b"9" * 5000 + b"}", "too large", id="5,000 digits"),
        pytest.param(b'{"id": "\\ud800"}', "surrogate", id="lone high surrogate"),
        pytest.param(b'{"id": "\\uDC00x"}', "surrogate", id="lone low surrogate"),
        pytest.param(b'{"\\udfff": 1}', "surrogate", id="lone surrogate in a name"),
        pytest.param(b'{"id": 1, "id": 2}', "occurs twice", id="name twice"),
        pytest.param(b'{"a": {"x": 1, "x": 1}}', "occurs twice", id="name twice, inside"),
        pytest.param(b"[" * 1_000_000, "nested deeper", id="a million arrays"),
        pytest.param(b'{"a":' * 1_000_000, "nested deeper", id="a million objects"),
        pytest.param(
            b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested deeper", id="5,000 levels, closed"
        ),
        pytest.param(b"null", "not an object", id="null"),
        pytest.param(b"[]", "not an object", id="array"),
        pytest.param(b'"push"', "not an object", id="string"),
        pytest.param(b"1", "not an object", id="number"),
    ],
)
def test_invalid_body_is_400_with_reason(body: bytes, why: str) -> None:
    """A body that is not a JSON object is a 400 that states the reason."""
    with pytest.raises(Problem) as caught:
        parse(body)
    assert caught.value.kind is Kind.NOT_JSON
    assert why in caught.value.detail


def test_body_may_have_byte_order_mark() -> None:
    """A body may begin with a byte order mark."""
    assert parse(b'\xef\xbb\xbf{"id":"1"}') == {"id": "1"}


def test_unicode_text_passes_unchanged() -> None:
    """Whole surrogate pairs and all other Unicode text pass unchanged."""
    text = "\U0001f433 \u00e9 \u4e2d \u0000 \ufffd"
    assert parse(json.dumps({"id": text}).encode()) == {"id": text}
    assert parse(json.dumps({"id": text}, ensure_ascii=False).encode()) == {"id": text}


def test_numbers_pass_unchanged() -> None:
    """Numbers pass unchanged, up to 64 bits and beyond."""
    assert parse(b'{"a": 9223372036854775807, "b": 123456789012345678901234567890, "c": 0.5}') == {
        "a": 2**63 - 1,
        "b": 123456789012345678901234567890,
        "c": 0.5,
    }


@pytest.mark.parametrize(("levels", "passes"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_nesting_limit_is_independent_of_python(levels: int, passes: bool) -> None:
    """The nesting limit is the same on every version of Python."""
    body = b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)
    if passes:
        assert parse(body)
    else:
        with pytest.raises(Problem, match="nested deeper than 63 levels"):
            parse(body)


def test_siblings_do_not_count_as_depth() -> None:
    """Many objects side by side do not count as deep nesting."""
    assert len(parse(json.dumps({"a": [{}] * 1000}).encode())["a"]) == 1000


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b"[]", "the outermost value is not an object"),
        (b'{"a": 1\n x}', "Expecting ',' delimiter at line 2 column 2"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b'{"a": "\\ud800"}', "a string has half of a surrogate pair"),
        (b'{"a": "\\uD800"}', "a string has half of a surrogate pair"),
        (b'{"a": 1, "b": 2, "a": 3}', 'the member name "a" occurs twice in one object'),
        (b'{"a": -1e999}', "a number is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number is too large"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b"[" * 64 + b"]" * 64, "nested deeper than 63 levels"),
        (b"[" * 100_000, "nested deeper than 63 levels"),
    ],
)  # fmt: skip
def test_parsing_error_is_one_sentence(body: bytes, why: str) -> None:
    """The detail of a body that is not a JSON object is one sentence that ends with the reason."""
    with pytest.raises(Problem) as caught:
        parse(body)
    assert caught.value.detail == f"The body is not a JSON object: {why}."


def test_double_is_read_exactly() -> None:
    """The parser reads every number in the range of a double exactly."""
    assert decode(b"[1.7976931348623157e308, -0.25]") == [1.7976931348623157e308, -0.25]
    assert decode(b"[" + b"1" * 308 + b"]") == [int("1" * 308)]


def test_event_may_be_one_level_deeper() -> None:
    """A reader of events can allow a level more than a payload may have."""
    event = b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1)
    assert decode(event, MAX_DEPTH + 1)
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        decode(b"[" + event + b"]", MAX_DEPTH + 1)


def test_any_value_can_be_decoded() -> None:
    """`decode` accepts every JSON value, not only objects."""
    assert decode(b"[1, null]") == [1, None]


@pytest.mark.parametrize(("levels", "passes"), [(63, True), (64, False)])
def test_depth_counts_levels_not_brackets(levels: int, passes: bool) -> None:
    """The nesting limit counts levels, whatever values and containers stand beside the deepest."""
    deep = b"[" * (levels - 1) + b"]" * (levels - 1)
    body = b'{"x": ["text", 1, null, {}, {"y": [2]}], "deep": ' + deep + b"}"
    if passes:
        assert parse(body)["x"] == ["text", 1, None, {}, {"y": [2]}]
    else:
        with pytest.raises(Problem, match="nested deeper than 63 levels"):
            parse(body)
