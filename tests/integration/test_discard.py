"""The command `discard`: dead letters are in a private file before they are deleted."""

import json
import stat
from base64 import b64decode
from pathlib import Path

from tests.support.commands import Ended, run_tools
from tests.support.deliveries import example, reject
from tests.support.storage import StorageAccount


def _discard(storage: StorageAccount, *arguments: str) -> Ended:
    return run_tools("discard", *arguments, AcrEventsStorage=storage.connection)


async def test_discard_keeps_private_file(storage: StorageAccount, tmp_path: Path) -> None:
    """`discard` deletes the selected dead letters and keeps them in a file of their owner."""
    await reject(storage.connection, example("push", id="1"), example("push", id="2"), b"{")
    file = tmp_path / "kept.jsonl"
    arguments = ["--reason", "registry-not-allowed", "--id", "2", "--file", str(file), "--yes"]
    ended = _discard(storage, *arguments, "--json")
    assert ended.status == 0, ended.errors
    assert [json.loads(line)["id"] for line in ended.output.splitlines()] == ["2"]
    [line] = map(json.loads, file.read_text().splitlines())
    assert json.loads(line["deadLetter"]["body"]["content"])["id"] == "2"
    assert json.loads(b64decode(line["content"])) == line["deadLetter"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    client = storage.service.get_queue_client("acr-rejected")
    assert len(await client.peek_messages(max_messages=32)) == 2
    # A file that exists is not overwritten, and then nothing is deleted.
    second = _discard(storage, "--all", "--file", str(file), "--yes")
    assert second.status == 1
    assert "cannot be created" in second.errors
    assert len(await client.peek_messages(max_messages=32)) == 2


async def test_discard_asks_first(storage: StorageAccount, tmp_path: Path) -> None:
    """Without a filter or somebody who agrees, `discard` deletes nothing and writes no file."""
    await reject(storage.connection, example("push"))
    file = tmp_path / "kept.jsonl"
    assert "with --all" in _discard(storage, "--yes").errors
    unasked = _discard(storage, "--all", "--file", str(file))
    assert unasked.status == 1
    assert "use --yes" in unasked.errors
    assert not file.exists()
    client = storage.service.get_queue_client("acr-rejected")
    assert len(await client.peek_messages(max_messages=32)) == 1


async def test_discard_counts_hidden_messages(storage: StorageAccount, tmp_path: Path) -> None:
    """`discard` fails while another reader has messages in hand, and says when they return."""
    await reject(storage.connection, example("push", id="1"), example("push", id="2"))
    client = storage.service.get_queue_client("acr-rejected")
    assert await client.receive_message(visibility_timeout=300)
    ended = _discard(storage, "--all", "--file", str(tmp_path / "kept.jsonl"), "--yes")
    assert ended.status == 1
    assert "1 deleted" in ended.output
    assert "1 are in another reader's hand" in ended.errors
