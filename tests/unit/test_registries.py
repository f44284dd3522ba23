import pytest

from shared.core.actions import actions
from shared.core.normalization import to_cloud_event
from shared.core.problems import Kind, Problem, Violation
from shared.core.registries import AllowList, Registry
from shared.core.schemas import validator
from shared.core.violations import violations
from tests.support.deliveries import payload

RESOURCE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images"
    "/providers/Microsoft.ContainerRegistry/registries/contoso"
)


def test_without_a_list_every_registry_may_deliver() -> None:
    assert AllowList.parse("").registry("a.azurecr.io", None) == Registry("a.azurecr.io")


@pytest.mark.parametrize("resource_id", [RESOURCE, RESOURCE.lower()])
def test_a_resource_id_is_a_source_that_the_event_schema_allows(resource_id: str) -> None:
    allowed = AllowList.parse(f"contoso.azurecr.io={resource_id}")
    registry = allowed.registry("contoso.azurecr.io", None)
    event = to_cloud_event(payload("delete"), actions()["delete"], registry)
    assert event["source"] == resource_id
    assert violations(validator("event.v1.json"), event) == []


def test_a_list_names_login_servers_and_resource_ids() -> None:
    allowed = AllowList.parse(f" Contoso.azurecr.io = {RESOURCE} , fabrikam.azurecr.io,, ")
    contoso = Registry("contoso.azurecr.io", RESOURCE)
    assert allowed.registry("contoso.azurecr.io", None) == contoso
    assert allowed.registry("CONTOSO.azurecr.io:443", None) == contoso
    assert allowed.registry("fabrikam.azurecr.io", None) == Registry("fabrikam.azurecr.io")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("contoso azurecr.io", 'entry 1: "contoso azurecr.io" is not a host name'),
        ("a.azurecr.io, https://b.azurecr.io", 'entry 2: "https://b.azurecr.io" is not a host'),
        ("a.azurecr.io=contoso", 'entry 1: "contoso" is not the resource id of a registry'),
        ("a.azurecr.io=/subscriptions/x", "is not the resource id"),
        ("a.azurecr.io,A.azurecr.io", "entry 2: a.azurecr.io is listed twice"),
        ("=" + RESOURCE, 'entry 1: "" is not a host name'),
    ],
)
def test_a_list_that_cannot_be_read_says_which_entry_and_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="entry") as caught:
        AllowList.parse(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("host", "parameter"), [("c.azurecr.io", None), (None, "c.azurecr.io"), ("c.azurecr.io",) * 2]
)
def test_a_registry_that_is_not_on_the_list_is_a_403(
    host: str | None, parameter: str | None
) -> None:
    with pytest.raises(Problem) as caught:
        AllowList.parse("a.azurecr.io,b.azurecr.io").registry(host, parameter)
    assert caught.value.kind is Kind.REGISTRY_NOT_ALLOWED
    assert caught.value.kind.status == 403
    assert "c.azurecr.io" in caught.value.detail


def test_a_chart_delivery_comes_from_the_registry_that_the_url_names() -> None:
    assert AllowList.parse("").registry(None, "A.azurecr.io") == Registry("a.azurecr.io")


def test_a_chart_delivery_comes_from_the_only_registry_that_is_allowed() -> None:
    assert AllowList.parse("a.azurecr.io").registry(None, None) == Registry("a.azurecr.io")


@pytest.mark.parametrize("text", ["", "a.azurecr.io,b.azurecr.io"])
@pytest.mark.parametrize("parameter", [None, ""])
def test_where_nothing_tells_the_registry_it_is_unknown(text: str, parameter: str | None) -> None:
    assert AllowList.parse(text).registry(None, parameter) is None


@pytest.mark.parametrize(
    "parameter", ["not a host", "a_b", "a.io/../x", "x" * 5000, "\ud800", "a.io\n", "<script>"]
)
@pytest.mark.parametrize("host", [None, "a.azurecr.io"])
def test_a_parameter_that_is_no_host_name_is_refused(host: str | None, parameter: str) -> None:
    with pytest.raises(Problem, match="registry parameter") as caught:
        AllowList.parse("").registry(host, parameter)
    assert caught.value.kind is Kind.INVALID_REGISTRY
    assert len(caught.value.detail) < 300


def test_a_parameter_that_contradicts_the_delivery_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        AllowList.parse("").registry("a.azurecr.io", "b.azurecr.io")
    assert caught.value.kind is Kind.INVALID_REGISTRY
    assert "a.azurecr.io" in caught.value.detail
    assert "b.azurecr.io" in caught.value.detail


def test_a_parameter_that_agrees_but_for_case_and_port_is_fine() -> None:
    registry = AllowList.parse("").registry("a.azurecr.io:443", "A.AZURECR.IO")
    assert registry == Registry("a.azurecr.io")


def _detail(allowed: str, host: str | None, parameter: str | None) -> tuple[str, list[Violation]]:
    with pytest.raises(Problem) as caught:
        AllowList.parse(allowed).registry(host, parameter)
    return caught.value.detail, list(caught.value.violations)


def test_refusals_say_where_and_why() -> None:
    """Each refusal is one sentence; where the delivery named the registry, it points there."""
    detail = "c.io is not in the app setting ACR_REGISTRIES."
    place = Violation("/request/host", "is not on the allow-list")
    assert _detail("a.io,b.io", "c.io", None) == (detail, [place])
    assert _detail("a.io,b.io", None, "c.io") == (detail, [Violation("", detail)])
    detail = "is a.io, but the registry parameter of the webhook's URL is b.io"
    place = Violation("/request/host", detail)
    assert _detail("", "a.io", "b.io") == (f"request.host {detail}.", [place])
    detail = 'The registry parameter of the webhook\'s URL: "a b" is not a host name.'
    assert _detail("", "a.io", "a b") == (detail, [Violation("", detail)])


def test_registry_may_be_listed_once() -> None:
    """A registry that is listed twice, in whatever case, stops the list."""
    with pytest.raises(ValueError, match=r"^entry 2: a\.io is listed twice$"):
        AllowList.parse("a.io,A.io")


def test_refused_resource_id_shows_its_form() -> None:
    """An entry whose resource id is none is told the form of one."""
    with pytest.raises(ValueError, match="entry") as caught:
        AllowList.parse("a.io=x")
    assert str(caught.value) == (
        'entry 1: "x" is not the resource id of a registry (/subscriptions/…/resourceGroups/…'
        "/providers/Microsoft.ContainerRegistry/registries/…)"
    )


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("", None),
        ("other.azurecr.io", None),
        ("contoso.azurecr.io", "contoso.azurecr.io"),
        ("contoso-1a2b.azurecr.io", "contoso-1a2b.azurecr.io"),
        ("contoso-1.azurecr.io,contoso-2.azurecr.io", None),
        (f"my.example={RESOURCE},contoso.azurecr.io", "my.example"),
        (f"a.example={RESOURCE},b.example={RESOURCE}", None),
    ],
)
def test_resource_is_found_on_the_list(listed: str, found: str | None) -> None:
    """A resource is the one registry of its id, in any case, or else the one of its name."""
    registry = AllowList.parse(listed).of_resource(RESOURCE.replace("contoso", "Contoso"))
    assert (registry and registry.login_server) == found
