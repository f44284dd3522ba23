"""Replay of dead letters, with Azurite."""

import json
import re
from base64 import b64encode
from datetime import UTC, datetime

import pytest

from shared.app import App
from shared.core.delivery import Delivery
from shared.core.routing import Routes
from shared.core.schemas import validator
from shared.core.violations import violations
from shared.pipeline import Pipeline
from shared.settings import Settings
from shared.storage.queues import StorageQueues
from shared.storage.transport import MESSAGES_BYTES, responses_up_to
from tests.support.commands import Ended, run_tools
from tests.support.deliveries import delivery, example, reject
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port
from tools.replay import Replay

DEAD_LETTER = validator("rejected.v1.json")
OTHER_REGISTRY = {"ACR_REGISTRIES": "other.azurecr.io"}


def _replay(connection: str, *arguments: str, **settings: str) -> Ended:
    # Time is no promise of these tests, and the machine may be busy.
    own = {"AcrEventsStorage": connection, "ACR_REGISTRIES": "", "ACR_BUDGET_SECONDS": "30"}
    return run_tools("replay", *arguments, **{**own, **settings})


async def test_accepted_dead_letter_reaches_event_queue(storage: StorageAccount) -> None:
    """A dead letter that the pipeline accepts now moves to its event's queue."""
    deliveries = [example("push", id=str(number)) for number in range(70)]
    await reject(storage.connection, *deliveries)
    result = _replay(storage.connection)
    assert result.status == 0, result.errors
    assert "passed" in result.output
    assert "70" in result.output
    assert {event["id"] for event in await storage.documents("acr-push")} == {
        str(number) for number in range(70)
    }
    assert await storage.documents("acr-rejected") == []


async def test_refused_dead_letter_counts_attempts(storage: StorageAccount) -> None:
    """A dead letter that the pipeline refuses again stays and counts the attempts."""
    bad = example("push", target__digest="latest")
    await reject(storage.connection, bad, b"\xff\x00")
    for _ in range(2):
        result = _replay(storage.connection)
        assert result.status == 1
        assert "stays: invalid-delivery" in result.output
        assert "stays: not-json" in result.output
        # Other readers see the dead letters at once.
        client = storage.service.get_queue_client("acr-rejected")
        assert len(await client.peek_messages(max_messages=32)) == 2
    dead_letters = await storage.documents("acr-rejected")
    assert [violations(DEAD_LETTER, dead_letter) for dead_letter in dead_letters] == [[], []]
    assert {dead_letter["reason"]: dead_letter["attempts"] for dead_letter in dead_letters} == {
        "invalid-delivery": 2,
        "not-json": 2,
    }
    [refused] = [
        dead_letter for dead_letter in dead_letters if dead_letter["reason"] == "invalid-delivery"
    ]
    assert json.loads(refused["body"]["content"]) == bad
    assert refused["errors"][0]["pointer"] == "/target/digest"


async def test_current_reason_replaces_old_reason(storage: StorageAccount) -> None:
    """The current reason and status replace the old ones in a dead letter that stays."""
    await reject(storage.connection, example("push"))
    result = _replay(storage.connection, ACR_REGISTRIES="third.azurecr.io")
    assert "stays: registry-not-allowed" in result.output
    [dead_letter] = await storage.documents("acr-rejected")
    assert (dead_letter["reason"], dead_letter["status"], dead_letter["attempts"]) == (
        "registry-not-allowed",
        403,
        1,
    )


async def test_replay_dry_run_changes_nothing(storage: StorageAccount) -> None:
    """A dry run of replay reports what would pass and changes nothing."""
    await reject(storage.connection, example("push"), b"{")
    result = _replay(storage.connection, "--dry-run")
    assert result.status == 1
    assert "Dry run" in result.output
    assert "would pass" in result.output
    dead_letters = await storage.documents("acr-rejected")
    assert len(dead_letters) == 2
    assert not any("attempts" in dead_letter for dead_letter in dead_letters)
    assert await storage.queues() == ["acr-rejected"]


async def test_max_option_limits_replay(storage: StorageAccount) -> None:
    """Replay handles no more dead letters than `--max` allows, and fails while some are left."""
    deliveries = [example("push", id=str(number)) for number in range(40)]
    await reject(storage.connection, *deliveries)
    limited = _replay(storage.connection, "--max", "35")
    assert limited.status == 1
    assert re.search(r"left because of --max +│ 5 ", limited.output)
    assert len(await storage.documents("acr-push")) == 35
    assert len(await storage.documents("acr-rejected")) == 5


