"""The templates in infra/ are well formed, and their parameters are documented."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.bicep import deploy
from tools.localhost import processes

ROOT = processes.ROOT
INFRA = ROOT / "infra"
TEMPLATES = sorted(INFRA.glob("*.bicep"))
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_template_builds_without_warning(
    template: Path,
) -> None:
    """The Bicep compiler builds each template without a warning."""
    bicep = shutil.which("bicep")
    if bicep is None:
        pytest.skip("the compiler `bicep` is not installed here")
    result = subprocess.run(
        [bicep, "build", "--stdout", template], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_template_declarations_are_used(template: Path) -> None:
    """A template uses every parameter and variable that it declares."""
    text = re.sub(r"//.*|@description\(.*", "", template.read_text())
    for name in re.findall(r"^(?:param|var) (\w+)", text, re.MULTILINE):
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name


def test_outputs_name_url_and_webhook() -> None:
    """The outputs name the function's URL, and the webhook if there is one."""
    outputs = deploy(createWebhook=True).outputs
    assert outputs["FUNCTION_URL"] == "https://«app.properties.defaultHostName»/api/AcrWebhook"
    assert outputs["WEBHOOK_NAME"] == "acrwebhook"
    assert deploy().outputs["WEBHOOK_NAME"] == ""


def test_api_versions_are_stable() -> None:
    """Each resource type has one API version, and it is not a preview."""
    made = deploy(createWebhook=True, operatorId="me", alertEmail="me@contoso.example").resources
    versions = dict(each.type.split("@") for each in made)
    assert {each.type for each in made} == {f"{type_}@{v}" for type_, v in versions.items()}
    for type_, version in versions.items():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", version), type_


def _parameters() -> dict[str, Any]:
    file = json.loads((INFRA / "main.parameters.json").read_bytes())
    return {name: each["value"] for name, each in file["parameters"].items()}


def test_azd_parameters_match_template() -> None:
    """azd sets every required parameter, and its defaults are the template's."""
    for name, value in _parameters().items():
        variable = re.fullmatch(r"\$\{(\w+)(?:=(.*))?\}", value) if isinstance(value, str) else None
        given = variable[2] if variable else value
        if given is not None:
            # azd's default is the template's own.
            given = {"true": True, "false": False, "1": 1}.get(given, given) if variable else given
            rest = {} if name == "createWebhook" else {"createWebhook": True}
            assert str(deploy(**{name: given}, **rest)) == str(deploy(**rest)), name
    assert (
        _parameters().items()
        >= {
            "environmentName": "${AZURE_ENV_NAME}",
            "location": "${AZURE_LOCATION}",
            "registryId": "${ACR_REGISTRY_ID}",
        }.items()
    )


def test_deploy_page_lists_azd_options() -> None:
    """docs/deploy.md lists every option that `azd env set` takes."""
    options = re.findall(r"\$\{(ACR_\w+)", json.dumps(_parameters()))
    assert len(options) > 5
    for name in options:
        assert f"| `{name}` |" in DEPLOY, name


def test_every_parameter_is_described() -> None:
    """Every parameter of the main template has a description."""
    text = (INFRA / "main.bicep").read_text()
    parameters = re.findall(r"^param \w+", text, re.MULTILINE)
    described = re.findall(r"^@description\(.*\n(?:@.*\n)*param \w+", text, re.MULTILINE)
    assert len(described) == len(parameters) > 10
