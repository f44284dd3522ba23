"""The command line: `python -m tools`, a module for each command.

A command imports its own modules when it runs. `host` must import the modules of the app as Azure
does, so no other command may have imported them.
"""

from tools.cli import (
    audit,
    azurite,
    bench,
    clear,
    demo,
    discard,
    host,
    peek,
    reconcile,
    redeliver,
    replay,
    resend,
    routes,
    send,
    start,
    trace,
)
from tools.cli.common import app

__all__ = ["app"]

for module in (
    host,
    start,
    azurite,
    demo,
    send,
    peek,
    trace,
    replay,
    discard,
    reconcile,
    redeliver,
    resend,
    audit,
    clear,
    bench,
):
    app.command(module.__name__.rpartition(".")[2])(module.command)
app.add_typer(routes.app, name="routes")
