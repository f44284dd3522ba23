"""The resources that the templates in infra/ deploy, as far as they are known without Azure.

Bicep's compiler is not on PyPI or npm, but its grammar is (tree-sitter-bicep). This module
evaluates the part of the language that the templates use, so that tests check resources and not
text. A text in guillemets replaces a value that only Azure knows: «identity.properties.clientId».
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from tools.localhost import processes

INFRA = processes.ROOT / "infra"
_PARSER = Parser(Language(tree_sitter_bicep.language()))


def parse(file: Path) -> Node:
    """The syntax tree of a template. Fails where the template has a syntax error."""
    root = _PARSER.parse(file.read_bytes()).root_node
    errors = [node.start_point for node in nodes(root) if node.type == "ERROR" or node.is_missing]
    assert not errors, f"{file.name} cannot be parsed at (row, column) {errors}"
    return root


def nodes(root: Node) -> Iterator[Node]:
    """`root` and all nodes below it."""
    yield root
    for child in root.children:
        yield from nodes(child)


@dataclass
class Resource:
    """A resource, new or existing."""

    symbol: str
    type: str
    existing: bool
    body: dict[str, Any]
    parent: "Resource | None"
    scope: Any
    children: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As declared."""
        return str(self.body["name"])

    @property
    def properties(self) -> dict[str, Any]:
        """As declared."""
        found: dict[str, Any] = self.body["properties"]
        return found

    def get(self, member: str) -> Any:
        """The value of `symbol.member`, in the templates."""
        if member == "name":
            return self.name
        return Runtime(f"{self.symbol}.{member}")


class Runtime(str):
    """A value that only Azure knows."""

    __slots__ = ()

    def __new__(cls, path: str) -> "Runtime":
        """The value at `path`."""
        return super().__new__(cls, f"«{path}»")

    def get(self, member: str) -> "Runtime":
        """The value of a member of it."""
        return Runtime(f"{self[1:-1]}.{member}")


@dataclass
class Deployment:
    """The resources and outputs of one template with its modules."""

    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of(self, type_: str) -> list[Resource]:
        """The new resources of a type, which is given without its version."""
        return [r for r in self.resources if r.type.split("@")[0] == type_ and not r.existing]

    def only(self, type_: str) -> Resource:
        """The only new resource of a type."""
        [found] = self.of(type_)
        return found


Scope = dict[str, Any]


