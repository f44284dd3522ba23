"""Which registry a delivery comes from, and whether it may."""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from shared.core.misconfiguration import Misconfiguration
from shared.core.problems import Kind, Problem, Violation
from shared.core.regions import split_endpoint
from shared.core.schemas import validator
from shared.core.text import quoted

_HOST = validator("common/host.json")
_RESOURCE_ID = validator("common/resource_id.json")

# An entry could be a secret by mistake. It is quoted only where it looks like a host name or like a
# URL without user info and query, and a long one by its beginning.
_QUOTABLE = re.compile(r"(?:https?://)?[A-Za-z0-9./_ -]+(?::[0-9]{1,5})?")
_MAX_QUOTED_CHARS, _BEGINNING_CHARS = 24, 8


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry by its login server (a host name in lower case), with its Azure resource id."""

    login_server: str
    resource_id: str | None = None


def login_server(text: str) -> str:
    """The login server that `text` names. Raises ValueError where it is no host name."""
    if not _HOST.is_valid(text):
        raise ValueError(f"{quoted(text)} is not a host name")
    return split_endpoint(text)[0]


class AllowList:
    """The registries that may deliver; an empty list allows all.

    With `invalid` entries it allows the valid ones alone, even where there is none.
    """

    def __init__(
        self, registries: Mapping[str, Registry], invalid: Sequence[Misconfiguration] = ()
    ) -> None:
        self._registries = registries
        self.invalid = tuple(invalid)

    @classmethod
    def parse(cls, text: str) -> "AllowList":
        """As `read`. Raises ValueError with the first invalid entry and what is wrong with it."""
        found = cls.read(text)
        if found.invalid:
            raise ValueError(str(found.invalid[0]))
        return found

    @classmethod
    def read(cls, text: str) -> "AllowList":
        """The list in `text`: login servers, each with `=<resource id>` if wanted, between commas.

        A regional endpoint stands for its registry, which may be listed by several of them. An
        invalid entry is left out, and is in `invalid`.
        """
        registries: dict[str, Registry] = {}
        endpoints: set[tuple[str, str | None]] = set()
        invalid = []
        entries = list(filter(None, map(str.strip, text.split(","))))
        for number, entry in enumerate(entries, 1):
            host, _, resource_id = (part.strip() for part in entry.partition("="))
            if wrong := _wrong(host, resource_id, registries, endpoints):
                rule, advice, value = wrong
                place = f"ACR_REGISTRIES, entry {number}"
                invalid.append(Misconfiguration(place, rule, advice, value))
                continue
            name, region = split_endpoint(host)
            endpoints.add((name, region))
            earlier = registries.get(name, Registry(name)).resource_id
            registries[name] = Registry(name, earlier or resource_id or None)
        if text.strip() and not entries:
            rule, advice = "names no registry", "Remove the setting to allow every registry."
            invalid.append(Misconfiguration("ACR_REGISTRIES", rule, advice))
        return cls(registries, invalid)

    def of_resource(self, resource_id: str) -> Registry | None:
        """The registry on the list that is this Azure resource, as far as that is known.

        By its resource id, whose case does not count; else by its name, which is the first part of
        its login server, by itself or before a hyphen and a hash.
        """
        wanted = resource_id.lower()
        name = wanted.rpartition("/")[2]
        listed = self._registries.values()
        same = [registry for registry in listed if (registry.resource_id or "").lower() == wanted]
        same = same or [
            registry
            for registry in listed
            if registry.login_server.partition(".")[0].partition("-")[0] == name
        ]
        return same[0] if len(same) == 1 else None

    def registry(self, host: str | None, parameter: str | None) -> Registry | None:
        """The registry of a delivery, None where it is unknown.

        `host` is the valid delivery's own word (`request.host`; chart deliveries have none),
        `parameter` that of the webhook's URL (`?registry=`). Where both are silent and one
        registry alone is allowed, it is that one.

        Raises Problem: 422 where the parameter is no host name or contradicts `host`, 403 where
        the registry is not on the list, or is not named while an entry of the list is invalid.
        """
        try:
            named = login_server(parameter) if parameter else None
        except ValueError as error:
            detail = f"The registry parameter of the webhook's URL: {error}."
            raise Problem(Kind.INVALID_REGISTRY, detail) from None
        name = split_endpoint(host)[0] if host else named
        if named and name != named:
            detail = f"is {name}, but the registry parameter of the webhook's URL is {named}"
            raise Problem(
                Kind.INVALID_REGISTRY,
                f"request.host {detail}.",
                [Violation("/request/host", detail)],
            )
        if name is None and self.invalid:
            raise Problem(
                Kind.REGISTRY_NOT_ALLOWED,
                f"The delivery names no registry, and {self._invalid_entries}.",
            )
        if name is None:
            return next(iter(self._registries.values())) if len(self._registries) == 1 else None
        if (self._registries or self.invalid) and name not in self._registries:
            because = f", and {self._invalid_entries}" if self.invalid else ""
            raise Problem(
                Kind.REGISTRY_NOT_ALLOWED,
                f"{name} is not in the app setting ACR_REGISTRIES{because}.",
                [Violation("/request/host", "is not on the allow-list")] if host else (),
            )
        return self._registries.get(name) or Registry(name)

    @property
    def _invalid_entries(self) -> str:
        return f"the app setting ACR_REGISTRIES has invalid entries ({len(self.invalid)})"


def _wrong(
    host: str,
    resource_id: str,
    registries: Mapping[str, Registry],
    endpoints: Set[tuple[str, str | None]],
) -> tuple[str, str, str] | None:
    """What is wrong with an entry, what to do, and its value, quoted if it may be shown."""
    if not _HOST.is_valid(host) or "." not in host:
        return "is not a login server", _advice(host), _shown(host)
    if resource_id and not _RESOURCE_ID.is_valid(resource_id):
        form = "/subscriptions/…/providers/Microsoft.ContainerRegistry/registries/…"
        return "has no resource id of a registry after the =", f"Use the form {form}.", _shown(host)
    endpoint = name, _ = split_endpoint(host)
    if endpoint in endpoints:
        return "is listed twice", "Remove one entry. The first one applies.", _shown(name)
    earlier = registries.get(name, Registry(name)).resource_id
    if earlier and resource_id and earlier.lower() != resource_id.lower():
        rule = "has another resource id in an earlier entry"
        return rule, "Remove one of them. The first one applies.", _shown(name)
    return None


def _advice(host: str) -> str:
    """The login server that `host` probably means, or the form of one."""
    name = re.split("[:/]", re.sub("^https?://", "", host))[0].lower()
    if _shown(host) and len(host) <= _MAX_QUOTED_CHARS and _HOST.is_valid(name):
        return f"Did you mean {name if '.' in name else f'{name}.azurecr.io'}?"
    return "Use the form contoso.azurecr.io."


def _shown(text: str) -> str:
    if not _QUOTABLE.fullmatch(text):
        return ""
    return quoted(text) if len(text) <= _MAX_QUOTED_CHARS else f'"{text[:_BEGINNING_CHARS]}…"'
