import hashlib
import json
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.dead_letter import record
from shared.core.problems import Kind, Problem, Violation
from shared.core.schemas import validator
from shared.core.violations import violations

LIMIT = 48 * 1024
PROBLEM = Problem(Kind.INVALID_DELIVERY, "Two.", [Violation("/id", "is bad"), Violation("", "x")])
RECORD = validator("rejected.v1.json")


def _record(body: bytes, registry: str | None = None, trace: str | None = None) -> dict[str, Any]:
    message = record(
        PROBLEM,
        body,
        received_at=datetime(2026, 3, 2, 9, 20, 31, 842913, UTC),
        registry=registry,
        traceparent=trace,
        limit=LIMIT,
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
    message = record(
        Problem(Kind.INVALID_DELIVERY, "Many.", many),
        b"b" * 40_000,
        received_at=datetime(2026, 3, 2, tzinfo=UTC),
        registry="\x01" * 300,
        traceparent="\x01" * 300,
        limit=42_000,
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
