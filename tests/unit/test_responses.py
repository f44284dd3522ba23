"""HTTP responses."""

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from shared.core import responses
from shared.core.cloud_event import CloudEvent
from shared.core.delivery import Payload
from shared.core.problems import Kind, Problem, Violation

EVENT: Mapping[str, Any] = {
    "id": "1",
    "type": "t",
    "source": "https://a",
    "subject": "r:v1",
    "x": 1,
}


def _accepted(event: Mapping[str, Any], queues: list[str]) -> responses.Response:
    return responses.accepted(cast("CloudEvent", event), queues)


def _pong(payload: Mapping[str, Any]) -> responses.Response:
    return responses.pong(cast("Payload", payload))


def _parsed(response: responses.Response) -> dict[str, Any]:
    assert len(response.body) <= 4096
    document: dict[str, Any] = json.loads(response.body)
    return document


def test_accepted_response_describes_event() -> None:
    """The response to an accepted event is a 202 with id, type, source, subject and queues."""
    response = _accepted(EVENT, ["acr-push"])
    assert response.status == 202
    assert response.content_type == "application/json"
    assert _parsed(response) == {
        "id": "1",
        "type": "t",
        "source": "https://a",
        "subject": "r:v1",
        "queues": ["acr-push"],
    }


def test_ping_response_is_200() -> None:
    """The response to a ping is a 200 that says that the app does not enqueue it."""
    response = _pong({"id": "1", "action": "ping", "timestamp": "x"})
    assert response.status == 200
    assert _parsed(response)["id"] == "1"
    assert "not enqueued" in _parsed(response)["detail"]


@pytest.mark.parametrize("kind", Kind)
def test_problem_response_follows_rfc_9457(kind: Kind) -> None:
    """The response to a problem follows RFC 9457 and lists the violations."""
    response = responses.problem_details(Problem(kind, "Why.", [Violation("/id", "is bad")]))
    assert response.status == kind.status
    assert response.content_type == "application/problem+json"
    assert _parsed(response) == {
        "type": f"https://acr-webhook.example/problems/{kind.reason}",
        "title": kind.title,
        "status": kind.status,
        "detail": "Why.",
        "errors": [{"pointer": "/id", "detail": "is bad"}],
    }


@pytest.mark.parametrize("kind", Kind)
def test_only_503_has_retry_after(kind: Kind) -> None:
    """Only a 503 response has a `Retry-After` header."""
    response = responses.problem_details(Problem(kind, "Why."))
    assert ("Retry-After" in response.headers) is (kind.status == 503)


def test_problem_reasons_are_unique() -> None:
    """Every kind of problem has a reason of its own."""
    assert len({kind.reason for kind in Kind}) == len(Kind)


@pytest.mark.parametrize("text", ["x" * 50_000, "é😀" * 20_000, "\x00" * 20_000, "\ud800" * 9000])
def test_no_response_exceeds_4_kb(text: str) -> None:
    """No response exceeds 4 KB, whatever the delivery holds."""
    _parsed(_accepted(dict.fromkeys(EVENT, text), ["q" * 63] * 100))
    _parsed(_pong({"id": text, "action": text}))
    problem = Problem(
        Kind.NOT_JSON, text, [Violation("/x", f"{n} {text[:200]}") for n in range(99)]
    )
    parsed = _parsed(responses.problem_details(problem))
    assert parsed["errors"][0]["pointer"] == "/x"
    assert parsed["errorsLeftOut"] == 99 - len(parsed["errors"])


def test_ping_response_has_three_members() -> None:
    """The response to a ping holds its id, its action and a detail, and nothing more."""
    assert _parsed(_pong({"id": "1", "action": "ping", "timestamp": "x"})) == {
        "id": "1",
        "action": "ping",
        "detail": "The webhook reaches this function. A ping is not enqueued.",
    }


@pytest.mark.parametrize(
    ("storage", "status", "word", "check"),
    [(True, 200, "ok", "ok"), (False, 503, "failed", "failed")],
)
def test_health_names_each_check(storage: bool, status: int, word: str, check: str) -> None:
    """One failed check makes the health response a 503 that names the check."""
    response = responses.health({"routes": True, "storage": storage})
    assert (response.status, response.content_type) == (status, "application/json")
    assert _parsed(response) == {"status": word, "checks": {"routes": "ok", "storage": check}}


