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


def _parsed(answer: responses.Response) -> dict[str, Any]:
    assert len(answer.body) <= 4096
    document: dict[str, Any] = json.loads(answer.body)
    return document


def test_accepted_is_202_with_id_type_source_subject_and_queues() -> None:
    answer = _accepted(EVENT, ["acr-push"])
    assert answer.status == 202
    assert answer.content_type == "application/json"
    assert _parsed(answer) == {
        "id": "1",
        "type": "t",
        "source": "https://a",
        "subject": "r:v1",
        "queues": ["acr-push"],
    }


def test_a_ping_is_200_and_says_that_nothing_is_enqueued() -> None:
    answer = _pong({"id": "1", "action": "ping", "timestamp": "x"})
    assert answer.status == 200
    assert _parsed(answer)["id"] == "1"
    assert "not enqueued" in _parsed(answer)["detail"]


@pytest.mark.parametrize("kind", Kind)
def test_a_refusal_is_a_problem_of_rfc_9457_with_its_errors(kind: Kind) -> None:
    answer = responses.problem_details(Problem(kind, "Why.", [Violation("/id", "is bad")]))
    assert answer.status == kind.status
    assert answer.content_type == "application/problem+json"
    assert _parsed(answer) == {
        "type": f"https://acr-webhook.example/problems/{kind.reason}",
        "title": kind.title,
        "status": kind.status,
        "detail": "Why.",
        "errors": [{"pointer": "/id", "detail": "is bad"}],
    }


@pytest.mark.parametrize("kind", Kind)
def test_only_a_503_says_when_to_come_again(kind: Kind) -> None:
    answer = responses.problem_details(Problem(kind, "Why."))
    assert ("Retry-After" in answer.headers) is (kind.status == 503)


def test_every_kind_of_problem_has_a_reason_of_its_own() -> None:
    assert len({kind.reason for kind in Kind}) == len(Kind)


@pytest.mark.parametrize("text", ["x" * 50_000, "é😀" * 20_000, "\x00" * 20_000, "\ud800" * 9000])
def test_no_answer_exceeds_4_kb_whatever_the_delivery_holds(text: str) -> None:
    _parsed(_accepted(dict.fromkeys(EVENT, text), ["q" * 63] * 100))
    _parsed(_pong({"id": text, "action": text}))
    problem = Problem(
        Kind.NOT_JSON, text, [Violation("/x", f"{n} {text[:200]}") for n in range(99)]
    )
    refused = _parsed(responses.problem_details(problem))
    assert refused["errors"][0]["pointer"] == "/x"
    assert refused["errorsLeftOut"] == 99 - len(refused["errors"])


def test_ping_response_is_this_one() -> None:
    """A ping's response holds its id, its action and what the ping showed; nothing more."""
    assert _parsed(_pong({"id": "1", "action": "ping", "timestamp": "x"})) == {
        "id": "1",
        "action": "ping",
        "detail": "The webhook reaches this function. A ping is not enqueued.",
    }


@pytest.mark.parametrize(
    ("storage", "status", "word", "shown"),
    [(True, 200, "ok", "ok"), (False, 503, "failed", "failed")],
)
def test_health_names_each_check(storage: bool, status: int, word: str, shown: str) -> None:
    """One failed check makes the health response a 503 that says which one it was."""
    answer = responses.health({"routes": True, "storage": storage})
    assert (answer.status, answer.content_type) == (status, "application/json")
    assert _parsed(answer) == {"status": word, "checks": {"routes": "ok", "storage": shown}}


def test_retry_after_is_ten_seconds() -> None:
    """A sender that retries is told to wait for ten seconds."""
    answer = responses.problem_details(Problem(Kind.STORAGE_UNAVAILABLE, "Why."))
    assert answer.headers == {"Retry-After": "10"}


REFUSAL = '{"type": "https://acr-webhook.example/problems/not-json", "status": 400'


@pytest.mark.parametrize(
    ("status", "content", "ours"),
    [
        (400, REFUSAL, True),
        (499, REFUSAL, True),
        (422, REFUSAL.replace(" ", "\n ").replace("{", " { "), True),
        (399, REFUSAL, False),
        (500, REFUSAL, False),
        (403, "<html>Forbidden</html>", False),
        (403, f"x{REFUSAL}", False),
        (403, REFUSAL.replace("acr-webhook", "acrXwebhook"), False),
        (403, REFUSAL.encode(), False),
        (403, None, False),
    ],
)
def test_only_our_refusals_are_recognized(status: int, content: Any, ours: bool) -> None:
    """A recorded response is a refusal of this app where status and text are those of one."""
    assert responses.is_problem_details(status, content) is ours


def _accepted_body(subject: str, queues: list[str]) -> bytes:
    return _accepted({**EVENT, "subject": subject}, queues).body


def test_response_of_4096_bytes_is_whole() -> None:
    """Nothing is cut from a response of 4096 bytes; from one more byte on the text is."""
    room = 4096 - len(_accepted_body("", ["q"]))
    assert json.loads(_accepted_body("s" * room, ["q"]))["subject"] == "s" * room
    cut = json.loads(_accepted_body("s" * (room + 1), ["q"]))
    assert cut["subject"] == "s" * 399 + "…"
    assert cut["queues"] == ["q"]
    assert "queuesLeftOut" not in cut


@pytest.mark.parametrize("width", [50, 63])
def test_long_list_keeps_texts_of_400(width: int) -> None:
    """Where a list is too long, texts of 400 characters stay, and as many entries as fit."""
    queues = [f"{number:0{width}}" for number in range(100)]
    for length in range(400 - len(f', "{queues[0]}"'), 401):
        event = dict.fromkeys(("id", "type", "source"), "s" * 400) | {"subject": "s" * length}
        body = _accepted(event, queues).body
        document = json.loads(body)
        kept = len(document["queues"])
        assert document == {**event, "queues": queues[:kept], "queuesLeftOut": 100 - kept}
        assert 4096 - len(f', "{queues[0]}"') < len(body) <= 4096


def test_texts_that_grow_are_cut_shorter() -> None:
    """Texts of which every character is escaped are cut to 80 characters."""
    text = "\x01" * 400
    document = json.loads(_pong({"id": text, "action": text}).body)
    assert document["id"] == "\x01" * 79 + "…"


def test_text_beyond_ascii_is_itself() -> None:
    """What is not ASCII takes its bytes in UTF-8, and no escapes."""
    assert '"subject": "é😀"'.encode() in _accepted_body("é😀", [])


@pytest.mark.parametrize(("more", "whole"), [(0, True), (1, False)])
def test_texts_may_take_half(more: int, whole: bool) -> None:
    """Texts of at most 2,048 bytes stay beside a list that is cut; longer ones are cut to 80."""
    event = {"id": "", "type": "t", "source": "é" * 400, "subject": "é" * 400}
    event["id"] = "i" * (2048 + more - len(json.dumps(event, ensure_ascii=False).encode()))
    document = json.loads(_accepted(event, ["q" * 63] * 100).body)
    assert (document["subject"] == event["subject"]) is whole
    assert len(document["subject"]) in (80, 400)
