"""Validation of deliveries."""

import json
from typing import Any

import pytest

from shared.core.actions import actions
from shared.core.problems import Kind, Problem
from shared.core.schemas import schema, validator
from shared.core.validation import PayloadValidator
from shared.core.violations import violations
from tests.support.deliveries import example

CHECK = PayloadValidator(actions())


def _pointers(delivery: dict[str, Any]) -> list[str]:
    """The pointers of the violations of `delivery`; none if it is valid."""
    try:
        CHECK.validate(delivery)
    except Problem as problem:
        return [violation.pointer for violation in problem.violations]
    return []


@pytest.mark.parametrize("number", [0, 524, 2**31, 2**63 - 1])
def test_sizes_go_to_64_bits(number: int) -> None:
    """A size can be as large as a 64-bit integer."""
    assert _pointers(example("push", target__size=number, target__length=number)) == []


@pytest.mark.parametrize(
    ("written", "size"), [("524.0", 524), ("5.24e2", 524), ("-0.0", 0), ("9e18", 9 * 10**18)]
)
def test_size_is_written_as_integer(written: str, size: int) -> None:
    """A size with a fraction of zero or an exponent is an integer in the payload."""
    number = json.loads(written)
    for action in ("push", "quarantine"):
        target = CHECK.validate(example(action, target__size=number, target__length=number))[
            "target"
        ]
        assert json.dumps([target["size"], target["length"]]) == json.dumps([size, size])


@pytest.mark.parametrize("size", [2**63, 2.0**63, -(2**63) - 1, 0.5, "524", True, [524], {"n": 1}])
def test_invalid_size_is_a_violation(size: object) -> None:
    """A size that is not a 64-bit integer is a violation."""
    assert _pointers(example("push", target__size=size)) == ["/target/size"]


@pytest.mark.parametrize(
    "timestamp",
    ["yesterday", "2019-02-30T00:00:00Z", "2019-03-05T23:45:31Z\n", 1551829531, ["x"], {"a": 1}],
)
def test_invalid_timestamp_is_a_violation(timestamp: object) -> None:
    """A timestamp that is not a valid one of RFC 3339 is a violation."""
    assert _pointers(example("push", timestamp=timestamp)) == ["/timestamp"]


@pytest.mark.parametrize("fraction", ["", ".1", ".1234567", ".123456789", "." + "9" * 40])
def test_timestamp_fraction_has_any_length(fraction: str) -> None:
    """A timestamp may have any number of fraction digits."""
    assert _pointers(example("push", timestamp=f"2019-03-05T23:45:31{fraction}Z")) == []


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:80f0d5c8786bb9e621a45ece0db56d11cdc624ad20da9fe62e9d25490f331d7d",
        "sha256:xxxxd5c8786bb9e621a45ece0dbxxxx1cdc624ad20da9fe62e9d25490f33xxxx",
        "sha256:91ef6",
        "sha512:ab",
        "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
        "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
    ],
)
def test_digest_follows_oci_grammar(digest: str) -> None:
    """A digest may have every form that the OCI grammar allows."""
    assert _pointers(example("push", target__digest=digest)) == []


@pytest.mark.parametrize(
    "digest", ["latest", "sha256", "sha256:", ":ab", "SHA256:ab", "sha256:a b", "sha256:ab\n", 7]
)
def test_invalid_digest_is_a_violation(digest: object) -> None:
    """A digest that the OCI grammar does not allow is a violation."""
    assert _pointers(example("push", target__digest=digest)) == ["/target/digest"]


@pytest.mark.parametrize(
    "host",
    ["myregistry.azurecr.io", "MyRegistry.AzureCR.io", "a", "r.azurecr.io:443", "10.0.0.1",
     "a" * 63 + ".io", ".".join(["a" * 49] * 5)],
)  # fmt: skip
def test_host_is_a_host_name(host: str) -> None:
    """A host may be any host name, with or without a port."""
    assert _pointers(example("push", request__host=host)) == []


