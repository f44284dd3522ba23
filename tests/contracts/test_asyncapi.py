"""docs/asyncapi.yaml is valid and complete."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.routes import SHIPPED_ROUTES
from tools.localhost import processes

ROOT = processes.ROOT
FILE = ROOT / "docs" / "asyncapi.yaml"
ASYNCAPI = YAML(typ="safe").load(FILE)
MESSAGES = ASYNCAPI["components"]["messages"]
ACTIONS = json.loads((ROOT / "shared" / "actions.json").read_bytes())
ROUTES = json.loads(SHIPPED_ROUTES.read_bytes())
REJECTED = ROUTES["rejectedQueue"]


def _errors(file: Path) -> list[str]:
    """The errors and warnings of AsyncAPI's own parser, with references followed."""
    script = Path(__file__).with_name("asyncapi.cjs")
    result = subprocess.run(
        [shutil.which("node") or "node", script, file], capture_output=True, text=True, check=True
    )
    errors: list[str] = json.loads(result.stdout)
    return errors


def _messages(queue: str) -> list[Any]:
    """The messages of a queue, by the references of its channel."""
    names = [each["$ref"] for each in ASYNCAPI["channels"][queue]["messages"].values()]
    return [MESSAGES[name.removeprefix("#/components/messages/")] for name in names]


def test_asyncapi_document_is_valid() -> None:
    """The document is valid AsyncAPI, and its references resolve."""
    assert _errors(FILE) == []


def test_asyncapi_parser_reports_errors(tmp_path: Path) -> None:
    """The parser reports a reference that leads nowhere."""
    copy = tmp_path / FILE.name
    copy.write_text(FILE.read_text())
    assert any("event.v1.json" in error for error in _errors(copy))


def test_asyncapi_has_every_queue() -> None:
    """The channels are the queues of the shipped routes, and the app sends to each."""
    queues = {route["queue"] for route in ROUTES["routes"]} | {REJECTED}
    channels = ASYNCAPI["channels"]
    assert {name: channel["address"] for name, channel in channels.items()} == {
        queue: queue for queue in queues
    }
    operations = ASYNCAPI["operations"].values()
    assert {operation["action"] for operation in operations} == {"send"}
    sent_to = sorted(operation["channel"]["$ref"] for operation in operations)
    assert sent_to == sorted(f"#/channels/{queue}" for queue in queues)


def test_asyncapi_messages_follow_routes() -> None:
    """A queue has the events of its routes' actions, and each action is on a queue."""
    routed = [action for route in ROUTES["routes"] for action in route["actions"]]
    assert sorted(routed) == sorted(name for name, action in ACTIONS.items() if action["type"])
    for route in ROUTES["routes"]:
        assert [message["payload"] for message in _messages(route["queue"])] == [
            {
                "allOf": [
                    {"$ref": "../shared/schemas/event.v1.json"},
                    {"properties": {"type": {"const": ACTIONS[action]["type"]}}},
                ]
            }
            for action in route["actions"]
        ]
    [rejected] = _messages(REJECTED)
    assert rejected["payload"] == {"$ref": "../shared/schemas/rejected.v1.json"}
