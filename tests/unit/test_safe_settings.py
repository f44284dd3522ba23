"""Settings that cannot work: they are reported, and the app goes on with what is safe."""

import json
import logging
import re

import pytest

from shared import app as composition
from shared.app import App
from shared.core.misconfiguration import Misconfiguration
from shared.core.problems import Problem
from shared.settings import NAMES, OTHER_NAMES, Settings, misconfigured
from tests.support.documents import ROOT

STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
BODY, BUDGET, KEEP = "ACR_MAX_BODY_BYTES", "ACR_BUDGET_SECONDS", "ACR_KEEP_UNROUTED"
BODY_RANGE, BUDGET_RANGE = (
    "must be a number from 1024 to 49152",
    "must be a number from 0.5 to 4.5",
)


def _read(name: str, value: str) -> tuple[Settings, list[str]]:
    settings = Settings.read({**STORAGE, name: value})
    return settings, list(map(str, settings.misconfigured))


@pytest.mark.parametrize(
    ("value", "used"),
    [("4.51", 4.5), ("5", 4.5), ("30", 4.5), ("1e9", 4.5), ("inf", 4.5)],
)
def test_budget_ends_before_registry_leaves(value: str, used: float) -> None:
    """A budget that the registry would not wait for is cut to 4.5 seconds, and is reported."""
    settings, reported = _read(BUDGET, value)
    assert settings.budget_seconds == used
    assert reported == [f"{BUDGET}: {BUDGET_RANGE}. The app uses 4.5."]


@pytest.mark.parametrize("value", ["nan", "0", "-1", "0.49", "four", "4s"])
def test_invalid_budget_is_default(value: str) -> None:
    """A budget that is no number or too small is the default, and is reported."""
    settings, reported = _read(BUDGET, value)
    assert settings.budget_seconds == 4
    assert reported == [f"{BUDGET}: {BUDGET_RANGE}. The app uses 4."]


@pytest.mark.parametrize(
    ("value", "used"), [("32k", 32768), ("1023", 32768), ("", 32768), ("49153", 49152)]
)
def test_invalid_body_limit_is_safe(value: str, used: int) -> None:
    """An invalid limit of a body is the default, or the greatest one if it is greater."""
    settings, reported = _read(BODY, value)
    assert settings.max_body_bytes == used
    assert reported == ([f"{BODY}: {BODY_RANGE}. The app uses {used}."] if value else [])


@pytest.mark.parametrize(
    ("name", "value"), [(BODY, "1024"), (BODY, "49152"), (BUDGET, "0.5"), (BUDGET, "4.5")]
)
def test_bounds_of_numbers_are_allowed(name: str, value: str) -> None:
    """A number may be its minimum or its maximum."""
    settings, reported = _read(name, value)
    assert float(value) in (settings.max_body_bytes, settings.budget_seconds)
    assert reported == []


def test_tools_may_have_longer_budget() -> None:
    """Where no registry waits, a budget may have up to 30 seconds."""
    for value, used in (("30", 30), ("30.1", 30)):
        settings = Settings.read({**STORAGE, BUDGET: value}, registry_waits=False)
        assert settings.budget_seconds == used
        assert bool(settings.misconfigured) is (value != "30")
    app = App.from_environment({**STORAGE, BUDGET: "30"}, registry_waits=False)
    assert app.settings.budget_seconds == 30


@pytest.mark.parametrize("value", ["yes", "1", "no"])
def test_invalid_flag_keeps_events(value: str) -> None:
    """A flag that is neither true nor false keeps unrouted events, and is reported."""
    settings, reported = _read(KEEP, value)
    assert settings.keep_unrouted is True
    assert reported == [f"{KEEP}: must be true or false. The app uses true."]


def test_flag_is_a_word() -> None:
    """A flag is the word true or false, in any case and between spaces."""
    for value, keep in ((" TRUE ", True), ("False", False), (" ", False)):
        settings, reported = _read(KEEP, value)
        assert (settings.keep_unrouted, reported) == (keep, [])


def test_invalid_list_does_not_stop_app() -> None:
    """An invalid allow-list refuses what it does not name, and is reported."""
    settings, reported = _read("ACR_REGISTRIES", "contoso")
    with pytest.raises(Problem):
        settings.registries.registry("contoso.azurecr.io", None)
    assert reported == [
        'ACR_REGISTRIES, entry 1: "contoso" is not a login server. Did you mean contoso.azurecr.io?'
    ]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("ACR_REGISTRYS", "Did you mean ACR_REGISTRIES?"),
        ("ACR_REGISTRY", "Did you mean ACR_REGISTRIES?"),
        ("acr_webhooks", "Did you mean ACR_WEBHOOKS?"),
        ("ACR_X", f"Known are: {', '.join(NAMES)}."),
    ],
)
def test_unknown_setting_is_reported(name: str, advice: str) -> None:
    """A setting that looks like the app's but is not is named, and its value is not quoted."""
    assert misconfigured({name: "secret"}) == [
        Misconfiguration(name, "is not a setting of this app", advice)
    ]
    assert misconfigured({name: " "}) == []
    assert misconfigured({name: "used"}, {name}) == []


def test_every_setting_is_known() -> None:
    """The list of settings has those that the code reads, and those of the deployment."""
    code = (ROOT / "shared" / "settings.py").read_text().partition("class SettingsError")[2]
    assert set(re.findall(r'"(ACR_\w+)"', code)) == set(NAMES)
    parameters = (ROOT / "infra" / "main.parameters.json").read_text()
    assert set(re.findall(r"\$\{(ACR_\w+)", parameters)) <= set(OTHER_NAMES)
    assert misconfigured(dict.fromkeys(OTHER_NAMES, "x")) == []


def test_reconcile_setting_is_reported() -> None:
    """A setting with which the reconciliation cannot run is reported."""
    assert list(map(str, misconfigured({"ACR_RECOVERED_DAYS": "0"}))) == [
        "AcrReconcile: has a setting that cannot be used. "
        "ACR_RECOVERED_DAYS must be a number from 1 to 365."
    ]


def test_start_logs_each_misconfiguration(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The app logs an error with the marker `acr_configuration` for each at its start."""
    for name, value in {**STORAGE, "ACR_REGISTRIES": "contoso", BUDGET: "30"}.items():
        monkeypatch.setenv(name, value)
    composition.app.cache_clear()
    try:
        composition.app()
    finally:
        composition.app.cache_clear()
    lines = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert all(line.message.startswith("acr_configuration {") for line in lines)
    assert [json.loads(line.message.partition(" ")[2]) for line in lines] == [
        {
            "place": "ACR_REGISTRIES, entry 1",
            "problem": '"contoso" is not a login server. Did you mean contoso.azurecr.io?',
        },
        {"place": BUDGET, "problem": f"{BUDGET_RANGE}. The app uses 4.5."},
    ]
