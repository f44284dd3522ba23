"""The templates in infra/ deploy the alerts and the workbook as their files define them."""

import json
import re

from tests.support.bicep import Compiler
from tests.support.deployed import EVERYTHING
from tools.localhost import processes

ROOT = processes.ROOT
INFRA = ROOT / "infra"


def test_alerts_query_log_and_notify(bicep: Compiler) -> None:
    """Each alert queries the log with its threshold and notifies the given address."""
    rules = json.loads((INFRA / "alerts.json").read_bytes())
    made = bicep.deploy(**EVERYTHING)
    alerts = made.of("Microsoft.Insights/scheduledQueryRules")
    assert [alert.properties["displayName"] for alert in alerts] == [r["title"] for r in rules]
    for alert, rule in zip(alerts, rules, strict=True):
        [criterion] = alert.properties["criteria"]["allOf"]
        assert criterion["query"] == "\n".join(rule["query"])
        assert re.search(r"\bvalue = ", criterion["query"])
        for dimension in criterion["dimensions"]:
            assert re.search(rf"\b{dimension['name']} = tostring", criterion["query"])
        expected = 60 if rule["name"] == "unread" else rule["threshold"]
        assert criterion["threshold"] == expected
        assert alert.properties["scopes"] == [made.only("Microsoft.Insights/components").id]
        assert alert.properties["actions"] == {
            "actionGroups": [made.only("Microsoft.Insights/actionGroups").id]
        }
    [receiver] = made.only("Microsoft.Insights/actionGroups").properties["emailReceivers"]
    assert receiver["emailAddress"] == "ops@contoso.example"


def test_alert_can_be_turned_off(bicep: Compiler) -> None:
    """An alert with the threshold -1 is off, and the others are on."""
    deployment = bicep.deploy(alertThresholds={"unrouted": -1})
    states = {
        alert.properties["displayName"]: alert.properties["enabled"]
        for alert in deployment.of("Microsoft.Insights/scheduledQueryRules")
    }
    assert [title for title, enabled in states.items() if not enabled] == ["Events match no route"]
    assert True in states.values()


def test_alerts_need_no_address(bicep: Compiler) -> None:
    """Without an address, the alerts exist and notify nobody."""
    deployment = bicep.deploy()
    assert not deployment.of("Microsoft.Insights/actionGroups")
    for alert in deployment.of("Microsoft.Insights/scheduledQueryRules"):
        assert alert.properties["actions"] == {"actionGroups": []}


def test_operations_guide_lists_every_alert() -> None:
    """docs/operations.md has a row for each alert."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    for rule in json.loads((INFRA / "alerts.json").read_bytes()):
        assert f"| {rule['title']} |" in guide, rule["title"]


def test_workbook_is_deployed_unchanged(bicep: Compiler) -> None:
    """The deployed workbook is infra/workbook.json, on the app's log."""
    deployment = bicep.deploy()
    insights = deployment.only("Microsoft.Insights/components").id
    workbook = deployment.only("Microsoft.Insights/workbooks")
    document = json.loads(workbook.properties["serializedData"])
    assert document.pop("fallbackResourceIds") == [insights]
    assert document == json.loads((INFRA / "workbook.json").read_bytes())
    assert workbook.properties["sourceId"] == insights
