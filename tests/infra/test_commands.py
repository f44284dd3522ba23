"""The commands in the documents: each is complete, and az knows it with all its options."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.localhost import processes

ROOT = processes.ROOT
DOCUMENTS = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))

# Has azure-cli; `make test-az` makes it.
AZ_PYTHON = ROOT / ".venv-az" / "bin" / "python"

# Takes the place of a program: notes how it was called, and says something.
_STAND_IN = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]), file=calls)
print("said")
"""
_PROGRAMS = {"az", "azd", "func", "openssl"}


def _blocks(document: Path) -> list[str]:
    """The blocks of shell with such commands."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
    return [block for block in blocks if re.search(r"^ *(\w+=\$\()?azd? ", block, re.MULTILINE)]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """How the documents call the programs, when one is read from top to bottom."""
    folder = tmp_path_factory.mktemp("commands")
    for program in _PROGRAMS:
        file = folder / program
        file.write_text(_STAND_IN.format(python=sys.executable))
        file.chmod(0o755)
    noted = folder / "calls"
    for document in DOCUMENTS:
        script = "\n".join(_blocks(document))
        # <group> is what the reader puts there.
        script = re.sub(r"<([\w -]+)>", lambda found: found[1].replace(" ", "-"), script)
        result = subprocess.run(
            [shutil.which("bash") or "bash", "-eu", "-o", "pipefail", "-c", script],
            env={"PATH": str(folder), "CALLS": str(noted)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{document.name}: {result.stderr}"
    return [json.loads(line) for line in noted.read_text().splitlines()]


def test_the_commands_of_the_documents_run_as_they_stand(calls: list[list[str]]) -> None:
    assert {call[0] for call in calls} == _PROGRAMS
    assert sum(call[0] == "az" for call in calls) > 40
    assert not [call for call in calls if "" in call]


def test_azd_is_told_what_the_templates_ask_for(calls: list[list[str]]) -> None:
    parameters = (ROOT / "infra" / "main.parameters.json").read_text()
    names = [call[3] for call in calls if call[:3] == ["azd", "env", "set"]]
    assert "ACR_REGISTRY_ID" in names
    for name in names:
        assert f"${{{name}" in parameters


def test_the_commands_by_hand_name_what_the_templates_name(calls: list[list[str]]) -> None:
    routes = (ROOT / "routes.json").read_text()
    queues = [
        call[call.index("--name") + 1]
        for call in calls
        if call[1:4] == ["storage", "queue", "create"]
    ]
    assert sorted(queues) == sorted(set(re.findall(r'"(acr-[\w-]+)"', routes)))
    versions = [
        call[call.index("--runtime-version") + 1] for call in calls if "--runtime-version" in call
    ]
    assert set(versions) == {(ROOT / ".python-version").read_text().strip()}


def test_az_knows_every_command_with_all_its_options(
    calls: list[list[str]], tmp_path: Path
) -> None:
    if not AZ_PYTHON.exists():
        pytest.skip("azure-cli is not installed here: `make test-az` installs it")
    commands = [call[1:] for call in calls if call[0] == "az"]
    bad = [["acr", "webhook", "ping", "--registry", "contoso", "--hook", "x"]]
    result = subprocess.run(
        [AZ_PYTHON, Path(__file__).with_name("az_parse.py")],
        input=json.dumps(commands + bad), capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    *faults, of_bad = json.loads(result.stdout)
    assert of_bad
    found = [(command, fault) for command, fault in zip(commands, faults, strict=True) if fault]
    assert found == []
