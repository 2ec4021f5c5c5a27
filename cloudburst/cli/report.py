"""The command `report`: a run as a page to look at."""

from __future__ import annotations

import webbrowser

import click

from cloudburst import console
from cloudburst.cli import options
from cloudburst.console import streams
from cloudburst.errors import InfrastructureError
from cloudburst.language import later, tr
from cloudburst.stop import exit_on_interrupt, interruption


@click.command(
    short_help="Write report.html of a run again.",
    epilog=options.examples("cloudburst report 20261124-101500 --open"),
)
@options.run
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
@interruption(later("interrupted"))
def report(run: str, *, open_it: bool) -> int:
    """Write report.html of RUN again, and print where it is.

    RUN is a run's id, the beginning of its id, or its folder. A run writes the page itself when it
    ends; this is for one that was killed, is going on, or is of an earlier release. trace.json,
    scenes.csv and launches.csv are written beside it. Needs no network.
    """
    with exit_on_interrupt():
        from cloudburst.report import again  # noqa: PLC0415 - help is shown before slow imports
        from cloudburst.runner.resume import find_folder  # noqa: PLC0415

    written = again.write(find_folder(run))
    if written.going_on:
        console.show_note(tr("the run is going on: the page shows it as it is now"))
    for line in written.problems:
        console.show_error(line)
    if written.problems:
        return InfrastructureError.exit_code
    streams.write_line(str(written.page))
    if open_it and not webbrowser.open(written.page.absolute().as_uri()):
        console.show_error(tr("no browser could be started; open {file}", file=written.page))
        return InfrastructureError.exit_code
    return 0
