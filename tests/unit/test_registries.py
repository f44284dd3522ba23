"""The allow-list of registries, and the registry of a delivery."""

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


def test_empty_list_allows_every_registry() -> None:
    """Without an allow-list, every registry may deliver."""
    assert AllowList.parse("").registry("a.azurecr.io", None) == Registry("a.azurecr.io")


@pytest.mark.parametrize("resource_id", [RESOURCE, RESOURCE.lower()])
def test_listed_resource_id_is_event_source(resource_id: str) -> None:
    """A listed resource id is an event source that the event schema allows."""
    allowed = AllowList.parse(f"contoso.azurecr.io={resource_id}")
    registry = allowed.registry("contoso.azurecr.io", None)
    event = to_cloud_event(payload("delete"), actions()["delete"], registry)
    assert event["source"] == resource_id
    assert violations(validator("event.v1.json"), event) == []


def test_list_names_servers_and_ids() -> None:
    """An allow-list names login servers, each with or without a resource id."""
    allowed = AllowList.parse(f" Contoso.azurecr.io = {RESOURCE} , fabrikam.azurecr.io,, ")
    contoso = Registry("contoso.azurecr.io", RESOURCE)
    assert allowed.registry("contoso.azurecr.io", None) == contoso
    assert allowed.registry("CONTOSO.azurecr.io:443", None) == contoso
    assert allowed.registry("fabrikam.azurecr.io", None) == Registry("fabrikam.azurecr.io")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("contoso azurecr.io", ', entry 1: "contoso azurecr.io" is not a login server. Use the'),
        ("contoso", ', entry 1: "contoso" is not a login server. Did you mean contoso.azurecr.io?'),
        ("Contoso:443", '"Contoso:443" is not a login server. Did you mean contoso.azurecr.io?'),
        ("a.azurecr.io, https://b.azurecr.io/", ", entry 2: "),
        ("https://b.azurecr.io", " is not a login server. Did you mean b.azurecr.io?"),
        ("a.azurecr.io=contoso", ', entry 1: "a.azurecr.io" has no resource id of a registry aft'),
        ("a.azurecr.io=/subscriptions/x", "has no resource id"),
        ("a.azurecr.io,A.azurecr.io", ', entry 2: "a.azurecr.io" is listed twice'),
        ("=" + RESOURCE, "ACR_REGISTRIES, entry 1: is not a login server. Use the form contoso."),
        (",,", "ACR_REGISTRIES: names no registry. Remove the setting to allow every registry."),
    ],
)
def test_bad_list_names_entry_and_reason(text: str, why: str) -> None:
    """The error for an invalid allow-list names the entry and the reason."""
    with pytest.raises(ValueError, match=r"^ACR_REGISTRIES") as caught:
        AllowList.parse(text)
    assert why in str(caught.value)


SECRET = "c2VjcmV0LWtleQc2VjcmV0LWtleQ"  # noqa: S105 (not a real key)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"{SECRET}==",
        f"user:{SECRET}",
        f"https://user:{SECRET}@a.azurecr.io",
        f"https://a.azurecr.io/?sig={SECRET}",
        f"a.azurecr.io?sig={SECRET}",
        f"AccountKey={SECRET}",
        f"a.azurecr.io={SECRET}",
        f"https://a.azurecr.io/{SECRET}",
    ],
)
def test_secret_in_list_stays_secret(text: str) -> None:
    """An entry that could be a secret is not quoted, or only its first eight characters."""
    [invalid] = AllowList.read(text).invalid
    assert SECRET[:9] not in f"{invalid}{invalid.public}"


def test_long_entry_is_quoted_shortly() -> None:
    """An entry of up to 24 characters is quoted whole, a longer one by its first eight."""
    for length, quoted in ((24, "a" * 24), (25, "aaaaaaaa…")):
        [invalid] = AllowList.read("a" * length).invalid
        assert invalid.value == f'"{quoted}"'


