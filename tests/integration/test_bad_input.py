"""Many bad deliveries through the function, with Azurite."""

import asyncio
import copy
import importlib
import json
import random
import sys
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

from shared.app import app
from shared.core.actions import actions
from shared.core.schemas import validator
from shared.core.violations import violations
from shared.storage.transport import MESSAGES_BYTES, responses_up_to
from tests.support.deliveries import example
from tests.support.storage import StorageAccount

SEED = 20_260_302
DELIVERIES_PER_MUTATION = 2_600
CONCURRENT_REQUESTS = 16

SCALARS: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**300, 0.5, 1e308, -0.0,
    "", " ", "x", "x" * 256, "x" * 5000, "\n", "\x00", "\u2028", "\ufffe", "é", "😀", "../..",
    "%00", "{tag}", "sha256:", "2019-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "a.azurecr.io\n",
    [], {}, [[]], {"": {}},
]  # fmt: skip
FRAGMENTS = [
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b"NaN",
    b"1e999", b"9" * 4400, b"[" * 70, b'{"a":' * 70, b'"', b"\\", b",", b"}", b"\x7f", b"\r\n",
    "é中😀".encode(),
]  # fmt: skip


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document that can be replaced: the container and the key."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in list(inside):
        yield value, key
        if isinstance(child, dict | list):
            yield from _nodes(child)


def flip_bytes(rng: random.Random, sample: dict[str, Any]) -> bytes:
    body = bytearray(json.dumps(sample).encode())
    for _ in range(rng.choice((1, 1, 2, 8))):
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return bytes(body)


def truncate(rng: random.Random, sample: dict[str, Any]) -> bytes:
    body = json.dumps(sample).encode()
    return body[: rng.randrange(len(body))]


def insert(rng: random.Random, sample: dict[str, Any]) -> bytes:
    body = json.dumps(sample).encode()
    place = rng.randrange(len(body) + 1)
    return body[:place] + rng.choice(FRAGMENTS) + body[place:]


def swap_types(rng: random.Random, sample: dict[str, Any]) -> bytes:
    document = copy.deepcopy(sample)
    for _ in range(rng.choice((1, 1, 3))):
        container, key = rng.choice(list(_nodes(document)))
        container[key] = copy.deepcopy(rng.choice(SCALARS))
    return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")


def nest(rng: random.Random, sample: dict[str, Any]) -> bytes:
    deep: Any = rng.choice(SCALARS)
    for _ in range(rng.choice((3, 60, 70, 400))):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    document = copy.deepcopy(sample)
    container, key = rng.choice(list(_nodes(document)))
    container[rng.choice((key, "future")) if isinstance(container, dict) else key] = deep
    return json.dumps(document).encode()


def renumber(rng: random.Random, sample: dict[str, Any]) -> bytes:
    digits = "".join(rng.choices("0123456789", k=rng.choice((1, 19, 20, 400, 4300, 4301, 6000))))
    number = rng.choice(("", "-")) + digits.lstrip("0") + rng.choice(("", ".5", "e5", "E-400"))
    document = copy.deepcopy(sample)
    container, key = rng.choice(list(_nodes(document)))
    container[key] = "@number@"
    return json.dumps(document).replace('"@number@"', number or "0").encode()


def reword(rng: random.Random, sample: dict[str, Any]) -> bytes:
    """Replaces texts with any Unicode characters, lone surrogates included."""
    document = copy.deepcopy(sample)
    for container, key in _nodes(document):
        if isinstance(container[key], str) and rng.random() < 0.3:
            text = "".join(chr(rng.randrange(0x110000)) for _ in range(rng.choice((1, 3, 300))))
            container[key] = text
    return json.dumps(document).encode()


def noise(rng: random.Random, sample: dict[str, Any]) -> bytes:
    del sample
    return rng.randbytes(rng.choice((0, 1, 50, 2000, 40_000)))


Mutation = Callable[[random.Random, dict[str, Any]], bytes]
MUTATIONS: list[Mutation] = [
    flip_bytes,
    truncate,
    insert,
    swap_types,
    nest,
    renumber,
    reword,
    noise,
]
PARAMETERS = [
    "", "myregistry.azurecr.io", "MYREGISTRY.azurecr.io:443", "other.azurecr.io", "a b", "a\n",
    "\x00", "\ud800", "é.io", "x" * 9000, "<script>", "%0d%0a", "a.io,b.io", "../x", "[/red]",
]  # fmt: skip
TRACES = [
    "", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "x" * 9000, "\ud800", "00-\r\n",
]  # fmt: skip


@pytest.fixture
def webhook(azurite: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The function's module, loaded with the default settings."""
    monkeypatch.setenv("AcrEventsStorage", azurite)
    monkeypatch.setenv("ACR_REGISTRIES", "")
    app.cache_clear()
    sys.modules.pop("AcrWebhook", None)
    return importlib.import_module("AcrWebhook")


@pytest.mark.slow
@pytest.mark.no_cover  # other tests run the same lines, and tracing doubles the time
@pytest.mark.parametrize("mutate", MUTATIONS)
async def test_bad_deliveries_are_accounted_for(
    mutate: Mutation, webhook: ModuleType, storage: StorageAccount
) -> None:
    """Each of 20,000 bad deliveries gets a response without an internal error."""
    assert DELIVERIES_PER_MUTATION * len(MUTATIONS) >= 20_000
    rng = random.Random(f"{SEED} {mutate.__name__}")
    samples = [example(action) for action in actions()]

    def requests() -> Iterator[func.HttpRequest]:
        for _ in range(DELIVERIES_PER_MUTATION):
            params = {"registry": rng.choice(PARAMETERS)} if rng.random() < 0.2 else {}
            headers = {"traceparent": rng.choice(TRACES)} if rng.random() < 0.3 else {}
            if rng.random() < 0.2:
                headers["Content-Type"] = rng.choice(("", "text/xml", "\ud800", "x" * 500))
            body = mutate(rng, rng.choice(samples))
            yield func.HttpRequest(
                "POST", "/api/AcrWebhook", headers=headers, params=params, body=body
            )

    statuses: Counter[int] = Counter()
    queued: Counter[str] = Counter()
    waiting = requests()

    async def send() -> None:
        for request in waiting:
            context = SimpleNamespace(invocation_id="0d799b14-404b-4859-b2f6-50c5ee2a2c3a")
            response = await webhook.main(request, context)
            body = response.get_body()
            assert len(body) <= 4096
            document = json.loads(body)
            statuses[response.status_code] += 1
            if response.status_code == 202:
                queued.update(document["queues"])
            elif response.status_code != 200:
                assert document["errors"]
                queued["acr-rejected"] += 1

    await asyncio.gather(*(send() for _ in range(CONCURRENT_REQUESTS)))
    await app().queues.close()

    assert sum(statuses.values()) == DELIVERIES_PER_MUTATION
    assert set(statuses) <= {200, 202, 400, 413, 422}
    assert set(statuses) & {400, 413, 422}
    for queue, count in queued.items():
        client = storage.service.get_queue_client(queue)
        assert (await client.get_queue_properties()).approximate_message_count == count
    # The first messages of each queue are valid.
    for queue in queued:
        name = "rejected.v1.json" if queue == "acr-rejected" else "event.v1.json"
        client = storage.service.get_queue_client(queue)
        with responses_up_to(MESSAGES_BYTES):
            async for message in client.receive_messages(max_messages=320, messages_per_page=32):
                document = json.loads(b64decode(message.content))
                assert violations(validator(name), document) == []
