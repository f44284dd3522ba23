"""Mutation tests: which changes to the pure modules no test notices (`make mutants`).

Each mutant, a module with one change, is judged by the tests in a process that has imported
nothing of this project before: what modules keep at import would hide the change. No file is
written: the process imports the changed source instead. `tests/mutants.toml` names the modules
and lists the mutants that no test can notice, each with the reason.
"""

import argparse
import multiprocessing
import os
import re
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tools.mutations import mutants

ROOT = Path(__file__).parent.parent
LIST = ROOT / "tests" / "mutants.toml"
# No plug-in may change the order or split the run, and hypothesis tries the same values each time.
# The warning is about what is preloaded.
_OPTIONS = (
    "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly",
    "--hypothesis-profile=ci",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
_PROCESSES = multiprocessing.get_context("forkserver")
# What tests import of others, imported once for all processes: it takes longer than most tests.
_PROCESSES.set_forkserver_preload(
    ["aiohttp.web", "azure.data.tables.aio", "azure.functions", "azure.identity.aio",
     "azure.storage.queue.aio", "cloudevents", "hypothesis", "jsonschema", "pytest_asyncio",
     "trustme"]
)  # fmt: skip

Tests = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A module to judge by `parts` of the tests, one after the other; without `source` as it is."""

    file: Path
    parts: tuple[Tests, ...]
    source: str | None = None
    key: str = ""


def modules(settings: Mapping[str, Any]) -> dict[str, Job]:
    """The modules of `settings` by name: its own unit tests judge first, then all unit tests."""
    unit = tuple(sorted(map(str, (ROOT / "tests" / "unit").rglob("test_*.py"))))
    found = {}
    for file in sorted(file for pattern in settings["files"] for file in ROOT.glob(pattern)):
        if file.stem == "__init__":
            continue
        names = {f"test_{name}.py" for name in settings["tests"].get(file.stem, [file.stem])}
        own = tuple(test for test in unit if Path(test).name in names)
        found[file.stem] = Job(file, (own, unit) if own else (unit,))
    return found


class _Loader(SourceFileLoader):
    source = ""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 (the base class asks for it)
        return compile(self.source, self.path, "exec", dont_inherit=True)


class Finder:
    """Finds the module in `file` with `source` as its content, and no other."""

    def __init__(self, file: Path, source: str) -> None:
        self._name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        self._loader = _Loader(self._name, str(file))
        self._loader.source = source

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """What the import system asks of each finder."""
        if name != self._name:
            return None
        return spec_from_file_location(name, self._loader.path, loader=self._loader)


def _run(job: Job, tests: Tests) -> None:
    """The process: ends with the exit status of pytest."""
    os.setsid()
    os.chdir(ROOT)
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    if job.source is not None:
        sys.meta_path.insert(0, Finder(job.file, job.source))
    sys.exit(pytest.main([*_OPTIONS, *tests]))


def judge(
    jobs: Iterable[Job], workers: int, seconds: Mapping[Tests, float]
) -> Iterator[tuple[Job, bool]]:
    """Each job when it is done, and whether all its tests passed, each part within `seconds`."""
    waiting = [(job, job.parts) for job in jobs][::-1]
    running: list[tuple[ForkServerProcess, Job, tuple[Tests, ...], float]] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job, parts = waiting.pop()
                process = _PROCESSES.Process(target=_run, args=(job, parts[0]))
                process.start()
                running.append((process, job, parts, time.monotonic() + seconds[parts[0]]))
            wait([process.sentinel for process, *_ in running], timeout=1)
            for run in running[:]:
                process, job, parts, end = run
                if process.is_alive() and time.monotonic() < end:
                    continue
                running.remove(run)
                passed = _ended(process) == 0
                if passed and parts[1:]:
                    waiting.append((job, parts[1:]))
                else:
                    yield job, passed
    finally:
        for process, *_ in running:
            _ended(process)


def _ended(process: ForkServerProcess) -> int | None:
    """The exit status of `process`, which is killed with all it started if it still runs."""
    if process.is_alive() and process.pid:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.join()
    return process.exitcode


def main(only: str, workers: int) -> int:
    """Judges the mutants of the modules `only`, or of all; 0 where every survivor is listed."""
    settings = tomllib.loads(LIST.read_text())
    listed = {key for group in settings["unnoticed"] for key in group["mutants"]}
    known = modules(settings)
    names = only.replace(",", " ").split() or list(known)
    if unknown := set(names) - set(known):
        sys.exit(f"No such module: {', '.join(unknown)}. Known: {', '.join(known)}.")
    seconds = _allowed([known[name] for name in names])
    jobs = []
    for name in names:
        file, parts = known[name].file, known[name].parts
        for mutant in mutants(name, file.read_text()):
            # A listed mutant is known to survive. Its own tests show whether it still does.
            chosen = parts[:1] if mutant.key in listed else parts
            jobs.append(Job(file, chosen, mutant.source, mutant.key))
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for done, (job, passed) in enumerate(judge(jobs, workers, seconds), 1):
        outcome = ("listed" if job.key in listed else "survived") if passed else "killed"
        counts[job.file.stem][outcome] += 1
        if outcome == "survived":
            print(f"Survived: '''{job.key}'''")
        elif outcome == "killed" and job.key in listed:
            print(f"Killed, so not to be listed: {job.key}")
        if done % 50 == 0 or done == len(jobs):
            print(f"{done} of {len(jobs)}", flush=True)
    occurring = {job.key for job in jobs}
    for key in sorted(key for key in listed - occurring if re.split(r"\W", key)[0] in names):
        print(f"Listed, but no longer occurs: {key}")
    return _summary(counts)


def _allowed(unchanged: list[Job]) -> dict[Tests, float]:
    """Seconds for each part of the tests: several times what it takes where nothing is changed."""
    seconds = {}
    for tests in dict.fromkeys(part for job in unchanged for part in job.parts):
        start = time.monotonic()
        for _, passed in judge([Job(unchanged[0].file, (tests,))], 1, {tests: 3600.0}):
            if not passed:
                sys.exit(f"Without any change these tests fail: {' '.join(tests)}")
        seconds[tests] = 10 + 5 * (time.monotonic() - start)
    return seconds


def _summary(counts: Mapping[str, Counter[str]]) -> int:
    outcomes = ("killed", "listed", "survived")
    total = sum(counts.values(), Counter[str]())
    print(f"{'module':<16}{'mutants':>9}" + "".join(f"{name:>10}" for name in outcomes))
    for name, count in [*counts.items(), ("all", total)]:
        print(f"{name:<16}{count.total():>9}" + "".join(f"{count[o]:>10}" for o in outcomes))
    return 1 if total["survived"] else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="names of modules")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    sys.exit(main(arguments.only, arguments.workers))
