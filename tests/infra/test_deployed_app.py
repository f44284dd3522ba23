"""The templates in infra/ deploy what the app needs, and the app reads what they set."""

import json
import re
import shutil
from pathlib import Path

from shared.core.actions import event_actions
from shared.core.routing import Routes
from shared.reconcile.management import ACTION
from shared.reconcile.table import TABLE
from shared.settings import ReconcileSettings, Settings
from shared.storage import connections
from shared.storage.connections import Identity, Principal
from tests.support.bicep import REGISTRY, Deployment, deploy, deploy_from
from tools.localhost import processes

ROOT = processes.ROOT
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()

# Examples of the values that only Azure knows.
KNOWN = {
    "«storage.properties.primaryEndpoints.blob»": "https://contoso.blob.core.windows.net/",
    "«storage.properties.primaryEndpoints.queue»": "https://contoso.queue.core.windows.net/",
    "«storage.properties.primaryEndpoints.table»": "https://contoso.table.core.windows.net/",
    "«identity.properties.clientId»": "11111111-2222-3333-4444-555555555555",
    "«registry.properties.loginServer»": "contoso.azurecr.io",
}
CLIENT_ID = KNOWN["«identity.properties.clientId»"]

ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "19e7f393-937e-4f77-808e-94535e297925": "Storage Queue Data Reader",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}

APP = "«identity.properties.principalId»"
NEEDED = {
    (APP, "Storage Blob Data Owner", "storage"),
    (APP, "Storage Queue Data Message Sender", "storage"),
    (APP, "Storage Queue Data Reader", "storage"),
    (APP, "Storage Table Data Contributor", "recovered"),
    (APP, "Monitoring Metrics Publisher", "insights"),
}


def _app_settings(deployment: Deployment) -> dict[str, str]:
    """The deployed app settings, with examples of the values that only Azure knows."""
    found = {}
    for name, value in deployment.only("Microsoft.Web/sites/config").properties.items():
        for runtime, known in KNOWN.items():
            value = value.replace(runtime, known)
        found[name] = value
    return found


def _roles(deployment: Deployment) -> set[tuple[str, str, str]]:
    """Each assigned role: its principal, its name, and its scope."""
    return {
        (
            made.properties["principalId"],
            ROLES.get(made.properties["roleDefinitionId"].split("/")[-1], "its own"),
            made.scope.symbol,
        )
        for made in deployment.of("Microsoft.Authorization/roleAssignments")
    }


def test_every_route_queue_is_created() -> None:
    """The templates create exactly the queues of routes.json."""
    queues = deploy().of("Microsoft.Storage/storageAccounts/queueServices/queues")
    assert [queue.name for queue in queues] == Routes.load({}).queues


def test_queue_names_follow_app_settings(tmp_path: Path) -> None:
    """Templates and app replace %NAME% in a queue's name in the same way."""
    for part in ("infra", "routes.json", ".python-version"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, tmp_path / part)
    routes = {
        "routes": [
            {"queue": "%InventoryQueue%"},
            {"queue": "team-%Team%-%Stage%", "actions": ["push"]},
            {"queue": "inventory", "actions": ["delete"]},
        ],
        "rejectedQueue": "rejected-%Stage%",
    }
    (tmp_path / "routes.json").write_text(json.dumps(routes))
    settings = {"Stage": "test", "InventoryQueue": " inventory ", "Team": "a"}
    deployment = deploy_from(tmp_path / "infra", appSettings=settings)
    created = deployment.of("Microsoft.Storage/storageAccounts/queueServices/queues")
    queues = [queue.name for queue in created]
    assert queues == ["inventory", "team-a-test", "rejected-test"]
    environment = _app_settings(deployment)
    assert queues == Routes.load(environment, tmp_path / "routes.json").queues


