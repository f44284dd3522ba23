"""Warnings of `routes check`: events that no route matches, and routes that get no event."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import cast

from shared.core.actions import event_actions
from shared.core.cloud_event import CloudEvent
from shared.core.filters import Filter
from shared.core.routing import Route, Routes

# The part of an event that each filter looks at, as a test event has it.
_OTHER: Mapping[str, Sequence[str]] = {
    "registries": ("other.azurecr.io", "another.example"),
    "regions": ("otherregion", "anotherregion"),
    "repositories": ("other", "another/one"),
    "tags": ("other", "0-0"),
    "mediaTypes": ("application/other", "text/another"),
}

# Which events may lack a value, by the action. None: those of every action.
# https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
_MAY_LACK: Mapping[str, Sequence[str] | None] = {
    "registries": ("chart_push", "chart_delete"),
    "regions": None,
    "repositories": (),
    "tags": ("push", "quarantine"),
    "mediaTypes": (),
}
_ALWAYS_LACK = {"tags": "delete", "mediaTypes": "quarantine"}

Values = dict[str, str | None]


def warnings(routes: Routes) -> list[str]:
    """What is probably not meant, a line each. The app can use the routes as they are."""
    gaps = [gap for action in event_actions() for gap in _gap(routes, action)]
    advice = ['A route with "fallback": true would get these events.'] if gaps else []
    return [*gaps, *advice, *_useless(routes)]


def _gap(routes: Routes, action: str) -> Iterator[str]:
    """A line where some events of `action` match no route, with one of them."""
    concerned = [route for route in routes.routes if _takes(route, action)]
    if not concerned:
        yield f"No route matches the action {action}."
        return
    names = [name for name in _OTHER if any(name in route.filters for route in concerned)]
    for values in _candidates(concerned, names, action):
        if not routes.queues_for(_event(action, values)):
            shown = ", ".join(f"{name}: {values[name] or '(none)'}" for name in names)
            yield f"No route matches some {action} events. One of these has {shown}."
            return


def _takes(route: Route, action: str) -> bool:
    actions = route.filters.get("actions")
    return actions is None or actions.matches(action)


def _candidates(routes: Sequence[Route], names: Sequence[str], action: str) -> Iterator[Values]:
    """Events that may fall between `routes`.

    The first ones have no value that a route names. The others just miss one filter of a route.
    """
    other = {name: _other(routes, name, action) for name in _OTHER}
    yield other
    for name in names:
        if _may_lack(name, action):
            yield other | {name: None}
    for route in routes:
        filters = {name: route.filters[name] for name in names if name in route.filters}
        filters = {n: f for n, f in filters.items() if _ALWAYS_LACK.get(n) != action}
        passing = other | {name: _passing(f, other[name]) for name, f in filters.items()}
        for name, chosen in filters.items():
            for value in _missing(chosen, other[name], lack=_may_lack(name, action)):
                yield passing | {name: value}


def _other(routes: Sequence[Route], name: str, action: str) -> str | None:
    """A value that no pattern of the filters `name` has, if there is one."""
    if _ALWAYS_LACK.get(name) == action:
        return None
    patterns = [
        pattern.removeprefix("!")
        for route in routes
        if name in route.filters
        for pattern in route.filters[name].patterns
        if pattern.strip("!*")
    ]
    free = [v for v in _OTHER[name] if not any(fnmatchcase(v, p) for p in patterns)]
    return free[0] if free else _OTHER[name][0]


def _may_lack(name: str, action: str) -> bool:
    actions = _MAY_LACK[name]
    return actions is None or action in actions


def _passing(chosen: Filter, other: str | None) -> str | None:
    """A value that passes, or `other` where none is found."""
    samples = [other, *(_sample(p) for p in chosen.patterns if not p.startswith("!"))]
    return next((value for value in samples if chosen.matches(value)), other)


def _missing(chosen: Filter, other: str | None, *, lack: bool) -> Iterator[str | None]:
    """Values that do not pass."""
    samples = [other, *(_sample(p[1:]) for p in chosen.patterns if p.startswith("!"))]
    yield from (value for value in samples if not chosen.matches(value))
    if lack and not chosen.matches(None):
        yield None


def _sample(pattern: str) -> str:
    """A value that `pattern` matches, if it has no set of characters."""
    return pattern.replace("*", "x").replace("?", "x")


def _event(action: str, values: Values) -> CloudEvent:
    """The part of an event that filters look at."""
    members = {"repository": "repositories", "tag": "tags", "mediaType": "mediaTypes"}
    event = {
        "data": {
            "action": action,
            "target": {member: values[name] for member, name in members.items()},
        },
        "acrregistry": values["registries"],
        "acrregion": values["regions"],
    }
    return cast("CloudEvent", event)


def _useless(routes: Routes) -> Iterator[str]:
    """A line for each route that gets no event."""
    for route in routes.routes:
        for name, chosen in route.filters.items():
            if _excludes_all(chosen):
                yield f'The route "{route.name}" gets no event: {name} excludes all that it lists.'
        taken = [action for action in event_actions() if _takes(route, action)]
        if route.fallback and all(_all_taken(routes, action) for action in taken):
            yield f'The route "{route.name}" gets no event: other routes match every one.'


def _excludes_all(chosen: Filter) -> bool:
    """Whether each pattern that includes is certainly within one that excludes."""
    includes = [p for p in chosen.patterns if not p.startswith("!")]
    # With stars alone, a pattern that matches another as text matches all that the other does.
    excludes = [p[1:] for p in chosen.patterns if p.startswith("!") and not set(p) & set("?[")]
    return bool(includes) and all(any(fnmatchcase(i, e) for e in excludes) for i in includes)


def _all_taken(routes: Routes, action: str) -> bool:
    """Whether a route that is no fallback matches every event of `action`."""
    return any(
        not route.fallback and _takes(route, action) and route.filters.keys() <= {"actions"}
        for route in routes.routes
    )
