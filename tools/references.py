"""What a user names, put into an example delivery."""

from typing import Any

from tools.localhost.function_app import ToolError


def put(reference: str, example: dict[str, Any], registry: str | None) -> None:
    """Makes `example` one about `reference`, which is in `registry` if one is given.

    `reference` is `name:version` of a chart, else `repository[:tag][@digest]`. Without a tag, the
    example has none. Its other values stay. Raises ToolError where its action lacks a named part.
    """
    action, target = example["action"], example.get("target")
    if target is None:
        raise ToolError(f"A {action} is about no image: leave out {reference!r}.")
    if "version" in target:
        named = _chart(reference)
    else:
        named = _image(reference, registry)
        if named["tag"] is None:
            target.pop("tag", None)
    for name, value in named.items():
        if value is not None and name not in target:
            raise ToolError(f"A {action} has no {name}.")
        if value is not None:
            target[name] = value


def _chart(reference: str) -> dict[str, str | None]:
    name, _, version = reference.rpartition(":")
    if not name or not version:
        raise ToolError("Name a chart and its version, as in wordpress:5.4.0.tgz.")
    return {"name": name, "version": version, "tag": f"{name}-{version}"}


def _image(reference: str, registry: str | None) -> dict[str, str | None]:
    name, _, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    # A repository can have a dot there, too.
    if slash and (":" in first or ("." in first and registry is None)):
        raise ToolError(f"Name the registry separately: {rest} --registry {first}")
    repository, _, tag = name.partition(":")
    return {"repository": repository, "tag": tag or None, "digest": digest or None}