def test_health_response_is_bounded() -> None:
    """The response of health has problems only if there are any, and at most 4 KB."""
    assert json.loads(responses.health({"settings": True}).body).keys() == {"status", "checks"}
    named = responses.health({"settings": True}, routes="93e3c343d2d5").body
    assert (
        named == b'{"status": "ok", "routesDigest": "93e3c343d2d5", "checks": {"settings": "ok"}}'
    )
    response = responses.health({"settings": False}, ["ACR_X: is odd"])
    assert response.status == 503
    assert json.loads(response.body) == {
        "status": "failed",
        "checks": {"settings": "failed"},
        "problems": ["ACR_X: is odd"],
    }
    body = responses.health({"settings": False}, ["x" * 1000] * 20).body
    assert len(body) <= responses.MAX_RESPONSE_BYTES
    assert json.loads(body)["problemsLeftOut"] == 17


def test_retry_after_is_ten_seconds() -> None:
    """A retryable response asks the sender to wait for ten seconds."""
    response = responses.problem_details(Problem(Kind.STORAGE_UNAVAILABLE, "Why."))
    assert response.headers == {"Retry-After": "10"}


PROBLEM = '{"type": "https://acr-webhook.example/problems/not-json", "status": 400'


@pytest.mark.parametrize(
    ("status", "content", "ours"),
    [
        (400, PROBLEM, True),
        (499, PROBLEM, True),
        (422, PROBLEM.replace(" ", "\n ").replace("{", " { "), True),
        (399, PROBLEM, False),
        (500, PROBLEM, False),
        (403, "<html>Forbidden</html>", False),
        (403, f"x{PROBLEM}", False),
        (403, PROBLEM.replace("acr-webhook", "acrXwebhook"), False),
        (403, PROBLEM.encode(), False),
        (403, None, False),
    ],
)
def test_only_own_problems_are_recognized(status: int, content: Any, ours: bool) -> None:
    """A response in the delivery log is the app's own problem only if status and text match."""
    assert responses.is_problem_details(status, content) is ours


def _accepted_body(subject: str, queues: list[str]) -> bytes:
    return _accepted({**EVENT, "subject": subject}, queues).body


def test_response_of_4096_bytes_is_whole() -> None:
    """A response of 4,096 bytes is whole, and a longer one has shortened texts."""
    room = 4096 - len(_accepted_body("", ["q"]))
    assert json.loads(_accepted_body("s" * room, ["q"]))["subject"] == "s" * room
    cut = json.loads(_accepted_body("s" * (room + 1), ["q"]))
    assert cut["subject"] == "s" * 399 + "…"
    assert cut["queues"] == ["q"]
    assert "queuesLeftOut" not in cut


@pytest.mark.parametrize("width", [50, 63])
def test_long_list_keeps_texts_of_400(width: int) -> None:
    """A response with a long list keeps texts of 400 characters and as many entries as fit."""
    queues = [f"{number:0{width}}" for number in range(100)]
    for length in range(400 - len(f', "{queues[0]}"'), 401):
        event = dict.fromkeys(("id", "type", "source"), "s" * 400) | {"subject": "s" * length}
        body = _accepted(event, queues).body
        document = json.loads(body)
        kept = len(document["queues"])
        assert document == {**event, "queues": queues[:kept], "queuesLeftOut": 100 - kept}
        assert 4096 - len(f', "{queues[0]}"') < len(body) <= 4096


def test_escaped_texts_are_cut_shorter() -> None:
    """A text of escaped characters is cut to 80 characters."""
    text = "\x01" * 400
    document = json.loads(_pong({"id": text, "action": text}).body)
    assert document["id"] == "\x01" * 79 + "…"


def test_non_ascii_text_is_not_escaped() -> None:
    """Text that is not ASCII is UTF-8 in the response, without escapes."""
    assert '"subject": "é😀"'.encode() in _accepted_body("é😀", [])


@pytest.mark.parametrize(("more", "whole"), [(0, True), (1, False)])
def test_texts_may_take_half(more: int, whole: bool) -> None:
    """Beside a shortened list, texts of 2,048 bytes stay; longer ones are cut to 80 characters."""
    event = {"id": "", "type": "t", "source": "é" * 400, "subject": "é" * 400}
    event["id"] = "i" * (2048 + more - len(json.dumps(event, ensure_ascii=False).encode()))
    document = json.loads(_accepted(event, ["q" * 63] * 100).body)
    assert (document["subject"] == event["subject"]) is whole
    assert len(document["subject"]) in (80, 400)
