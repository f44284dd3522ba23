"""The templates in infra/ deploy what the app needs, and the app reads what they set."""

import json
import re
from pathlib import Path

import pytest

from shared.core.routing import Routes
from shared.reconcile.management import ACTION
from shared.reconcile.table import TABLE
from shared.settings import ReconcileSettings, Settings, misconfigured
from shared.storage import connections
from shared.storage.connections import Identity, Principal
from tests.support.bicep import REGISTRY, ROOT, Compiler, DeploymentError, copy_sources
from tests.support.deployed import (
    APP,
    CLIENT_ID,
    EVERYTHING,
    KNOWN,
    NEEDED,
    app_settings,
    roles,
    scale,
    site,
)

CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()


def test_every_route_queue_is_created(bicep: Compiler) -> None:
    """The templates create exactly the queues of the routes."""
    queues = bicep.deploy().of("Microsoft.Storage/storageAccounts/queueServices/queues")
    assert [queue.name for queue in queues] == Routes.load({}).queues


def test_queue_names_follow_app_settings(bicep: Compiler, tmp_path: Path) -> None:
    """Templates and app replace %NAME% in a queue's name in the same way."""
    copy_sources(ROOT, tmp_path)
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
    deployment = bicep.deploy(tmp_path, appSettings=settings)
    created = deployment.of("Microsoft.Storage/storageAccounts/queueServices/queues")
    queues = [queue.name for queue in created]
    assert queues == ["inventory", "team-a-test", "rejected-test"]
    environment = app_settings(deployment)
    assert queues == Routes.load(environment, tmp_path / "routes.json").queues


def test_app_reads_deployed_settings(bicep: Compiler) -> None:
    """The app reads its identity, its registry and its webhook from the deployed settings."""
    environment = app_settings(bicep.deploy(webhookName="acrwebhook"))
    settings = Settings.read(environment)
    principal = Principal(managed=True, client_id=CLIENT_ID)
    assert settings.storage == Identity(
        "AcrEventsStorage",
        KNOWN["primaryEndpoints.queue]"],
        KNOWN["primaryEndpoints.table]"],
        principal,
    )
    assert settings.registries.registry("contoso.azurecr.io", None)
    reconcile = ReconcileSettings.read(environment)
    assert [str(w.id) for w in reconcile.webhooks] == [f"{REGISTRY}/webhooks/acrwebhook"]
    assert reconcile.principal == principal
    assert reconcile.endpoint == "https://management.azure.com"


def test_every_setting_is_documented(bicep: Compiler) -> None:
    """Every deployed setting is documented or the host's, and no trigger's setting is missing."""
    table = set(re.findall(r"^\| `(\w+)` \|", CONFIGURATION, re.MULTILINE))
    triggers = re.findall(
        r"%(\w+)%", "".join(file.read_text() for file in ROOT.glob("*/function.json"))
    )
    settings = app_settings(bicep.deploy())
    # The host reads these, one of them for the log.
    own = {n for n in settings if re.match("AzureWebJobsStorage__|APPLICATIONINSIGHTS_", n)}
    assert settings.keys() - own <= table
    assert set(triggers) <= settings.keys()


def test_host_opens_only_blobs(bicep: Compiler) -> None:
    """The host's storage settings name the blob service alone: an account name opens tables too."""
    names = {n for n in app_settings(bicep.deploy()) if n.startswith("AzureWebJobsStorage")}
    assert {n.partition("__")[2] for n in names} == {"blobServiceUri", "credential", "clientId"}


def test_user_app_settings_win(bicep: Compiler) -> None:
    """An app setting of the user replaces the one of the templates."""
    settings = app_settings(bicep.deploy(**EVERYTHING))
    assert settings.items() >= EVERYTHING["appSettings"].items()
    assert settings["AcrReconcileSchedule"] == "0 */7 * * * *"


def test_deployment_uses_no_keys(bicep: Compiler) -> None:
    """No setting or output holds a key, and storage, log and publishing accept none."""
    deployment = bicep.deploy(createWebhook=True)
    for name, value in deployment.only("Microsoft.Web/sites/config").properties.items():
        assert not re.search(r"listKeys|AccountKey|SharedAccess|[?&;](sig|code)=", value), name
        # This one holds only an address, as the log's keys are off.
        assert "ConnectionString" not in value or name == "APPLICATIONINSIGHTS_CONNECTION_STRING"
    assert deployment.only("Microsoft.Insights/components").properties["DisableLocalAuth"] is True
    storage = deployment.only("Microsoft.Storage/storageAccounts").properties
    assert storage["allowSharedKeyAccess"] is False
    passwords = deployment.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {each.name: each.properties["allow"] for each in passwords} == {
        "ftp": False,
        "scm": False,
    }
    assert "listkeys" not in json.dumps(deployment.outputs).lower()


