"""The templates in infra/ compile, and their parameters are documented."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.bicep import INFRA, REGISTRY, ROOT, Compiler, DeploymentError, run
from tests.support.deployed import EVERYTHING

TEMPLATES = sorted(INFRA.glob("*.bicep"))
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()


def test_templates_compile_without_warning() -> None:
    """The compiler and the linter, with the rules of bicepconfig.json, find nothing."""
    result = run("lint", "--pattern", INFRA / "*.bicep")
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_templates_are_formatted(tmp_path: Path) -> None:
    """The templates have the form that the compiler's formatter gives them."""
    for template in TEMPLATES:
        shutil.copy(template, tmp_path)
    assert run("format", "--pattern", tmp_path / "*.bicep").returncode == 0
    for template in TEMPLATES:
        assert (tmp_path / template.name).read_text() == template.read_text(), template.name


def test_only_known_warning_is_disabled() -> None:
    """The templates disable one warning: no API version's types know the update strategy."""
    disabled = [
        (template.name, line.strip())
        for template in TEMPLATES
        for line in template.read_text().splitlines()
        if "#disable" in line
    ]
    assert disabled == [("app.bicep", "#disable-next-line BCP037")]


def test_compiler_checks_site_properties(tmp_path: Path) -> None:
    """The templates use an API version of sites whose properties the compiler knows."""
    misspelt = (INFRA / "app.bicep").read_text().replace("perInstanceConcurrency", "perInstance")
    copy = tmp_path / "infra" / "app.bicep"
    copy.parent.mkdir()
    copy.write_text(misspelt)
    (tmp_path / ".python-version").write_text("3.13")
    assert "BCP037" in run("build", copy, "--stdout").stderr


def test_deployment_needs_a_registry(bicep: Compiler) -> None:
    """A deployment that names no registry fails with the command to run."""
    with pytest.raises(DeploymentError, match="azd env set ACR_REGISTRY_IDS"):
        bicep.deploy(registryIds=" , ")


def test_api_versions_are_stable(bicep: Compiler) -> None:
    """Each resource type has one API version, and it is not a preview."""
    made = bicep.deploy(**EVERYTHING)
    versions = {(each.type, each.body["apiVersion"]) for each in made.resources}
    assert len(versions) == len({type_ for type_, _ in versions})
    for type_, version in versions:
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", version), type_


def test_outputs_name_url_and_webhooks(bicep: Compiler) -> None:
    """The outputs name the function's URL, and the webhooks if there are any."""
    before, after = bicep.deploy(), bicep.deploy(createWebhook=True)
    assert "defaultHostName" in before.outputs["FUNCTION_URL"]
    assert before.outputs["WEBHOOK_IDS"] == ""
    assert after.outputs["WEBHOOK_IDS"].startswith(f"{REGISTRY}/webhooks/acr")


def _parameters() -> dict[str, str]:
    file = json.loads((INFRA / "main.parameters.json").read_bytes())
    return {name: each["value"] for name, each in file["parameters"].items()}


def _declared() -> dict[str, dict[str, Any]]:
    compiled = run("build", INFRA / "main.bicep", "--stdout")
    declared: dict[str, dict[str, Any]] = json.loads(compiled.stdout)["parameters"]
    return declared


def test_azd_sets_every_parameter() -> None:
    """azd sets every parameter from a variable, and its defaults are the template's."""
    declared = _declared()
    assert _parameters().keys() == declared.keys()
    for name, value in _parameters().items():
        variable = re.fullmatch(r"\$\{([A-Z_]+)(?:=(.*))?\}", value)
        assert variable, name
        if (default := declared[name].get("defaultValue")) is None:
            assert variable[2] is None
        elif isinstance(default, dict):
            # azd leaves a parameter out whose variable is not set.
            assert (variable[2], default) == (None, {})
        else:
            assert variable[2] == (default if isinstance(default, str) else json.dumps(default))


def test_every_parameter_is_described() -> None:
    """Every parameter of the main template has a description."""
    for name, parameter in _declared().items():
        assert parameter["metadata"]["description"].strip(), name


def test_deploy_page_lists_azd_options() -> None:
    """docs/deploy.md lists every option that `azd env set` takes, with its default."""
    options = re.findall(r"\$\{(ACR_\w+)(?:=(.*?))?\}", "\n".join(_parameters().values()))
    assert len(options) > 20
    for name, default in options:
        [row] = re.findall(rf"^\| `{name}` \| (.*?) \|", DEPLOY, re.MULTILINE)
        if default:
            assert row.startswith(f"`{default}`"), name
