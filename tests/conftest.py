"""What all tests share."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent / "examples"


def _examples() -> dict[str, dict[str, Any]]:
    """Every example delivery, by `<action>/<name>`."""
    return {
        f"{file.parent.name}/{file.stem}": json.loads(file.read_bytes())
        for file in sorted(EXAMPLES.glob("*/*.json"))
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `any_example` runs once for each of them."""
    if "any_example" in metafunc.fixturenames:
        found = _examples()
        metafunc.parametrize("any_example", found.values(), ids=list(found))


@pytest.fixture
def example() -> Callable[..., dict[str, Any]]:
    """Makes the documented delivery of an action, with members replaced: `target__tag="v2"`.

    A member whose new value is `...` is left out.
    """

    def make(action: str, /, **changes: Any) -> dict[str, Any]:
        delivery = copy.deepcopy(_examples()[f"{action}/documented"])
        for path, value in changes.items():
            *outer, name = path.split("__")
            members = delivery
            for step in outer:
                members = members[step]
            if value is ...:
                members.pop(name)
            else:
                members[name] = value
        return delivery

    return make
