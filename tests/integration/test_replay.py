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
from tests.support.commands import Ended, run_tools
from tests.support.deliveries import delivery, example, reject
from tests.support.storage import StorageAccount
from tools.localhost import processes
from tools.localhost.ports import free_port
from tools.replay import Replay

RECORD = validator("rejected.v1.json")


STRICT = {"ACR_REGISTRIES": "other.azurecr.io"}


def _replay(connection: str, *arguments: str, **settings: str) -> Ended:
    own = {"AcrEventsStorage": connection, "ACR_REGISTRIES": ""}
    return run_tools("replay", *arguments, **{**own, **settings})


async def test_what_passes_today_leaves_for_its_queue(storage: StorageAccount) -> None:
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


async def test_what_is_refused_again_stays_with_todays_reason_and_a_count(
    storage: StorageAccount,
) -> None:
    bad = example("push", target__digest="latest")
    await reject(storage.connection, bad, b"\xff\x00")
    for _ in range(2):
        result = _replay(storage.connection)
        assert result.status == 1
        assert "stays: invalid-delivery" in result.output
        assert "stays: not-json" in result.output
        # At once visible to others again.
        client = storage.service.get_queue_client("acr-rejected")
        assert len(await client.peek_messages(max_messages=32)) == 2
    records = await storage.documents("acr-rejected")
    assert [violations(RECORD, record) for record in records] == [[], []]
    assert {record["reason"]: record["attempts"] for record in records} == {
        "invalid-delivery": 2,
        "not-json": 2,
    }
    [kept] = [record for record in records if record["reason"] == "invalid-delivery"]
    assert json.loads(kept["body"]["content"]) == bad
    assert kept["errors"][0]["pointer"] == "/target/digest"


async def test_todays_reason_takes_the_place_of_the_old_one(storage: StorageAccount) -> None:
    await reject(storage.connection, example("push"))
    result = _replay(storage.connection, ACR_REGISTRIES="third.azurecr.io")
    assert "stays: registry-not-allowed" in result.output
    [record] = await storage.documents("acr-rejected")
    assert (record["reason"], record["status"], record["attempts"]) == (
        "registry-not-allowed",
        403,
        1,
    )


async def test_a_dry_run_says_what_would_pass_and_changes_nothing(storage: StorageAccount) -> None:
    await reject(storage.connection, example("push"), b"{")
    result = _replay(storage.connection, "--dry-run")
    assert result.status == 1
    assert "Dry run" in result.output
    assert "would pass" in result.output
    records = await storage.documents("acr-rejected")
    assert len(records) == 2
    assert not any("attempts" in record for record in records)
    assert await storage.queues() == ["acr-rejected"]


async def test_max_is_kept_to(storage: StorageAccount) -> None:
    deliveries = [example("push", id=str(number)) for number in range(40)]
    await reject(storage.connection, *deliveries)
    assert _replay(storage.connection, "--max", "35").status == 0
    assert len(await storage.documents("acr-push")) == 35
    assert len(await storage.documents("acr-rejected")) == 5


async def test_the_url_s_registry_and_the_trace_are_replayed_too(storage: StorageAccount) -> None:
    receiver = App.from_environment({"AcrEventsStorage": storage.connection, **STRICT})
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = json.dumps(example("chart_push")).encode()
    await receiver.pipeline.process(Delivery(body, "contoso.azurecr.io", trace, datetime.now(UTC)))
    await receiver.queues.close()
    assert _replay(storage.connection).status == 0
    [event] = await storage.documents("acr-chart-push")
    assert (event["acrregistry"], event["traceparent"]) == ("contoso.azurecr.io", trace)


