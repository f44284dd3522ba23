"""Runs each subject of the benchmark in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tools.bench.account import environment
from tools.localhost.function_app import ToolError
from tools.localhost.processes import ROOT


@dataclass(frozen=True)
class Measurement:
    """What a number of deliveries took: time, CPU time, memory, and percentiles of latency."""

    count: int
    seconds: float
    cpu_seconds: float
    resident_bytes: int
    p50_seconds: float
    p99_seconds: float


@contextmanager
def subject(
    settings: Mapping[str, str], name: str, counts: Sequence[int]
) -> Iterator[Iterator[Measurement]]:
    """Runs subjects: each in turn gives a measurement for each of `counts` deliveries."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.subjects", name, *map(str, counts)],
        cwd=ROOT,
        env=environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process, which ends the child
    )
    try:
        yield _measurements(name, process, counts)
        if status := process.wait():
            raise ToolError(f"The subject {name!r} ended with exit status {status}.")
    finally:
        process.kill()
        process.communicate()


def _measurements(
    name: str, process: subprocess.Popen[str], counts: Sequence[int]
) -> Iterator[Measurement]:
    for count in (count for count in counts for _ in name.split(",")):
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise ToolError(f"The subject {name!r} failed.")
        seconds, cpu_seconds, resident_bytes, p50, p99 = line.split()
        yield Measurement(
            count, float(seconds), float(cpu_seconds), int(resident_bytes), float(p50), float(p99)
        )
