"""Resource ids of webhooks."""

import re

import pytest

from shared.core.webhooks import Webhook, webhooks

ID = (
    "/subscriptions/0/resourceGroups/images/providers/Microsoft.ContainerRegistry"
    "/registries/Contoso/webhooks/events"
)
REASON = (
    "is not the resource id of a webhook (/subscriptions/…/resourceGroups/…/providers/"
    "Microsoft.ContainerRegistry/registries/…/webhooks/…)"
)


def test_id_spellings_share_a_key() -> None:
    """Ids that differ only in case have the same key, and each keeps its spelling."""
    upper = Webhook.parse(ID.upper())
    assert upper.id == ID.upper()
    assert upper.key == Webhook.parse(ID).key == ID.lower()
    assert upper.registry_id == ID.upper().removesuffix("/WEBHOOKS/EVENTS")


def test_group_may_be_called_webhooks() -> None:
    """The registry's id ends before the last part that is called webhooks."""
    webhook = Webhook.parse(ID.replace("images", "webhooks"))
    assert webhook.registry_id == ID.replace("images", "webhooks").removesuffix("/webhooks/events")


@pytest.mark.parametrize(
    ("text", "message"),
    [("x", f'entry 1: "x" {REASON}'), (f"{ID}, ,x", f'entry 2: "x" {REASON}')],
)
def test_bad_entry_is_numbered_and_quoted(text: str, message: str) -> None:
    """The error for an invalid entry quotes it, with its number among those that are not empty."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        webhooks(text)
