"""`routes.json` is the user's: whatever it has, it is valid, and no other test depends on it."""

import json
import re

from shared.core.routing import Routes
from tests.support.documents import ROOT


def _app_settings(content: str) -> dict[str, str]:
    """A value for each app setting that the routes refer to: one that fits everywhere."""
    rejected = str(json.loads(content).get("rejectedQueue"))
    values = dict.fromkeys(re.findall("%([^%]+)%", content), "push")
    return values | dict.fromkeys(re.findall("%([^%]+)%", rejected), "rejected")


def test_own_routes_are_valid() -> None:
    """The app can use routes.json as it is, once the app settings that it names are set."""
    file = ROOT / "routes.json"
    found = Routes.load(_app_settings(file.read_text("utf-8-sig")), file)
    assert found.misconfigured == ()
