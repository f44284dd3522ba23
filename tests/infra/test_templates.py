"""The templates in infra/: held against the app that they deploy."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

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
INFRA = ROOT / "infra"
TEMPLATES = sorted(INFRA.glob("*.bicep"))
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()

# What only Azure knows, as it would be.
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


def _app_settings(deployment: Deployment) -> dict[str, str]:
    """As the app would find them."""
    found = {}
    for name, value in deployment.only("Microsoft.Web/sites/config").properties.items():
        for runtime, known in KNOWN.items():
            value = value.replace(runtime, known)
        found[name] = value
    return found


def _roles(deployment: Deployment) -> set[tuple[str, str, str]]:
    """Who has which role on what."""
    return {
        (
            made.properties["principalId"],
            ROLES.get(made.properties["roleDefinitionId"].split("/")[-1], "its own"),
            made.scope.symbol,
        )
        for made in deployment.of("Microsoft.Authorization/roleAssignments")
    }


APP = "«identity.properties.principalId»"
NEEDED = {
    (APP, "Storage Blob Data Owner", "storage"),
    (APP, "Storage Queue Data Message Sender", "storage"),
    (APP, "Storage Queue Data Reader", "storage"),
    (APP, "Storage Table Data Contributor", "recovered"),
    (APP, "Monitoring Metrics Publisher", "insights"),
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_where_the_compiler_is_installed_a_template_builds_without_a_warning(
    template: Path,
) -> None:
    bicep = shutil.which("bicep")
    if bicep is None:
        pytest.skip("the compiler `bicep` is not installed here")
    result = subprocess.run(
        [bicep, "build", "--stdout", template], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_all_that_a_template_declares_is_used(template: Path) -> None:
    text = re.sub(r"//.*|@description\(.*", "", template.read_text())
    for name in re.findall(r"^(?:param|var) (\w+)", text, re.MULTILINE):
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name


def test_every_queue_of_the_routes_is_created() -> None:
    queues = deploy().of("Microsoft.Storage/storageAccounts/queueServices/queues")
    assert [queue.name for queue in queues] == Routes.load({}).queues


def test_queues_named_by_app_settings_are_created_as_the_app_names_them(tmp_path: Path) -> None:
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


def test_the_app_reads_the_settings_as_an_identity_and_for_the_registry_that_were_meant() -> None:
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


def test_every_setting_is_one_that_somebody_reads() -> None:
    table = set(re.findall(r"^\| `(\w+)` \|", CONFIGURATION, re.MULTILINE))
    triggers = re.findall(
        r"%(\w+)%", "".join(file.read_text() for file in ROOT.glob("*/function.json"))
    )
    settings = _app_settings(deploy())
    # The host's own, and where the log goes.
    own = {n for n in settings if re.match("AzureWebJobsStorage__|APPLICATIONINSIGHTS_", n)}
    assert settings.keys() - own <= table
    assert set(triggers) <= settings.keys()


def test_app_settings_of_the_users_own_go_first() -> None:
    settings = {"ACR_BUDGET_SECONDS": "3", "AcrReconcileSchedule": "0 0 * * * *"}
    assert _app_settings(deploy(appSettings=settings)).items() >= settings.items()


def test_no_key_is_in_a_setting_and_none_opens_the_storage_or_the_log() -> None:
    deployment = deploy(createWebhook=True)
    for name, value in deployment.only("Microsoft.Web/sites/config").properties.items():
        assert not re.search(r"listKeys|AccountKey|SharedAccess|[?&;](sig|code)=", value), name
        # Of the log's the keys are off: it tells no more than where it is.
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


def test_the_app_has_the_roles_it_needs_and_no_more() -> None:
    deployment = deploy()
    assert _roles(deployment) == {*NEEDED, (APP, "its own", "registry")}
    role = deployment.only("Microsoft.Authorization/roleDefinitions")
    assert role.properties["permissions"] == [{"actions": [ACTION]}]
    # Where the registry is, which need not be where the app is.
    group = f"«resourceGroup({REGISTRY.split('/')[2]}, {REGISTRY.split('/')[4]})»"
    assert role.scope == group
    [assignment] = [
        made
        for made in deployment.of("Microsoft.Authorization/roleAssignments")
        if made.scope.symbol == "registry"
    ]
    assert assignment.scope.existing
    assert assignment.scope.name == REGISTRY.split("/")[-1]


def test_the_table_that_the_app_may_write_is_the_one_it_writes() -> None:
    table = deploy().only("Microsoft.Storage/storageAccounts/tableServices/tables")
    assert table.name == TABLE


def test_who_operates_may_take_messages_and_reconcile() -> None:
    assert _roles(deploy(operatorId="me")) - _roles(deploy()) == {
        ("me", "Storage Queue Data Contributor", "storage"),
        ("me", "Storage Table Data Contributor", "storage"),
        ("me", "its own", "registry"),
    }


def test_without_recovering_no_role_on_the_registry_is_needed() -> None:
    deployment = deploy(recoverMissed=False, createWebhook=True)
    assert _roles(deployment) == NEEDED
    assert not deployment.of("Microsoft.Authorization/roleDefinitions")
    assert ReconcileSettings.read(_app_settings(deployment)).webhooks == ()


def test_python_is_the_version_that_everything_is_tested_with() -> None:
    config = deploy().only("Microsoft.Web/sites").properties["functionAppConfig"]
    version = (ROOT / ".python-version").read_text().strip()
    assert config["runtime"] == {"name": "python", "version": version}


def test_the_plan_is_flex_consumption_and_one_instance_is_always_ready() -> None:
    def always_ready(**parameters: object) -> object:
        site = deploy(**parameters).only("Microsoft.Web/sites")
        return site.properties["functionAppConfig"]["scaleAndConcurrency"]["alwaysReady"]

    plan = deploy().only("Microsoft.Web/serverfarms")
    assert plan.body["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    assert always_ready() == [{"name": "http", "instanceCount": 1}]
    assert always_ready(alwaysReadyInstances=3) == [{"name": "http", "instanceCount": 3}]
    assert always_ready(alwaysReadyInstances=0) == []


def test_the_webhook_sends_all_event_types_with_the_key_in_a_header() -> None:
    webhook = deploy(createWebhook=True).only("Microsoft.ContainerRegistry/registries/webhooks")
    assert webhook.parent
    assert webhook.parent.name == REGISTRY.split("/")[-1]
    # A replica's events are its own webhook's: this is the home region's.
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


def test_webhook_and_key_can_be_chosen() -> None:
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


def test_before_the_code_is_deployed_there_is_no_webhook_and_no_key_is_asked_for() -> None:
    deployment = deploy()
    assert not deployment.of("Microsoft.ContainerRegistry/registries/webhooks")
    assert "listKeys" not in str(deployment.resources)


def test_making_the_webhook_changes_no_setting_and_so_does_not_restart_the_app() -> None:
    assert _app_settings(deploy(createWebhook=True)) == _app_settings(deploy())


def test_the_outputs_tell_the_url_and_the_webhook() -> None:
    outputs = deploy(createWebhook=True).outputs
    assert outputs["FUNCTION_URL"] == "https://«app.properties.defaultHostName»/api/AcrWebhook"
    assert outputs["WEBHOOK_NAME"] == "acrwebhook"
    assert deploy().outputs["WEBHOOK_NAME"] == ""


def test_each_alert_looks_at_the_log_and_tells_whom_it_shall() -> None:
    rules = json.loads((INFRA / "alerts.json").read_bytes())
    made = deploy(alertEmail="ops@contoso.example", alertThresholds={"unread": 60})
    alerts = made.of("Microsoft.Insights/scheduledQueryRules")
    assert [alert.properties["displayName"] for alert in alerts] == [r["title"] for r in rules]
    for alert, rule in zip(alerts, rules, strict=True):
        [criterion] = alert.properties["criteria"]["allOf"]
        assert criterion["query"] == "\n".join(rule["query"])
        assert re.search(r"\bvalue = ", criterion["query"])
        for dimension in criterion["dimensions"]:
            assert re.search(rf"\b{dimension['name']} = tostring", criterion["query"])
        expected = 60 if rule["name"] == "unread" else rule["threshold"]
        assert criterion["threshold"] == expected
        assert alert.properties["scopes"] == ["«insights.id»"]
        assert alert.properties["actions"] == {"actionGroups": ["«recipients.id»"]}
    [receiver] = made.only("Microsoft.Insights/actionGroups").properties["emailReceivers"]
    assert receiver["emailAddress"] == "ops@contoso.example"


def test_without_an_address_alerts_are_there_all_the_same() -> None:
    deployment = deploy()
    assert not deployment.of("Microsoft.Insights/actionGroups")
    for alert in deployment.of("Microsoft.Insights/scheduledQueryRules"):
        assert alert.properties["actions"] == {"actionGroups": []}


def test_what_to_do_about_each_alert_is_in_the_operations_guide() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    for rule in json.loads((INFRA / "alerts.json").read_bytes()):
        assert f"| {rule['title']} |" in guide, rule["title"]


def test_the_workbook_is_deployed_whole() -> None:
    workbook = deploy().only("Microsoft.Insights/workbooks")
    document = json.loads(workbook.properties["serializedData"])
    assert document.pop("fallbackResourceIds") == ["«insights.id»"]
    assert document == json.loads((INFRA / "workbook.json").read_bytes())
    assert workbook.properties["sourceId"] == "«insights.id»"


def test_api_versions_are_no_previews_and_one_for_each_type() -> None:
    made = deploy(createWebhook=True, operatorId="me", alertEmail="me@contoso.example").resources
    versions = dict(each.type.split("@") for each in made)
    assert {each.type for each in made} == {f"{type_}@{v}" for type_, v in versions.items()}
    for type_, version in versions.items():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", version), type_


def _parameters() -> dict[str, Any]:
    file = json.loads((INFRA / "main.parameters.json").read_bytes())
    return {name: each["value"] for name, each in file["parameters"].items()}


def test_azd_gives_every_parameter_that_is_needed_and_none_that_is_not_there() -> None:
    for name, value in _parameters().items():
        variable = re.fullmatch(r"\$\{(\w+)(?:=(.*))?\}", value) if isinstance(value, str) else None
        given = variable[2] if variable else value
        if given is not None:
            # What azd gives where nobody says anything is what the template takes itself.
            given = {"true": True, "false": False, "1": 1}.get(given, given) if variable else given
            rest = {} if name == "createWebhook" else {"createWebhook": True}
            assert str(deploy(**{name: given}, **rest)) == str(deploy(**rest)), name
    assert (
        _parameters().items()
        >= {
            "environmentName": "${AZURE_ENV_NAME}",
            "location": "${AZURE_LOCATION}",
            "registryId": "${ACR_REGISTRY_ID}",
        }.items()
    )


def test_deploy_page_lists_azd_options() -> None:
    """docs/deploy.md lists every option that `azd env set` takes."""
    options = re.findall(r"\$\{(ACR_\w+)", json.dumps(_parameters()))
    assert len(options) > 5
    for name in options:
        assert f"| `{name}` |" in DEPLOY, name


def test_every_parameter_of_the_main_template_is_described() -> None:
    text = (INFRA / "main.bicep").read_text()
    parameters = re.findall(r"^param \w+", text, re.MULTILINE)
    described = re.findall(r"^@description\(.*\n(?:@.*\n)*param \w+", text, re.MULTILINE)
    assert len(described) == len(parameters) > 10


def test_names_of_the_app_are_those_of_the_connection() -> None:
    names = [n for n in _app_settings(deploy()) if n.startswith(connections.NAMES[0])]
    assert {name.split("__")[1] for name in names} <= set(connections.PARTS)
