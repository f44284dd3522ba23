"""`bench`: measure what the app costs."""

from typing import Annotated

import typer

from tools.cli.common import console, exit_statuses, progress_bar


def command(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only some rows, in fewer laps; writes nothing.")
    ] = False,
) -> None:
    """Measure what the app costs, against the plain SDK and a receiver for Node.js; some minutes.

    Writes docs/benchmarks.md and its chart. Exit status: 0 where every target is reached, else 1.
    """
    from tools.bench import chart, report
    from tools.bench.hold import holds
    from tools.bench.runner import Bench

    with exit_statuses(), progress_bar() as progress:
        bench = Bench(progress, laps=3, quick=True) if quick else Bench(progress)
        figures = list(bench.figures())
    held = holds()
    report.show(console, figures, held)
    if not quick:
        written = report.markdown(figures, held, report.machine())
        for file, content in ((report.REPORT, written), (chart.CHART, chart.svg(written))):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")
    missed = [figure.name for figure in figures if not figure.reached]
    if missed:
        console.print(f"[red]Missed:[/] {', '.join(missed)}", highlight=False)
        raise typer.Exit(1)
    console.print("[green]✓[/] Every target is reached.")
