import hashlib
import json
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.dead_letter import decode_body, encode, encode_body
from shared.core.delivery import Delivery
from shared.core.problems import Kind, Problem, Violation
from shared.core.schemas import validator
from shared.core.violations import violations

LIMIT = 48 * 1024
DAY = datetime(2026, 3, 2, tzinfo=UTC)
PROBLEM = Problem(Kind.INVALID_DELIVERY, "Two.", [Violation("/id", "is bad"), Violation("", "x")])
RECORD = validator("rejected.v1.json")


def _record(body: bytes, registry: str | None = None, trace: str | None = None) -> dict[str, Any]:
    message = encode(
        PROBLEM,
        Delivery(body, registry, trace, datetime(2026, 3, 2, 9, 20, 31, 842913, UTC)),
        LIMIT,
    )
    assert len(message) <= LIMIT
    document: dict[str, Any] = json.loads(message)
    assert violations(RECORD, document) == []
    return document


def test_a_record_says_reason_status_errors_time_parameter_and_body() -> None:
    assert _record(b'{"id": 1}', "contoso.azurecr.io", "00-1") == {
        "reason": "invalid-delivery",
        "status": 422,
        "detail": "Two.",
        "errors": [{"pointer": "/id", "detail": "is bad"}, {"pointer": "", "detail": "x"}],
        "receivedAt": "2026-03-02T09:20:31.842913Z",
        "registry": "contoso.azurecr.io",
        "traceparent": "00-1",
        "body": {
            "encoding": "utf-8",
            "content": '{"id": 1}',
            "length": 9,
            "sha256": hashlib.sha256(b'{"id": 1}').hexdigest(),
            "truncated": False,
        },
    }


@pytest.mark.parametrize("parameter", [None, "", "x" * 9000, "\ud800", "é😀" * 5000, "\x00"])
def test_whatever_the_parameter_is_the_record_is_made(parameter: str | None) -> None:
    found = _record(b"{}", parameter, parameter)
    assert ("registry" in found) is (parameter is not None)


@given(st.binary(max_size=2000))
@example(b"")
@example(b"\xff" * 30_000)
@example(b"\x00" * 30_000)
@example("é".encode() * 16_000)
@example(b"a" * 48_000)
def test_a_body_is_kept_exactly_as_it_came(body: bytes) -> None:
    kept = _record(body)["body"]
    content = kept["content"]
    assert (content.encode() if kept["encoding"] == "utf-8" else b64decode(content)) == body
    assert kept["length"] == len(body)
    assert kept["truncated"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "Two Words"},
        {"status": 503},
        {"errors": [{"pointer": "x", "detail": ""}]},
        {"errors": [{"pointer": "/x"}]},
        {"receivedAt": "today"},
        {"attempts": 0},
        {"registry": "x" * 256},
        {"body": {}},
        {"body": {"encoding": "gzip", "content": "", "length": 0, "sha256": "", "truncated": 1}},
        {"more": 1},
    ],
)
def test_the_schema_of_records_refuses_what_we_must_not_keep(change: dict[str, Any]) -> None:
    assert violations(RECORD, _record(b"{}") | change)


def test_the_body_is_kept_before_violations_and_parameters() -> None:
    many = [Violation(f"/{number}", "x" * 200) for number in range(40)]
    message = encode(
        Problem(Kind.INVALID_DELIVERY, "Many.", many),
        Delivery(b"b" * 40_000, "\x01" * 300, "\x01" * 300, DAY),
        42_000,
    )
    assert len(message) <= 42_000
    document = json.loads(message)
    assert document["body"]["truncated"] is False
    assert len(document["errors"]) == 1


def test_a_huge_body_is_not_gone_through_as_others_wait_meanwhile() -> None:
    class Huge(bytes):
        def decode(self, *_: object) -> str:
            raise AssertionError("decoded")

    assert _record(Huge(b"a" * LIMIT))["body"]["truncated"] is True


@pytest.mark.parametrize("fill", [b"a", b"\xff", b"\x01", "€".encode()])
def test_a_body_that_no_message_can_hold_is_cut_and_its_whole_is_noted(fill: bytes) -> None:
    body = fill * 100_000
    kept = _record(body)["body"]
    beginning = b64decode(kept["content"])
    assert kept["truncated"] is True
    assert body.startswith(beginning)
    assert len(beginning) > 34_000
    assert kept["length"] == len(body)
    assert kept["sha256"] == hashlib.sha256(body).hexdigest()


def test_text_fills_the_message() -> None:
    """The longest text that is kept as text leaves at most one byte of the limit."""

    def message(length: int) -> bytes:
        return encode(PROBLEM, Delivery(b"a" * length, None, None, DAY), 1000)

    messages = [message(length) for length in range(100, 1000)]
    whole = [each for each in messages if json.loads(each)["body"]["encoding"] == "utf-8"]
    assert max(map(len, whole)) in (999, 1000)
    assert max(map(len, messages)) <= 1000
    assert [json.loads(each)["body"]["truncated"] for each in messages] == [
        *[False] * len(whole),
        *[True] * (len(messages) - len(whole)),
    ]


@pytest.mark.parametrize("content", [b"", b"text", "é€😀\n".encode(), b"\xff\x00"])
def test_kept_body_is_read_back(content: bytes) -> None:
    """The bytes of a body that was kept whole are those that came."""
    assert decode_body(encode_body(content, 1000)) == content


def test_cut_body_is_read_back_to_its_cut() -> None:
    """Of a body that was cut, its beginning is read back."""
    content = bytes(range(256)) * 4
    beginning = decode_body(encode_body(content, 600))
    assert content.startswith(beginning)
    assert len(beginning) > 300


def test_without_room_nothing_is_kept() -> None:
    """Where there is no room at all, the length and the hash of a body are still noted."""
    assert encode_body(b"abc", 0) == {
        "encoding": "base64",
        "content": "",
        "length": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "truncated": True,
    }


def test_characters_beyond_ascii_are_not_escaped() -> None:
    """Text beyond ASCII takes its bytes in UTF-8, so that more of it fits."""
    message = encode(PROBLEM, Delivery("é😀".encode(), "\x01é.io", None, DAY), LIMIT)
    assert '"content":"é😀"'.encode() in message
    assert '"registry":"\\u0001é.io"'.encode() in message


def test_parameters_lose_what_takes_room() -> None:
    """Where the body would not fit, each odd character of a parameter is a question mark."""
    message = encode(
        PROBLEM,
        Delivery(
            b"b" * 40_000,
            "\x01a.io:443-\x02" + "\x03" * 400,
            "\x01" * 300,
            DAY,
        ),
        41_000,
    )
    document = json.loads(message)
    assert document["registry"] == "?a.io:443-?" + "?" * 244
    assert document["traceparent"] == "?" * 255
    assert document["body"]["truncated"] is False
