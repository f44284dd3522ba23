"""The webhooks whose deliveries are reconciled: the app setting `ACR_WEBHOOKS`."""

import re
from dataclasses import dataclass

from shared.core.text import quoted

# Names of registries and webhooks are alphanumeric.
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftcontainerregistry
_ID = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)"
    r"/providers/Microsoft\.ContainerRegistry/registries/([A-Za-z0-9]+)/webhooks/([A-Za-z0-9]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook by its Azure resource id, and the names in it."""

    id: str
    subscription: str
    resource_group: str
    registry: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Webhook":
        """The webhook of the resource id `text`. Raises ValueError."""
        found = _ID.fullmatch(text)
        if not found:
            raise ValueError(
                f"{quoted(text)} is not the resource id of a webhook (/subscriptions/…/"
                "resourceGroups/…/providers/Microsoft.ContainerRegistry/registries/…/webhooks/…)"
            )
        return cls(text, *found.groups())

    @property
    def label(self) -> str:
        """The name of the webhook in messages: registry and name."""
        return f"{self.registry}/{self.name}"

    @property
    def registry_id(self) -> str:
        """The resource id of the registry."""
        return self.id[: self.id.lower().rindex("/webhooks/")]

    @property
    def key(self) -> str:
        """The id in lower case: Azure does not distinguish case in resource ids."""
        return self.id.lower()


def webhooks(text: str) -> tuple[Webhook, ...]:
    """The webhooks in `text`, resource ids between commas, each once. Raises ValueError."""
    found: dict[str, Webhook] = {}
    for number, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        try:
            webhook = Webhook.parse(entry)
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from None
        found.setdefault(webhook.key, webhook)
    return tuple(found.values())
