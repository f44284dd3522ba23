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
    """Where the violations of an invalid delivery are; nowhere in a valid one."""
    try:
        CHECK.validate(delivery)
    except Problem as problem:
        return [violation.pointer for violation in problem.violations]
    return []


@pytest.mark.parametrize("number", [0, 524, 2**31, 2**63 - 1])
def test_sizes_go_to_64_bits(number: int) -> None:
    assert _pointers(example("push", target__size=number, target__length=number)) == []


@pytest.mark.parametrize("size", [2**63, -(2**63) - 1, 0.5, "524", True, [524], {"n": 1}])
def test_a_size_that_is_no_64_bit_integer_is_a_violation(size: object) -> None:
    assert _pointers(example("push", target__size=size)) == ["/target/size"]


@pytest.mark.parametrize(
    "timestamp",
    ["yesterday", "2019-02-30T00:00:00Z", "2019-03-05T23:45:31Z\n", 1551829531, ["x"], {"a": 1}],
)
def test_a_timestamp_is_really_checked(timestamp: object) -> None:
    assert _pointers(example("push", timestamp=timestamp)) == ["/timestamp"]


@pytest.mark.parametrize("fraction", ["", ".1", ".1234567", ".123456789", "." + "9" * 40])
def test_a_timestamp_may_have_any_number_of_fraction_digits(fraction: str) -> None:
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
def test_a_digest_follows_the_oci_grammar(digest: str) -> None:
    assert _pointers(example("push", target__digest=digest)) == []


@pytest.mark.parametrize(
    "digest", ["latest", "sha256", "sha256:", ":ab", "SHA256:ab", "sha256:a b", "sha256:ab\n", 7]
)
def test_what_the_oci_grammar_does_not_allow_is_no_digest(digest: object) -> None:
    assert _pointers(example("push", target__digest=digest)) == ["/target/digest"]


@pytest.mark.parametrize(
    "host",
    ["myregistry.azurecr.io", "MyRegistry.AzureCR.io", "a", "r.azurecr.io:443", "10.0.0.1",
     "a" * 63 + ".io", ".".join(["a" * 49] * 5)],
)  # fmt: skip
def test_a_host_is_a_host_name(host: str) -> None:
    assert _pointers(example("push", request__host=host)) == []


@pytest.mark.parametrize(
    "host",
    ["[registry].azurecr.io", "my_registry.azurecr.io", "-a.io", "a-.io", "a..io", ".io", "a.io.",
     "a.io/x", "https://a.io", "a b", "a.io\n", "a.io:", "a.io:x", "é.io", "a" * 64 + ".io",
     ".".join(["a" * 50] * 5), "٣.io", 7, ["a.io"]],
)  # fmt: skip
def test_what_is_no_host_name_is_a_violation(host: object) -> None:
    assert _pointers(example("push", request__host=host)) == ["/request/host"]


@pytest.mark.parametrize(("length", "passes"), [(1, True), (255, True), (256, False)])
def test_a_repository_has_at_most_255_characters(length: int, passes: bool) -> None:
    expected = [] if passes else ["/target/repository"]
    assert _pointers(example("push", target__repository="r" * length)) == expected


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f", "\x85", "\ufffe", "\ufdd0"])
@pytest.mark.parametrize("member", ["id", "target__repository", "target__tag"])
def test_what_becomes_an_attribute_has_no_character_that_cloudevents_forbids(
    member: str, character: str
) -> None:
    for text in (f"a{character}b", character, f"a{character}"):
        pointer = "/" + member.replace("__", "/")
        assert _pointers(example("push", **{member: text})) == [pointer]


def test_names_beyond_ascii_pass() -> None:
    assert _pointers(example("push", target__repository="équipe/😀", target__tag="v1 β")) == []


def test_unknown_fields_are_carried_along_untouched() -> None:
    delivery = example("push", future={"a": [1, None, {}]}, target__layers=None, empty="")
    assert CHECK.validate(delivery) == delivery


def test_null_and_empty_fields_that_are_known_are_removed() -> None:
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


def test_a_zero_is_not_empty() -> None:
    assert CHECK.validate(example("push", target__size=0))["target"]["size"] == 0


