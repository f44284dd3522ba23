"""What the templates in infra/ deploy, as Microsoft's compiler predicts it.

`bicep snapshot` evaluates a deployment without Azure: every resource with its final name and
properties. A value that only Azure knows stays an expression such as `[reference(…).clientId]`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.routes import SHIPPED_ROUTES
from tools.localhost import processes

ROOT = processes.ROOT
INFRA = ROOT / "infra"
# What the templates read.
SOURCES = ("infra", "routes.json", "shared/actions.json", ".python-version")

SUBSCRIPTION = "11111111-1111-1111-1111-111111111111"
REGISTRY = (
    "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/registries"
    "/providers/Microsoft.ContainerRegistry/registries/contoso"
)
# What each deployment needs at least.
REQUIRED = {"environmentName": "acr", "location": "westeurope", "registryIds": REGISTRY}


class DeploymentError(Exception):
    """The compiler refused the deployment. The message is its own."""


@cache
def compiler() -> str:
    """The compiler's path: BICEP, else the one on the PATH, else the one of `az bicep`."""
    if given := os.environ.get("BICEP"):
        # A compiler that is named and missing is an error, not a skip.
        return given
    azure = Path(os.environ.get("AZURE_CONFIG_DIR", Path.home() / ".azure"))
    found = shutil.which("bicep") or shutil.which("bicep", path=azure / "bin")
    if not found:
        pytest.skip("no Bicep compiler here: `az bicep install`, or name one in BICEP")
    return found


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A run of the compiler."""
    return subprocess.run([compiler(), *arguments], capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Resource:
    """A resource that the deployment creates."""

    body: Mapping[str, Any]

    @property
    def type(self) -> str:
        """Such as `Microsoft.Web/sites`."""
        return str(self.body["type"])

    @property
    def id(self) -> str:
        """The resource id."""
        return str(self.body["id"])

    @property
    def name(self) -> str:
        """The last part of the name."""
        return str(self.body["name"]).rsplit("/", 1)[-1]

    @property
    def properties(self) -> dict[str, Any]:
        """The properties."""
        return dict(self.body["properties"])

    @property
    def scope(self) -> str:
        """The id of the resource or group that it belongs to."""
        # Where its own name is an expression, so is its id.
        extended = re.match(r"\[extensionResourceId\('([^']+)'", self.id)
        return extended[1] if extended else self.id.rpartition("/providers/")[0]


@dataclass(frozen=True)
class Deployment:
    """A predicted deployment."""

    resources: tuple[Resource, ...]
    outputs: Mapping[str, Any]

    def of(self, type_: str) -> list[Resource]:
        """The resources of a type, in the order of the templates."""
        return [resource for resource in self.resources if resource.type == type_]

    def only(self, type_: str) -> Resource:
        """The one resource of a type."""
        [resource] = self.of(type_)
        return resource


class Compiler:
    """Predicts deployments, each once: a prediction takes seconds.

    Args:
        folder: Where the predictions are kept, for every worker of the test run.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deploy(self, root: Path = ROOT, **parameters: object) -> Deployment:
        """The deployment of the templates below `root` with these parameters of main.bicep.

        Raises DeploymentError where the compiler refuses it.
        """
        text = "using 'main.bicep'\n" + "\n".join(
            f"param {name} = {_literal(value)}" for name, value in (REQUIRED | parameters).items()
        )
        snapshot = json.loads(self._predicted(root, text))
        resources = tuple(map(Resource, snapshot["predictedResources"]))
        return Deployment(resources, snapshot["outputs"])

    def _predicted(self, root: Path, parameters: str) -> str:
        digest = hashlib.sha256(parameters.encode())
        for file in _files(root):
            digest.update(file.read_bytes())
        kept = self._folder / f"{digest.hexdigest()}.json"
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                # Another worker sees the whole file or none.
                _snapshot(root, Path(folder), parameters).rename(kept)
        return kept.read_text()


def _literal(value: object) -> str:
    """A value as Bicep writes it."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\$") + "'"
    return f"json({_literal(json.dumps(value))})" if isinstance(value, dict) else json.dumps(value)


def _files(root: Path) -> Iterable[Path]:
    for name in SOURCES:
        source = _source(root, name)
        yield from sorted(filter(Path.is_file, source.iterdir())) if source.is_dir() else [source]


def _source(root: Path, name: str) -> Path:
    """The file or folder `name` below `root`. The routes are those shipped, not the user's."""
    return SHIPPED_ROUTES if root == ROOT and name == "routes.json" else root / name


def copy_sources(root: Path, folder: Path) -> None:
    """Copies what the templates read from `root` to `folder`."""
    for name in SOURCES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(_source(root, name), folder / name)


def _snapshot(root: Path, folder: Path, parameters: str) -> Path:
    copy_sources(root, folder)
    file = folder / "infra" / "test.bicepparam"
    file.write_text(parameters)
    result = run(
        "snapshot", file, "--mode", "overwrite", "--subscription-id", SUBSCRIPTION,
        "--tenant-id", "00000000-0000-0000-0000-000000000000",
        "--location", "westeurope", "--deployment-name", "snapshot",
    )  # fmt: skip
    if result.returncode or result.stderr:
        raise DeploymentError(result.stderr or result.stdout)
    return file.with_suffix(".snapshot.json")
