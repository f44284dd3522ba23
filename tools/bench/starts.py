"""What a new process costs: the modules that it loads, its imports, its first delivery.

Run as `python -m tools.bench.starts NAME`, it is such a process, and prints its number.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module

# Not of the platform or of a package.
_OWN = {"AcrWebhook", "shared", "tools", "__main__"}


def number(settings: Mapping[str, str], name: str) -> float:
    """What a new process of that name prints."""
    # The processes themselves import nothing that they do not measure.
    from tools.bench.account import environment
    from tools.localhost.processes import ROOT

    result = subprocess.run(
        [sys.executable, "-m", "tools.bench.starts", name],
        cwd=ROOT, env=environment(settings), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(result.stdout)


def seconds(settings: Mapping[str, str], name: str) -> float:
    """The time from the start of a new process to its end, seen from outside."""
    started = time.perf_counter()
    number(settings, name)
    return time.perf_counter() - started


def _import_seconds(*names: str) -> float:
    import_module("azure.functions")
    started = time.perf_counter()
    for name in names:
        import_module(name)
    return time.perf_counter() - started


async def _deliver(name: str) -> None:
    from tools.bench import subjects

    async with getattr(subjects, name)() as deliver:
        await deliver(subjects.push())


def _modules() -> int:
    asyncio.run(_deliver("function"))
    return sum(name.partition(".")[0] not in _OWN for name in sys.modules)


def _first(name: str) -> float:
    asyncio.run(_deliver(name))
    return 0


_NAMES: dict[str, Callable[[], float]] = {
    "modules": _modules,
    "import-app": lambda: _import_seconds("AcrWebhook"),
    "import-bare": lambda: _import_seconds("aiohttp", "jsonschema"),
    "first-function": lambda: _first("function"),
    "first-sdk": lambda: _first("sdk"),
}

if __name__ == "__main__":
    print(_NAMES[sys.argv[1]]())