async def test_replay_keeps_registry_and_trace(storage: StorageAccount) -> None:
    """A replayed event has the registry parameter and the trace of the first delivery."""
    receiver = App.from_environment({"AcrEventsStorage": storage.connection, **OTHER_REGISTRY})
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = json.dumps(example("chart_push")).encode()
    await receiver.pipeline.process(Delivery(body, "contoso.azurecr.io", trace, datetime.now(UTC)))
    await receiver.queues.close()
    assert _replay(storage.connection).status == 0
    [event] = await storage.documents("acr-chart-push")
    assert (event["acrregistry"], event["traceparent"]) == ("contoso.azurecr.io", trace)


async def test_replay_keeps_region(storage: StorageAccount) -> None:
    """A replayed event has the region parameter of the first delivery."""
    receiver = App.from_environment({"AcrEventsStorage": storage.connection, **OTHER_REGISTRY})
    body = json.dumps(example("push", request__host="a.eastus.geo.azurecr.io")).encode()
    for region in ("WestEurope", None):
        await receiver.pipeline.process(
            Delivery(body, None, None, datetime.now(UTC), region=region)
        )
    await receiver.queues.close()
    assert _replay(storage.connection, ACR_REGISTRIES="a.azurecr.io").status == 0
    events = await storage.documents("acr-push")
    assert sorted(event["acrregion"] for event in events) == ["eastus", "westeurope"]


async def test_unreadable_dead_letter_stays(storage: StorageAccount) -> None:
    """A truncated dead letter and a message that is no dead letter stay on the queue."""
    await reject(storage.connection, b"x" * 100_000)
    client = storage.service.get_queue_client("acr-rejected")
    await client.send_message("bm90IGEgcmVjb3Jk")
    await client.send_message("not even base64!")
    result = _replay(storage.connection)
    assert result.status == 1
    assert re.search(r"stays: not a dead letter +│ 2 ", result.output)
    assert re.search(r"stays: kept incomplete[^│]*│ 1 ", result.output)
    with responses_up_to(MESSAGES_BYTES):
        found = {message.content[:9] for message in await client.peek_messages(max_messages=32)}
    assert found == {"bm90IGEgc", "not even ", b64encode(b'{"reason"').decode()[:9]}


async def test_queue_option_requires_existing_queue(storage: StorageAccount) -> None:
    """The option `--queue` selects another queue and reports a missing one as an error."""
    await reject(storage.connection, example("push"))
    [message] = await storage.take("acr-rejected")
    await storage.service.create_queue("old-rejected")
    from azure.storage.queue import BinaryBase64EncodePolicy

    client = storage.service.get_queue_client(
        "old-rejected", message_encode_policy=BinaryBase64EncodePolicy()
    )
    await client.send_message(message.content)
    assert _replay(storage.connection, "--queue", "old-rejected").status == 0
    assert len(await storage.documents("acr-push")) == 1
    typo = _replay(storage.connection, "--queue", "no-such-queue")
    assert typo.status == 1
    assert "There is no queue no-such-queue" in typo.errors


async def test_missing_queue_replays_nothing(storage: StorageAccount) -> None:
    """Replay succeeds without a dead-letter queue."""
    assert await storage.queues() == []
    assert _replay(storage.connection).status == 0


async def test_replay_names_invalid_setting(storage: StorageAccount) -> None:
    """Replay fails with an error that names an invalid setting."""
    result = _replay(storage.connection, ACR_REGISTRIES="a b")
    assert result.status == 1
    assert "ACR_REGISTRIES, entry 1" in result.errors


def test_replay_may_have_longer_budget() -> None:
    """No registry waits for replay: its budget may be longer than the app's."""
    settings = {"AcrEventsStorage": "UseDevelopmentStorage=true", "ACR_BUDGET_SECONDS": "30"}
    assert Replay(settings)._app.settings.budget_seconds == 30


async def test_replay_reports_allowed_registries(storage: StorageAccount) -> None:
    """Replay reports the registries that may deliver."""
    assert "may deliver (ACR_REGISTRIES): all" in _replay(storage.connection).errors


