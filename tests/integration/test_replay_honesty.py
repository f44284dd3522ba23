"""What replay selects, reports and leaves visible, with Azurite."""

import json
import signal
from datetime import UTC, datetime, timedelta

from azure.storage.queue import QueueMessage

from tests.support.commands import Command, Ended, run_tools
from tests.support.deliveries import example, reject
from tests.support.storage import StorageAccount


def _replay(storage: StorageAccount, *arguments: str) -> Ended:
    return run_tools("replay", *arguments, **_settings(storage))


def _settings(storage: StorageAccount) -> dict[str, str]:
    return {
        "AcrEventsStorage": storage.connection,
        "ACR_REGISTRIES": "",
        "ACR_BUDGET_SECONDS": "30",
    }


async def _visible(storage: StorageAccount) -> int:
    client = storage.service.get_queue_client("acr-rejected")
    return len(await client.peek_messages(max_messages=32))


async def test_filters_select_dead_letters(storage: StorageAccount) -> None:
    """Replay handles the dead letters that match every filter and leaves the others as they are."""
    contoso = example("push", id="2", request__host="contoso.azurecr.io")
    await reject(storage.connection, example("push", id="1"), contoso, b"{")
    assert _replay(storage, "--since", "2999-01-01").status == 0
    assert _replay(storage, "--registry", "Contoso.azurecr.io", "--id", "1").status == 0
    assert _replay(storage, "--reason", "not-json").status == 1
    assert "acr-push" not in await storage.queues()
    assert await _visible(storage) == 3
    found = _replay(
        storage, "--reason", "registry-not-allowed", "--registry", "contoso.azurecr.io",
        "--since", "2020-01-01",
    )  # fmt: skip
    assert found.status == 0, found.output
    assert await storage.ids("acr-push") == ["2"]
    attempts = {d["reason"]: d.get("attempts") for d in await storage.documents("acr-rejected")}
    assert attempts == {"registry-not-allowed": None, "not-json": 1}


async def test_json_has_line_per_delivery(storage: StorageAccount) -> None:
    """With `--json`, standard output has one line for each delivery and nothing else."""
    await reject(storage.connection, example("push", id="1"), b"{")
    dry, real = (_replay(storage, "--json", *more) for more in (["--dry-run"], []))
    assert (dry.status, real.status) == (1, 1)
    for ended, passed in ((dry, "would pass"), (real, "passed")):
        lines = [json.loads(line) for line in ended.output.splitlines()]
        found = {line["id"]: line for line in lines}
        assert found["1"]["result"] == passed
        assert found["1"]["queues"] == ["acr-push"]
        assert found["1"]["registry"] == "myregistry.azurecr.io"
        assert found["1"]["repository"] == "hello-world"
        assert (found[None]["result"], found[None]["reason"]) == ("stays", "not-json")


async def test_message_in_other_hand_fails(storage: StorageAccount) -> None:
    """Replay counts the messages in another reader's hand, says when they return, and fails."""
    await reject(storage.connection, example("push", id="1"), example("push", id="2"))
    client = storage.service.get_queue_client("acr-rejected")
    taken = await client.receive_message(visibility_timeout=300)
    assert taken
    before = datetime.now(UTC).replace(microsecond=0)
    ended = _replay(storage, "--hold", "60")
    assert ended.status == 1
    assert "passed" in ended.output
    assert "Another reader has 1 messages in hand" in ended.errors
    words = ended.errors.partition("visible again at ")[2].split()
    back = datetime.fromisoformat(words[0])
    assert timedelta(seconds=55) < back - before < timedelta(seconds=180)
    await client.update_message(taken, visibility_timeout=0)
    assert _replay(storage).status == 0


async def test_stopped_dry_run_releases_messages(storage: StorageAccount) -> None:
    """A dry run that Ctrl-C stops makes every message visible again, with its content unchanged."""
    await reject(storage.connection, *(example("push", id=str(n)) for n in range(32)), b"{")
    contents = {m.content for m in await _all(storage)}
    patch = (
        "import os, signal\n"
        "from tools.replay import Replay\n"
        "whole = Replay._one\n"
        "async def stopped(self, *a):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    await whole(self, *a)\n"
        "Replay._one = stopped"
    )
    command = Command("replay", "--dry-run", settings=_settings(storage), patch=patch)
    assert (await command.ended()).status == 128 + signal.SIGINT
    assert {m.content for m in await _all(storage)} == contents


async def _all(storage: StorageAccount) -> list[QueueMessage]:
    client = storage.service.get_queue_client("acr-rejected")
    found = [m async for m in client.receive_messages(visibility_timeout=60, max_messages=100)]
    for message in found:
        await client.update_message(message, visibility_timeout=0)
    return found
