"""The names of the commands and of their options, which scripts use."""

from typing import Any, cast

from typer.main import get_command

from tests.support.documents import ROOT
from tools.cli import app as command_line


def _options(command: Any) -> set[str]:
    """The public options of a command, and its arguments in capitals."""
    names: set[str] = set()
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            names.add(parameter.name.upper())
        elif not parameter.hidden:
            names |= {*parameter.opts, *parameter.secondary_opts}
    return names


def test_commands_keep_names_and_options() -> None:
    """`python -m tools` has these commands with these options and arguments."""
    root = cast("Any", get_command(command_line))
    commands = dict(root.commands)
    commands |= {f"routes {name}": each for name, each in commands.pop("routes").commands.items()}
    assert _options(root) == {"--version"}
    assert {name: _options(command) for name, command in commands.items()} == {
        "host": {
            "--port", "--local-settings", "--no-local-settings", "--app", "--timers-at-once",
        },
        "start": {"--port", "--queue-port", "--delivery-log"},
        "azurite": {"--queue-port"},
        "demo": set(),
        "send": {
            "ACTION", "REFERENCE", "--file", "--port", "--url", "--registry", "--key", "--repeat",
            "--concurrency",
        },
        "clear": {"--queue-port", "--yes", "--account"},
        "replay": {
            "--dry-run", "--max", "--queue", "--hold", "--reason", "--registry", "--id", "--since",
            "--json", "--queue-port",
        },
        "reconcile": {"--webhook", "--since", "--dry-run", "--json", "--queue-port"},
        "resend": {"FILE", "--webhook", "--dry-run", "--json", "--queue-port"},
        "discard": {
            "--reason", "--registry", "--id", "--since", "--all", "--file", "--hold", "--yes",
            "--json", "--queue-port",
        },
        "audit": {
            "--since", "--until", "--webhook", "--fallback-log", "--expect-queued", "--hold",
            "--yes", "--json", "--queue-port",
        },
        "redeliver": {
            "--id", "--since", "--until", "--webhook", "--queue", "--dry-run", "--json",
            "--queue-port",
        },
        "peek": {"QUEUE", "--all", "--hold", "--yes", "--json", "--queue-port"},
        "trace": {"ID_", "--webhook", "--json", "--queue-port"},
        "bench": {"--quick"},
        "routes check": {"--file", "--url"},
        "routes explain": {
            "WHAT", "REFERENCE", "--registry", "--region", "--media-type", "--file",
        },
    }  # fmt: skip


def test_every_command_is_documented() -> None:
    """A document names every command of an operator, with each of its public options."""
    text = "\n".join(file.read_text() for file in (ROOT / "docs").glob("*.md"))
    root = cast("Any", get_command(command_line))
    operator = ("peek", "trace", "replay", "discard", "reconcile", "redeliver", "resend", "audit")
    for name in operator:
        assert f"python -m tools {name}" in text or f"`{name}" in text
        options = {each for each in _options(root.commands[name]) if each.startswith("--")}
        assert {each for each in options if f"{each}" not in text} == set()