async def test_body_takes_precedence_over_violations(storage: StorageAccount) -> None:
    """A dead letter without room for all violations keeps the whole body."""
    body = example("push", future="x" * 47_000)
    receiver = App.from_environment(
        {"AcrEventsStorage": storage.connection, "ACR_MAX_BODY_BYTES": "1024"}
    )
    raw = {**body, "actor": 1, "source": 1, "timestamp": 1, "id": 1}
    for name in ("url", "name", "version", "tag", "size", "length", "mediaType"):
        raw["target"][name] = ["wrong"]
    await receiver.pipeline.process(
        Delivery(json.dumps(raw).encode(), None, None, datetime.now(UTC))
    )
    await receiver.queues.close()
    result = _replay(storage.connection, ACR_MAX_BODY_BYTES="49152")
    assert "stays: invalid-delivery" in result.output
    [dead_letter] = await storage.documents("acr-rejected")
    assert (dead_letter["reason"], dead_letter["attempts"]) == ("invalid-delivery", 1)
    assert json.loads(dead_letter["body"]["content"]) == raw


async def test_registry_parameter_is_never_truncated(storage: StorageAccount) -> None:
    """Replay never uses or stores a truncated registry parameter."""
    registry = "mycompanyproductionregistryofeverything.azurecr.io"
    body = json.dumps(example("chart_push", future="x" * 48_200)).encode()
    receiver = App.from_environment({"AcrEventsStorage": storage.connection})
    await receiver.pipeline.process(Delivery(body, registry, None, datetime.now(UTC)))
    await receiver.queues.close()
    _replay(storage.connection, ACR_MAX_BODY_BYTES="49152")
    for event in await storage.documents("acr-chart-push"):
        assert event["source"] == f"https://{registry}"
    for dead_letter in await storage.documents("acr-rejected"):
        assert dead_letter["registry"] == registry


def test_unreachable_storage_error_hides_key() -> None:
    """If replay cannot reach Storage, its error names the queue and hides the account key."""
    result = _replay(processes.connection_string(free_port()))
    assert result.status == 1
    assert "acr-rejected cannot be replayed" in result.errors
    assert processes.KEY not in result.errors


@pytest.mark.parametrize("arguments", [["--max", "0"], ["--hold", "0"], ["--nonsense"]])
def test_invalid_option_is_refused(azurite: str, arguments: list[str]) -> None:
    """The command refuses an invalid option with exit status 2."""
    assert _replay(azurite, *arguments).status == 2


async def test_unrouted_dead_letter_stays(
    storage: StorageAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead letter that matches no route stays, even if `ACR_KEEP_UNROUTED` is not set."""
    no_routes = Routes((), "acr-rejected")
    settings = Settings.read({"AcrEventsStorage": storage.connection, "ACR_KEEP_UNROUTED": "true"})
    queues = StorageQueues(settings.storage)
    pipeline = Pipeline(settings, no_routes, queues)
    body = json.dumps(example("push")).encode()
    response = await pipeline.process(delivery(body))
    assert response.status == 422
    await queues.close()
    with monkeypatch.context() as patch:
        patch.setattr(Routes, "load", lambda _: no_routes)
        replaying = Replay({"AcrEventsStorage": storage.connection})
    await replaying.run(None)
    assert replaying.summary.stayed == {"unrouted": 1}
    [dead_letter] = await storage.documents("acr-rejected")
    assert (dead_letter["reason"], dead_letter["attempts"]) == ("unrouted", 1)
    # The default routes match it.
    await reject(storage.connection, body)
    assert _replay(storage.connection).status == 0
    assert len(await storage.documents("acr-push")) == 1


async def test_damaged_dead_letter_stays_unchanged(storage: StorageAccount) -> None:
    """A dead letter whose body its length or SHA-256 does not account for stays as it is."""
    await reject(storage.connection, *(example("push", id=id_) for id_ in "0123"))
    whole, *others = await storage.documents("acr-rejected")
    changed, longer, other = others
    changed["body"]["content"] = changed["body"]["content"].replace("hello-world", "hello-w0rld")
    longer["body"]["length"] += 1
    other["body"]["sha256"] = "0" * 64
    twice = json.dumps(whole)[:-1] + f', "body": {json.dumps(whole["body"])}}}'
    damaged = [json.dumps(each) for each in (changed, longer, other)]
    messages = [b64encode(text.encode()).decode() for text in (*damaged, twice, json.dumps(whole))]
    client = storage.service.get_queue_client("acr-rejected")
    for message in messages:
        await client.send_message(message)
    result = _replay(storage.connection)
    assert result.status == 1
    assert re.search(r"passed +│ 1 ", result.output)
    assert re.search(r"stays: damaged[^│]*│ 3 ", result.output)
    assert re.search(r"stays: not a dead letter +│ 1 ", result.output)
    stayed = {message.content for message in await client.peek_messages(max_messages=32)}
    assert stayed == set(messages[:-1])
    assert await storage.ids("acr-push") == [json.loads(whole["body"]["content"])["id"]]
