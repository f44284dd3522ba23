"""Dead letters: what one holds, and how its body fits the message."""

import hashlib
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.dead_letter import decode_body, encode, encode_body
from shared.core.delivery import Delivery
from shared.core.problems import Kind, Problem, Violation
from shared.core.schemas import validator
from shared.core.violations import violations
from tools.dead_letters import read

LIMIT_BYTES = 48 * 1024
DAY = datetime(2026, 3, 2, tzinfo=UTC)
PROBLEM = Problem(Kind.INVALID_DELIVERY, "Two.", [Violation("/id", "is bad"), Violation("", "x")])
SCHEMA = validator("rejected.v1.json")

# A dead letter of each release.
RELEASED = sorted((Path(__file__).parent.parent / "released").glob("rejected.*.json"))


def _dead_letter(
    body: bytes,
    registry: str | None = None,
    trace: str | None = None,
    region: str | None = None,
) -> dict[str, Any]:
    message = encode(
        PROBLEM,
        Delivery(
            body, registry, trace, datetime(2026, 3, 2, 9, 20, 31, 842913, UTC), region=region
        ),
        LIMIT_BYTES,
    )
    assert len(message) <= LIMIT_BYTES
    document: dict[str, Any] = json.loads(message)
    assert violations(SCHEMA, document) == []
    return document


def test_dead_letter_holds_documented_members() -> None:
    """A dead letter holds the reason, status, errors, time, parameters, trace and body."""
    assert _dead_letter(b'{"id": 1}', "contoso.azurecr.io", "00-1", "EastUS") == {
        "reason": "invalid-delivery",
        "status": 422,
        "detail": "Two.",
        "errors": [{"pointer": "/id", "detail": "is bad"}, {"pointer": "", "detail": "x"}],
        "receivedAt": "2026-03-02T09:20:31.842913Z",
        "registry": "contoso.azurecr.io",
        "region": "EastUS",
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
def test_any_parameter_fits_a_dead_letter(parameter: str | None) -> None:
    """A delivery with any parameters and trace becomes a valid dead letter."""
    dead_letter = _dead_letter(b"{}", parameter, parameter, parameter)
    assert ("registry" in dead_letter) is ("region" in dead_letter) is (parameter is not None)


@given(st.binary(max_size=2000))
@example(b"")
@example(b"\xff" * 30_000)
@example(b"\x00" * 30_000)
@example("é".encode() * 16_000)
@example(b"a" * 48_000)
def test_body_is_stored_byte_for_byte(body: bytes) -> None:
    """A dead letter holds exactly the bytes of the body."""
    stored = _dead_letter(body)["body"]
    content = stored["content"]
    assert (content.encode() if stored["encoding"] == "utf-8" else b64decode(content)) == body
    assert stored["length"] == len(body)
    assert stored["truncated"] is False


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
        {"region": "x" * 256},
        {"region": None},
        {"body": {}},
        {"body": {"encoding": "gzip", "content": "", "length": 0, "sha256": "", "truncated": 1}},
        {"more": 1},
    ],
)
def test_schema_rejects_invalid_dead_letters(change: dict[str, Any]) -> None:
    """The schema of dead letters rejects wrong values, missing members and unknown members."""
    assert violations(SCHEMA, _dead_letter(b"{}") | change)


def test_body_precedes_violations_and_parameters() -> None:
    """A dead letter shortens violations and parameters before it cuts the body."""
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


def test_oversized_body_is_not_decoded() -> None:
    """Encoding never decodes a body over the limit, because other deliveries wait meanwhile."""

    class Huge(bytes):
        def decode(self, *_: object) -> str:
            raise AssertionError("decoded")

    assert _dead_letter(Huge(b"a" * LIMIT_BYTES))["body"]["truncated"] is True


