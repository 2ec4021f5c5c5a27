"""The commands `ps`, `history`, `show` and `cost`: what runs do and did, and what they cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import click

from cloudburst import clock, console
from cloudburst.cli import options, past
from cloudburst.console import streams
from cloudburst.language import later, tr
from cloudburst.stop import exit_on_interrupt, interruption

if TYPE_CHECKING:
    from typing import Any

    from cloudburst.history import By

# What a screen holds.
_NEWEST = 20
_BY = ("job", "target", "type", "market", "day")


def _write(document: dict[str, Any]) -> None:
    streams.write_line(json.dumps(document, indent=2, ensure_ascii=False))


@click.command(
    short_help="List the runs that are going on.",
    epilog=options.examples("cloudburst ps", "cloudburst ps --json"),
)
@options.as_json
@interruption(later("interrupted"))
def ps(*, as_json: bool) -> int:
    """List the runs of this machine that are going on: how far they are, and what they cost.

    A run that died with workers which may still exist is listed, too. Nobody is asked: this is what
    the runs' own journals say. `cloudburst audit` asks the providers.
    """
    runs, at = [run for run in past.everything() if run.open], clock.now()
    if as_json:
        from cloudburst.history.document import runs_document  # noqa: PLC0415

        _write(runs_document(runs, at))
    else:
        console.show_ps(runs, at)
    return 0


@click.command(
    short_help="List the runs of this machine.",
    epilog=options.examples("cloudburst history", "cloudburst history --all --json"),
)
@click.option("--all", "everything", is_flag=True, help=f"All of them, not the newest {_NEWEST}.")
@options.as_json
@interruption(later("interrupted"))
def history(*, everything: bool, as_json: bool) -> int:
    """List the runs of this machine, the newest first: how each ended, and what it cost."""
    runs, at = past.everything()[::-1], clock.now()
    shown = runs if everything else runs[:_NEWEST]
    if as_json:
        from cloudburst.history.document import runs_document  # noqa: PLC0415

        _write(runs_document(shown, at))
    else:
        console.show_history(shown, len(runs) - len(shown))
    return 0


@click.command(
    short_help="Show what became of a run.",
    epilog=options.examples("cloudburst show RUN", "cloudburst show RUN --json"),
)
@options.run
@options.as_json
@options.verbose
@interruption(later("interrupted"))
def show(run: str, *, as_json: bool, verbose: bool) -> int:
    """Show what became of RUN: scenes, failures, machines and why they were left, cost and its use.

    RUN is a run's id, the beginning of it, or its folder.
    """
    found = past.load(run)
    if as_json:
        from cloudburst.history.document import run_document  # noqa: PLC0415

        _write(run_document(found, clock.now()))
    else:
        console.show_run(found, clock.now(), verbose=verbose)
    return 0


@click.command(
    short_help="Add up what runs have cost.",
    epilog=options.examples(
        "cloudburst cost", "cloudburst cost --since 2026-10 --until 2026-11 --by day"
    ),
)
@click.option(
    "--since",
    type=options.Moment(),
    default="30d",
    show_default=True,
    help="So long ago (12h, 30d, 4w), a month (2026-10) or a date; UTC unless it has an offset.",
)
@click.option("--until", type=options.Moment(), help="The same; default: now.")
@click.option(
    "--by",
    type=click.Choice(_BY),
    default="job",
    show_default=True,
    help="A row for each of these.",
)
@options.as_json
@interruption(later("interrupted"))
def cost(since: float, until: float | None, by: str, *, as_json: bool) -> int:
    """Add up what the runs of this machine have cost, failed runs and failed launches included.

    Every machine is counted at its price when it was launched, from its launch to its end, as in
    the report of its run. A machine that still runs is counted up to now.
    """
    with exit_on_interrupt():
        from cloudburst.history import grouped, spent, uncounted  # noqa: PLC0415
        from cloudburst.history.document import cost_document  # noqa: PLC0415

    now = clock.now()
    span = options.since_1970(since, now), now if until is None else options.since_1970(until, now)
    if span[0] >= now:
        raise click.UsageError(tr("--since is in the future; expected a time that is over"))
    if span[0] >= span[1]:
        raise click.UsageError(tr("--until is not after --since"))
    runs = past.everything()
    charges = spent(runs, *span)
    groups = grouped(charges, cast("By", by))
    unknown = [tr("{run}: {why}", run=run.run_id, why=run.why) for run in uncounted(runs)]
    if as_json:
        _write(cost_document(groups, charges, cast("By", by), span, unknown))
    else:
        console.show_cost(groups, charges, cast("By", by), span, unknown)
    return 0


COMMANDS = (ps, history, show, cost)
