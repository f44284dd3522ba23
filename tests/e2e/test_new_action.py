"""An action is added by the steps of CONTRIBUTING.md, and nothing else."""

import json
import re
from pathlib import Path

import pytest

from tests.support.documents import read
from tests.support.pictures import terminal_lines
from tests.support.projects import copy_project, run_python, run_tests

TYPE = "Microsoft.ContainerRegistry.ImageSigned"

OPENAPI_SCHEMA = """    sign:
      $ref: ../shared/schemas/deliveries/sign.json
"""
CHANNEL = """  acr-sign:
    address: acr-sign
    description: Images that were signed.
    messages:
      ImageSigned:
        $ref: "#/components/messages/ImageSigned"
"""
OPERATION = """  sendImageSigned:
    action: send
    channel:
      $ref: "#/channels/acr-sign"
"""
MESSAGE = f"""    ImageSigned:
      summary: An image was signed.
      payload:
        allOf:
          - $ref: ../shared/schemas/event.v1.json
          - properties:
              type: {{ const: {TYPE} }}
"""


def _insert(file: Path, before: str, text: str) -> None:
    """Inserts `text` before the only line `before`."""
    [begin, end] = file.read_text().split(f"\n{before}\n")
    file.write_text(f"{begin}\n{text}{before}\n{end}")


def _replace(file: Path, old: str, new: str) -> None:
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new))


def _json(file: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads(file.read_bytes())
    return document


def _data(project: Path) -> None:
    """Steps 1 to 4: schema, example, table and route."""
    schemas = project / "shared" / "schemas" / "deliveries"
    schema = (schemas / "delete.json").read_text().replace("delete", "sign")
    (schemas / "sign.json").write_text(schema)
    examples = project / "tests" / "examples"
    example = _json(examples / "delete" / "documented.json") | {"action": "sign"}
    example["id"] = "5c4e1c6f-2f57-4c8e-9f53-0a3a0f5d9a10"
    (examples / "sign").mkdir()
    (examples / "sign" / "documented.json").write_text(json.dumps(example))
    table = project / "shared" / "actions.json"
    line = {"type": TYPE, "subject": ["{repository}"]}
    table.write_text(json.dumps(_json(table) | {"sign": line}))
    for file in (project / "routes.json", project / "tests" / "routes" / "shipped.json"):
        route = '{ "queue": "acr-push", "actions": ["push"] },'
        _replace(file, route, f'{route} {{ "queue": "acr-sign", "actions": ["sign"] }},')


def _documents(project: Path) -> None:
    """Steps 5 and 6: the two machine-readable documents, and the commands."""
    docs = project / "docs"
    delete = '        - $ref: "#/components/schemas/delete"'
    _insert(docs / "openapi.yaml", delete, delete.replace("delete", "sign") + "\n")
    _insert(docs / "openapi.yaml", "    Accepted:", OPENAPI_SCHEMA)
    for before, text in {"operations:": CHANNEL, "components:": OPERATION}.items():
        _insert(docs / "asyncapi.yaml", before, text)
    _insert(docs / "asyncapi.yaml", "    RejectedDelivery:", MESSAGE)
    for file in (project / "README.md", docs / "deploy.md"):
        _replace(file, "--actions push ", "--actions push sign ")
    _replace(docs / "deploy.md", "for QUEUE in acr-push ", "for QUEUE in acr-push acr-sign ")


def _figures(project: Path) -> None:
    """Steps 7 and 8: the costs, the picture and the output of the demo."""
    costs, page = project / "docs" / "cost.json", project / "docs" / "cost.md"
    before = run_python(project, "-m", "tools.cost").stdout.strip().split("\n\n")
    for name in ("queues", "furtherAlertSeries"):
        _replace(costs, *_counted(costs.read_text(), name))
    after = run_python(project, "-m", "tools.cost").stdout.strip().split("\n\n")
    for old, new in zip(before, after, strict=True):
        _replace(page, old, new)
    picture = project / "docs" / "images" / "demo.svg"
    result = run_python(project, "-m", "tools", "demo", "--picture", str(picture))
    assert result.returncode == 0, result.stdout + result.stderr
    readme = project / "README.md"
    printed = "\n".join(["$ make demo", *terminal_lines(picture)])
    shown = re.sub(r"\$ make demo\n.*?(?=\n```)", lambda _: printed, readme.read_text(), flags=re.S)
    readme.write_text(shown)


def _counted(text: str, name: str) -> tuple[str, str]:
    """The member `name` of a JSON text, and the same with one more."""
    [number] = re.findall(rf'"{name}": (\d+)', text)
    return f'"{name}": {number}', f'"{name}": {int(number) + 1}'


@pytest.mark.slow
def test_new_action_needs_these_steps(tmp_path: Path) -> None:
    """With an action added by the listed steps, the tests without Storage pass."""
    project = copy_project(tmp_path / "project")
    _data(project)
    _documents(project)
    _figures(project)
    run_tests(project, "tests/unit", "tests/contracts", "tests/infra")


def test_steps_name_their_files() -> None:
    """CONTRIBUTING.md names each file that the steps change."""
    steps = read("CONTRIBUTING.md").partition("## Add an action")[2].partition("## Tests")[0]
    for name in (
        "shared/schemas/deliveries/<action>.json", "tests/examples/<action>/documented.json",
        "shared/actions.json", "routes.json", "tests/routes/shipped.json", "docs/openapi.yaml",
        "docs/asyncapi.yaml", "README.md", "docs/deploy.md", "docs/cost.json", "docs/cost.md",
        "docs/images/demo.svg", "az acr webhook update",
    ):  # fmt: skip
        assert name in steps


OWN_ROUTES = {
    "some": {
        "routes": [
            {"name": "releases", "queue": "%Releases%", "actions": ["push"], "tags": ["v*"]},
            {"queue": "everything-else", "fallback": True},
        ],
        "rejectedQueue": "refused",
    },
    "least": {"routes": [{"queue": "all"}], "rejectedQueue": "bad"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN_ROUTES)
def test_own_routes_break_no_test(name: str, tmp_path: Path) -> None:
    """With valid routes of the user's, the tests that read routes.json pass as before."""
    project = copy_project(tmp_path / "project")
    (project / "routes.json").write_text(json.dumps(OWN_ROUTES[name]))
    tests = [
        *(f"tests/unit/test_{name}.py" for name in
          ("own_routes", "pins", "pipeline", "regions", "route_checks", "route_gaps", "routing",
           "version", "cost", "referencing")),
        "tests/contracts", "tests/infra/test_commands.py", "tests/infra/test_deployed_app.py",
        "tests/infra/test_queries.py",
    ]  # fmt: skip
    run_tests(project, *tests)