def test_app_has_only_needed_roles(bicep: Compiler) -> None:
    """The app has the roles that it needs, and no other."""
    deployment = bicep.deploy()
    assert roles(deployment) == {*NEEDED, (APP, "its own", "registries")}
    role = deployment.only("Microsoft.Authorization/roleDefinitions")
    assert role.properties["permissions"] == [{"actions": [ACTION]}]
    # The registry's resource group, which can differ from the app's.
    assert role.scope == REGISTRY.partition("/providers/")[0]
    [assignment] = [
        made
        for made in deployment.of("Microsoft.Authorization/roleAssignments")
        if made.scope == REGISTRY
    ]
    # Roles are referred to by the subscription, wherever they can be assigned.
    subscription = REGISTRY.partition("/resourceGroups/")[0]
    assert assignment.properties["roleDefinitionId"] == (
        f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role.name}"
    )


def test_ledger_table_is_deployed(bicep: Compiler) -> None:
    """The templates create the table that the ledger uses."""
    assert (
        bicep.deploy().only("Microsoft.Storage/storageAccounts/tableServices/tables").name == TABLE
    )


def test_people_get_only_their_roles(bicep: Compiler) -> None:
    """An operator may replay and reconcile, and a consumer may take messages."""
    assert roles(bicep.deploy(**EVERYTHING)) - roles(bicep.deploy()) == {
        ("me", "Storage Queue Data Contributor", "storageAccounts"),
        ("me", "Storage Table Data Contributor", "storageAccounts"),
        ("me", "its own", "registries"),
        ("worker", "Storage Queue Data Message Processor", "storageAccounts"),
    }


def test_registry_role_needs_recovery(bicep: Compiler) -> None:
    """Without recovery, the app has no role on the registry and reconciles no webhook."""
    deployment = bicep.deploy(recoverMissed=False, createWebhook=True)
    assert roles(deployment) == NEEDED
    assert not deployment.of("Microsoft.Authorization/roleDefinitions")
    assert ReconcileSettings.read(app_settings(deployment)).webhooks == ()


def test_deployed_python_is_declared(bicep: Compiler) -> None:
    """The deployed Python is the one in .python-version."""
    version = (ROOT / ".python-version").read_text().strip()
    runtime = site(bicep.deploy())["functionAppConfig"]["runtime"]
    assert runtime == {"name": "python", "version": version}


def test_instances_take_concurrent_deliveries(bicep: Compiler) -> None:
    """An instance takes more than one delivery at a time, and the number can be chosen."""
    assert scale(bicep.deploy())["triggers"] == {"http": {"perInstanceConcurrency": 32}}
    chosen = scale(bicep.deploy(**EVERYTHING))
    assert chosen == {
        "triggers": {"http": {"perInstanceConcurrency": 16}},
        "maximumInstanceCount": 1,
        "alwaysReady": [],
        "instanceMemoryMB": 4096,
    }


def test_flex_plan_keeps_instance_ready(bicep: Compiler) -> None:
    """The plan is Flex Consumption, and one instance is always ready by default."""
    deployment = bicep.deploy()
    plan = deployment.only("Microsoft.Web/serverfarms")
    assert plan.body["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    assert scale(deployment)["alwaysReady"] == [{"name": "http", "instanceCount": 1}]
    strategy = site(deployment)["functionAppConfig"]["siteUpdateStrategy"]
    assert strategy == {"type": "Recreate"}


def test_zone_redundancy_needs_zonal_storage(bicep: Compiler) -> None:
    """A zone-redundant plan is refused beside an account that one zone holds."""
    deployment = bicep.deploy(**EVERYTHING)
    plan = deployment.only("Microsoft.Web/serverfarms")
    assert plan.properties["zoneRedundant"] is True
    with pytest.raises(DeploymentError, match="azd env set ACR_STORAGE_SKU Standard_ZRS"):
        bicep.deploy(zoneRedundant=True, storageSku="Standard_LRS")


def test_connection_settings_are_known(bicep: Compiler) -> None:
    """The app knows every part of its connection that the templates set."""
    names = [n for n in app_settings(bicep.deploy()) if n.startswith(connections.NAMES[0])]
    assert {name.split("__")[1] for name in names} <= set(connections.PARTS)


def test_site_refuses_old_protocols(bicep: Compiler) -> None:
    """The site takes HTTPS alone, with HTTP/2 and TLS 1.2, and no FTP."""
    properties = site(bicep.deploy())
    assert properties["httpsOnly"] is True
    assert (
        properties["siteConfig"].items()
        >= {
            "minTlsVersion": "1.2",
            "http20Enabled": True,
            "ftpsState": "Disabled",
        }.items()
    )


def test_deployed_settings_can_work(bicep: Compiler) -> None:
    """Health finds nothing wrong with the settings of a deployment."""
    assert misconfigured(app_settings(bicep.deploy(webhookName="acrwebhook"))) == []