def test_invalid_entry_leaves_valid_ones() -> None:
    """The valid entries of a list apply, and every invalid one is reported."""
    allowed = AllowList.read("a.azurecr.io, contoso, b.azurecr.io=x, c.azurecr.io, c.azurecr.io")
    for host in ("a.azurecr.io", "c.azurecr.io"):
        assert allowed.registry(host, None) == Registry(host)
    assert [each.place for each in allowed.invalid] == [
        f"ACR_REGISTRIES, entry {number}" for number in (2, 3, 5)
    ]
    with pytest.raises(Problem) as caught:
        allowed.registry("b.azurecr.io", None)
    assert caught.value.kind is Kind.REGISTRY_NOT_ALLOWED
    assert caught.value.detail == (
        "b.azurecr.io is not in the app setting ACR_REGISTRIES, and the app setting "
        "ACR_REGISTRIES has invalid entries (3)."
    )


@pytest.mark.parametrize("text", ["contoso", ",", "contoso.azurecr.io=x", "a b, c d"])
@pytest.mark.parametrize(
    ("host", "parameter"),
    [("contoso.azurecr.io", None), (None, "contoso.azurecr.io"), (None, None), ("contoso", None)],
)
def test_list_without_valid_entry_allows_nobody(
    text: str, host: str | None, parameter: str | None
) -> None:
    """A list without a valid entry refuses every delivery with 403."""
    with pytest.raises(Problem) as caught:
        AllowList.read(text).registry(host, parameter)
    assert caught.value.kind is Kind.REGISTRY_NOT_ALLOWED
    assert "ACR_REGISTRIES has invalid entries (" in caught.value.detail


def test_unnamed_registry_needs_valid_list() -> None:
    """A chart without a registry is not taken for the only valid entry's: it may be another's."""
    with pytest.raises(Problem, match="The delivery names no registry") as caught:
        AllowList.read("a.azurecr.io, contoso").registry(None, None)
    assert caught.value.kind is Kind.REGISTRY_NOT_ALLOWED


@pytest.mark.parametrize(
    ("host", "parameter"), [("c.azurecr.io", None), (None, "c.azurecr.io"), ("c.azurecr.io",) * 2]
)
def test_unlisted_registry_is_403(host: str | None, parameter: str | None) -> None:
    """A registry that is not on the allow-list is a 403."""
    with pytest.raises(Problem) as caught:
        AllowList.parse("a.azurecr.io,b.azurecr.io").registry(host, parameter)
    assert caught.value.kind is Kind.REGISTRY_NOT_ALLOWED
    assert caught.value.kind.status == 403
    assert "c.azurecr.io" in caught.value.detail


def test_chart_registry_comes_from_url() -> None:
    """A chart delivery comes from the registry that the webhook's URL names."""
    assert AllowList.parse("").registry(None, "A.azurecr.io") == Registry("a.azurecr.io")


def test_chart_registry_defaults_to_only_entry() -> None:
    """A chart delivery without a registry comes from the only registry on the allow-list."""
    assert AllowList.parse("a.azurecr.io").registry(None, None) == Registry("a.azurecr.io")


@pytest.mark.parametrize("text", ["", "a.azurecr.io,b.azurecr.io"])
@pytest.mark.parametrize("parameter", [None, ""])
def test_unnamed_registry_is_unknown(text: str, parameter: str | None) -> None:
    """A registry that delivery, URL and allow-list leave open is unknown."""
    assert AllowList.parse(text).registry(None, parameter) is None


@pytest.mark.parametrize(
    "parameter", ["not a host", "a_b", "a.io/../x", "x" * 5000, "\ud800", "a.io\n", "<script>"]
)
@pytest.mark.parametrize("host", [None, "a.azurecr.io"])
def test_registry_parameter_must_be_host(host: str | None, parameter: str) -> None:
    """A registry parameter that is not a host name is a problem with a short detail."""
    with pytest.raises(Problem, match="registry parameter") as caught:
        AllowList.parse("").registry(host, parameter)
    assert caught.value.kind is Kind.INVALID_REGISTRY
    assert len(caught.value.detail) < 300


def test_registry_parameter_must_match_delivery() -> None:
    """A registry parameter that contradicts the delivery is a problem that names both."""
    with pytest.raises(Problem) as caught:
        AllowList.parse("").registry("a.azurecr.io", "b.azurecr.io")
    assert caught.value.kind is Kind.INVALID_REGISTRY
    assert "a.azurecr.io" in caught.value.detail
    assert "b.azurecr.io" in caught.value.detail


