"""The Makefile in a fresh clone, run on a copy with stand-ins for all programs."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.localhost import processes
from tools.localhost.ports import free_azurite_port, free_port

FILES = [
    ".python-version", "Makefile", "package.json", "package-lock.json", "requirements-run.txt",
    "requirements-dev.txt",
]  # fmt: skip
# The programs that the recipes use and do not ask for.
SHELL_TOOLS = ["awk", "bash", "cat", "env", "make", "mkdir", "rm", "sed", "sh", "sleep", "touch"]

# Prints its version, copies itself as an environment, and installs as `pip` says.
PYTHON = """#!/bin/sh
case "$*" in
--version) echo "Python {version}" ;;
*platform.python_version*) echo "{version}" ;;
*version_info*) exit {too_old} ;;
"-m venv"*)
    rm -rf .venv && mkdir -p .venv/bin
    cat "$0" >.venv/bin/python && {chmod} +x .venv/bin/python
    ;;
*"-m pip"*) echo "$*" >>pip.log; {pip} ;;
"-m tools demo") echo "the demo" ;;
esac
"""
PIP_WORKS = "echo 'Collecting typer==1.0'; echo 'Installing collected packages: typer'"
PIP_FAILS = "echo 'Collecting typer==1.0'; echo 'ERROR: no such host' >&2; exit 1"
# As npm does, it removes what is no package.
NPM_WORKS = """echo "$*" >>npm.log
rm -rf node_modules/run node_modules/installed; mkdir -p node_modules
echo 'npm http fetch GET 200 azurite' >&2"""
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

    def installed(self) -> list[str]:
        """The lock files that pip installed from, then the commands of npm."""
        pip, npm = ((self.folder / f"{name}.log") for name in ("pip", "npm"))
        return [line.split()[-1] for line in pip.read_text().splitlines()] + [
            f"npm {' '.join(line.split()[:2])}"
            for line in (npm.read_text() if npm.exists() else "").splitlines()
        ]

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
    for system, command in {
        "Debian 13": "sudo apt install python3.13 python3.13-venv",
        "macOS": "brew install python@3.13",
        "Windows": "wsl --install",
    }.items():
        assert re.search(rf"^    {system}.*  {re.escape(command)}", message, re.MULTILINE)
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


def test_demo_installs_only_what_runs(clone: Clone) -> None:
    """A first `make demo` announces time and size of each installation, and installs no tests."""
    clone.python(pip=PIP_WORKS)
    clone.node()
    result = clone.make("demo")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "Installing what runs the app into .venv, with Python 3.13.1: 100 MB, half a minute.",
        "  1 fetched",
        "  All are fetched: putting them in place.",
        "Installing Azurite, the storage emulator, into node_modules: 130 MB, half a minute.",
        "  1 fetched",
        "the demo",
    ]
    assert clone.installed() == ["requirements-run.txt", "npm ci --omit=dev"]
    assert clone.make("demo").stdout == "the demo\n"


def test_development_comes_on_top(clone: Clone) -> None:
    """`make install` after `make demo` adds the rest, once, and `make demo` is ready after it."""
    clone.python(pip=PIP_WORKS)
    clone.node()
    clone.make("demo")
    result = clone.make("install")
    assert result.returncode == 0, result.stderr
    assert "260 MB more" in result.stdout
    assert clone.installed() == [
        "requirements-run.txt", "requirements-dev.txt", "npm ci --omit=dev", "npm install --no-save"
    ]  # fmt: skip
    assert "Nothing to be done" in clone.make("install").stdout
    assert clone.make("demo").stdout == "the demo\n"


def test_new_lock_starts_afresh(clone: Clone) -> None:
    """A changed lock file of development makes a new environment, without what it had before."""
    clone.python(pip=PIP_WORKS)
    clone.make("test-unit")
    (clone.folder / ".venv" / "dropped").touch()
    # All but the changed file is old.
    for second, old in enumerate(["requirements-run.txt", ".venv/run", ".venv/installed"]):
        os.utime(clone.folder / old, (second, second))
    again = clone.make("test-unit")
    assert again.returncode == 0, again.stderr
    assert not (clone.folder / ".venv" / "dropped").exists()
    assert clone.installed() == ["requirements-run.txt", "requirements-dev.txt"] * 2


def test_failing_pip_shows_error(clone: Clone) -> None:
    """A failing pip stops `make` with pip's own error, and the next run installs again."""
    clone.python(pip=PIP_FAILS)
    clone.node()
    result = clone.make("demo")
    assert result.returncode != 0
    assert "ERROR: no such host" in result.stderr
    assert "Azurite" not in result.stdout
    assert not (clone.folder / ".venv" / "run").exists()


def test_failing_npm_shows_error(clone: Clone) -> None:
    """A failing npm stops `make` with npm's own error."""
    clone.python(pip=PIP_WORKS)
    clone.node(npm=NPM_FAILS)
    result = clone.make("demo")
    assert result.returncode != 0
    assert "npm error code E404" in result.stderr
    assert "the demo" not in result.stdout
    assert not (clone.folder / "node_modules" / "run").exists()


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
        (installed / "run").touch()
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
