"""Checks commands with az's own parser, without running any. Needs azure-cli.

Reads a JSON array of argument lists and prints a JSON array of errors. An empty text is no error.
"""

import contextlib
import io
import json
import sys
from typing import Any


def main() -> None:
    from azure.cli.core import commands, get_default_cli

    cli = get_default_cli()
    # Run neither the validation that calls Azure nor the command itself.
    invoker: Any = commands.AzCliCommandInvoker
    invoker._validation = lambda *_: None
    invoker._run_jobs_serially = lambda *_: ([], [])
    commands.AzCliCommand._user_confirmed = staticmethod(lambda *_: True)

    def error(arguments: list[str]) -> str:
        output = io.StringIO()
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = cli.invoke(arguments, out_file=io.StringIO())
            except SystemExit as stopped:
                code = stopped.code
        return (output.getvalue() or f"exit code {code}") if code else ""

    print(json.dumps([error(each) for each in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
