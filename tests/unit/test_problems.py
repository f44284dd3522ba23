"""Kinds of problems, and their violations."""

import pytest

from shared.core.problems import Kind, Problem, Violation


def test_reasons_and_statuses_stay() -> None:
    """Problems keep their reasons, statuses and titles, which alerts and consumers read."""
    assert [(kind.reason, kind.status, kind.title) for kind in Kind] == [
        ("not-json", 400, "The body is not a JSON object"),
        ("registry-not-allowed", 403, "The registry is not on the allow-list"),
        ("body-too-large", 413, "The body is too large"),
        ("event-too-large", 413, "The event does not fit a queue message"),
        ("unknown-action", 422, "The action is not known"),
        ("invalid-delivery", 422, "The delivery violates the schema of its action"),
        ("unrouted", 422, "No route matches the event"),
        ("invalid-registry", 422, "The registry parameter is invalid"),
        ("invalid-region", 422, "The region parameter is invalid"),
        ("invalid-record", 422, "The delivery log's entry holds no delivery"),
        ("fault", 500, "The app had an internal error"),
        (
            "storage-unavailable",
            503,
            "The delivery is stored in the log, not on its queues",
        ),
    ]


@pytest.mark.parametrize("given", [[], [Violation("/id", "is bad"), Violation("/x", "too")]])
def test_problem_has_violations(given: list[Violation]) -> None:
    """A problem without violations of its own violates the whole document."""
    problem = Problem(Kind.NOT_JSON, "Why.", given)
    assert (problem.kind, problem.detail, str(problem)) == (Kind.NOT_JSON, "Why.", "Why.")
    assert problem.violations == (tuple(given) or (Violation("", "Why."),))
