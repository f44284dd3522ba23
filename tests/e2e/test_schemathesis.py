"""Requests that schemathesis generates from docs/openapi.yaml for the app."""

import re
import subprocess
import sys

from tools.localhost import processes


def test_responses_conform_to_openapi(function_url: str) -> None:
    """Every response has a status, content type, headers and body that docs/openapi.yaml allows."""
    config = processes.ROOT / "tests" / "contracts" / "schemathesis.toml"
    result = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", config,
            "run", processes.ROOT / "docs" / "openapi.yaml",
            "--url", function_url.removesuffix("/AcrWebhook"), "--no-color",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    tested = re.search(r"(\d+) generated, (\d+) passed", result.stdout)
    assert tested, result.stdout
    assert int(tested[1]) == int(tested[2]) >= 50
