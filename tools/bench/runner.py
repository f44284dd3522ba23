"""`make bench`: how fast the app is, against the plain SDK and against a tutorial's function.

Each figure is a ratio of two things measured in turn, A B A B …, on the same machine in the same
minutes, so that it holds where absolute times do not. What is measured runs in processes of its
own: `subjects.py`.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import median

import aiohttp
from azure.storage.queue import QueueServiceClient
from rich.progress import Progress

from tools import examples
from tools.bench.latency_proxy import latency_proxy
from tools.bench.measurement import Measurement, subject
from tools.bench.report import Figure, Load, Target
from tools.bench.subjects import CONCURRENT, SDK_QUEUE, TUTORIAL_QUEUE
from tools.localhost.function_app import ToolError

# Processes that share a processor with Azurite vary most from lap to lap.
_LAPS = 21
_STEADY_LAPS = 9
# Deliveries of a lap, and of its unmeasured beginning: connections are opened, caches filled.
_LAP, _SLOW_LAP = 1000, 150
_WARM_UP = 300

_CPU_TURN, _CPU_TURNS = 100, 12

_FAN_OUTS = 60  # single deliveries of a lap
_PAUSE_SECONDS = 0.01  # by which the response of storage is delayed

_EARLY, _LATE = 5_000, 50_000
_MEMORY_STEP = 500
_MEMORY_PAIRS = 5

_HTTP_LAPS = 5
_HTTP_LAP = {1: 400, 16: 1000, 64: 1000}  # deliveries, by how many are under way at a time


@dataclass(frozen=True)
class Bench:
    """Measures against the storage account of `connection`, an Azurite of its own."""

    connection: str
    progress: Progress

    def figures(self) -> list[Figure]:
        """Every figure that has a target."""
        with QueueServiceClient.from_connection_string(self.connection) as service:
            for name in (SDK_QUEUE, TUTORIAL_QUEUE):
                service.create_queue(name)
            self._lap("function", 1)  # creates its queue itself
            return [
                *self._warm(service),
                self._cold(),
                self._cpu(service),
                self._fan_out(service),
                self._memory(service),
            ]

    def _warm(self, service: QueueServiceClient) -> Iterator[Figure]:
        laps: dict[str, list[Measurement]] = {"function": [], "sdk": [], "tutorial": []}
        for _ in self._steps("Warm: deliveries/s", _LAPS):
            for name, taken in laps.items():
                # Each has its own process: the server closes a connection that is idle in the turns
                # of others, and the SDK waits 15 s by default until it tries again (measured).
                taken.append(self._lap(name, _SLOW_LAP if name == "tutorial" else _LAP, _WARM_UP))
                _clear(service)
        rates = {name: [taken.rate for taken in lap] for name, lap in laps.items()}
        yield Figure(
            "warm ÷ plain SDK",
            f"deliveries/s through `main`, {CONCURRENT} concurrent, ÷ `send_message` calls/s of "
            "one shared async SDK client with every option at its default",
            Target(1.2, at_least=True),
            _ratios(rates["function"], rates["sdk"]),
        )
        yield Figure(
            "warm ÷ tutorial",
            f"deliveries/s through `main`, {CONCURRENT} concurrent, ÷ those through the function "
            "that a tutorial would give: sync, a client per call, `jsonschema.validate` per call",
            Target(3, at_least=True),
            _ratios(rates["function"], rates["tutorial"]),
        )

    def _cpu(self, service: QueueServiceClient) -> Figure:
        """The CPU time of a delivery beyond `send`, the last step of the pipeline.

        That is the same SDK call of a client made the same way, with the same message and as many
        at a time; sends are real in both. They take turns in one process, a fraction of a second
        each: whatever else the machine does slows both alike.
        """
        shares = []
        for _ in self._steps("CPU time", _LAPS):
            counts = [_WARM_UP, *[_CPU_TURN] * _CPU_TURNS]
            with subject(self.connection, "function,send", counts) as measured:
                taken = list(measured)[2:]
            whole, sends = (sum(turn.cpu_seconds for turn in taken[i::2]) for i in (0, 1))
            shares.append(1 - sends / whole)
            _clear(service)
        return Figure(
            "CPU outside the SDK",
            "share of a delivery's CPU time spent outside the SDK call: what it needs beyond the "
            "same send alone",
            Target(0.2, at_least=False),
            shares,
            percent=True,
        )

    def _cold(self) -> Figure:
        """From the start of a process to its end, seen from outside."""
        for name in ("function", "sdk"):
            self._lap(name, 1)  # fills the caches of the disk and of compiled modules
        seconds: dict[str, list[float]] = {"function": [], "sdk": []}
        for _ in self._steps("Cold: new processes", _STEADY_LAPS):
            for name, taken in seconds.items():
                started = time.perf_counter()
                self._lap(name, 1)
                taken.append(time.perf_counter() - started)
        return Figure(
            "cold ÷ plain SDK",
            "time of a new process that takes one delivery to its 202 ÷ new process that imports "
            "`azure.functions` and the async SDK and sends one message",
            Target(1.25, at_least=False),
            _ratios(seconds["function"], seconds["sdk"]),
        )

    def _fan_out(self, service: QueueServiceClient) -> Figure:
        """Latencies of single deliveries, to one queue and to ten in turn.

        Azurite serves one request after another: next door, its own time would be measured, ten
        times over. Behind the latency proxy, the pauses overlap or do not.
        """
        ratios = []
        for _ in self._steps("Fan-out", _STEADY_LAPS):
            with latency_proxy(self.connection, _PAUSE_SECONDS) as connection:
                bench = replace(self, connection=connection)
                counts = [_WARM_UP // 10, *[1] * _FAN_OUTS]
                with subject(bench.connection, "one_queue,ten_queues", counts) as measured:
                    taken = list(measured)[2:]
            one, ten = (median(turn.seconds for turn in taken[i::2]) for i in (0, 1))
            ratios.append(ten / one)
            _clear(service)
        return Figure(
            "ten queues ÷ one",
            "latency of a delivery for ten queues ÷ for one queue, one delivery at a time, "
            f"each call to storage delayed by {_PAUSE_SECONDS * 1000:.0f} ms",
            Target(2.5, at_least=False),
            ratios,
        )

    def _memory(self, service: QueueServiceClient) -> Figure:
        """One process, with readings at its start and end: all pairs have the same distance."""
        last = _LATE + (_MEMORY_PAIRS - 1) * _MEMORY_STEP
        held: dict[int, int] = {}
        task = self.progress.add_task("Memory: deliveries", total=last)
        with subject(
            self.connection, "function", [_MEMORY_STEP] * (last // _MEMORY_STEP)
        ) as measured:
            for number, taken in enumerate(measured, 1):
                held[number * _MEMORY_STEP] = taken.resident_bytes
                self.progress.advance(task, _MEMORY_STEP)
                if number % 10 == 0:
                    _clear(service)
        beyond = [number * _MEMORY_STEP for number in range(_MEMORY_PAIRS)]
        return Figure(
            "memory",
            f"resident memory after {_LATE:,} deliveries ÷ after {_EARLY:,}",
            Target(1.05, at_least=False),
            [held[_LATE + more] / held[_EARLY + more] for more in beyond],
        )

    def loads(self, url: str) -> list[Load]:
        """Deliveries over HTTP to the function at `url`, from this process."""
        loads = [Load(concurrent) for concurrent in _HTTP_LAP]
        with QueueServiceClient.from_connection_string(self.connection) as service:
            asyncio.run(_post(url, Load(CONCURRENT), _WARM_UP))
            for _ in self._steps("HTTP: deliveries/s", _HTTP_LAPS):
                for load in loads:
                    asyncio.run(_post(url, load, _HTTP_LAP[load.concurrent]))
                    _clear(service)
        return loads

    def _steps(self, name: str, count: int) -> Iterator[int]:
        yield from self.progress.track(range(count), description=name)

    def _lap(self, name: str, count: int, warm_up: int | None = None) -> Measurement:
        """`count` deliveries in a new process, after `warm_up` that are not measured."""
        counts = [count] if warm_up is None else [min(warm_up, count), count]
        with subject(self.connection, name, counts) as measured:
            return list(measured)[-1]


def _clear(service: QueueServiceClient) -> None:
    """Empties every queue, so that each lap finds the same."""
    for queue in service.list_queues():
        service.get_queue_client(str(queue.name)).clear_messages()


def _ratios(ours: Iterable[float], others: Iterable[float]) -> list[float]:
    return [a / b for a, b in zip(ours, others, strict=True)]


async def _post(url: str, load: Load, count: int) -> None:
    """Adds to `load` a lap of `count` deliveries, each under an id of its own."""
    example = examples.documented("push")
    bodies = iter([json.dumps(examples.with_new_id(example)).encode() for _ in range(count)])
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def take() -> None:
            for body in bodies:
                sent = time.perf_counter()
                async with session.post(url, data=body) as response:
                    await response.read()
                load.latencies.append(time.perf_counter() - sent)
                if response.status != 202:
                    raise ToolError(f"A delivery got {response.status}, not 202.")

        started = time.perf_counter()
        try:
            await asyncio.gather(*(take() for _ in range(load.concurrent)))
        except aiohttp.ClientError as error:
            raise ToolError(f"The app did not respond: {error}") from None
        load.rates.append(count / (time.perf_counter() - started))
