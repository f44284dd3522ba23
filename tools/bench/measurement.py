"""Runs each subject of the benchmark in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tools.bench.subjects import CONNECTION
from tools.localhost.function_app import ToolError
from tools.localhost.processes import ROOT


@dataclass(frozen=True)
class Measurement:
    """The time, CPU time and memory of a number of deliveries."""

    count: int
    seconds: float
    cpu_seconds: float
    resident_bytes: int

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.count / self.seconds


@contextmanager
def subject(connection: str, name: str, counts: Sequence[int]) -> Iterator[Iterator[Measurement]]:
    """Runs a subject: for each of `counts` deliveries it gives a measurement."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.bench.subjects", name, *map(str, counts)],
        cwd=ROOT,
        env=_environment(connection),
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


def _environment(connection: str) -> dict[str, str]:
    """The environment of a subject: default settings and no proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ACR_", f"{CONNECTION}__")) and not name.lower().endswith("_proxy")
    }
    return {**kept, CONNECTION: connection}


def _measurements(
    name: str, process: subprocess.Popen[str], counts: Sequence[int]
) -> Iterator[Measurement]:
    for count in (count for count in counts for _ in name.split(",")):
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise ToolError(f"The subject {name!r} failed.")
        seconds, cpu_seconds, resident_bytes = line.split()
        yield Measurement(count, float(seconds), float(cpu_seconds), int(resident_bytes))
