"""What is deployed, and what it may use."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FUNCTIONS = sorted(file.parent.name for file in ROOT.glob("*/function.json"))
DEPLOYED = [file for folder in ("shared", *FUNCTIONS) for file in ROOT.glob(f"{folder}/**/*.py")]
# The packages that requirements.txt installs: it names each, or an extra that needs it (aiohttp).
PACKAGES = {
    "azure.data.tables", "azure.mgmt.containerregistry",
    "azure.functions", "azure.core", "azure.identity", "azure.storage", "jsonschema", "aiohttp",
}  # fmt: skip


def _imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", DEPLOYED, ids=lambda file: file.stem)
def test_deployed_code_imports_deployed_packages(file: Path) -> None:
    """Deployed code imports only the standard library, `shared` and installed packages."""
    others = {
        name
        for name in _imports(file)
        if name.split(".")[0] not in sys.stdlib_module_names | {"shared"}
        and not any(name == allowed or name.startswith(f"{allowed}.") for allowed in PACKAGES)
    }
    assert not others


CORE = sorted((ROOT / "shared" / "core").glob("*.py"))


@pytest.mark.parametrize("file", CORE, ids=lambda file: file.stem)
def test_core_reads_no_clock(file: Path) -> None:
    """The core reads no clock and imports no network client, which import-linter cannot see."""
    assert "urllib.request" not in _imports(file)
    assert "now(" not in file.read_text()


@pytest.mark.parametrize("package", ["azure.identity", "azure.mgmt", "azure.data"])
def test_unneeded_packages_load_on_demand(package: str) -> None:
    """The app starts without the packages that no delivery needs."""
    code = f"import sys, {', '.join(FUNCTIONS)}; print({package!r} in sys.modules)"
    environment = {
        "PATH": os.environ["PATH"],
        "AcrEventsStorage": "UseDevelopmentStorage=true",
        "ACR_WEBHOOKS": "/subscriptions/x/resourceGroups/x/providers"
        "/Microsoft.ContainerRegistry/registries/contoso/webhooks/events",
    }
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert result.stdout == "False\n"


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("azure.storage", {"clients", "inspection", "messages"}),
        ("azure.data", {"ledger", "lease", "table"}),
        ("azure.mgmt", {"management"}),
        ("azure.identity", {"credentials"}),
    ],
)
def test_each_azure_package_has_its_modules(package: str, modules: set[str]) -> None:
    """Only the listed modules import each package of the Azure SDK."""
    users = {
        file.stem for file in DEPLOYED if any(name.startswith(package) for name in _imports(file))
    }
    assert users == modules


def test_function_requires_post_and_key() -> None:
    """The function accepts only POST requests and requires a function key."""
    function = json.loads((ROOT / "AcrWebhook" / "function.json").read_bytes())
    trigger, response = function["bindings"]
    assert (trigger["type"], trigger["direction"]) == ("httpTrigger", "in")
    assert trigger["methods"] == ["post"]
    assert trigger["authLevel"] == "function"
    assert (response["type"], response["name"]) == ("http", "$return")


def test_app_keeps_its_programming_model() -> None:
    """No file switches the app to the other programming model."""
    assert not (ROOT / "function_app.py").exists()


def test_tools_and_tests_are_not_deployed() -> None:
    """`.funcignore` excludes tools, tests and local settings, and includes what the app needs."""
    ignored = (ROOT / ".funcignore").read_text().split()
    for name in ("tools", "tests", "docs", "examples", "local.settings.json", "node_modules", ".*"):
        assert name in ignored
    for name in ("shared", "AcrWebhook", "host.json", "routes.json", "requirements.txt"):
        assert name not in ignored


def test_sample_settings_are_documented_without_secrets() -> None:
    """The sample settings hold only documented names and no secret."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_bytes())
    assert sample["IsEncrypted"] is False
    assert sample["Values"]["FUNCTIONS_WORKER_RUNTIME"] == "python"
    table = (ROOT / "docs" / "configuration.md").read_text()
    for name, value in sample["Values"].items():
        assert f"| `{name}` |" in table
        assert "AccountKey" not in value


def test_python_version_is_consistent() -> None:
    """.python-version and the settings of mypy name the same version of Python."""
    version = (ROOT / ".python-version").read_text().strip()
    assert version == "3.13"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["tool"]["mypy"]["python_version"] == version
