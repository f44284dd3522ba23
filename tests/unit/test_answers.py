import json
from typing import Any

import pytest

from shared.core import responses as answers
from shared.core.problems import Kind, Problem, Violation

EVENT: dict[str, Any] = {"id": "1", "type": "t", "source": "https://a", "subject": "r:v1", "x": 1}


def _parsed(answer: answers.Response) -> dict[str, Any]:
    assert len(answer.body) <= 4096
    document: dict[str, Any] = json.loads(answer.body)
    return document


def test_accepted_is_202_with_id_type_source_subject_and_queues() -> None:
    answer = answers.accepted(EVENT, ["acr-push"])
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
    answer = answers.pong({"id": "1", "action": "ping", "timestamp": "x"})
    assert answer.status == 200
    assert _parsed(answer)["id"] == "1"
    assert "not enqueued" in _parsed(answer)["detail"]


@pytest.mark.parametrize("kind", Kind)
def test_a_refusal_is_a_problem_of_rfc_9457_with_its_errors(kind: Kind) -> None:
    answer = answers.refused(Problem(kind, "Why.", [Violation("/id", "is bad")]))
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
    answer = answers.refused(Problem(kind, "Why."))
    assert ("Retry-After" in answer.headers) is (kind.status == 503)


def test_every_kind_of_problem_has_a_reason_of_its_own() -> None:
    assert len({kind.reason for kind in Kind}) == len(Kind)


@pytest.mark.parametrize("text", ["x" * 50_000, "é😀" * 20_000, "\x00" * 20_000, "\ud800" * 9000])
def test_no_answer_exceeds_4_kb_whatever_the_delivery_holds(text: str) -> None:
    _parsed(answers.accepted(dict.fromkeys(EVENT, text), ["q" * 63] * 100))
    _parsed(answers.pong({"id": text, "action": text}))
    problem = Problem(
        Kind.NOT_JSON, text, [Violation("/x", f"{n} {text[:200]}") for n in range(99)]
    )
    refused = _parsed(answers.refused(problem))
    assert refused["errors"][0]["pointer"] == "/x"
    assert refused["errorsLeftOut"] == 99 - len(refused["errors"])