def test_app_reads_deployed_settings() -> None:
    """The app reads its identity, its registry and its webhook from the deployed settings."""
    environment = _app_settings(deploy())
    settings = Settings.read(environment)
    principal = Principal(managed=True, client_id=CLIENT_ID)
    assert settings.storage == Identity(
        "AcrEventsStorage",
        KNOWN["«storage.properties.primaryEndpoints.queue»"],
        KNOWN["«storage.properties.primaryEndpoints.table»"],
        principal,
    )
    assert settings.registries.registry("contoso.azurecr.io", None)
    reconcile = ReconcileSettings.read(environment)
    assert [str(w.id) for w in reconcile.webhooks] == [f"{REGISTRY}/webhooks/acrwebhook"]
    assert reconcile.principal == principal
    assert reconcile.endpoint == "https://management.azure.com"


def test_every_setting_is_documented() -> None:
    """Every deployed setting is documented or the host's, and no trigger's setting is missing."""
    table = set(re.findall(r"^\| `(\w+)` \|", CONFIGURATION, re.MULTILINE))
    triggers = re.findall(
        r"%(\w+)%", "".join(file.read_text() for file in ROOT.glob("*/function.json"))
    )
    settings = _app_settings(deploy())
    # The host reads these, one of them for the log.
    own = {n for n in settings if re.match("AzureWebJobsStorage__|APPLICATIONINSIGHTS_", n)}
    assert settings.keys() - own <= table
    assert set(triggers) <= settings.keys()


def test_user_app_settings_win() -> None:
    """An app setting of the user replaces the one of the templates."""
    settings = {"ACR_BUDGET_SECONDS": "3", "AcrReconcileSchedule": "0 0 * * * *"}
    assert _app_settings(deploy(appSettings=settings)).items() >= settings.items()


def test_deployment_uses_no_keys() -> None:
    """No setting or output holds a key, and storage, log and publishing accept none."""
    deployment = deploy(createWebhook=True)
    for name, value in deployment.only("Microsoft.Web/sites/config").properties.items():
        assert not re.search(r"listKeys|AccountKey|SharedAccess|[?&;](sig|code)=", value), name
        # This one holds only an address, as the log's keys are off.
        assert "ConnectionString" not in value or name == "APPLICATIONINSIGHTS_CONNECTION_STRING"
    assert deployment.only("Microsoft.Insights/components").properties["DisableLocalAuth"] is True
    storage = deployment.only("Microsoft.Storage/storageAccounts").properties
    assert storage["allowSharedKeyAccess"] is False
    assert storage["allowBlobPublicAccess"] is False
    passwords = deployment.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {each.name: each.properties["allow"] for each in passwords} == {
        "ftp": False,
        "scm": False,
    }
    assert "key" not in json.dumps(deployment.outputs).lower()


def test_app_has_only_needed_roles() -> None:
    """The app has the roles that it needs, and no other."""
    deployment = deploy()
    assert _roles(deployment) == {*NEEDED, (APP, "its own", "registry")}
    role = deployment.only("Microsoft.Authorization/roleDefinitions")
    assert role.properties["permissions"] == [{"actions": [ACTION]}]
    # The registry's resource group, which can differ from the app's.
    group = f"«resourceGroup({REGISTRY.split('/')[2]}, {REGISTRY.split('/')[4]})»"
    assert role.scope == group
    [assignment] = [
        made
        for made in deployment.of("Microsoft.Authorization/roleAssignments")
        if made.scope.symbol == "registry"
    ]
    assert assignment.scope.existing
    assert assignment.scope.name == REGISTRY.split("/")[-1]


def test_ledger_table_is_deployed() -> None:
    """The templates create the table that the ledger uses."""
    table = deploy().only("Microsoft.Storage/storageAccounts/tableServices/tables")
    assert table.name == TABLE