@pytest.mark.parametrize(
    "host",
    ["[registry].azurecr.io", "my_registry.azurecr.io", "-a.io", "a-.io", "a..io", ".io", "a.io.",
     "a.io/x", "https://a.io", "a b", "a.io\n", "a.io:", "a.io:x", "é.io", "a" * 64 + ".io",
     ".".join(["a" * 50] * 5), "٣.io", 7, ["a.io"]],
)  # fmt: skip
def test_invalid_host_is_a_violation(host: object) -> None:
    """A host that is not a host name is a violation."""
    assert _pointers(example("push", request__host=host)) == ["/request/host"]


@pytest.mark.parametrize(("length", "passes"), [(1, True), (255, True), (256, False)])
def test_repository_has_at_most_255_characters(length: int, passes: bool) -> None:
    """A repository has at most 255 characters."""
    expected = [] if passes else ["/target/repository"]
    assert _pointers(example("push", target__repository="r" * length)) == expected


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f", "\x85", "\ufffe", "\ufdd0"])
@pytest.mark.parametrize("member", ["id", "target__repository", "target__tag"])
def test_attributes_have_no_forbidden_character(member: str, character: str) -> None:
    """A field that becomes an attribute has no character that CloudEvents forbids."""
    for text in (f"a{character}b", character, f"a{character}"):
        pointer = "/" + member.replace("__", "/")
        assert _pointers(example("push", **{member: text})) == [pointer]


def test_non_ascii_names_are_valid() -> None:
    """Repositories and tags may have characters that are not ASCII."""
    assert _pointers(example("push", target__repository="équipe/😀", target__tag="v1 β")) == []


def test_unknown_fields_stay_unchanged() -> None:
    """Validation keeps unknown fields unchanged."""
    delivery = example("push", future={"a": [1, None, {}]}, target__layers=None, empty="")
    assert CHECK.validate(delivery) == delivery


def test_empty_known_fields_are_removed() -> None:
    """Validation removes known fields that are null or empty."""
    noisy = example(
        "push",
        target__tag=None,
        target__url="",
        target__name=None,
        request__addr="",
        actor={"name": None},
        source={},
    )
    assert CHECK.validate(noisy) == example("push", target__tag=...)


def test_zero_is_not_empty() -> None:
    """Validation keeps a field that is zero."""
    assert CHECK.validate(example("push", target__size=0))["target"]["size"] == 0


def test_validation_keeps_its_input() -> None:
    """Validation does not change its input."""
    delivery = example("push", target__tag=None)
    CHECK.validate(delivery)
    assert delivery == example("push", target__tag=None)


def test_each_violation_is_reported_once() -> None:
    """Validation reports each violation once, with its place."""
    delivery = example(
        "push", id=7, timestamp="x", target__digest="x", target__size="x", request__host="x y",
        request__method=1, actor=["x"],
    )  # fmt: skip
    assert _pointers(delivery) == [
        "/actor",
        "/id",
        "/request/host",
        "/request/method",
        "/target/digest",
        "/target/size",
        "/timestamp",
    ]


@pytest.mark.parametrize("target", [[], "x", 7, True, ["x"]])
def test_bad_target_is_one_violation(target: object) -> None:
    """A target that is not an object is one violation."""
    assert _pointers(example("push", target=target)) == ["/target"]


@pytest.mark.parametrize("action", ["pull", "PUSH", "push ", "__class__", "x" * 10_000])
def test_unknown_action_names_known_actions(action: str) -> None:
    """An unknown action is a violation that lists the known actions, beside the others."""
    with pytest.raises(Problem) as caught:
        CHECK.validate(example("push", action=action, timestamp="x"))
    assert caught.value.kind is Kind.UNKNOWN_ACTION
    assert [v.pointer for v in caught.value.violations] == ["/action", "/timestamp"]
    assert all(known in caught.value.violations[0].detail for known in actions())
    assert len(caught.value.violations[0].detail) < 300


