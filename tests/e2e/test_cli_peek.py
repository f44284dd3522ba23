"""The command `peek`."""

import json
from base64 import b64encode

from tests.support.commands import run_tools
from tests.support.deliveries import example, reject
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port


async def test_peek_leaves_messages_on_queues(
    function_url: str, storage: StorageAccount, azurite: str
) -> None:
    """`peek` shows messages and leaves them on their queues."""
    run_tools("send", "push", "--url", function_url)
    run_tools("send", "push", "--url", function_url, "--registry", "not a host")
    for _ in range(2):
        result = run_tools("peek", AcrEventsStorage=azurite, COLUMNS="300")
        assert result.status == 0, result.errors
        assert "ImagePushed" in result.output
        assert "invalid-delivery (422)" in result.output
    one = run_tools("peek", "acr-push", "--json", AcrEventsStorage=azurite)
    assert [json.loads(line)["subject"] for line in one.output.splitlines()] == ["hello-world:v1"]


async def test_peek_shows_facts(storage: StorageAccount, azurite: str) -> None:
    """`peek` shows the count of each queue, and what each message is about."""
    await reject(azurite, example("push", id="one"))
    result = run_tools("peek", AcrEventsStorage=azurite, COLUMNS="300")
    assert "about 1 messages" in result.output
    [row] = [line for line in result.output.splitlines() if "│ one " in line]
    assert "myregistry.azurecr.io" in row
    assert "hello-world" in row
    assert "registry-not-allowed (403)" in row


async def test_peek_all_counts_dead_letters(storage: StorageAccount, azurite: str) -> None:
    """`peek --all` counts every dead letter by reason and registry, and releases them all."""
    await reject(azurite, *(example("push", id=str(number)) for number in range(40)), b"{")
    result = run_tools("peek", "--all", "--yes", "--json", AcrEventsStorage=azurite)
    assert result.status == 0, result.errors
    assert [json.loads(line) for line in result.output.splitlines()] == [
        {
            "reason": "registry-not-allowed",
            "registry": "myregistry.azurecr.io",
            "deadLetters": 40,
        },
        {"reason": "not-json", "registry": None, "deadLetters": 1},
    ]
    assert "do not see them" in result.errors
    client = storage.service.get_queue_client("acr-rejected")
    assert len([m async for m in client.receive_messages(max_messages=100)]) == 41
    hidden = run_tools("peek", "--all", "--yes", AcrEventsStorage=azurite)
    assert hidden.status == 1
    assert "41 messages are in another reader's hand" in hidden.errors
    refused = run_tools("peek", "acr-push", "--all", "--yes", AcrEventsStorage=azurite)
    assert refused.status == 1
    assert "peek takes no message off an event queue" in refused.errors


FOREIGN_MESSAGES = [
    "not base64!",
    b64encode(b"\xff\xfe").decode(),
    b64encode(b"[" * 20_000).decode(),
    b64encode(b'"\\ud800"').decode(),
    b64encode(b"\x1b[31mred [bold]x[/]").decode(),
    b64encode(b'{"reason": "x", "status": 1, "errors": ["a", {"pointer": "[/]"}]}').decode(),
    b64encode(b'{"specversion": 1, "type": [], "subject": null}').decode(),
]


async def test_peek_shows_foreign_messages_safely(storage: StorageAccount, azurite: str) -> None:
    """`peek` shows messages of other senders without terminal control codes."""
    await storage.service.create_queue("foreign")
    client = storage.service.get_queue_client("foreign")
    for content in FOREIGN_MESSAGES:
        await client.send_message(content)
    result = run_tools("peek", AcrEventsStorage=azurite)
    assert result.status == 0, result.errors
    assert "not base64!" in result.output
    assert "red [bold]x[/]" in result.output
    assert "\x1b" not in result.output
    as_json = run_tools("peek", "--json", AcrEventsStorage=azurite)
    assert as_json.status == 0, as_json.errors
    assert len([json.loads(line) for line in as_json.output.splitlines()]) == len(FOREIGN_MESSAGES)


async def test_peek_counts_further_messages(
    function_url: str, storage: StorageAccount, azurite: str
) -> None:
    """`peek` counts the messages that it does not show."""
    run_tools("send", "push", "--repeat", "40", "--url", function_url)
    assert "… and 8 more" in run_tools("peek", AcrEventsStorage=azurite).output
    assert "acr-push has 8 more" in run_tools("peek", "--json", AcrEventsStorage=azurite).errors


def test_peek_reports_missing_queue(azurite: str, storage: StorageAccount) -> None:
    """`peek` names a queue that does not exist."""
    result = run_tools("peek", "no-such-queue", AcrEventsStorage=azurite)
    assert result.status == 1
    assert "There is no queue no-such-queue." in result.errors
    assert "There is no queue yet" in run_tools("peek", AcrEventsStorage=azurite).output


def test_peek_names_storage_setting_or_error() -> None:
    """Without usable storage, `peek` names the setting or the error."""
    invalid = run_tools("peek", AcrEventsStorage="AccountName=a;AccountKey=c2VjcmV0*")
    assert invalid.status == 1
    assert "AcrEventsStorage: its account key is not base64" in invalid.errors
    unset = run_tools("peek", AcrEventsStorage="", AzureWebJobsStorage="")
    assert "using Azurite on port 10001" in unset.errors
    unreachable = run_tools("peek", "--queue-port", str(free_port()))
    assert unreachable.status == 1
    assert "The queues cannot be read" in unreachable.errors
    assert processes.KEY not in unreachable.errors