def test_operator_may_replay_and_reconcile() -> None:
    """The operator's roles allow the operator to read messages and to reconcile."""
    assert _roles(deploy(operatorId="me")) - _roles(deploy()) == {
        ("me", "Storage Queue Data Contributor", "storage"),
        ("me", "Storage Table Data Contributor", "storage"),
        ("me", "its own", "registry"),
    }


def test_registry_role_needs_recovery() -> None:
    """Without recovery, the app has no role on the registry and reconciles no webhook."""
    deployment = deploy(recoverMissed=False, createWebhook=True)
    assert _roles(deployment) == NEEDED
    assert not deployment.of("Microsoft.Authorization/roleDefinitions")
    assert ReconcileSettings.read(_app_settings(deployment)).webhooks == ()


def test_deployed_python_is_declared() -> None:
    """The deployed Python is the one in .python-version."""
    config = deploy().only("Microsoft.Web/sites").properties["functionAppConfig"]
    version = (ROOT / ".python-version").read_text().strip()
    assert config["runtime"] == {"name": "python", "version": version}


def test_flex_plan_keeps_instance_ready() -> None:
    """The plan is Flex Consumption, and one instance is always ready by default."""

    def always_ready(**parameters: object) -> object:
        site = deploy(**parameters).only("Microsoft.Web/sites")
        return site.properties["functionAppConfig"]["scaleAndConcurrency"]["alwaysReady"]

    plan = deploy().only("Microsoft.Web/serverfarms")
    assert plan.body["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    assert always_ready() == [{"name": "http", "instanceCount": 1}]
    assert always_ready(alwaysReadyInstances=3) == [{"name": "http", "instanceCount": 3}]
    assert always_ready(alwaysReadyInstances=0) == []


def test_webhook_sends_all_events() -> None:
    """The webhook sends events of every action to the app, with the key in a header."""
    webhook = deploy(createWebhook=True).only("Microsoft.ContainerRegistry/registries/webhooks")
    assert webhook.parent
    assert webhook.parent.name == REGISTRY.split("/")[-1]
    # A webhook covers one replica: this one is in the home region.
    assert webhook.body["location"] == "«registry.location»"
    assert sorted(webhook.properties.pop("actions")) == sorted(event_actions())
    key = "«listKeys(«app.id»/functions/AcrWebhook)[default]»"
    assert webhook.properties == {
        "status": "enabled",
        "scope": "",
        "serviceUri": "https://«app.properties.defaultHostName»/api/AcrWebhook"
        "?registry=«registry.properties.loginServer»",
        "customHeaders": {"x-functions-key": key},
    }


def test_webhook_and_key_are_configurable() -> None:
    """Parameters set the webhook's name, scope, actions and key."""
    deployment = deploy(
        createWebhook=True, webhookName="other", webhookScope="web:*", webhookActions=["push"],
        keyName="acr2",
    )  # fmt: skip
    webhook = deployment.only("Microsoft.ContainerRegistry/registries/webhooks")
    assert webhook.name == "other"
    assert webhook.properties["scope"] == "web:*"
    assert webhook.properties["actions"] == ["push"]
    assert webhook.properties["customHeaders"]["x-functions-key"].endswith("[acr2]»")
    assert _app_settings(deployment)["ACR_WEBHOOKS"].endswith("/webhooks/other")


def test_webhook_is_off_by_default() -> None:
    """Before the code is deployed, the templates create no webhook and read no key."""
    deployment = deploy()
    assert not deployment.of("Microsoft.ContainerRegistry/registries/webhooks")
    assert "listKeys" not in str(deployment.resources)


def test_webhook_creation_keeps_settings() -> None:
    """Creating the webhook changes no setting, so the app does not restart."""
    assert _app_settings(deploy(createWebhook=True)) == _app_settings(deploy())


def test_connection_settings_are_known() -> None:
    """The app knows every part of its connection that the templates set."""
    names = [n for n in _app_settings(deploy()) if n.startswith(connections.NAMES[0])]
    assert {name.split("__")[1] for name in names} <= set(connections.PARTS)
