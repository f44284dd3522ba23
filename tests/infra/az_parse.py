"""Asks az what it has against commands, without running any: python az_parse.py, with azure-cli.

Reads a JSON array of argument lists, and prints one of messages; an empty one is a sound command.
"""

import contextlib
import io
import json
import sys
from typing import Any


def main() -> None:
    from azure.cli.core import commands, get_default_cli

    cli = get_default_cli()
    # Neither what looks things up in Azure nor the command itself.
    invoker: Any = commands.AzCliCommandInvoker
    invoker._validation = lambda *_: None
    invoker._run_jobs_serially = lambda *_: ([], [])
    commands.AzCliCommand._user_confirmed = staticmethod(lambda *_: True)

    def fault(arguments: list[str]) -> str:
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = cli.invoke(arguments, out_file=io.StringIO())
            except SystemExit as stopped:
                code = stopped.code
        return (said.getvalue() or f"exit code {code}") if code else ""

    print(json.dumps([fault(each) for each in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