class _Template:
    """One file. Declarations are evaluated when they are used, as their order does not count."""

    def __init__(self, file: Path, given: Mapping[str, Any], scope: Any, whole: Deployment) -> None:
        self.file = file
        self.root = parse(file)
        self.whole = whole
        self.scope = scope
        self.declared: dict[str, Node] = {}
        self.values: Scope = {}
        for node in self.root.named_children:
            if node.type.endswith("_declaration") and node.type != "output_declaration":
                name = _identifier(node)
                assert name not in self.declared, f"{file.name}: {name} is declared twice"
                self.declared[name] = node
        parameters = {n for n, d in self.declared.items() if d.type == "parameter_declaration"}
        assert given.keys() <= parameters, f"{file.name} has no {given.keys() - parameters}"
        for name in parameters:
            if name in given:
                self.values[name] = given[name]
            else:
                assert self.declared[name].named_children[-1].type != "type", (
                    f"{file.name}: {name} is not given"
                )

    def run(self) -> dict[str, Any]:
        """Evaluates every declaration, and returns the outputs."""
        for name in self.declared:
            self.value(name, {})
        return {
            _identifier(node): self.evaluate(node.named_children[-1], {})
            for node in self.root.named_children
            if node.type == "output_declaration"
        }

    def value(self, name: str, local: Scope) -> Any:
        if name in local:
            return local[name]
        if name not in self.values:
            assert name in self.declared, f"{self.file.name}: {name} is not declared"
            node = self.declared[name]
            match node.type:
                case "parameter_declaration" | "variable_declaration":
                    self.values[name] = self.evaluate(node.named_children[-1], {})
                case "module_declaration":
                    self.values[name] = self.module(node)
                case "resource_declaration":
                    self.values[name] = self.resource(node, None, {})
        return self.values[name]

    def module(self, node: Node) -> Any:
        body = node.named_children[-1]
        if body.type == "if_statement":
            condition, body = body.named_children
            if not self.evaluate(condition, {}):
                return None
        file = self.file.parent / self.evaluate(node.named_children[1], {})
        members = self.evaluate(body, {})
        inner = _Template(file, members.get("params", {}), members["scope"], self.whole)
        return {"outputs": inner.run()}

    def resource(self, node: Node, parent: Resource | None, local: Scope) -> Any:
        symbol, type_ = _identifier(node), self.evaluate(node.named_children[1], local)
        existing = any(child.type == "existing" for child in node.children)
        if parent:
            plain, _, version = parent.type.partition("@")
            type_ = f"{plain}/{type_}@{version}"

        def one(body: Node, local: Scope) -> Resource | None:
            if body.type == "if_statement":
                condition, body = body.named_children
                if not self.evaluate(condition, local):
                    return None
            made = Resource(symbol, type_, existing, {}, parent, self.scope)
            for member in body.named_children:
                inner = member.named_children[0] if member.named_children else member
                if inner.type != "resource_declaration" and member.type == "object_property":
                    made.body |= self.evaluate_member(member, local)
            made.parent = made.body.get("parent", parent)
            made.scope = made.body.get("scope", self.scope)
            self.whole.resources.append(made)
            # Resources inside it can refer to it.
            self.values.setdefault(symbol, made)
            for member in body.named_children:
                inner = member.named_children[0] if member.named_children else member
                if inner.type == "resource_declaration":
                    made.children[_identifier(inner)] = self.resource(inner, made, local)
            return made

        body = node.named_children[-1]
        if body.type == "for_statement":
            return list(self.loop(body, local, one))
        return one(body, local)

    def loop(self, node: Node, local: Scope, each: Callable[[Node, Scope], Any]) -> Iterator[Any]:
        name, items, body = node.named_children
        for item in self.evaluate(items, local):
            yield each(body, {**local, _text(name): item})

    def evaluate_member(self, node: Node, local: Scope) -> dict[str, Any]:
        key, value = node.named_children
        name = _text(key) if key.type == "identifier" else str(self.evaluate(key, local))
        return {name: self.evaluate(value, local)}

    def evaluate(self, node: Node, local: Scope) -> Any:
        parts = [child for child in node.named_children if child.type != "comment"]
        match node.type:
            case "string":
                texts = [self.evaluate(part, local) for part in parts]
                return "".join(t if isinstance(t, str) else json.dumps(t) for t in texts)
            case "string_content":
                return _text(node)
            case "escape_sequence":
                return {"\\'": "'", "\\n": "\n", "\\\\": "\\"}[_text(node)]
            case "number":
                return int(_text(node))
            case "boolean":
                return _text(node) == "true"
            case "identifier":
                return self.value(_text(node), local)
            case "interpolation" | "parenthesized_expression":
                return self.evaluate(parts[0], local)
            case "array":
                return [self.evaluate(part, local) for part in parts]
            case "object":
                members = [self.evaluate_member(part, local) for part in parts]
                return reduce(dict[str, Any].__or__, members, dict[str, Any]())
            case "unary_expression":
                assert _text(node).startswith("!")
                return not self.evaluate(parts[0], local)
            case "binary_expression":
                return self.binary(node, local, lambda right: self.evaluate(right, local))
            case "ternary_expression":
                condition, yes, no = parts
                return self.evaluate(yes if self.evaluate(condition, local) else no, local)
            case "subscript_expression":
                return self.subscript(node, local)
            case "resource_expression":
                outer, inner = parts
                return self.evaluate(outer, local).children[_text(inner)]
            case "member_expression":
                return self.member(parts[0], _text(parts[1]), local)
            case "lambda_expression":
                return self.function(parts[0], local, lambda inner: self.evaluate(parts[1], inner))
            case "call_expression":
                arguments = [self.evaluate(part, local) for part in parts[1].named_children]
                return self.call(_text(parts[0]), arguments)
        raise AssertionError(f"{self.file.name}: {node.type} is not known here: {_text(node)}")

    def member(self, node: Node, name: str, local: Scope) -> Any:
        # The grammar reads `x => x.y` as `(x => x).y`, and `a ?? b.c` as `(a ?? b).c`.
        if node.type == "lambda_expression":
            parameters, body = node.named_children
            return self.function(parameters, local, lambda inner: self.member(body, name, inner))
        if node.type == "binary_expression":
            return self.binary(node, local, lambda right: self.member(right, name, local))
        return _member(self.evaluate(node, local), name)

    def binary(self, node: Node, local: Scope, right: Callable[[Node], Any]) -> Any:
        first, second = node.named_children
        left = self.evaluate(first, local)
        match _text(node.children[1]):
            case "??":
                return right(second) if left is None else left
            case ">":
                return left > right(second)
        raise AssertionError(_text(node))

    def subscript(self, node: Node, local: Scope) -> Any:
        first, index = node.named_children
        found, key = self.evaluate(first, local), self.evaluate(index, local)
        if isinstance(found, Runtime):
            return Runtime(f"{found[1:-1]}[{key}]")
        return found.get(key) if "[?" in _text(node) else found[key]

    def function(
        self, parameters: Node, local: Scope, body: Callable[[Scope], Any]
    ) -> Callable[..., Any]:
        inner = [parameters] if parameters.type == "identifier" else parameters.named_children
        names = [_text(name) for name in inner]
        return lambda *values: body({**local, **dict(zip(names, values, strict=True))})

    def call(self, name: str, given: list[Any]) -> Any:
        match name, given:
            case "loadJsonContent", [path]:
                return json.loads((self.file.parent / path).read_bytes())
            case "loadTextContent", [path]:
                return (self.file.parent / path).read_text()
            case "environment", []:
                return {"resourceManager": "https://management.azure.com/"}
            case "listKeys", [of, _]:
                return Runtime(f"listKeys({of})")
            case "guid" | "uniqueString" | "resourceGroup" | "subscription", _:
                return Runtime(f"{name}({', '.join(map(str, given))})")
        return _FUNCTIONS[name](*given)


