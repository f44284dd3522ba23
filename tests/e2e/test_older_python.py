"""The requirements of the deployed app under an older Python."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.localhost import processes

MAKEFILE = (processes.ROOT / "Makefile").read_text()
OLDER = re.findall(r"^OLDER := (.+)$", MAKEFILE, re.MULTILINE)[0].split()


@pytest.mark.skipif(sys.platform == "win32", reason="the Makefile's shell is not Windows' own")
@pytest.mark.parametrize("version", OLDER)
def test_older_python_refuses_deployed_set(version: str, tmp_path: Path) -> None:
    """pip refuses the deployed requirements under a Python that cannot run the app."""
    environment = {**os.environ, "PYENV_VERSION": version}
    pip = [f"python{version}", "-m", "pip", "--disable-pip-version-check"]
    try:
        subprocess.run([*pip, "--version"], env=environment, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"Python {version} with pip is not installed here")
    # One refused pin is enough, and pip refuses this one fastest.
    locked = (processes.ROOT / "requirements.txt").read_text()
    [model] = re.findall(r"^azure-functions==(?:.+\\\n)+.+\n", locked, re.MULTILINE)
    (tmp_path / "requirements.txt").write_text(model)
    options = [
        "install",
        "--dry-run",
        "--no-deps",
        "--target",
        str(tmp_path / "target"),
        "--require-hashes",
    ]
    result = subprocess.run(
        [*pip, *options, "-r", str(tmp_path / "requirements.txt")],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "No matching distribution found for azure-functions==2." in result.stderr
