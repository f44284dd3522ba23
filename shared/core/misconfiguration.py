"""Configuration that cannot work: what is wrong, where, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.core.text import clip

# Of the misconfigurations that are reported at once.
MAX_REPORTED = 20


@dataclass(frozen=True, slots=True)
class Misconfiguration:
    """A setting or a route that the app could read, but that cannot work as it is.

    The app goes on with what is safe.

    Args:
        place: The setting, or the place in routes.json.
        rule: What is wrong, without any value: an anonymous caller of `Health` may read it.
        advice: What to do, or what the app does instead.
        value: What is wrong, quoted and short. Empty where it could be a secret.

    """

    place: str
    rule: str
    advice: str
    value: str = ""

    def __str__(self) -> str:
        """One line for those who may read the app's settings."""
        return f"{self.place}: {self.detail}"

    @property
    def detail(self) -> str:
        """The same, without the place."""
        return f"{self.value} {self.rule}. {self.advice}".lstrip()

    @property
    def public(self) -> str:
        """One line without any value."""
        return f"{clip(self.place)}: {self.rule}"


def bounded(found: Sequence[Misconfiguration]) -> list[Misconfiguration]:
    """The first of `found`. The last one says how many more there are."""
    if len(found) <= MAX_REPORTED:
        return list(found)
    kept = found[: MAX_REPORTED - 1]
    more = len(found) - len(kept)
    return [*kept, Misconfiguration("and more", f"{more} more places are wrong", "Correct these.")]
