"""Output of the commands: JSON lines, files that are kept, questions, and ends."""

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tools.localhost.function_app import ToolError

# Ends what `run` of tools.cli.common runs, with 128 and this number as the exit status.
STOPS: list[Callable[[int], None]] = []

AsJson = Annotated[bool, typer.Option("--json", help="A line of JSON each, and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask. For scripts.")]


def write_any_character() -> None:
    """Lets every character be printed: one that the terminal lacks becomes an escape sequence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def emit(document: Any) -> None:
    """Prints `document` as one line of JSON. Ends the command if nobody reads its output."""
    try:
        print(json.dumps(document), flush=True)
    except BrokenPipeError:
        discard_output()
        if not STOPS:
            raise typer.Exit(128 + signal.SIGPIPE) from None
        for stop in STOPS:
            stop(signal.SIGPIPE)


def discard_output() -> None:
    """Discards further output. Otherwise Python's last flush would report the closed pipe."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def confirm(question: str, *, yes: bool) -> None:
    """Asks `question` on standard error, unless `yes`. Raises ToolError where the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ToolError("Nobody can be asked here: use --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ToolError("Nothing was changed.")


@contextmanager
def private_file(file: Path) -> Iterator[Callable[[Iterable[Any]], None]]:
    """A new file that only its owner can read. Yields what writes lines of JSON to it.

    The lines are on disk when that returns. Raises ToolError where `file` exists or cannot be
    written.
    """
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ToolError(f"{file} cannot be created: {error.strerror}.") from None
    with os.fdopen(number, "w", encoding="utf-8") as stream:

        def write(documents: Iterable[Any]) -> None:
            try:
                for document in documents:
                    stream.write(f"{json.dumps(document)}\n")
                stream.flush()
                os.fsync(stream.fileno())
                _sync_folder(file)
            except OSError as error:
                raise ToolError(f"{file} cannot be written: {error.strerror}.") from None

        yield write


def _sync_folder(file: Path) -> None:
    """Writes the name of a new file to disk. Its content alone is not enough."""
    folder = os.open(file.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def utc(moment: datetime | None) -> datetime | None:
    """`moment` of an option, in UTC where it names no zone."""
    return moment and moment.replace(tzinfo=moment.tzinfo or UTC)
