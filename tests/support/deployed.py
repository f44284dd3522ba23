"""What the tests read out of a predicted deployment."""

import re
from collections.abc import Mapping
from typing import Any

from tests.support.bicep import REGISTRY, Deployment, Resource

CLIENT_ID = "11111111-2222-3333-4444-555555555555"
# Examples of the values that only Azure knows, by the end of the expression that stands for them.
KNOWN = {
    "primaryEndpoints.blob]": "https://contoso.blob.core.windows.net/",
    "primaryEndpoints.queue]": "https://contoso.queue.core.windows.net/",
    "primaryEndpoints.table]": "https://contoso.table.core.windows.net/",
    "clientId]": CLIENT_ID,
    "[environment().resourceManager]": "https://management.azure.com/",
}

ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "8a0f0c08-91a1-4084-bc3d-661d67233fed": "Storage Queue Data Message Processor",
    "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a": "Storage Queue Data Message Sender",
    "19e7f393-937e-4f77-808e-94535e297925": "Storage Queue Data Reader",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}

OTHER = (
    "/subscriptions/33333333-3333-3333-3333-333333333333/resourceGroups/others"
    "/providers/Microsoft.ContainerRegistry/registries/fabrikam"
)
THIRD = REGISTRY.replace("contoso", "adatum")

# A deployment that changes everything that can be changed. Predictions take seconds, so that the
# tests share this one.
EVERYTHING: Mapping[str, Any] = {
    "environmentName": "production",
    # Three registries in two subscriptions, one of them with two replicas.
    "registryIds": f"{REGISTRY}, {OTHER}@westeurope+EastUS,{THIRD}",
    "registryId": OTHER.upper(),
    "createWebhook": True,
    "webhookName": "other",
    "webhookScope": "web:*",
    "webhookActions": "push, delete",
    "keyName": "acr2",
    "reconcileSchedule": "0 */7 * * * *",
    "alwaysReadyInstances": 0,
    "maximumInstances": 1,
    "httpConcurrency": 16,
    "instanceMemoryMB": 4096,
    "siteUpdateStrategy": "RollingUpdate",
    "storageSku": "Standard_GZRS",
    "zoneRedundant": True,
    "vnetEnabled": True,
    "vnetPrefix": "10.9.0.0/16",
    "operatorIp": "192.0.2.1, 192.0.2.2",
    "restrictInbound": True,
    "allowedIps": "192.0.2.1,198.51.100.0/24",
    "appSettings": {"ACR_BUDGET_SECONDS": "3", "ACR_KEEP_UNROUTED": "true"},
    "alertEmail": "ops@contoso.example",
    "alertThresholds": {"unread": 60},
    "operatorId": "me",
    "consumerId": "worker",
}

APP = "the app"
# The roles of the app on its own resources.
NEEDED = {
    (APP, "Storage Blob Data Owner", "storageAccounts"),
    (APP, "Storage Queue Data Message Sender", "storageAccounts"),
    (APP, "Storage Queue Data Reader", "storageAccounts"),
    (APP, "Storage Table Data Contributor", "tables"),
    (APP, "Monitoring Metrics Publisher", "components"),
}


def app_settings(deployment: Deployment) -> dict[str, str]:
    """The deployed app settings, with examples of the values that only Azure knows."""
    found = {}
    for name, value in deployment.only("Microsoft.Web/sites/config").properties.items():
        for expression, known in KNOWN.items():
            if value.endswith(expression):
                value = known
        found[name] = _registries(value) if name == "ACR_REGISTRIES" else value
    return found


def _registries(expression: str) -> str:
    """ACR_REGISTRIES, whose login servers are an expression, as Azure would make it."""
    names = dict.fromkeys(re.findall(r"registries/(\w+)', '[\d-]+'\)\.loginServer", expression))
    ids = re.findall(r"\.loginServer, '(/subscriptions/\S+?)'\)", expression)
    assert [id_.rpartition("/")[2] for id_ in ids] == list(names)
    return ",".join(f"{name}.azurecr.io={id_}" for name, id_ in zip(names, ids, strict=True))


def roles(deployment: Deployment) -> set[tuple[str, str, str]]:
    """Each assigned role: its principal, its name, and the type of its scope."""
    return {
        (
            APP if "principalId" in (who := made.properties["principalId"]) else who,
            ROLES.get(made.properties["roleDefinitionId"].split("/")[-1], "its own"),
            made.scope.split("/")[-2],
        )
        for made in deployment.of("Microsoft.Authorization/roleAssignments")
    }


def site(deployment: Deployment) -> dict[str, Any]:
    """The properties of the app's site."""
    return deployment.only("Microsoft.Web/sites").properties


def scale(deployment: Deployment) -> Mapping[str, Any]:
    """How many instances there are, and what each takes."""
    found: Mapping[str, Any] = site(deployment)["functionAppConfig"]["scaleAndConcurrency"]
    return found


def webhooks(deployment: Deployment) -> list[Resource]:
    """The webhooks on all registries."""
    return deployment.of("Microsoft.ContainerRegistry/registries/webhooks")
