"""The Makefile in a fresh clone, run on a copy with stand-ins for all programs."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.localhost import processes
from tools.localhost.ports import free_azurite_port, free_port

FILES = [".python-version", "Makefile", "package.json", "package-lock.json", "requirements-dev.txt"]
# The programs that the recipes use and do not ask for.
SHELL_TOOLS = ["awk", "bash", "cat", "env", "make", "mkdir", "rm", "sed", "sh", "sleep", "touch"]

# Prints its version, copies itself as an environment, and installs as `pip` says.
PYTHON = """#!/bin/sh
case "$*" in
--version) echo "Python {version}" ;;
*platform.python_version*) echo "{version}" ;;
*version_info*) exit {too_old} ;;
"-m venv"*) mkdir -p .venv/bin && cat "$0" >.venv/bin/python && {chmod} +x .venv/bin/python ;;
*"-m pip"*) {pip} ;;
"-m tools demo") echo "the demo" ;;
esac
"""
PIP_WORKS = "echo 'Collecting typer==1.0'; echo 'Installing collected packages: typer'"
PIP_FAILS = "echo 'Collecting typer==1.0'; echo 'ERROR: no such host' >&2; exit 1"
NPM_WORKS = "mkdir -p node_modules; echo 'npm http fetch GET 200 azurite' >&2"
NPM_FAILS = "echo 'npm error code E404' >&2; exit 1"


@dataclass
class Clone:
    """A clone of the project on a machine that has only the programs in `bin`."""

    folder: Path
    bin: Path

    def program(self, name: str, script: str) -> None:
        """Puts a program on the PATH."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def python(self, version: str = "3.13.1", *, too_old: bool = False, pip: str = "true") -> None:
        """Puts a Python on the PATH."""
        chmod = shutil.which("chmod")
        script = PYTHON.format(version=version, too_old=int(too_old), pip=pip, chmod=chmod)
        self.program("python3" if too_old else "python3.13", script)

    def node(self, version: str = "v22.1.0", npm: str = NPM_WORKS) -> None:
        """Puts Node.js and npm on the PATH."""
        self.program("node", f"#!/bin/sh\necho {version}\n")
        self.program("npm", f"#!/bin/sh\n{npm}\n")

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs make as a user would."""
        return subprocess.run(
            [str(self.bin / "make"), *arguments], cwd=self.folder, env={"PATH": str(self.bin)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone, on a machine with neither Python nor Node.js."""
    clone = Clone(tmp_path / "clone", tmp_path / "bin")
    (clone.folder / "tools").mkdir(parents=True)
    clone.bin.mkdir()
    for name in FILES:
        shutil.copy(processes.ROOT / name, clone.folder / name)
    for script in (processes.ROOT / "tools").glob("*.sh"):
        shutil.copy(script, clone.folder / "tools")
    for name in SHELL_TOOLS:
        found = shutil.which(name)
        assert found, name
        (clone.bin / name).symlink_to(found)
    return clone


@pytest.mark.parametrize("target", ["demo", "test"])
def test_one_message_names_all_missing(clone: Clone, target: str) -> None:
    """One message names every missing program before `make` installs anything."""
    result = clone.make(target)
    assert result.returncode != 0
    message = result.stderr.partition("make:")[0]
    assert message.startswith("Missing:\n")
    for text in ("Python 3.13 or newer", "make PYTHON=/", "Node.js 20 or newer", "npm"):
        assert text in message
    assert not (clone.folder / ".venv").exists()


def test_message_names_versions_found(clone: Clone) -> None:
    """The message names the version of each program that is too old."""
    clone.python("3.11.2", too_old=True)
    clone.node("v18.20.4")
    message = clone.make("demo").stderr
    assert "Python 3.13 or newer: python3 is 3.11.2." in message
    assert "Node.js 20 or newer: node is v18.20.4." in message
    assert "npm, which" not in message


def test_missing_node_stops_before_pip(clone: Clone) -> None:
    """`make` reports missing Node.js before it installs Python packages."""
    clone.python(pip=PIP_WORKS)
    result = clone.make("demo")
    assert "Node.js 20 or newer" in result.stderr
    assert "Python 3.13" not in result.stderr
    assert not (clone.folder / ".venv").exists()


def test_unit_tests_need_no_node(clone: Clone) -> None:
    """The unit tests run without Node.js."""
    clone.python(pip=PIP_WORKS)
    result = clone.make("test-unit")
    assert result.returncode == 0, result.stderr
    assert (clone.folder / ".venv" / "installed").exists()


def test_steps_are_announced(clone: Clone) -> None:
    """A first run announces each installation and then runs its target."""
    clone.python(pip=PIP_WORKS)
    clone.node()
    result = clone.make("demo")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "Making a Python environment in .venv, with Python 3.13.1.",
        "Installing what the app, its tools and its tests need into it: a minute or two.",
        "  1 fetched",
        "  All are fetched: putting them in place.",
        "Installing Azurite, the storage emulator, and what its tests need into node_modules.",
        "  1 fetched",
        "the demo",
    ]
    assert clone.make("demo").stdout == "the demo\n"


def test_failing_pip_shows_error(clone: Clone) -> None:
    """A failing pip stops `make` with pip's own error, and the next run installs again."""
    clone.python(pip=PIP_FAILS)
    clone.node()
    result = clone.make("demo")
    assert result.returncode != 0
    assert "ERROR: no such host" in result.stderr
    assert "Azurite" not in result.stdout
    assert not (clone.folder / ".venv" / "installed").exists()


def test_failing_npm_shows_error(clone: Clone) -> None:
    """A failing npm stops `make` with npm's own error."""
    clone.python(pip=PIP_WORKS)
    clone.node(npm=NPM_FAILS)
    result = clone.make("demo")
    assert result.returncode != 0
    assert "npm error code E404" in result.stderr
    assert "the demo" not in result.stdout
    assert not (clone.folder / "node_modules" / "installed").exists()


def test_help_fits_terminal(clone: Clone) -> None:
    """`make` lists the targets for users in at most 80 columns."""
    lines = clone.make().stdout.splitlines()
    assert {"make demo", "make start", "make test", "make lock"} <= {
        line[:16].strip() for line in lines
    }
    assert max(map(len, lines)) <= 80


def test_interrupted_start_is_no_error(clone: Clone) -> None:
    """Ctrl-C stops `make start` without an error."""
    clone.program("node", f'#!/bin/sh\nexec {shutil.which("node")} "$@"\n')
    python = clone.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ncd {processes.ROOT} && exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (clone.folder / "node_modules").mkdir()
    for installed in (python.parent.parent, clone.folder / "node_modules"):
        (installed / "installed").touch()
    ports = [f"PORT={free_port()}", f"QUEUE_PORT={free_azurite_port()}"]
    with subprocess.Popen(
        [str(clone.bin / "make"), "start", *ports], cwd=clone.folder,
        env={"PATH": str(clone.bin)}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            for line in process.stdout:
                if line == "Ctrl-C ends both.\n":
                    break
            else:
                pytest.fail("`make start` did not start")
        finally:
            # A terminal sends the signal to make and to every process that make started.
            os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert "make:" not in rest
    assert "Error" not in rest
    assert "Traceback" not in rest
    # The signal ends make itself.
    assert process.returncode in (0, -signal.SIGINT)
