"""The templates in infra/ restrict who reaches storage and the app."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.bicep import Compiler
from tests.support.deployed import EVERYTHING, site

STORAGE = "Microsoft.Storage/storageAccounts"


def test_storage_is_public_by_default(bicep: Compiler) -> None:
    """By default, storage is reachable with a role, and there is no network."""
    deployment = bicep.deploy()
    storage = deployment.only(STORAGE)
    assert storage.body["sku"] == {"name": "Standard_ZRS"}
    assert storage.properties["publicNetworkAccess"] == "Enabled"
    assert storage.properties["networkAcls"]["defaultAction"] == "Allow"
    for setting in ("allowSharedKeyAccess", "allowBlobPublicAccess", "allowCrossTenantReplication"):
        assert storage.properties[setting] is False
    assert not [each for each in deployment.resources if each.type.startswith("Microsoft.Network/")]
    assert not site(deployment).get("virtualNetworkSubnetId")


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["default", "everything"])
def test_storage_refuses_plain_connections(bicep: Compiler, parameters: Mapping[str, Any]) -> None:
    """Storage takes HTTPS with TLS 1.2 alone, no blob is public, and the name is valid."""
    deployment = bicep.deploy(**parameters)
    storage = deployment.only(STORAGE)
    # https://learn.microsoft.com/azure/storage/common/storage-account-overview
    assert re.fullmatch("[a-z0-9]{3,24}", storage.name)
    assert storage.properties["supportsHttpsTrafficOnly"] is True
    assert storage.properties["minimumTlsVersion"] == "TLS1_2"
    container = deployment.only(f"{STORAGE}/blobServices/containers")
    assert container.body.get("properties", {}).get("publicAccess", "None") == "None"


def test_private_storage_has_endpoints(bicep: Compiler) -> None:
    """Private storage is reached through an endpoint for blobs, queues and tables alone."""
    deployment = bicep.deploy(vnetEnabled=True)
    storage = deployment.only(STORAGE)
    assert storage.properties["publicNetworkAccess"] == "Disabled"
    endpoints = deployment.of("Microsoft.Network/privateEndpoints")
    groups = [
        connection["properties"]["groupIds"]
        for endpoint in endpoints
        for connection in endpoint.properties["privateLinkServiceConnections"]
    ]
    assert groups == [["blob"], ["queue"], ["table"]]
    assert len(deployment.of("Microsoft.Network/privateDnsZones")) == 3
    assert len(deployment.of("Microsoft.Network/privateDnsZones/virtualNetworkLinks")) == 3
    assert len(deployment.of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")) == 3
    network = deployment.only("Microsoft.Network/virtualNetworks")
    app, shared = network.properties["subnets"]
    assert app["properties"]["addressPrefix"] == "10.0.0.0/26"
    [delegation] = app["properties"]["delegations"]
    assert delegation["properties"]["serviceName"] == "Microsoft.App/environments"
    assert site(deployment)["virtualNetworkSubnetId"] == f"{network.id}/subnets/{app['name']}"
    for endpoint in endpoints:
        assert endpoint.properties["subnet"]["id"] == f"{network.id}/subnets/{shared['name']}"


def test_operator_passes_storage_firewall(bicep: Compiler) -> None:
    """Private storage admits the operator's addresses and nobody else."""
    storage = bicep.deploy(**EVERYTHING).only(STORAGE)
    assert storage.properties["publicNetworkAccess"] == "Enabled"
    rules = storage.properties["networkAcls"]
    assert (rules["defaultAction"], rules["bypass"]) == ("Deny", "None")
    assert [rule["value"] for rule in rules["ipRules"]] == ["192.0.2.1", "192.0.2.2"]


def test_app_can_refuse_other_callers(bicep: Compiler) -> None:
    """On request, the app admits registries and listed addresses; deployments are not affected."""
    open_ = site(bicep.deploy())["siteConfig"]
    assert (open_["ipSecurityRestrictionsDefaultAction"], open_["ipSecurityRestrictions"]) == (
        "Allow",
        [],
    )
    config = site(bicep.deploy(**EVERYTHING))
    rules = config["siteConfig"]["ipSecurityRestrictions"]
    assert config["siteConfig"]["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert [(rule["tag"], rule["ipAddress"]) for rule in rules] == [
        ("ServiceTag", "AzureContainerRegistry"),
        ("Default", "192.0.2.1/32"),
        ("Default", "198.51.100.0/24"),
    ]
    assert len({rule["priority"] for rule in rules}) == 3
    assert config["siteConfig"]["scmIpSecurityRestrictionsUseMain"] is False
    assert config["siteConfig"]["scmIpSecurityRestrictionsDefaultAction"] == "Allow"