def test_validating_leaves_the_document_as_it_was() -> None:
    delivery = example("push", target__tag=None)
    CHECK.validate(delivery)
    assert delivery == example("push", target__tag=None)


def test_all_violations_are_reported_each_once_and_with_its_place() -> None:
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
def test_a_target_that_is_no_object_is_one_violation(target: object) -> None:
    assert _pointers(example("push", target=target)) == ["/target"]


@pytest.mark.parametrize("action", ["pull", "PUSH", "push ", "__class__", "x" * 10_000])
def test_an_unknown_action_is_a_422_that_says_which_are_known(action: str) -> None:
    with pytest.raises(Problem) as caught:
        CHECK.validate(example("push", action=action, timestamp="x"))
    assert caught.value.kind is Kind.UNKNOWN_ACTION
    assert [v.pointer for v in caught.value.violations] == ["/action", "/timestamp"]
    assert all(known in caught.value.violations[0].detail for known in actions())
    assert len(caught.value.violations[0].detail) < 300


@pytest.mark.parametrize("action", [7, ["push"], {"push": 1}, True])
def test_an_action_that_is_no_text_is_a_violation(action: object) -> None:
    with pytest.raises(Problem) as caught:
        CHECK.validate(example("push", action=action))
    assert caught.value.kind is Kind.UNKNOWN_ACTION
    assert {v.pointer for v in caught.value.violations} == {"/action"}


def test_a_delivery_without_action_is_told_so() -> None:
    assert _pointers(example("push", action=...)) == ["/action"]


def test_a_pointer_escapes_what_rfc_6901_says() -> None:
    document = {"routes": [{"queue": "acr-push", "a/b~c": 1}], "rejectedQueue": "x"}
    found = violations(validator("rejected.v1.json"), {"errors": [{"pointer": "x"}]})
    assert "/errors/0/pointer" in {v.pointer for v in found}
    found = violations(validator("routes.v1.json"), document)
    assert [v.pointer for v in found] == ["/rejectedQueue", "/routes/0/a~1b~0c"]


def _problem(document: dict[str, Any]) -> tuple[str, dict[str, str]]:
    with pytest.raises(Problem) as caught:
        CHECK.validate(document)
    return caught.value.detail, {v.pointer: v.detail for v in caught.value.violations}


def test_violations_say_what_is_wanted() -> None:
    """Each violation says what the field must be and what it is; the detail tells the first."""
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


def test_violation_of_the_whole_is_at_the_top() -> None:
    """A document that is no object is violated as a whole."""
    [found] = violations(validator("routes.v1.json"), [])
    assert (found.pointer, found.detail) == ("", "must be of type object, not an array")


def test_unknown_action_lists_the_known() -> None:
    """An unknown action is told the known ones, before what else is wrong."""
    why = 'is "pull", none of the known: push, delete, quarantine, chart_push, chart_delete, ping'
    assert _problem(example("push", action="pull", timestamp=...)) == (
        f"The action {why}.",
        {"/action": why, "/timestamp": "is required, and missing"},
    )


def test_other_keywords_speak_for_themselves() -> None:
    """A keyword without words of its own has those of jsonschema, cut at 200 characters."""
    reason = "x" * 300
    found = violations(validator("rejected.v1.json"), {"status": 500, "reason": reason + " "})
    texts = {v.pointer: v.detail for v in found}
    assert texts["/status"] == "500 is greater than the maximum of 499"
    assert texts["/reason"] == f"'{reason[:198]}…"


def test_another_action_is_named() -> None:
    """The document of one action says of another which it wants."""
    found = violations(validator("deliveries/push.json"), example("push", action="delete"))
    assert [(v.pointer, v.detail) for v in found] == [("/action", 'must be "push", not "delete"')]


def test_validator_asks_both_tests() -> None:
    """A document is valid where the quick test or jsonschema says so, else not."""
    host = validator("common/host.json")
    assert [host.is_valid(text) for text in ("a.io", "a b", 7)] == [True, False, False]
    event = validator("event.v1.json")
    assert not event.fast_accept({})
    assert not event.is_valid({})


def test_documents_have_no_references_left() -> None:
    """References to other documents are put in place, without the ids of these."""
    text = json.dumps(schema("deliveries/push.json"))
    assert [word for word in ("$ref", "$id", "$schema") if f'"{word}"' in text] == []