def _union(first: Any, *others: Any) -> Any:
    if isinstance(first, dict):
        return reduce(dict[str, Any].__or__, others, first)
    return list(dict.fromkeys([*first, *(item for other in others for item in other)]))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "any": lambda value: value,
    "concat": lambda *arrays: [item for array in arrays for item in array],
    "contains": lambda where, what: what in where,
    "empty": lambda value: not value,
    "items": lambda value: [{"key": k, "value": v} for k, v in sorted(value.items())],
    "join": lambda texts, between: between.join(texts),
    "last": lambda array: array[-1],
    "map": lambda array, function: [function(item) for item in array],
    "reduce": lambda array, first, function: reduce(function, array, first),
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, by: text.split(by),
    "string": json.dumps,
    "subscriptionResourceId": lambda *parts: "/".join(parts),
    "toLower": lambda text: text if isinstance(text, Runtime) else text.lower(),
    "trim": lambda text: text.strip(),
    "union": _union,
}


def _member(of: Any, name: str) -> Any:
    if isinstance(of, Resource | Runtime):
        return of.get(name)
    return of[name]


def _identifier(node: Node) -> str:
    return next(_text(child) for child in node.named_children if child.type == "identifier")


def _text(node: Node) -> str:
    return (node.text or b"").decode()


REGISTRY = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/images"
    "/providers/Microsoft.ContainerRegistry/registries/contoso"
)


def deploy(**parameters: object) -> Deployment:
    """The deployment of infra/main.bicep with `parameters`, for REGISTRY."""
    return deploy_from(INFRA, **parameters)


def deploy_from(folder: Path, **parameters: object) -> Deployment:
    """As `deploy`, with the templates in `folder`."""
    whole = Deployment()
    given = {"environmentName": "try", "location": "westeurope", "registryId": REGISTRY}
    template = _Template(folder / "main.bicep", given | parameters, "subscription", whole)
    whole.outputs = template.run()
    return whole
