"""The command line: `python -m tools`, a module for each command.

A command imports what it alone needs when it runs: `host` must find the app's own modules the way
Azure does, not loaded already.
"""

from tools.cli import bench, demo, host, peek, reconcile, replay, routes, send, start
from tools.cli.common import app

__all__ = ["app"]

for name, module in {
    "host": host,
    "start": start,
    "demo": demo,
    "send": send,
    "replay": replay,
    "reconcile": reconcile,
    "peek": peek,
}.items():
    app.command(name)(module.command)
app.add_typer(routes.app, name="routes")
app.command("bench")(bench.command)
