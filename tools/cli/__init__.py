"""The command line: `python -m tools`, a module for each command.

A command imports what it alone needs when it runs: `host` must find the app's own modules the way
Azure does, not loaded already.
"""

from tools.cli import bench, demo, host, peek, reconcile, replay, routes, send, start
from tools.cli.common import app

__all__ = ["app"]

for module in (host, start, demo, send, replay, reconcile, peek, bench):
    app.command(module.__name__.rpartition(".")[2])(module.command)
app.add_typer(routes.app, name="routes")
