import re

import pytest

from shared.core.webhooks import Webhook, webhooks

ID = (
    "/subscriptions/0/resourceGroups/images/providers/Microsoft.ContainerRegistry"
    "/registries/Contoso/webhooks/events"
)
REFUSAL = (
    "is not the resource id of a webhook (/subscriptions/…/resourceGroups/…/providers/"
    "Microsoft.ContainerRegistry/registries/…/webhooks/…)"
)


def test_spellings_of_an_id_share_a_key() -> None:
    """Azure does not distinguish case in ids: the key is the same for each, the id as given."""
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
    [("x", f'entry 1: "x" {REFUSAL}'), (f"{ID}, ,x", f'entry 2: "x" {REFUSAL}')],
)
def test_refused_entry_is_counted_and_quoted(text: str, message: str) -> None:
    """An entry that is no resource id is named by its number among those that are not empty."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        webhooks(text)
