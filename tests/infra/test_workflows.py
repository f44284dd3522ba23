"""The workflows, azd's configuration, the workbook's form, and the editor's settings."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from ruamel.yaml import YAML

from infra import hooks
from tools.localhost import processes

ROOT = processes.ROOT
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
DEPLOY, CI = WORKFLOWS

# Schemas that no package contains.
PUBLISHED = {
    "azure.yaml": "https://raw.githubusercontent.com/Azure/azure-dev/main/schemas/v1.0/azure.yaml.json",
    "infra/workbook.json": "https://raw.githubusercontent.com/microsoft/Application-Insights-Workbooks/master/schema/workbook.json",
}


def _read(file: Path) -> Any:
    return YAML(typ="safe").load(file)


def _steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in _read(workflow)["jobs"].values() for step in job["steps"]]


def _check(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_workflow_fits_published_schema(workflow: Path) -> None:
    """A workflow fits its published schema, and each job has a timeout."""
    _check("--builtin-schema", "vendor.github-workflows", workflow)
    _check("--builtin-schema", "custom.github-workflows-require-timeout", workflow)


def test_dependabot_file_fits_schema() -> None:
    """Dependabot's configuration fits its published schema."""
    _check("--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")


@pytest.mark.parametrize("name", PUBLISHED)
def test_file_fits_published_schema(name: str) -> None:
    """A file that another tool reads fits that tool's published schema."""
    try:
        with urlopen(PUBLISHED[name], timeout=5) as response:  # noqa: S310 (https, above)
            response.read(1)
    except URLError as error:
        pytest.skip(f"the published schema cannot be reached from here: {error.reason}")
    _check("--schemafile", PUBLISHED[name], name)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    """Each action is pinned to a commit, with its version in a comment."""
    uses = re.findall(r"uses: (.+)", workflow.read_text())
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_workflow_has_least_permissions(workflow: Path) -> None:
    """A workflow has only the permissions that it needs, and no secret."""
    document = _read(workflow)
    rights = [
        document["permissions"],
        *(j.get("permissions", {}) for j in document["jobs"].values()),
    ]
    writes = {name for each in rights for name, right in each.items() if right != "read"}
    assert writes == ({"id-token"} if workflow == DEPLOY else set())
    assert "secrets." not in workflow.read_text()
    for step in _steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        # A caller's value is data. An expression would make it a part of the script.
        assert "${{" not in step.get("run", "")


