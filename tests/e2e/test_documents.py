"""The tools and the app print what the documents show."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents import block
from tests.support.storage import StorageAccount
from tools.localhost import processes

# A terminal as wide as the output in the documents, without colors.
_TERMINAL = {"COLUMNS": "80", "NO_COLOR": "1"}


def test_routes_tools_print_documented_output(tmp_path: Path) -> None:
    """The tools print for the documented routes what docs/configuration.md shows."""
    configuration = "docs/configuration.md"
    (tmp_path / "routes.json").write_text(block(configuration, "json", "rejectedQueue"))
    console = block(configuration, "console", "routes check")
    _, *session = re.split(r"^\$ \.venv/bin/python ", console, flags=re.M)
    assert len(session) == 2
    for command, _, documented in (part.partition("\n") for part in session):
        result = subprocess.run(
            [sys.executable, *shlex.split(command), "--file", str(tmp_path / "routes.json")],
            cwd=processes.ROOT,
            env={"PATH": os.environ["PATH"], "InventoryQueue": "inventory", **_TERMINAL},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        printed = [line.rstrip() for line in result.stdout.splitlines()]
        assert printed == documented.splitlines()


@pytest.mark.parametrize("path", ["/api/AcrWebhook", "/api/health"])
def test_curl_prints_documented_response(
    path: str, function_url: str, storage: StorageAccount
) -> None:
    """curl prints for the documented requests what docs/reference.md shows."""
    console = block("docs/reference.md", "console", f"curl -s http://127.0.0.1:7071{path}")
    prompt, documented = console.strip().splitlines()
    served = function_url.removesuffix("/api/AcrWebhook")
    command = shlex.split(prompt.removeprefix("$ ").replace("http://127.0.0.1:7071", served))
    printed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert printed == documented
