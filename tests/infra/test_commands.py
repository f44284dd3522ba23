"""The commands in the documents are complete, and az accepts them with all their options."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import hooks
from shared.core.actions import event_actions
from tests.support.routes import SHIPPED_ROUTES
from tools.localhost import processes

ROOT = processes.ROOT
DOCUMENTS = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))

# `make test-az` installs azure-cli there.
AZ_PYTHON = ROOT / ".venv-az" / "bin" / "python"

# Replaces a program: writes its arguments to a file, and prints a text.
_STAND_IN = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]), file=calls)
print("said")
"""
_PROGRAMS = {"az", "azd", "func", "openssl"}


def _blocks(document: Path) -> list[str]:
    """The shell blocks that call az or azd."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
    return [block for block in blocks if re.search(r"^ *(\w+=\$\()?azd? ", block, re.MULTILINE)]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Every call of a program, with each document run from top to bottom."""
    folder = tmp_path_factory.mktemp("commands")
    for program in _PROGRAMS:
        file = folder / program
        file.write_text(_STAND_IN.format(python=sys.executable))
        file.chmod(0o755)
    recorded = folder / "calls"
    for document in DOCUMENTS:
        script = "\n".join(_blocks(document))
        # The reader replaces a placeholder such as <group>.
        script = re.sub(r"<([\w -]+)>", lambda found: found[1].replace(" ", "-"), script)
        result = subprocess.run(
            [shutil.which("bash") or "bash", "-eu", "-o", "pipefail", "-c", script],
            env={"PATH": str(folder), "CALLS": str(recorded)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{document.name}: {result.stderr}"
    return [json.loads(line) for line in recorded.read_text().splitlines()]


def test_documented_commands_run(calls: list[list[str]]) -> None:
    """The shell blocks of the documents run from top to bottom without an empty argument."""
    assert {call[0] for call in calls} == _PROGRAMS
    assert sum(call[0] == "az" for call in calls) > 40
    assert not [call for call in calls if "" in call]


def test_azd_variables_are_template_parameters(calls: list[list[str]]) -> None:
    """Every variable that a document sets with azd is a parameter of the templates."""
    parameters = (ROOT / "infra" / "main.parameters.json").read_text()
    names = [call[3] for call in calls if call[:3] == ["azd", "env", "set"]]
    assert "ACR_REGISTRY_IDS" in names
    for name in names:
        assert f"${{{name}" in parameters


def test_created_webhooks_send_every_action(calls: list[list[str]]) -> None:
    """A webhook that a document creates sends every action that raises an event."""
    created = [call for call in calls if call[1:4] == ["acr", "webhook", "create"]]
    assert len(created) >= 2
    for call in created:
        begin = call.index("--actions") + 1
        end = next(at for at in range(begin, len(call)) if call[at].startswith("--"))
        assert sorted(call[begin:end]) == sorted(event_actions())


def test_manual_deployment_matches_templates(calls: list[list[str]]) -> None:
    """The commands without azd create the shipped queues and use the declared Python."""
    routes = SHIPPED_ROUTES.read_text()
    queues = [
        call[call.index("--name") + 1]
        for call in calls
        if call[1:4] == ["storage", "queue", "create"]
        and "queue" not in call[call.index("--name") + 1].split("-")  # <queue> in the documents
    ]
    assert sorted(queues) == sorted(set(re.findall(r'"(acr-[\w-]+)"', routes)))
    versions = [
        call[call.index("--runtime-version") + 1] for call in calls if "--runtime-version" in call
    ]
    assert set(versions) == {(ROOT / ".python-version").read_text().strip()}
    words = {word for call in calls for word in call}
    parameters = (ROOT / "infra" / "main.parameters.json").read_text()
    for option, word in {"HTTP_CONCURRENCY": "perInstanceConcurrency=", "STORAGE_SKU": ""}.items():
        [default] = re.findall(rf"ACR_{option}=(\w+)", parameters)
        assert word + default in words


def _hook_commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every az command of the steps that azd runs around a deployment."""
    commands = []
    app = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Web/sites/a"
    registry = (
        "/subscriptions/1/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/r"
    )
    held = [{"id": "1", "principalId": "p", "roleDefinitionId": "/x/roleDefinitions/1"}]
    outputs = {
        "resource list": app,
        "functionapp function list": "AcrWebhook",
        "functionapp show": "127.0.0.1:1",
        "acr webhook list": "x",
        "acr webhook get-config": "https://host.example/",
        "role assignment list": json.dumps(held),
        "role definition list": "x",
    }

    def run(*command: str) -> str:
        commands.append(list(command[1:]) if command[0] == "az" else [])
        line = " ".join(command[1:])
        return next((output for name, output in outputs.items() if line.startswith(name)), "")

    monkeypatch.setattr(hooks, "run", run)
    hooks.preprovision({"AZURE_ENV_NAME": "acr", "AZURE_SUBSCRIPTION_ID": "1"})
    hooks.postdown(
        {
            "ACR_REGISTRY_IDS": registry,
            "ACR_REMOVED_FUNCTION_URL": "https://host.example/api/AcrWebhook",
            "ACR_REMOVED_WEBHOOK_IDS": f"{registry}/webhooks/w",
            "ACR_REMOVED_APP_PRINCIPAL_ID": "p",
        }
    )
    assert len(commands) == 12
    return [command for command in commands if command]


def test_az_accepts_every_command(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """az accepts every command of documents and hooks, and rejects a wrong one."""
    if not AZ_PYTHON.exists():
        pytest.skip("azure-cli is not installed here: `make test-az` installs it")
    commands = [call[1:] for call in calls if call[0] == "az"] + _hook_commands(monkeypatch)
    bad = [["acr", "webhook", "ping", "--registry", "contoso", "--hook", "x"]]
    result = subprocess.run(
        [AZ_PYTHON, Path(__file__).with_name("az_parse.py")],
        input=json.dumps(commands + bad), capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    *errors, of_bad = json.loads(result.stdout)
    assert of_bad
    found = [(command, error) for command, error in zip(commands, errors, strict=True) if error]
    assert found == []
