"""docs/openapi.yaml is valid, complete, and equal to what the app responds."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from ruamel.yaml import YAML

from shared.core.problems import Kind, Problem
from shared.core.responses import PROBLEM_TYPE, problem_details
from tools.localhost import processes

ROOT = processes.ROOT
FILE = ROOT / "docs" / "openapi.yaml"
OPENAPI = YAML(typ="safe").load(FILE)
DELIVERY = OPENAPI["paths"]["/AcrWebhook"]["post"]
SCHEMAS = OPENAPI["components"]["schemas"]
ACTIONS = json.loads((ROOT / "shared" / "actions.json").read_bytes())

# Only deliveries from the delivery log have this kind, and they get no response.
OVER_HTTP = [kind for kind in Kind if kind is not Kind.INVALID_LOG_ENTRY]


def _retrieve(uri: str) -> Resource[Any]:
    """A document by its file, or by its `$id`, which starts as below."""
    name = uri.removeprefix("https://acr-webhook.example/")
    file = ROOT / "shared" / name if name != uri else Path(uri.removeprefix("file://"))
    return Resource.from_contents(YAML(typ="safe").load(file), DRAFT202012)


def test_openapi_document_is_valid() -> None:
    """The document is valid OpenAPI, and its references resolve, those in JSON Schema too."""
    validate(OPENAPI, base_uri=FILE.as_uri())


def test_openapi_has_every_action() -> None:
    """A request body is the delivery of one of the actions, by the action's own JSON Schema."""
    alternatives = [each["$ref"] for each in SCHEMAS["Delivery"]["oneOf"]]
    assert sorted(alternatives) == sorted(f"#/components/schemas/{action}" for action in ACTIONS)
    for action in ACTIONS:
        assert SCHEMAS[action] == {"$ref": f"../shared/schemas/deliveries/{action}.json"}
    assert DELIVERY["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Delivery"
    }


def test_openapi_has_every_http_function() -> None:
    """Paths, methods and the need for a key are those of the functions with an HTTP trigger."""
    served = {}
    for file in ROOT.glob("*/function.json"):
        for binding in json.loads(file.read_bytes())["bindings"]:
            if binding["type"] == "httpTrigger":
                path = f"/{binding.get('route', file.parent.name)}"
                key = binding["authLevel"] == "function"
                served[path] = dict.fromkeys(binding["methods"], (file.parent.name, key))
    documented = {
        path: {method: (each["operationId"], bool(each["security"])) for method, each in of.items()}
        for path, of in OPENAPI["paths"].items()
    }
    assert documented == served


def test_openapi_has_every_problem() -> None:
    """Each status has the problem types that the app responds with, and no other."""
    documented = {}
    for status, response in DELIVERY["responses"].items():
        if problem := response.get("content", {}).get("application/problem+json"):
            kinds = problem["schema"]["properties"]["type"]
            assert problem["schema"]["properties"]["status"] == {"const": int(status)}
            documented[int(status)] = set(kinds.get("enum", [kinds.get("const")]))
    expected: dict[int, set[str]] = {}
    for kind in OVER_HTTP:
        expected.setdefault(kind.status, set()).add(PROBLEM_TYPE + kind.reason)
    assert documented == expected


@pytest.mark.parametrize("kind", OVER_HTTP, ids=lambda kind: kind.reason)
def test_every_problem_fits_openapi(kind: Kind) -> None:
    """Content type, headers and body of a problem are those of the document."""
    response = problem_details(Problem(kind, "The body is wrong."))
    documented = DELIVERY["responses"][str(response.status)]
    assert list(documented["content"]) == [response.content_type]
    assert documented.get("headers", {}).keys() == response.headers.keys()
    content_type = response.content_type.replace("/", "~1")
    pointer = f"/paths/~1AcrWebhook/post/responses/{response.status}/content/{content_type}/schema"
    schema = {"$ref": f"{FILE.as_uri()}#{pointer}"}
    registry = Registry(retrieve=_retrieve)  # type: ignore[call-arg]
    Draft202012Validator(schema, registry=registry).validate(json.loads(response.body))
