"""`make bench`: what the app costs, against what a user would take instead.

Each figure is a ratio of two things measured in turn, A B A B …, on the same machine in the same
minutes, so that it holds where absolute times do not. What is measured runs in processes of its
own: `subjects.py`. Storage is a stand-in that is faster than any subject, so that the figures are
those of the subjects: `stand_in.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from rich.progress import Progress

from tools.bench import over_http, starts
from tools.bench.account import Account, account
from tools.bench.measurement import Measurement, subject
from tools.bench.report import Figure, Target
from tools.bench.subjects import CONCURRENT

_WARM_UP = 300  # unmeasured deliveries: connections are opened, caches filled
_TURN, _TURNS = 150, 12  # deliveries of a turn, and turns of a lap

_FAN_OUTS = 40  # single deliveries of a lap
_PAUSE_SECONDS = 0.01  # by which the response of storage is delayed

_EARLY, _LATE = 5_000, 50_000
_MEMORY_STEP = 500
_MEMORY_PAIRS = 9

_SDK = "one shared async SDK client with every option at its default"


@dataclass(frozen=True)
class Bench:
    """Measures in `laps` pairs. `quick`: only what changes while one works on the app."""

    progress: Progress
    laps: int = 9
    quick: bool = False

    def figures(self) -> Iterator[Figure]:
        """Every figure, with its target if it has one."""
        with account() as stand_in:
            yield from self._deliveries(stand_in.identity)
            yield self._modules(stand_in.identity)
            yield self._imports(stand_in.identity)
            yield self._first_delivery(stand_in.identity)
            if self.quick:
                return
            yield self._over_http(stand_in)
            yield self._memory(stand_in.identity)
        with account(_PAUSE_SECONDS) as stand_in:
            yield self._fan_out(stand_in.identity)

    def _deliveries(self, settings: Mapping[str, str]) -> Iterator[Figure]:
        """App and SDK take turns in one process: what else the machine does slows both alike."""
        cpu, rate, tail = [], [], []
        for _ in self._steps("Deliveries"):
            ours, others = self._turns(settings, "function,sdk", [_WARM_UP, *[_TURN] * _TURNS])
            cpu.append(_sum(ours, "cpu_seconds") / _sum(others, "cpu_seconds"))
            rate.append(_sum(others, "seconds") / _sum(ours, "seconds"))
            tail.append(median(turn.p99_seconds / turn.p50_seconds for turn in ours))
        yield Figure(
            "CPU of a delivery",
            f"CPU time of a delivery through `main` ÷ of a send by {_SDK}",
            Target(0.4, at_least=False),
            cpu,
            "One HTTPS request by aiohttp alone: 0.22 to 0.28.",
        )
        yield Figure(
            "deliveries/s",
            f"deliveries/s through `main`, {CONCURRENT} concurrent, ÷ sends/s by {_SDK}",
            Target(2.5, at_least=True),
            rate,
            "One core: the CPU time of a delivery.",
        )
        yield Figure(
            "p99 ÷ p50",
            f"99th ÷ 50th percentile of the latency of a delivery, {CONCURRENT} concurrent",
            Target(3, at_least=False),
            tail,
            "1: every delivery takes the same time.",
        )

    def _modules(self, settings: Mapping[str, str]) -> Figure:
        return Figure(
            "modules",
            "modules in memory when the first delivery has its response, without the app's own",
            Target(530, at_least=False),
            [starts.number(settings, "modules")],
            "453: `azure.functions`, aiohttp and jsonschema.",
            unit=0,
        )

    def _imports(self, settings: Mapping[str, str]) -> Figure:
        starts.number(settings, "import-app")  # fills the cache of compiled modules
        ratios = [
            starts.number(settings, "import-app") / starts.number(settings, "import-bare")
            for _ in self._steps("Imports", 2)
        ]
        return Figure(
            "imports",
            "import time of the app after `azure.functions` ÷ that of aiohttp and jsonschema",
            Target(1.5, at_least=False),
            ratios,
            "1: the app needs both.",
        )

    def _first_delivery(self, settings: Mapping[str, str]) -> Figure:
        ratios = [
            starts.seconds(settings, "first-function") / starts.seconds(settings, "first-sdk")
            for _ in self._steps("First delivery", 2)
        ]
        return Figure(
            "first delivery",
            "time of a new process to its first 202, token included ÷ of a process that imports "
            "`azure.functions`, the SDK and azure-identity, and sends one message the same way",
            Target(0.85, at_least=False),
            ratios,
            "0.64: `azure.functions`, aiohttp, jsonschema, one token and one request.",
        )

    def _over_http(self, stand_in: Account) -> Figure:
        return Figure(
            "CPU over HTTP ÷ Express",
            f"CPU time of a delivery over HTTP, {CONCURRENT} concurrent ÷ through Express, ajv and "
            "the JavaScript SDK, with a connection string; ours includes the local host, which is "
            "never deployed",
            None,
            [over_http.ratio(stand_in.key) for _ in self._steps("Over HTTP")],
            "The HTTP server around the function.",
        )

    def _fan_out(self, settings: Mapping[str, str]) -> Figure:
        ratios = []
        for _ in self._steps("Fan-out"):
            counts = [_WARM_UP // 10, *[1] * _FAN_OUTS]
            one, ten = self._turns(settings, "one_queue,ten_queues", counts)
            ratios.append(
                median(turn.seconds for turn in ten) / median(turn.seconds for turn in one)
            )
        return Figure(
            "ten queues ÷ one",
            "latency of a delivery for ten queues ÷ for one queue, one delivery at a time, each "
            f"response of storage delayed by {_PAUSE_SECONDS * 1000:.0f} ms",
            Target(1.5, at_least=False),
            ratios,
            "1: the requests overlap entirely.",
        )

    def _memory(self, settings: Mapping[str, str]) -> Figure:
        """One process, with readings at its start and end: all pairs have the same distance."""
        last = _LATE + (_MEMORY_PAIRS - 1) * _MEMORY_STEP
        held: dict[int, int] = {}
        task = self.progress.add_task("Memory", total=last)
        steps = [_MEMORY_STEP] * (last // _MEMORY_STEP)
        with subject(settings, "function", steps) as measured:
            for number, taken in enumerate(measured, 1):
                held[number * _MEMORY_STEP] = taken.resident_bytes
                self.progress.advance(task, _MEMORY_STEP)
        beyond = [number * _MEMORY_STEP for number in range(_MEMORY_PAIRS)]
        return Figure(
            "memory",
            f"resident memory after {_LATE:,} deliveries ÷ after {_EARLY:,}",
            Target(1.05, at_least=False),
            [held[_LATE + more] / held[_EARLY + more] for more in beyond],
            "1: nothing is kept.",
        )

    def _turns(
        self, settings: Mapping[str, str], names: str, counts: list[int]
    ) -> tuple[list[Measurement], list[Measurement]]:
        """The turns of two subjects, without the warm-up."""
        with subject(settings, names, counts) as measured:
            taken = list(measured)[2:]
        return taken[0::2], taken[1::2]

    def _steps(self, name: str, times: int = 1) -> Iterator[int]:
        yield from self.progress.track(range(self.laps * times), description=name)


def _sum(turns: list[Measurement], field: str) -> float:
    return float(sum(getattr(turn, field) for turn in turns))
