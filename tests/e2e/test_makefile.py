"""The first minutes with a fresh clone: what the Makefile asks for, says, and does on errors.

The tree is a copy, and the programs that it finds are the tests' own: nothing is installed.
"""

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
# What the recipes use, but for what is asked for.
SHELL_TOOLS = ["awk", "bash", "cat", "env", "make", "mkdir", "rm", "sed", "sh", "sleep", "touch"]

# Says its version; makes an environment by copying itself; installs as `pip` says.
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
    """A clone of the project on a machine whose programs are those in `bin`."""

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
    """Where nothing is there, one message names it all before anything is installed."""
    result = clone.make(target)
    assert result.returncode != 0
    message = result.stderr.partition("make:")[0]
    assert message.startswith("Missing:\n")
    for said in ("Python 3.13 or newer", "make PYTHON=/", "Node.js 20 or newer", "npm"):
        assert said in message
    assert not (clone.folder / ".venv").exists()


def test_message_names_versions_found(clone: Clone) -> None:
    """What is there and too old is named with its version."""
    clone.python("3.11.2", too_old=True)
    clone.node("v18.20.4")
    message = clone.make("demo").stderr
    assert "Python 3.13 or newer: python3 is 3.11.2." in message
    assert "Node.js 20 or newer: node is v18.20.4." in message
    assert "npm, which" not in message


def test_missing_node_stops_before_pip(clone: Clone) -> None:
    """Node.js is asked for before Python packages are installed for a minute."""
    clone.python(pip=PIP_WORKS)
    result = clone.make("demo")
    assert "Node.js 20 or newer" in result.stderr
    assert "Python 3.13" not in result.stderr
    assert not (clone.folder / ".venv").exists()


def test_unit_tests_need_no_node(clone: Clone) -> None:
    """Who runs the unit tests alone is not asked for Node.js."""
    clone.python(pip=PIP_WORKS)
    result = clone.make("test-unit")
    assert result.returncode == 0, result.stderr
    assert (clone.folder / ".venv" / "installed").exists()


def test_steps_are_announced(clone: Clone) -> None:
    """A first run says what it installs, and ends in what was asked for."""
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
    """A failing pip shows its own error and stops; the next run begins anew."""
    clone.python(pip=PIP_FAILS)
    clone.node()
    result = clone.make("demo")
    assert result.returncode != 0
    assert "ERROR: no such host" in result.stderr
    assert "Azurite" not in result.stdout
    assert not (clone.folder / ".venv" / "installed").exists()


def test_failing_npm_shows_error(clone: Clone) -> None:
    """A failing npm shows its own error and stops."""
    clone.python(pip=PIP_WORKS)
    clone.node(npm=NPM_FAILS)
    result = clone.make("demo")
    assert result.returncode != 0
    assert "npm error code E404" in result.stderr
    assert "the demo" not in result.stdout
    assert not (clone.folder / "node_modules" / "installed").exists()


def test_help_fits_terminal(clone: Clone) -> None:
    """`make` lists every target that is for users, in at most 80 columns."""
    lines = clone.make().stdout.splitlines()
    assert {"make demo", "make start", "make test", "make lock"} <= {
        line[:16].strip() for line in lines
    }
    assert max(map(len, lines)) <= 80


def test_interrupted_start_is_no_error(clone: Clone) -> None:
    """Ctrl-C out of `make start` prints no error of make's."""
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
                pytest.fail("it did not start")
        finally:
            # As a terminal does it: to make and to whatever make has started.
            os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert "make:" not in rest
    assert "Error" not in rest
    assert "Traceback" not in rest
    # make itself ends by the signal that it got.
    assert process.returncode in (0, -signal.SIGINT)
