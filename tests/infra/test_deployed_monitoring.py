"""The templates in infra/ deploy the alerts and the workbook as their files define them."""

import json
import re

from tests.support.bicep import deploy
from tools.localhost import processes

ROOT = processes.ROOT
INFRA = ROOT / "infra"


def test_alerts_query_log_and_notify() -> None:
    """Each alert queries the log with its threshold and notifies the given address."""
    rules = json.loads((INFRA / "alerts.json").read_bytes())
    made = deploy(alertEmail="ops@contoso.example", alertThresholds={"unread": 60})
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
        assert alert.properties["scopes"] == ["«insights.id»"]
        assert alert.properties["actions"] == {"actionGroups": ["«recipients.id»"]}
    [receiver] = made.only("Microsoft.Insights/actionGroups").properties["emailReceivers"]
    assert receiver["emailAddress"] == "ops@contoso.example"


def test_alerts_need_no_address() -> None:
    """Without an address, the alerts exist and notify nobody."""
    deployment = deploy()
    assert not deployment.of("Microsoft.Insights/actionGroups")
    for alert in deployment.of("Microsoft.Insights/scheduledQueryRules"):
        assert alert.properties["actions"] == {"actionGroups": []}


def test_operations_guide_lists_every_alert() -> None:
    """docs/operations.md has a row for each alert."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    for rule in json.loads((INFRA / "alerts.json").read_bytes()):
        assert f"| {rule['title']} |" in guide, rule["title"]


def test_workbook_is_deployed_unchanged() -> None:
    """The deployed workbook is infra/workbook.json, on the app's log."""
    workbook = deploy().only("Microsoft.Insights/workbooks")
    document = json.loads(workbook.properties["serializedData"])
    assert document.pop("fallbackResourceIds") == ["«insights.id»"]
    assert document == json.loads((INFRA / "workbook.json").read_bytes())
    assert workbook.properties["sourceId"] == "«insights.id»"
