"""Regional endpoints, the region of a delivery, and both in the pipeline."""

import json
from datetime import UTC, datetime

import pytest

from shared.core.delivery import Delivery
from shared.core.problems import Kind, Problem, Violation
from shared.core.regions import region, split_endpoint
from shared.core.routing import Routes
from shared.core.schemas import validator
from shared.core.violations import violations
from shared.pipeline import Pipeline
from shared.settings import Settings
from tests.support.deliveries import example, read_back
from tests.support.memory import InMemoryQueues


@pytest.mark.parametrize(
    ("host", "server", "region"),
    [
        ("contoso.eastus.geo.azurecr.io", "contoso.azurecr.io", "eastus"),
        ("contoso.eastus2.geo.azurecr.us", "contoso.azurecr.us", "eastus2"),
        ("contoso.chinanorth3.geo.azurecr.cn", "contoso.azurecr.cn", "chinanorth3"),
        ("Contoso.WestEurope.GEO.AzureCR.IO:443", "contoso.azurecr.io", "westeurope"),
        ("prod-images.eastus.geo.azurecr.io", "prod-images.azurecr.io", "eastus"),
        ("contoso-d7ezgzevdwfvc8ht.eastus.geo.azurecr.io",
         "contoso-d7ezgzevdwfvc8ht.azurecr.io", "eastus"),
        ("contoso.deloscloudgermanycentral.geo.azurecr.sovcloud-azure.de",
         "contoso.azurecr.sovcloud-azure.de", "deloscloudgermanycentral"),
    ],
)  # fmt: skip
def test_regional_endpoint_is_its_registry(host: str, server: str, region: str) -> None:
    """A regional endpoint of any cloud gives the login server and the region."""
    assert split_endpoint(host) == (server, region)


@pytest.mark.parametrize(
    "host",
    [
        "contoso.azurecr.io",
        "contoso-1a2b.azurecr.io",
        "contoso.azurecr.sovcloud-azure.de",
        "contoso.eastus.notgeo.azurecr.io",
        "contoso.eastus.geography.azurecr.io",
        "contoso.eastus.data.azurecr.io",
        "contoso.geo.azurecr.io",
        "contoso.eastus.geo.io",
        "team.contoso.eastus.geo.azurecr.io",
        "contoso.east-us.geo.azurecr.io",
        "eastus.geo.azurecr.io",
        "localhost",
    ],
)
def test_other_hosts_stay_as_they_are(host: str) -> None:
    """A host of another form is the login server itself, and tells no region."""
    assert split_endpoint(host) == (host, None)


def test_case_and_port_do_not_count() -> None:
    """A login server is in lower case, without a port."""
    assert split_endpoint("Contoso.azurecr.io:443") == ("contoso.azurecr.io", None)


@pytest.mark.parametrize(
    ("host", "parameter", "found"),
    [
        ("contoso.eastus.geo.azurecr.io", None, "eastus"),
        ("contoso.eastus.geo.azurecr.io", "", "eastus"),
        ("contoso.eastus.geo.azurecr.io", "westeurope", "westeurope"),
        ("contoso.azurecr.io", "WestEurope", "westeurope"),
        ("contoso.azurecr.io", "a" * 64, "a" * 64),
        ("contoso.azurecr.io", None, None),
        (None, "eastus2", "eastus2"),
        (None, "", None),
        (None, None, None),
    ],
)
def test_parameter_precedes_endpoint_region(
    host: str | None, parameter: str | None, found: str | None
) -> None:
    """The region is the parameter's in lower case, else the endpoint's, else unknown."""
    assert region(host, parameter) == found


@pytest.mark.parametrize(
    "parameter",
    ["West Europe", "west-europe", "a" * 65, " ", "eastus\n", "é", "\u212aorea", "\ud800", "<b>"],
)
def test_region_parameter_must_be_region(parameter: str) -> None:
    """A region parameter that is not letters and digits is a problem with a short detail."""
    with pytest.raises(Problem) as caught:
        region("contoso.eastus.geo.azurecr.io", parameter)
    assert caught.value.kind is Kind.INVALID_REGION
    assert caught.value.kind.status == 422
    assert len(caught.value.detail) < 300


def test_region_problem_states_what_to_do() -> None:
    """The problem quotes the parameter and states the form of a valid one."""
    with pytest.raises(Problem) as caught:
        region(None, "West Europe")
    detail = (
        'The region parameter of the webhook\'s URL: "West Europe" is not the name of a region. '
        "Use at most 64 letters and digits, as in westeurope."
    )
    assert caught.value.detail == detail
    assert caught.value.violations == (Violation("", detail),)


def _pipeline(memory: InMemoryQueues, registries: str = "") -> Pipeline:
    given = {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "ACR_REGISTRIES": registries}
    return Pipeline(Settings.read(given), Routes.load({}), memory)


@pytest.mark.parametrize(
    ("parameter", "region"), [(None, "eastus"), ("", "eastus"), ("WestEurope", "westeurope")]
)
async def test_url_region_precedes_host_region(parameter: str | None, region: str) -> None:
    """An event of a regional endpoint has the URL's region, or else the endpoint's."""
    memory = InMemoryQueues()
    body = example("push", request__host="Contoso.EastUS.geo.azurecr.io")
    raw = json.dumps(body).encode()
    delivery = Delivery(raw, "contoso.azurecr.io", None, datetime.now(UTC), region=parameter)
    pipeline = _pipeline(memory, "contoso.westus.geo.azurecr.io")
    assert (await pipeline.process(delivery)).status == 202
    [event] = memory.messages["acr-push"]
    read_back(event)
    assert event["acrregion"] == region
    assert event["acrregistry"] == "contoso.azurecr.io"
    assert event["source"] == "https://contoso.azurecr.io"
    assert event["acrreference"].startswith("contoso.azurecr.io/hello-world@sha256:")
    assert event["data"] == body


@pytest.mark.parametrize("action", ["push", "chart_push", "ping"])
async def test_invalid_region_becomes_dead_letter(action: str) -> None:
    """A region parameter that is no region gets 422, and the dead letter keeps it."""
    memory = InMemoryQueues()
    raw = json.dumps(example(action)).encode()
    delivery = Delivery(raw, None, None, datetime.now(UTC), region="West Europe")
    response = await _pipeline(memory).process(delivery)
    assert response.status == 422
    [dead_letter] = memory.messages.pop("acr-rejected")
    assert not memory.messages
    assert violations(validator("rejected.v1.json"), dead_letter) == []
    assert (dead_letter["reason"], dead_letter["region"]) == ("invalid-region", "West Europe")