async def test_what_was_kept_incomplete_or_is_no_record_stays(storage: StorageAccount) -> None:
    await reject(storage.connection, b"x" * 100_000)
    client = storage.service.get_queue_client("acr-rejected")
    await client.send_message("bm90IGEgcmVjb3Jk")
    await client.send_message("not even base64!")
    result = _replay(storage.connection)
    assert result.status == 1
    assert re.search(r"stays: not a record[^│]*│ 2 ", result.output)
    assert re.search(r"stays: kept incomplete[^│]*│ 1 ", result.output)
    found = {message.content[:9] for message in await client.peek_messages(max_messages=32)}
    assert found == {"bm90IGEgc", "not even ", b64encode(b'{"reason"').decode()[:9]}


async def test_another_queue_can_be_named_and_one_that_is_not_there_is_an_error(
    storage: StorageAccount,
) -> None:
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


async def test_without_rejected_deliveries_there_is_nothing_to_do(storage: StorageAccount) -> None:
    assert await storage.queues() == []
    assert _replay(storage.connection).status == 0


async def test_settings_or_routes_that_cannot_be_used_are_named(storage: StorageAccount) -> None:
    result = _replay(storage.connection, ACR_REGISTRIES="a b")
    assert result.status == 1
    assert "ACR_REGISTRIES: entry 1" in result.errors


async def test_it_says_which_registries_it_allows(storage: StorageAccount) -> None:
    assert "may deliver (ACR_REGISTRIES): all" in _replay(storage.connection).errors


async def test_a_long_list_of_violations_gives_way_to_the_body(storage: StorageAccount) -> None:
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
    [record] = await storage.documents("acr-rejected")
    assert (record["reason"], record["attempts"]) == ("invalid-delivery", 1)
    assert json.loads(record["body"]["content"]) == raw


async def test_a_registry_parameter_is_never_replayed_cut(storage: StorageAccount) -> None:
    registry = "mycompanyproductionregistryofeverything.azurecr.io"
    body = json.dumps(example("chart_push", future="x" * 48_200)).encode()
    receiver = App.from_environment({"AcrEventsStorage": storage.connection})
    await receiver.pipeline.process(Delivery(body, registry, None, datetime.now(UTC)))
    await receiver.queues.close()
    _replay(storage.connection, ACR_MAX_BODY_BYTES="49152")
    for event in await storage.documents("acr-chart-push"):
        assert event["source"] == f"https://{registry}"
    for record in await storage.documents("acr-rejected"):
        assert record["registry"] == registry


def test_storage_that_is_not_there_is_a_clear_error() -> None:
    result = _replay(processes.connection_string(free_port()))
    assert result.status == 1
    assert "acr-rejected cannot be replayed" in result.errors
    assert processes.KEY not in result.errors


@pytest.mark.parametrize("arguments", [["--max", "0"], ["--hold", "0"], ["--nonsense"]])
def test_an_option_that_makes_no_sense_is_refused(azurite: str, arguments: list[str]) -> None:
    assert _replay(azurite, *arguments).status == 2


async def test_an_event_that_no_route_takes_stays_whatever_the_app_does_with_such(
    storage: StorageAccount,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = Routes((), "acr-rejected")
    settings = Settings.read({"AcrEventsStorage": storage.connection, "ACR_KEEP_UNROUTED": "true"})
    queues = StorageQueues(settings.storage)
    pipeline = Pipeline(settings, nowhere, queues)
    body = json.dumps(example("push")).encode()
    response = await pipeline.process(delivery(body))
    assert response.status == 422
    await queues.close()
    with monkeypatch.context() as patch:
        patch.setattr(Routes, "load", lambda _: nowhere)
        replaying = Replay({"AcrEventsStorage": storage.connection})
    await replaying.run(None, lambda _: None, lambda: None)
    assert replaying.summary.stayed == {"unrouted": 1}
    [record] = await storage.documents("acr-rejected")
    assert (record["reason"], record["attempts"]) == ("unrouted", 1)
    # Today's routes take it.
    await reject(storage.connection, body)
    assert _replay(storage.connection).status == 0
    assert len(await storage.documents("acr-push")) == 1