def test_registry_parameter_ignores_case_and_port() -> None:
    """The registry parameter may differ from the delivery in case and port."""
    registry = AllowList.parse("").registry("a.azurecr.io:443", "A.AZURECR.IO")
    assert registry == Registry("a.azurecr.io")


def _detail(allowed: str, host: str | None, parameter: str | None) -> tuple[str, list[Violation]]:
    with pytest.raises(Problem) as caught:
        AllowList.parse(allowed).registry(host, parameter)
    return caught.value.detail, list(caught.value.violations)


def test_registry_problems_state_place_and_reason() -> None:
    """Each problem is one sentence, and points to the host if the delivery names one."""
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
    """An allow-list that names a registry twice, in any case, is invalid."""
    with pytest.raises(ValueError, match=r"^ACR_REGISTRIES, entry 2: \"a\.io\" is listed twice\."):
        AllowList.parse("a.io,A.io")


def test_bad_resource_id_states_form() -> None:
    """The error for an invalid resource id states the form of a valid one."""
    with pytest.raises(ValueError, match="entry") as caught:
        AllowList.parse("a.io=x")
    assert str(caught.value) == (
        'ACR_REGISTRIES, entry 1: "a.io" has no resource id of a registry after the =. '
        "Use the form /subscriptions/…/providers/Microsoft.ContainerRegistry/registries/…."
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
    """A resource is the only entry with its id, in any case, or else with its name."""
    registry = AllowList.parse(listed).of_resource(RESOURCE.replace("contoso", "Contoso"))
    assert (registry and registry.login_server) == found


REGIONAL = "Contoso.EastUS.geo.azurecr.io:443"


@pytest.mark.parametrize("listed", ["", "contoso.azurecr.io", REGIONAL])
@pytest.mark.parametrize(
    ("host", "parameter"),
    [
        (REGIONAL, None),
        (None, REGIONAL),
        (REGIONAL, "contoso.azurecr.io"),
        ("contoso.azurecr.io", REGIONAL),
        (REGIONAL, "contoso.westeurope.geo.azurecr.io"),
    ],
)
def test_regional_endpoint_is_the_registry(
    listed: str, host: str | None, parameter: str | None
) -> None:
    """List, delivery and URL may name a registry by its login server or a regional endpoint."""
    registry = AllowList.parse(listed).registry(host, parameter)
    assert registry == Registry("contoso.azurecr.io")


def test_endpoint_of_another_form_is_unlisted() -> None:
    """A host that only resembles a regional endpoint is not the registry."""
    with pytest.raises(Problem) as caught:
        AllowList.parse("contoso.azurecr.io").registry("contoso.eastus.notgeo.azurecr.io", None)
    assert caught.value.kind is Kind.REGISTRY_NOT_ALLOWED


def test_registry_is_listed_by_several_endpoints() -> None:
    """Entries for the endpoints of one registry are one registry, with the id of either."""
    ids = ("", f"={RESOURCE}", "", f"={RESOURCE.replace('contoso', 'Contoso')}")
    hosts = (REGIONAL, "contoso.azurecr.io", "contoso.b.geo.azurecr.io", "contoso.c.geo.azurecr.io")
    allowed = AllowList.parse(",".join(map(str.__add__, hosts, ids)))
    contoso = Registry("contoso.azurecr.io", RESOURCE)
    assert allowed.registry(None, None) == contoso
    assert allowed.of_resource(RESOURCE) == contoso


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{REGIONAL},{REGIONAL.lower()}", 'entry 2: "contoso.azurecr.io" is listed twice'),
        (
            f"contoso.azurecr.io={RESOURCE},{REGIONAL}={RESOURCE}2",
            'entry 2: "contoso.azurecr.io" has another resource id in an earlier entry',
        ),
    ],
)
def test_endpoints_may_not_contradict(text: str, why: str) -> None:
    """An endpoint listed twice, or with another resource id than its registry, is invalid."""
    with pytest.raises(ValueError, match="entry 2") as caught:
        AllowList.parse(text)
    assert why in str(caught.value)
