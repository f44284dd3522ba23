"""Copies of the project, in which a test may change everything and run other tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.documents import ROOT

# What is installed or made, and what is not the project's.
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "node_modules", ".azurite", ".hypothesis", ".*_cache", "__pycache__",
    ".coverage*", "local.settings.json",
)  # fmt: skip


def copy_project(folder: Path) -> Path:
    """A copy in `folder`, which must not exist. It shares what is installed."""
    shutil.copytree(ROOT, folder, ignore=_NOT_COPIED)
    for name in (".venv", "node_modules"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return folder


def run_python(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the copy."""
    # This run's own workers and coverage do not concern the copy.
    own = ("PYTEST_", "COV_", "COVERAGE_")
    environment = {n: value for n, value in os.environ.items() if not n.startswith(own)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def run_tests(project: Path, *paths: str) -> None:
    """Runs the tests at `paths` of the copy. Fails where one of them fails."""
    options = ("-q", "-x", "-n", "2", "-p", "no:cacheprovider", "--no-header", "--tb=short")
    result = run_python(project, "-m", "pytest", *options, *paths)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
