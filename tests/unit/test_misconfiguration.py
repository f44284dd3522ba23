"""What is said of a configuration that cannot work."""

from shared.core.misconfiguration import MAX_REPORTED, Misconfiguration, bounded

ENTRY = Misconfiguration("ACR_X, entry 1", "is odd", "Use the form y.", '"x"')


def test_message_has_place_problem_and_advice() -> None:
    """A message names the place, what is wrong there, and what to do, in that order."""
    assert str(ENTRY) == 'ACR_X, entry 1: "x" is odd. Use the form y.'
    assert ENTRY.detail == '"x" is odd. Use the form y.'
    assert str(Misconfiguration("ACR_X", "is odd", "Use y.")) == "ACR_X: is odd. Use y."


def test_public_message_quotes_nothing() -> None:
    """What an anonymous caller may read has neither the value nor the advice, and is short."""
    assert ENTRY.public == "ACR_X, entry 1: is odd"
    long = Misconfiguration("A" * 1000, "is odd", "Use y.")
    assert long.public == f"{'A' * 79}…: is odd"


def test_reported_misconfigurations_are_bounded() -> None:
    """At most twenty are reported, and the last one says how many more there are."""
    many = [Misconfiguration(f"ACR_{n}", "is odd", "") for n in range(MAX_REPORTED + 5)]
    assert bounded(many[:MAX_REPORTED]) == many[:MAX_REPORTED]
    found = bounded(many)
    assert len(found) == MAX_REPORTED == 20
    assert found[:-1] == many[: MAX_REPORTED - 1]
    assert str(found[-1]) == "and more: 6 more places are wrong. Correct these."