@pytest.mark.parametrize("fill", [b"a", b"\xff", b"\x01", "€".encode()])
def test_cut_body_notes_length_and_hash(fill: bytes) -> None:
    """An oversized body keeps its beginning and the length and hash of the whole."""
    body = fill * 100_000
    stored = _dead_letter(body)["body"]
    beginning = b64decode(stored["content"])
    assert stored["truncated"] is True
    assert body.startswith(beginning)
    assert len(beginning) > 34_000
    assert stored["length"] == len(body)
    assert stored["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("start", [b"", b'"\n\\"'])
def test_text_fills_the_message(start: bytes) -> None:
    """The longest text that stays text leaves at most one byte of the limit."""

    def message(length: int) -> bytes:
        return encode(PROBLEM, Delivery(start + b"a" * length, None, None, DAY), 1000)

    messages = [message(length) for length in range(100, 1000)]
    whole = [each for each in messages if json.loads(each)["body"]["encoding"] == "utf-8"]
    assert max(map(len, whole)) in (999, 1000)
    assert max(map(len, messages)) <= 1000
    assert [json.loads(each)["body"]["truncated"] for each in messages] == [
        *[False] * len(whole),
        *[True] * (len(messages) - len(whole)),
    ]


@pytest.mark.parametrize("content", [b"", b"text", "é€😀\n".encode(), b"\xff\x00"])
def test_encoded_body_decodes_to_its_bytes(content: bytes) -> None:
    """Decoding a whole body returns the bytes that were encoded."""
    assert decode_body(encode_body(content, 1000)) == content


def test_cut_body_decodes_to_its_beginning() -> None:
    """Decoding a cut body returns its beginning."""
    content = bytes(range(256)) * 4
    beginning = decode_body(encode_body(content, 600))
    assert content.startswith(beginning)
    assert len(beginning) > 300


def test_body_without_room_keeps_its_hash() -> None:
    """A body without any room leaves its length and its hash."""
    assert encode_body(b"abc", 0) == {
        "encoding": "base64",
        "content": "",
        "length": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "truncated": True,
    }


def test_characters_beyond_ascii_are_not_escaped() -> None:
    """Text beyond ASCII takes its bytes in UTF-8, so that more of it fits."""
    message = encode(PROBLEM, Delivery("é😀".encode(), "\x01é.io", None, DAY), LIMIT_BYTES)
    assert '"content":"é😀"'.encode() in message
    assert '"registry":"\\u0001é.io"'.encode() in message


def test_parameters_shrink_for_the_body() -> None:
    """Question marks replace odd characters of a parameter where the body needs the room."""
    message = encode(
        PROBLEM,
        Delivery(
            b"b" * 40_000,
            "\x01a.io:443-\x02" + "\x03" * 400,
            "\x01" * 300,
            DAY,
            region="\x01e_u " + "\x03" * 400,
        ),
        41_200,
    )
    document = json.loads(message)
    assert document["registry"] == "?a.io:443-?" + "?" * 244
    assert document["region"] == "?e?u?" + "?" * 250
    assert document["traceparent"] == "?" * 255
    assert document["body"]["truncated"] is False


def test_longest_promised_body_always_fits() -> None:
    """A body of 35,000 bytes fits whole, whatever the parameters are."""
    dead_letter = _dead_letter(b"\xff" * 35_000, "\x01" * 999, "\x01" * 999, "\x01" * 999)
    assert dead_letter["body"]["truncated"] is False


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
def test_released_dead_letters_stay_valid(file: Path) -> None:
    """Replay reads the dead letters of each release."""
    document = json.loads(file.read_bytes())
    kept = read(b64encode(file.read_bytes()).decode())
    assert kept is not None
    assert kept.document == document
    assert (kept.delivery.registry, kept.delivery.region) == (document["registry"], None)
    assert hashlib.sha256(kept.delivery.body).hexdigest() == document["body"]["sha256"]


def test_dead_letter_keeps_region_for_replay() -> None:
    """Replay gets the region parameter as it was received."""
    kept = read(b64encode(json.dumps(_dead_letter(b"{}", region="EastUS")).encode()).decode())
    assert kept is not None
    assert kept.delivery.region == "EastUS"
