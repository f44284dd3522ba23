"""`bench`: measure the app against the plain SDK."""

import typer

from tools.cli.common import DEFAULTS, console, exit_statuses, progress_bar, temporary_azurite
from tools.localhost.ports import free_port
from tools.localhost.processes import app as served_app


def command() -> None:
    """Measure the app against the plain SDK; some minutes. Writes docs/benchmarks.md and its chart.

    Exit status: 0 where every target is reached, else 1.
    """
    from tools.bench import chart, report
    from tools.bench.runner import Bench

    with (
        exit_statuses(),
        temporary_azurite() as storage,
        progress_bar() as progress,
    ):
        measuring = Bench(storage.address, progress)
        figures = measuring.figures()
        settings = {"AcrEventsStorage": storage.address, **DEFAULTS}
        with served_app(free_port(), settings, quiet=True) as running:
            loads = measuring.loads(running.address)
    report.show(console, figures, loads)
    written = report.markdown(figures, loads, report.machine())
    for file, content in ((report.REPORT, written), (chart.CHART, chart.svg(written))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    missed = [figure.name for figure in figures if not figure.reached]
    if missed:
        console.print(f"[red]Missed:[/] {', '.join(missed)}", highlight=False)
        raise typer.Exit(1)
    console.print("[green]✓[/] Every target is reached.")
