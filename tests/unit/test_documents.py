"""The documents say what the code has, and their links lead somewhere."""

import json
import re
from base64 import b64encode
from pathlib import Path

import pytest

from shared.core.actions import actions
from shared.core.normalization import to_cloud_event
from shared.core.problems import Kind
from shared.core.registries import AllowList
from shared.core.routing import VALUES, Routes
from shared.log import CONFIGURATION, DELIVERY, IDENTITY, LOST, QUEUE, RECONCILED, START
from shared.reconcile.management import ACTION
from shared.settings import NAMES
from shared.storage import connections
from tests.support.deliveries import payload
from tests.support.documents import DOCUMENTS, ROOT, block, blocks, prose, read
from tools import examples

# Without the output of the demo, which grows with each action.
_README_LINES = 180

# A path of the project, as diagrams and text name modules and folders: from the root.
_PATH = re.compile(
    r"(?<![\w./<-])(?:AcrWebhook|AcrReconcile|QueueDepth|Health|shared|tools|tests|infra)/[\w./-]*"
)

_any_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT))
)


def _anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of `document`."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}


def _section(text: str, begin: str, end: str) -> str:
    """The part of `text` from `begin` on, up to `end`."""
    start = text.index(begin)
    return text[start : text.index(end, start)]


def test_readme_is_short() -> None:
    """README.md has at most 180 lines, without the output that is folded."""
    shown = re.sub(r"<details>.*?</details>", "", read("README.md"), flags=re.DOTALL)
    assert len(shown.splitlines()) <= _README_LINES


@_any_document
def test_every_link_has_its_target(document: Path) -> None:
    """Every relative link leads to a file, and its anchor to a heading there."""
    text = prose(document)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        if target.startswith("https://"):
            continue
        file = (document.parent / target).resolve() if target else document
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), anchor
    defined = re.findall(r"^\[(\^?\w+)\]: ", text, re.MULTILINE)
    used = re.findall(r"\]\[(\w+)\]", text) + re.findall(r"\[(\^\w+)\](?!:)", text)
    assert set(used) == set(defined)


@_any_document
def test_every_named_module_exists(document: Path) -> None:
    """Every module and folder that a document or its diagrams name is there."""
    text = prose(document) + "\n".join(blocks(document.read_text(), "mermaid"))
    # What stands before a placeholder, as in shared/schemas/deliveries/<action>.json, is a folder.
    named = {path.rstrip(".") for path in _PATH.findall(text)}
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_diagrams_name_the_stages_modules() -> None:
    """The diagrams of the architecture name the modules that a delivery passes."""
    diagrams = "\n".join(blocks(read("docs/architecture.md"), "mermaid"))
    named = set(_PATH.findall(diagrams))
    assert {"AcrWebhook/", "shared/pipeline.py", "shared/storage/queues.py"} <= named
    assert len({path for path in named if path.startswith("shared/core/")}) > 5


def test_readme_commands_match_deploy_page() -> None:
    """Every az and azd command of README.md is in docs/deploy.md too."""
    deploy = blocks(read("docs/deploy.md"), "sh")
    commands = [
        each for each in blocks(read("README.md"), "sh") if re.search(r"^azd? ", each, re.M)
    ]
    assert len(commands) == 4
    assert [each for each in commands if each not in deploy] == []


def test_documented_event_is_emitted() -> None:
    """docs/reference.md shows the event of the documented push."""
    documented = json.loads(block("docs/reference.md", "json", '"specversion"'))
    allowed = AllowList.parse(f"{documented['acrregistry']}={documented['source']}")
    delivery = examples.payload("push")
    registry = allowed.registry(delivery["request"]["host"], None)
    event = to_cloud_event(delivery, actions()["push"], registry, documented["traceparent"])
    assert event == documented


def test_named_guarantee_tests_exist() -> None:
    """The tests that docs/architecture.md names for its guarantees exist."""
    guarantees = read("docs/architecture.md").partition("\n## Guarantees\n")[2]
    named = set(re.findall(r"`(test_\w+)`", guarantees))
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) == 35
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_queries_use_the_log_markers() -> None:
    """The queries of docs/operations.md look for the markers that the log writes."""
    operations = read("docs/operations.md")
    for marker in (DELIVERY, LOST):
        assert f'message startswith "{marker} "' in operations
        assert f"substring(message, {len(marker) + 1})" in operations
    for marker in (RECONCILED, QUEUE):
        assert f'message startswith "{marker} {{"' in operations
        assert f"substring(message, {len(marker) + 1})" in operations


def test_reference_lists_every_marker() -> None:
    """docs/reference.md has a row for each marker of the log."""
    rows = re.findall(r"^\| `(acr_\w+)` \|", read("docs/reference.md"), re.MULTILINE)
    assert set(rows) == {DELIVERY, LOST, RECONCILED, START, QUEUE, CONFIGURATION, IDENTITY}


