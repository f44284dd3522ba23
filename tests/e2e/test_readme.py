"""What the README shows is what happens."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from shared.core.actions import actions
from shared.core.normalization import to_cloud_event
from shared.core.problems import Kind
from shared.core.registries import AllowList
from shared.log import DELIVERY, LOST, QUEUE, RECONCILED
from shared.storage import connections
from tests.support.storage import StorageAccount
from tools import examples
from tools.localhost import processes

README = (processes.ROOT / "README.md").read_text()


def _block(language: str, containing: str) -> str:
    """The one code block in `language` that has `containing` in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    [block] = [block for block in blocks if containing in block]
    return str(block)


def test_the_demo_prints_what_the_readme_shows() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tools", "demo"],
        cwd=processes.ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    printed = [line.rstrip() for line in result.stdout.splitlines()]
    command, *shown = _block("console", "make demo").splitlines()
    assert command == "$ make demo"
    assert printed == shown


def test_the_event_shown_is_the_one_emitted() -> None:
    shown = json.loads(_block("json", '"specversion"'))
    allowed = AllowList.parse(f"{shown['acrregistry']}={shown['source']}")
    delivery = examples.payload("push")
    registry = allowed.registry(delivery["request"]["host"], None)
    assert to_cloud_event(delivery, actions()["push"], registry, shown["traceparent"]) == shown


def test_the_routes_shown_can_be_used_and_the_tools_say_of_them_what_is_shown(
    tmp_path: Path,
) -> None:
    (tmp_path / "routes.json").write_text(_block("json", "rejectedQueue"))
    session = re.split(r"^\$ \.venv/bin/python ", _block("console", "routes check"), flags=re.M)
    for command, _, shown in (part.partition("\n") for part in session if part):
        result = subprocess.run(
            [sys.executable, *shlex.split(command), "--file", str(tmp_path / "routes.json")],
            cwd=processes.ROOT,
            env={
                "PATH": os.environ["PATH"],
                "COLUMNS": "80",
                "NO_COLOR": "1",
                "InventoryQueue": "inventory",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert [line.rstrip() for line in result.stdout.splitlines()] == shown.splitlines()
    assert len(session) == 3


@pytest.mark.parametrize("asks", ["/api/AcrWebhook", "/api/health"])
def test_the_answers_shown_are_what_curl_prints(
    asks: str, function_url: str, storage: StorageAccount
) -> None:
    prompt, shown = _block("console", f"curl -s http://127.0.0.1:7071{asks}").strip().splitlines()
    served = function_url.removesuffix("/api/AcrWebhook")
    command = shlex.split(prompt.removeprefix("$ ").replace("http://127.0.0.1:7071", served))
    printed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert printed == shown


def test_the_promise_names_tests_that_exist() -> None:
    section = README[README.index("\n## The promise\n") : README.index("\n## Deploy\n")]
    named = set(re.findall(r"`(test_\w+)`", section))
    tests = "".join(f.read_text() for f in (processes.ROOT / "tests").rglob("test_*.py"))
    assert len(named) == 16
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_the_queries_look_for_what_the_log_writes() -> None:
    for marker in (DELIVERY, LOST):
        assert f'message startswith "{marker} "' in README
        assert f"substring(message, {len(marker) + 1})" in README
    for marker in (RECONCILED, QUEUE):
        assert f'message startswith "{marker} {{"' in README
        assert f"substring(message, {len(marker) + 1})" in README


def test_every_setting_that_is_read_is_in_the_table() -> None:
    settings = (processes.ROOT / "shared" / "settings.py").read_text()
    read = {*re.findall(r'"(ACR_\w+)"', settings), *connections.NAMES}
    read |= {f"{connections.NAMES[0]}__{part}" for part in connections.PARTS}
    read |= {f"AcrManagement__{part}" for part in ("endpoint", "credential", "clientId")}
    trigger = json.loads((processes.ROOT / "AcrReconcile" / "function.json").read_bytes())
    read.add(trigger["bindings"][0]["schedule"].strip("%"))
    section = README[README.index("\n## Settings\n") : README.index("\n## Routes\n")]
    table = set(re.findall(r"^\| `(\w+)` \| ", section, re.MULTILINE))
    assert table == read | {"FUNCTIONS_WORKER_RUNTIME"}


def test_every_status_that_is_answered_is_in_the_contract() -> None:
    table = README[README.index("| case | answer |") : README.index("Errors are `application")]
    statuses = {int(status) for status in re.findall(r"\| (\d{3})\b", table)}
    assert statuses == {200, 202} | {kind.status for kind in Kind}


@pytest.mark.parametrize(
    ("language", "file"),
    [
        ("python", "python_function/consume/__init__.py"),
        ("json", "python_function/consume/function.json"),
        ("json", "python_function/host.json"),
        ("python", "python_worker/worker.py"),
        ("js", "node_worker/worker.mjs"),
    ],
)
def test_the_consumers_shown_are_those_that_the_tests_run(language: str, file: str) -> None:
    source = (processes.ROOT / "examples" / file).read_text()
    assert _block(language, source) == source


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md", "SECURITY.md"])
def test_what_a_document_links_to_is_there(name: str) -> None:
    document = processes.ROOT / name
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", document.read_text()):
        if target.startswith("https://"):
            continue
        file = document.parent / target if target else document
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            plain = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
            assert anchor in plain, anchor


def test_every_reason_for_a_rejection_is_in_the_operations_guide() -> None:
    guide = (processes.ROOT / "docs" / "operations.md").read_text()
    table = guide[guide.index("| reason | usually") : guide.index("`python -m tools replay")]
    reasons = set(re.findall(r"`([a-z-]+)`(?=,| \|)", table))
    assert reasons == {kind.reason for kind in Kind if kind.status < 500}


def test_the_arithmetic_of_the_limits_is_right() -> None:
    guide = (processes.ROOT / "docs" / "operations.md").read_text()
    for row in re.findall(
        r"^\| ([\d,]+) \| ([\d,]+) \| ([\d,.]+) \| ([\d,]+) \| ([\d.]+) %", guide, re.M
    ):
        registries, daily, busiest, messages, share = (float(c.replace(",", "")) for c in row)
        assert daily == registries * 200
        assert busiest == pytest.approx(daily / 10 / 60, rel=0.02)
        assert messages == pytest.approx(busiest * 3, rel=0.02)
        assert share == pytest.approx(messages / 20_000 * 100, rel=0.01)
