"""Which registry a delivery comes from, and whether it may."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.core.problems import Kind, Problem, Violation
from shared.core.regions import split_endpoint
from shared.core.schemas import validator
from shared.core.text import quoted

_HOST = validator("common/host.json")
_RESOURCE_ID = validator("common/resource_id.json")


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry by its login server (a host name in lower case), with its Azure resource id."""

    login_server: str
    resource_id: str | None = None


def login_server(text: str) -> str:
    """The login server that `text` names. Raises ValueError where it is no host name."""
    return _endpoint(text)[0]


def _endpoint(text: str) -> tuple[str, str | None]:
    if not _HOST.is_valid(text):
        raise ValueError(f"{quoted(text)} is not a host name")
    return split_endpoint(text)


class AllowList:
    """The registries that may deliver; an empty list allows all."""

    def __init__(self, registries: Mapping[str, Registry]) -> None:
        self._registries = registries

    @classmethod
    def parse(cls, text: str) -> "AllowList":
        """The list in `text`: login servers, each with `=<resource id>` if wanted, between commas.

        A regional endpoint stands for its registry, which may be listed by several of them. Raises
        ValueError with the entry and what is wrong with it.
        """
        registries: dict[str, Registry] = {}
        endpoints = set()
        for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
            host, _, resource_id = (part.strip() for part in entry.partition("="))
            try:
                endpoint = _endpoint(host)
            except ValueError as error:
                raise ValueError(f"entry {number}: {error}") from None
            if resource_id and not _RESOURCE_ID.is_valid(resource_id):
                raise ValueError(
                    f"entry {number}: {quoted(resource_id)} is not the resource id of a registry "
                    "(/subscriptions/…/resourceGroups/…/providers/Microsoft.ContainerRegistry/"
                    "registries/…)"
                )
            name, _ = endpoint
            if endpoint in endpoints:
                raise ValueError(f"entry {number}: {name} is listed twice")
            endpoints.add(endpoint)
            earlier = registries.get(name, Registry(name)).resource_id
            if earlier and resource_id and earlier.lower() != resource_id.lower():
                raise ValueError(
                    f"entry {number}: {name} has another resource id in an earlier entry"
                )
            registries[name] = Registry(name, earlier or resource_id or None)
        return cls(registries)

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
        """The registry of a delivery, None where nothing tells.

        `host` is the valid delivery's own word (`request.host`; chart deliveries have none),
        `parameter` that of the webhook's URL (`?registry=`). Where both are silent and one
        registry alone is allowed, it is that one.

        Raises Problem: 422 where the parameter is no host name or contradicts `host`, 403 where
        the registry is not on the list.
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
        if name is None:
            return next(iter(self._registries.values())) if len(self._registries) == 1 else None
        if self._registries and name not in self._registries:
            raise Problem(
                Kind.REGISTRY_NOT_ALLOWED,
                f"{name} is not in the app setting ACR_REGISTRIES.",
                [Violation("/request/host", "is not on the allow-list")] if host else (),
            )
        return self._registries.get(name) or Registry(name)