def test_ci_covers_every_python() -> None:
    """CI tests each supported Python, and runs lint and all tests on the declared one."""
    [job] = _read(CI)["jobs"].values()
    older = re.search(r"^OLDER := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert older
    newest = (ROOT / ".python-version").read_text().strip()
    assert job["strategy"]["matrix"]["python"] == [*older[1].split(), newest]
    commands = {
        step["run"] for step in job["steps"] if step.get("if", "").endswith(f"== '{newest}'")
    }
    # A compiler that is named and missing fails the tests instead of skipping them.
    tests = "BICEP=~/.azure/bin/bicep make test"
    assert commands == {"make lint", "az bicep install", tests, "make test-az"}
    [units] = [step["run"] for step in job["steps"] if "pytest tests/unit" in step.get("run", "")]
    assert "pip install --require-hashes -r requirements-older.txt" in units


def test_setup_actions_cache_packages() -> None:
    """The setup actions cache the packages of pip and npm by the lock files."""
    used = {
        step["uses"].split("@")[0]: step.get("with", {}) for step in _steps(CI) if "uses" in step
    }
    assert used.keys() == {"actions/checkout", "actions/setup-python", "actions/setup-node"}
    assert used["actions/setup-python"]["cache"] == "pip"
    assert used["actions/setup-python"]["cache-dependency-path"] == "requirements*.txt"
    assert used["actions/setup-node"]["cache"] == "npm"


def test_dependabot_updates_lock_files() -> None:
    """Dependabot updates the lock files with `uv`, and uses `pip` only for the examples."""
    updates = _read(ROOT / ".github" / "dependabot.yml")["updates"]
    [uv] = [each for each in updates if each["package-ecosystem"] == "uv"]
    assert uv["directory"] == "/"
    for each in updates:
        assert each["package-ecosystem"] != "pip" or "/" not in each["directories"]
    # Dependabot takes the options from the first lines of a lock file.
    for lock in ("requirements", "requirements-run", "requirements-dev", "requirements-older"):
        header = (ROOT / f"{lock}.txt").read_text().splitlines()[1]
        assert "--universal --python-version 3." in header


def test_hooks_run_installed_programs() -> None:
    """Every pre-commit hook is local and runs a program of .venv."""
    document = _read(ROOT / ".pre-commit-config.yaml")
    assert {each["repo"] for each in document["repos"]} == {"local"}
    hooks = [hook for each in document["repos"] for hook in each["hooks"]]
    names = {hook["entry"].split()[0] for hook in hooks}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert names == {
        f".venv/bin/{name}"
        for name in ("ruff", "codespell", "check-jsonschema", "zizmor", "python")
    }
    for name in names:
        assert (ROOT / name).exists() or not (ROOT / ".venv").exists()


def test_deploy_workflow_uses_federated_login() -> None:
    """The deploy workflow logs azd and az in without a secret, and has time for the health step."""
    [job] = _read(DEPLOY)["jobs"].values()
    login, up = [step["run"] for step in job["steps"] if "run" in step]
    assert "--federated-credential-provider github" in login
    assert "--federated-token" in login
    assert "--client-secret" not in login
    assert "--password" not in login
    assert up == "azd up --no-prompt"
    waiting = hooks.HEALTH_ATTEMPTS * (hooks.HEALTH_PAUSE_SECONDS + hooks.HEALTH_TIMEOUT_SECONDS)
    assert job["timeout-minutes"] * 60 > waiting + 30 * 60


def test_pipelines_pass_every_option() -> None:
    """GitHub's workflow and `azd pipeline config` pass on every option that azd reads."""
    parameters = (ROOT / "infra" / "main.parameters.json").read_text()
    # A hook sets this one.
    options = set(re.findall(r"\$\{(\w+)", parameters)) - {"ACR_CREATE_WEBHOOK"}
    [job] = _read(DEPLOY)["jobs"].values()
    assert job["env"].keys() == options | {"AZURE_SUBSCRIPTION_ID"}
    listed = _read(ROOT / "azure.yaml")["pipeline"]["variables"]
    # azd passes its own on.
    assert set(listed) == {name for name in options if not name.startswith("AZURE_")}


def test_azd_finds_its_workflow() -> None:
    """The deploy workflow has the name that `azd pipeline config` looks for."""
    assert DEPLOY.exists()
    assert DEPLOY.name == "azure-dev.yml"


def test_azd_deploys_to_templates_app() -> None:
    """azd deploys this folder to the app with the service's tag."""
    document = _read(ROOT / "azure.yaml")
    [(service, settings)] = document["services"].items()
    assert settings == {"project": ".", "language": "py", "host": "function"}
    assert f"'azd-service-name': '{service}'" in (ROOT / "infra" / "app.bicep").read_text()
    # Its `azd down` deletes only the groups that the deployment created.
    assert document["requiredVersions"]["azd"] == ">= 1.24.1"


def test_azd_creates_webhook_after_code() -> None:
    """`azd up` creates the webhook in a second provisioning, after it deployed the code."""
    document = _read(ROOT / "azure.yaml")
    steps = [step["azd"] for step in document["workflows"]["up"]["steps"]]
    assert steps == ["provision", "deploy --all", "provision"]
    for name, hook in document["hooks"].items():
        assert hook["posix"]["run"] == f"python3 infra/hooks.py {name}"
        assert hook["windows"]["run"] == f"python infra/hooks.py {name}"
    assert document["hooks"].keys() == hooks.STEPS.keys()
    parameters = json.loads((ROOT / "infra" / "main.parameters.json").read_bytes())["parameters"]
    assert parameters["createWebhook"]["value"] == "${ACR_CREATE_WEBHOOK=false}"


def test_editor_settings_fit_functions_extension() -> None:
    """The editor's files have the tasks and settings that the Functions extension writes."""
    files = {f.name: json.loads(f.read_bytes()) for f in (ROOT / ".vscode").glob("*.json")}
    assert files.keys() == {"extensions.json", "launch.json", "settings.json", "tasks.json"}
    assert "ms-azuretools.vscode-azurefunctions" in files["extensions.json"]["recommendations"]
    tasks = {task["label"]: task for task in files["tasks.json"]["tasks"]}
    [launch] = files["launch.json"]["configurations"]
    start = tasks[launch["preLaunchTask"]]
    assert (start["type"], start["command"]) == ("func", "host start")
    assert start["dependsOn"] in tasks
    assert files["settings.json"]["azureFunctions.projectLanguage"] == "Python"
    # The environment that the Makefile creates.
    assert files["settings.json"]["azureFunctions.pythonVenv"] == ".venv"