def test_settings_table_is_complete() -> None:
    """docs/configuration.md lists exactly the settings that the app reads."""
    names = {*NAMES, *connections.NAMES}
    names |= {f"{connections.NAMES[0]}__{part}" for part in connections.PARTS}
    names |= {f"AcrManagement__{part}" for part in ("endpoint", "credential", "clientId")}
    trigger = json.loads((ROOT / "AcrReconcile" / "function.json").read_bytes())
    names.add(trigger["bindings"][0]["schedule"].strip("%"))
    section = _section(read("docs/configuration.md"), "\n## Settings\n", "\n### Without keys\n")
    table = set(re.findall(r"^\| `(\w+)` \| ", section, re.MULTILINE))
    assert table == names | {"FUNCTIONS_WORKER_RUNTIME"}


def test_contract_lists_every_status() -> None:
    """docs/reference.md lists exactly the statuses that the function responds with."""
    table = _section(read("docs/reference.md"), "| case | response |", "An error is `application")
    statuses = {int(status) for status in re.findall(r"\| (\d{3})\b", table)}
    assert statuses == {200, 202} | {kind.status for kind in Kind}


@pytest.mark.parametrize(
    ("language", "file"),
    [
        ("python", "python_worker/seen.py"),
        ("python", "python_function/consume/__init__.py"),
        ("json", "python_function/consume/function.json"),
        ("json", "python_function/host.json"),
        ("python", "python_worker/worker.py"),
        ("js", "node_worker/worker.mjs"),
        ("csharp", "csharp_function/Consume.cs"),
    ],
)
def test_documented_consumers_are_the_examples(language: str, file: str) -> None:
    """docs/consumers.md shows the consumers in examples/; other tests run all but that in C#."""
    source = (ROOT / "examples" / file).read_text()
    assert block("docs/consumers.md", language, source) == source


def test_python_consumers_share_one_module() -> None:
    """Both consumers in Python have the same `seen.py`."""
    worker, function = (ROOT / "examples" / each for each in ("python_worker", "python_function"))
    assert (worker / "seen.py").read_text() == (function / "consume" / "seen.py").read_text()


def test_documented_message_is_enqueued() -> None:
    """docs/consumers.md shows a message as the app enqueues it, and the event in it."""
    delivery = json.loads((ROOT / "tests/examples/push/without-useragent.json").read_bytes())
    registry = AllowList.parse("").registry(delivery["request"]["host"], None)
    event = to_cloud_event(delivery, actions()["push"], registry, None)
    assert json.loads(block("docs/consumers.md", "json", '"specversion"')) == event
    message = b64encode(json.dumps(event, separators=(",", ":")).encode()).decode()
    guide = read("docs/consumers.md")
    [begin] = blocks(guide, "text")
    assert message.startswith(begin.strip())
    assert f"has {len(message):,} characters" in guide


def test_operations_lists_every_rejection_reason() -> None:
    """docs/operations.md says what to do for each reason of a rejection."""
    guide = read("docs/operations.md")
    table = _section(guide, "| reason | usual cause", "`python -m tools replay")
    reasons = set(re.findall(r"`([a-z-]+)`(?=,| \|)", table))
    assert reasons == {kind.reason for kind in Kind if kind.status < 500}


def test_arithmetic_of_limits_is_right() -> None:
    """The figures in the table of limits follow from its assumptions."""
    rows = re.findall(
        r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,.]+) \| ([\d,]+) \| ([\d.]+) %",
        read("docs/operations.md"),
        re.MULTILINE,
    )
    assert len(rows) == 3
    for row in rows:
        registries, daily, busiest, messages, share = (float(c.replace(",", "")) for c in row)
        assert daily == registries * 200
        assert busiest == pytest.approx(daily / 10 / 60, rel=0.02)
        assert messages == pytest.approx(busiest * 3, rel=0.02)
        assert share == pytest.approx(messages / 20_000 * 100, rel=0.01)


@pytest.mark.parametrize(
    ("repository", "queues"), [("helm/hello-world", ["charts"]), ("hello-world", ["images"])]
)
def test_documented_filter_separates_charts(repository: str, queues: list[str]) -> None:
    """The routes for charts in docs/configuration.md separate charts from images."""
    routes = json.loads(block("docs/configuration.md", "json", "helm/*"))
    document = {"routes": routes, "rejectedQueue": "acr-rejected"}
    media_type = "application/vnd.oci.image.manifest.v1+json"
    pushed = payload("push", target__repository=repository, target__mediaType=media_type)
    event = to_cloud_event(pushed, actions()["push"], None)
    assert Routes.parse(json.dumps(document).encode(), {}).queues_for(event) == queues


def test_configuration_lists_every_filter() -> None:
    """docs/configuration.md has a row for each filter, in the order of the tools."""
    rows = re.findall(
        r"^\| `(\w+)` \| ", read("docs/configuration.md").partition("| filter |")[2], re.M
    )
    assert rows == list(VALUES)


def test_operations_names_who_sees_the_key() -> None:
    """docs/operations.md names the action that shows the function key."""
    section = _section(read("docs/operations.md"), "## Who can read the", "## Deploy from GitHub")
    assert f"`{ACTION}`" in section
    assert f"contains(actions, '{ACTION}')" in section
