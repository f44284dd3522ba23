"""The command `clear`."""

import asyncio
import subprocess
import sys

import pytest

from tests.support.commands import run_tools
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port


@pytest.fixture
async def filled(storage: StorageAccount) -> StorageAccount:
    """An account with messages on two queues, and an empty queue."""
    for queue, count in {"one": 1, "two": 2, "none": 0}.items():
        await storage.service.create_queue(queue)
        for _ in range(count):
            await storage.service.get_queue_client(queue).send_message("x")
    return storage


async def _lengths(account: StorageAccount) -> dict[str, int]:
    return {
        name: len(await account.service.get_queue_client(name).peek_messages(max_messages=32))
        for name in await account.queues()
    }


FULL = {"one": 1, "two": 2, "none": 0}
EMPTY = dict.fromkeys(FULL, 0)


async def test_clear_empties_all_queues(filled: StorageAccount, azurite: str) -> None:
    """`clear --yes` removes every message, and keeps the queues."""
    result = run_tools("clear", "--yes", AcrEventsStorage=azurite)
    assert result.status == 0, result.errors
    assert result.output == "one: 1 message\ntwo: 2 messages\none is empty.\ntwo is empty.\n"
    assert await _lengths(filled) == EMPTY
    again = run_tools("clear", AcrEventsStorage=azurite)
    assert (again.status, again.output) == (0, "No queue has messages.\n")


@pytest.mark.parametrize(
    ("answer", "status", "left"),
    [("y\n", 0, EMPTY), ("n\n", 1, FULL), ("\n", 1, FULL), ("", 1, FULL)],
)
async def test_clear_asks_first(
    filled: StorageAccount, azurite: str, answer: str, status: int, left: dict[str, int]
) -> None:
    """`clear` removes messages only if the answer is yes, and exits with 1 if it is not."""
    port = azurite.partition("QueueEndpoint=http://127.0.0.1:")[2].partition("/")[0]
    result = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "tools", "clear", "--queue-port", port],
        cwd=processes.ROOT, input=answer, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "two: 2 messages\nRemove these messages? [y/N]" in result.stdout
    assert result.returncode == status, result.stderr
    assert await _lengths(filled) == left


@pytest.mark.parametrize(
    ("old", "new", "account"),
    [
        ("AccountName=devstoreaccount1", "AccountName=contoso", "contoso"),
        (processes.KEY, "a2V5", "devstoreaccount1"),
    ],
)
async def test_clear_refuses_other_accounts(
    filled: StorageAccount, azurite: str, old: str, new: str, account: str
) -> None:
    """`clear` refuses an account that is no emulator, and says how to name it."""
    result = run_tools("clear", "--yes", AcrEventsStorage=azurite.replace(old, new))
    assert (result.status, result.output) == (1, "")
    assert f"the account {account}, which is no emulator" in result.errors
    assert f"add: --account {account}" in result.errors
    assert await _lengths(filled) == FULL


async def test_clear_refuses_wrong_name(filled: StorageAccount, azurite: str) -> None:
    """`clear` refuses an account with another name than the given one, even an emulator."""
    result = run_tools("clear", "--yes", "--account", "contoso", AcrEventsStorage=azurite)
    assert result.status == 1
    assert "the account devstoreaccount1, not to contoso" in result.errors
    assert await _lengths(filled) == FULL


def test_clear_takes_named_account() -> None:
    """`clear` turns to an account that is no emulator if its name is given."""
    connection = (
        f"AccountName=contoso;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:{free_port()}/contoso"
    )
    result = run_tools("clear", "--yes", "--account", "contoso", AcrEventsStorage=connection)
    assert result.status == 1
    assert "The queues cannot be read: Storage cannot be reached." in result.errors
