"""The version of the app, and the places that state it."""

import json
import logging
import re
from pathlib import Path

import pytest

from shared import __version__
from shared.app import app
from shared.core.routing import digest_of
from shared.storage.transport import USER_AGENT
from tests.support.routes import SHIPPED_ROUTES
from tools.freeze import freeze

ROOT = Path(__file__).parent.parent.parent
RELEASES = re.findall(
    r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
)


def test_version_is_newest_release() -> None:
    """The version of the code is the newest one in the changelog."""
    assert __version__ == RELEASES[0]
    assert f"acr-webhook/{__version__}" == USER_AGENT


def test_version_is_in_one_place() -> None:
    """No other file that is deployed or builds the app repeats the version."""
    files = [
        *ROOT.glob("shared/**/*.py"), *ROOT.glob("tools/**/*.py"), *ROOT.glob("*/function.json"),
        *(ROOT / name for name in ("Makefile", "pyproject.toml", "package.json", "host.json")),
    ]  # fmt: skip
    named = {file for file in files if f'"{__version__}"' in file.read_text()}
    assert named == {ROOT / "shared" / "__init__.py"}


def test_start_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The app logs its version and the digest of its routes when it starts, once in a process."""
    monkeypatch.setenv("AcrEventsStorage", "UseDevelopmentStorage=true")
    app.cache_clear()
    with caplog.at_level(logging.INFO, "acr_webhook"):
        app()
        app()
    starts = [line for line in caplog.messages if line.startswith("acr_start ")]
    fields = {"version": __version__, "routesDigest": digest_of(SHIPPED_ROUTES)}
    assert starts == [f"acr_start {json.dumps(fields)}"]


def test_every_release_has_frozen_schema() -> None:
    """The event schema of each release is kept, so that tests compare later versions with it."""
    kept = {file.name for file in (ROOT / "tests" / "released").glob("event.*.json")}
    assert kept == {f"event.{release}.json" for release in RELEASES}


def test_every_release_has_dead_letter() -> None:
    """A dead letter of each release is kept, so that tests read it as later versions would."""
    kept = {file.name for file in (ROOT / "tests" / "released").glob("rejected.*.json")}
    assert kept == {f"rejected.{release}.json" for release in RELEASES}


def test_frozen_schema_has_no_references(tmp_path: Path) -> None:
    """A frozen schema has no references, and is otherwise the current event schema."""
    document = json.loads(freeze(tmp_path).read_bytes())
    assert "$ref" not in json.dumps(document)
    source = json.loads((ROOT / "shared" / "schemas" / "event.v1.json").read_bytes())
    assert document["$id"] == source["$id"]
    assert document["properties"].keys() == source["properties"].keys()
    attribute = json.loads((ROOT / "shared" / "schemas" / "common" / "attribute.json").read_bytes())
    assert document["properties"]["id"]["pattern"] == attribute["pattern"]
    assert document["properties"]["id"]["description"] == source["properties"]["id"]["description"]