@pytest.mark.parametrize("action", [7, ["push"], {"push": 1}, True])
def test_action_must_be_text(action: object) -> None:
    """An action that is not text is a violation."""
    with pytest.raises(Problem) as caught:
        CHECK.validate(example("push", action=action))
    assert caught.value.kind is Kind.UNKNOWN_ACTION
    assert {v.pointer for v in caught.value.violations} == {"/action"}


def test_missing_action_is_a_violation() -> None:
    """A delivery without an action has one violation, at its action."""
    assert _pointers(example("push", action=...)) == ["/action"]


def test_pointer_escapes_follow_rfc_6901() -> None:
    """A pointer escapes slashes and tildes as RFC 6901 requires."""
    document = {"routes": [{"queue": "acr-push", "a/b~c": 1}], "rejectedQueue": "x"}
    found = violations(validator("rejected.v1.json"), {"errors": [{"pointer": "x"}]})
    assert "/errors/0/pointer" in {v.pointer for v in found}
    found = violations(validator("routes.v1.json"), document)
    assert [v.pointer for v in found] == ["/rejectedQueue", "/routes/0/a~1b~0c"]


def _problem(document: dict[str, Any]) -> tuple[str, dict[str, str]]:
    with pytest.raises(Problem) as caught:
        CHECK.validate(document)
    return caught.value.detail, {v.pointer: v.detail for v in caught.value.violations}


def test_violations_state_expected_value() -> None:
    """Each violation states the expected and the actual value; the detail quotes the first."""
    detail, found = _problem(
        example("push", id=..., target__digest="x", target__repository="r" * 256, target__size=True)
    )
    assert found == {
        "/id": "is required, and missing",
        "/target/digest": 'is not a valid content digest: "x"',
        "/target/repository": "must have at most 255 characters, not 256",
        "/target/size": "is not a valid 64-bit integer: true",
    }
    assert detail == "4 violation(s), the first at /id: is required, and missing."


def test_whole_document_violation_has_no_pointer() -> None:
    """A document that is not an object has one violation, with an empty pointer."""
    [found] = violations(validator("routes.v1.json"), [])
    assert (found.pointer, found.detail) == ("", "must be of type object, not an array")


def test_unknown_action_decides_the_detail() -> None:
    """The detail of an unknown action lists the known actions, whatever else is wrong."""
    why = f'is "pull", none of the known: {", ".join(actions())}'
    assert _problem(example("push", action="pull", timestamp=...)) == (
        f"The action {why}.",
        {"/action": why, "/timestamp": "is required, and missing"},
    )


def test_other_keywords_use_jsonschema_messages() -> None:
    """A keyword without a message of its own has that of jsonschema, cut at 200 characters."""
    reason = "x" * 300
    found = violations(validator("rejected.v1.json"), {"status": 500, "reason": reason + " "})
    texts = {v.pointer: v.detail for v in found}
    assert texts["/status"] == "500 is greater than the maximum of 499"
    assert texts["/reason"] == f"'{reason[:198]}…"


def test_schema_names_its_action() -> None:
    """The schema of an action states the expected and the actual action."""
    found = violations(validator("deliveries/push.json"), example("push", action="delete"))
    assert [(v.pointer, v.detail) for v in found] == [("/action", 'must be "push", not "delete"')]


def test_fast_accept_or_jsonschema_decides() -> None:
    """A document is valid if fast accept or jsonschema accepts it, and else invalid."""
    host = validator("common/host.json")
    assert [host.is_valid(text) for text in ("a.io", "a b", 7)] == [True, False, False]
    event = validator("event.v1.json")
    assert not event.fast_accept({})
    assert not event.is_valid({})


def test_resolved_schema_has_no_references() -> None:
    """A resolved schema has no references, ids or dialects."""
    text = json.dumps(schema("deliveries/push.json"))
    assert [word for word in ("$ref", "$id", "$schema") if f'"{word}"' in text] == []
