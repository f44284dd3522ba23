"""The templates in infra/ connect every registry: its webhooks, its role and its settings."""

from shared.core.actions import event_actions
from shared.settings import ReconcileSettings, Settings
from tests.support.bicep import REGISTRY, Compiler
from tests.support.deployed import EVERYTHING, OTHER, THIRD, app_settings, webhooks


def test_webhook_sends_all_events(bicep: Compiler) -> None:
    """The webhook sends events of every action to the app, with the key in a header."""
    [webhook] = webhooks(bicep.deploy(createWebhook=True))
    assert webhook.id.startswith(f"{REGISTRY}/webhooks/acr")
    # A webhook sends the events of one replica: this one, those of the home region.
    assert webhook.body["location"].endswith("'full').location]")
    properties = webhook.properties
    assert sorted(properties["actions"]) == sorted(event_actions())
    assert (properties["status"], properties["scope"]) == ("enabled", "")
    [(header, key)] = properties["customHeaders"].items()
    assert header == "x-functions-key"
    assert key.startswith("[listKeys('/subscriptions/")
    assert key.endswith("/functions/AcrWebhook', '2025-03-01').default]")
    assert "{0}?registry={1}&region={2}" in properties["serviceUri"]
    assert "defaultHostName" in properties["serviceUri"]
    assert "loginServer" in properties["serviceUri"]


def test_webhook_and_key_are_configurable(bicep: Compiler) -> None:
    """Parameters set the webhook's name, scope, actions and key."""
    webhook = webhooks(bicep.deploy(**EVERYTHING))[0]
    assert webhook.name == "other"
    assert webhook.properties["scope"] == "web:*"
    assert webhook.properties["actions"] == ["push", "delete"]
    assert webhook.properties["customHeaders"]["x-functions-key"].endswith(".acr2]")


def test_webhook_waits_for_code(bicep: Compiler) -> None:
    """Before the code is deployed, the templates create no webhook and read no key."""
    deployment = bicep.deploy()
    assert not webhooks(deployment)
    assert "listKeys" not in str(deployment.resources)


def test_webhook_creation_keeps_settings(bicep: Compiler) -> None:
    """Creating the webhook changes no setting, so the app does not restart."""
    assert app_settings(bicep.deploy(createWebhook=True)) == app_settings(bicep.deploy())


def test_several_registries_are_connected(bicep: Compiler) -> None:
    """Each registry has its webhooks, its role and its entries in the settings."""
    deployment = bicep.deploy(**EVERYTHING)
    made = {webhook.id: webhook.body["location"] for webhook in webhooks(deployment)}
    assert list(made) == [
        f"{REGISTRY}/webhooks/other",
        f"{OTHER}/webhooks/otherwesteurope",
        f"{OTHER}/webhooks/othereastus",
        f"{THIRD}/webhooks/other",
    ]
    assert [location for location in made.values() if "reference" not in location] == [
        "westeurope",
        "eastus",
    ]
    environment = app_settings(deployment)
    assert [str(webhook.id) for webhook in ReconcileSettings.read(environment).webhooks] == list(
        made
    )
    allowed = Settings.read(environment).registries
    for registry in (REGISTRY, OTHER, THIRD):
        name = registry.rpartition("/")[2]
        found = allowed.registry(f"{name}.azurecr.io", None)
        assert found
        assert found.resource_id == registry
        scopes = [each.scope for each in deployment.of("Microsoft.Authorization/roleAssignments")]
        assert scopes.count(registry) == 2, "the app and the operator"


def test_single_registry_variable_still_works(bicep: Compiler) -> None:
    """ACR_REGISTRY_ID alone names the registry."""
    alone = bicep.deploy(registryIds="", registryId=REGISTRY)
    assert app_settings(alone) == app_settings(bicep.deploy())


def test_environments_share_a_registry(bicep: Compiler) -> None:
    """Two environments on one registry have webhooks and roles of different names."""
    one, two = bicep.deploy(createWebhook=True), bicep.deploy(**EVERYTHING)
    names = [
        deployment.of("Microsoft.Authorization/roleDefinitions")[0].properties["roleName"]
        for deployment in (one, two)
    ]
    assert len(set(names)) == 2
    token = one.only("Microsoft.Storage/storageAccounts").name.removeprefix("st")
    assert webhooks(one)[0].name == f"acr{token}"
    assert token in names[0]
