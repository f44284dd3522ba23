"""Routes that `routes.json` may have, but that can never match an event."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.core.actions import event_actions
from shared.core.filters import Filter
from shared.core.misconfiguration import Misconfiguration
from shared.core.regions import split_endpoint
from shared.core.text import quoted

# The action whose events never have the value of a filter.
# https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
_ACTION_WITHOUT = {"tags": "delete", "mediaTypes": "quarantine"}

# What a pattern without a set of characters must be to match a valid value.
# https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
# A chart's tag is a version, which may have a plus sign.
_VALID: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "repositories": (
        "repository (lower-case letters, digits and single inner separators)",
        re.compile(r"(?!.*//)[a-z0-9*?](?:[a-z0-9._/*?-]*[a-z0-9*?])?"),
    ),
    "tags": (
        "tag (letters, digits, and . _ - after the first character)",
        re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9._+*?-]*"),
    ),
}


def misconfigured(
    written: Sequence[Mapping[str, Any]],
    filled: Sequence[Mapping[str, Any]],
    filters: Sequence[str],
) -> Iterator[Misconfiguration]:
    """What can never match in the routes `written`, whose app settings are put in in `filled`.

    Quotes `written` alone: a setting could be a secret that was named by mistake.
    """
    for number, (route, chosen) in enumerate(zip(written, filled, strict=True)):
        place = f"routes.json, /routes/{number}"
        yield from _without_value(place, chosen)
        for name in filter(chosen.__contains__, filters):
            for index, (text, pattern) in enumerate(zip(route[name], chosen[name], strict=True)):
                if wrong := _wrong(name, pattern.removeprefix("!")):
                    rule, advice = wrong
                    yield Misconfiguration(f"{place}/{name}/{index}", rule, advice, quoted(text))


def _without_value(place: str, route: Mapping[str, Sequence[str]]) -> Iterator[Misconfiguration]:
    """A filter that no event of the route's actions can pass, as these have no such value."""
    actions = list(filter(Filter(route.get("actions", ())).matches, event_actions()))
    for name, without in _ACTION_WITHOUT.items():
        if name in route and not Filter(route[name]).matches(None) and actions == [without]:
            yield Misconfiguration(
                f"{place}/{name}",
                f"matches no event, as {without} events have no such value",
                "Remove this filter, or change the actions.",
            )


def _wrong(name: str, pattern: str) -> tuple[str, str] | None:
    """Why `pattern` of the filter `name` matches no value, and what to do."""
    if _has_unclosed_bracket(pattern):
        return "has a [ without a ]", "Close it, or write [[] for the character itself."
    if name == "registries" and split_endpoint(pattern)[1]:
        return (
            "matches no event, as these have the login server in place of a regional endpoint",
            "Use the login server, and a filter on regions.",
        )
    if name not in _VALID or "[" in pattern:
        return None
    noun, valid = _VALID[name]
    if valid.fullmatch(pattern):
        return None
    return f"matches no valid {noun}", "Correct the pattern."


def _has_unclosed_bracket(pattern: str) -> bool:
    """Whether `pattern` has a `[` that stands for itself, by the rules of fnmatch."""
    position = 0
    while (opened := pattern.find("[", position)) >= 0:
        # The first character of a set, after a `!`, may be a `]`.
        first = opened + 1 + pattern.startswith("!", opened + 1)
        closed = pattern.find("]", first + 1)
        if closed < 0:
            return True
        position = closed + 1
    return False
