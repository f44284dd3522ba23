"""The deployed package: the files that .funcignore allows, and requirements.txt."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest
from pathspec import GitIgnoreSpec

from tests.support.routes import SHIPPED_ROUTES
from tools import examples
from tools.localhost import processes
from tools.localhost.ports import free_port

FUNCTIONS = sorted(file.parent.name for file in processes.ROOT.glob("*/function.json"))
LOCK = processes.ROOT / "requirements.txt"
HOST_PACKAGES = ["azure-functions-runtime-v1", "croniter", "rich", "typer"]


def _package(target: Path) -> Path:
    """A zip file of the files that Core Tools publishes."""
    ignored = GitIgnoreSpec.from_lines((processes.ROOT / ".funcignore").read_text().splitlines())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name in sorted(ignored.match_tree_files(processes.ROOT, negate=True)):
            package.write(processes.ROOT / name, name)
    return target


def _without_hashes(lock: Path, target: Path) -> Path:
    """Writes the lock file as constraints without hashes, as HOST_PACKAGES have none."""
    target.write_text(re.sub(r" \\\n    --hash=\S+", "", lock.read_text()))
    return target


def _run(*command: str | Path, cwd: Path, **environment: str) -> str:
    kept = {n: v for n, v in os.environ.items() if n.startswith(("PIP_", "SSL_")) or n == "PATH"}
    result = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_deployed_package_runs_alone(
    tmp_path: Path, azurite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published package needs only its locked requirements under Microsoft's runtime."""
    app = tmp_path / "app"
    package = _package(tmp_path / "package.zip")
    zipfile.ZipFile(package).extractall(app)
    assert {path.name for path in app.iterdir()} == {
        *FUNCTIONS, "host.json", "requirements.txt", "routes.json", "shared",
    }  # fmt: skip
    shutil.copy(SHIPPED_ROUTES, app / "routes.json")

    _run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    _run(
        *pip,
        "install",
        "--no-compile",
        "--require-hashes",
        "-r",
        app / "requirements.txt",
        cwd=tmp_path,
    )
    packages = json.loads(_run(*pip, "list", "--format=json", cwd=tmp_path))
    installed = {each["name"].replace("_", "-").lower(): each["version"] for each in packages}
    locked_set = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", LOCK.read_text(), re.M))
    assert {n: v for n, v in installed.items() if n != "pip"} == locked_set
    with capsys.disabled():
        kib = package.stat().st_size / 1024
        count = len([each for each in packages if each["name"] != "pip"])
        print(f"\nThe package has {kib:.0f} KiB; its requirements are {count} packages.")

    # The package has everything that the functions import.
    everything = f"import {', '.join(FUNCTIONS)}, shared.reconcile.runner, azure.identity.aio"
    _run(python, "-c", everything, cwd=app, AcrEventsStorage=azurite)

    # The host is not part of the package: install its packages and copy its files.
    locked = _without_hashes(processes.ROOT / "requirements-dev.txt", tmp_path / "locked.txt")
    _run(*pip, "install", "-c", locked, *HOST_PACKAGES, cwd=tmp_path)
    for part in ("tools", "tests/examples", "AcrWebhook", "host.json"):
        source, target = processes.ROOT / part, tmp_path / "host" / part
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    port = free_port()
    process = subprocess.Popen(
        [python, "-m", "tools", "host", "--port", str(port), "--app", str(app)],
        cwd=tmp_path / "host",
        env={
            "PATH": os.environ["PATH"],
            "AcrEventsStorage": azurite,
            "AcrReconcileSchedule": "0 0 0 1 1 *",
        },
    )
    try:
        body = json.dumps(examples.documented("push")).encode()
        for _ in range(600):
            try:
                with urlopen(f"http://127.0.0.1:{port}/api/AcrWebhook", body, 10) as response:
                    assert response.status == 202
                    assert json.load(response)["queues"] == ["acr-push"]
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        else:
            pytest.fail("the app did not respond")
    finally:
        process.terminate()
        process.wait(30)
