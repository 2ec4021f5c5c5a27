"""The commands `audit` and `cleanup`: what dead runs left behind."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from cloudburst import console, targets
from cloudburst.cli import options
from cloudburst.console import streams
from cloudburst.language import later, tr
from cloudburst.stop import exit_on_interrupt, interruption

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.recovery.cleanup import Choice
    from cloudburst.recovery.findings import Audit

# An audit asks the others without being told to.
_RENTED = [name for name in targets.names() if not targets.get(name).always_asked]

_WHERE = [
    click.option(
        "--target",
        type=click.Choice(_RENTED),
        help="Ask AWS even if no run of this machine was there.",
    ),
    click.option("--region", "regions", multiple=True, help="Ask AWS in this region too."),
    click.option("--all-regions", is_flag=True, help="Ask AWS in all enabled regions."),
]


def _where(command: Callable[..., int]) -> Callable[..., int]:
    for option in reversed(_WHERE):
        command = option(command)
    return command


def _audit(target: str | None, regions: tuple[str, ...], *, all_regions: bool) -> Audit:
    with exit_on_interrupt():
        # Bad input is reported before slow imports.
        from cloudburst.api import recovery  # noqa: PLC0415

    return recovery.audit(
        targets=[target] if target else (),
        regions=regions,
        everywhere=all_regions,
        log=lambda text: click.echo(f"{text} ...", err=True),
    )


@click.command(
    short_help="List what runs have left behind.",
    epilog=options.examples("cloudburst audit", "cloudburst audit --target aws --json"),
)
@_where
@options.as_json
@interruption(later("interrupted; nothing was changed"))
def audit(target: str | None, regions: tuple[str, ...], *, all_regions: bool, as_json: bool) -> int:
    """List what runs have left behind, by journals, backend and providers; change nothing.

    The exit code is 0 when nothing is left, 4 when something is, 3 when nothing was seen but not
    everything could be asked.
    """
    found = _audit(target, regions, all_regions=all_regions)
    if as_json:
        from cloudburst.recovery.document import audit_document  # noqa: PLC0415

        document = audit_document(found)
        streams.write_line(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        console.show_audit(found)
    return found.exit_code


@click.command(
    short_help="End what dead runs have left behind.",
    epilog=options.examples("cloudburst cleanup RUN", "cloudburst cleanup --all --yes"),
)
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=options.complete_run)
@click.option("--orphans", is_flag=True, help="Only resources that no stack knows.")
@click.option(
    "--all", "everything", is_flag=True, help="Everything that dead runs have left behind."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@_where
@interruption(later("interrupted; `cloudburst audit` lists what is left"))
def cleanup(
    run_id: str | None,
    target: str | None,
    regions: tuple[str, ...],
    *,
    orphans: bool,
    everything: bool,
    yes: bool,
    all_regions: bool,
) -> int:
    """Show what RUN, or every dead run, has left behind; end it; verify with the provider.

    Running runs are not touched. Safe to repeat. The exit code is 4 when something could
    not be verified as gone.
    """
    if sum((bool(run_id), orphans, everything)) != 1:
        raise click.UsageError(
            tr("expected RUN, --orphans or --all; `cloudburst audit` shows them")
        )
    found = _audit(target, regions, all_regions=all_regions)
    with exit_on_interrupt():
        from cloudburst.api import recovery  # noqa: PLC0415
        from cloudburst.recovery.cleanup import choose  # noqa: PLC0415

    choice = choose(found, run_id, orphans=orphans)
    for line in found.unseen:
        console.show_error(tr("could not be asked: {line}", line=line))
    for line in () if choice.alive else choice.notes:
        console.show_note(line)
    if not choice.runs and not choice.alive:
        return _nothing_to_clean(found, choice)
    console.show_choice(choice.runs, found.at)
    if not (yes or choice.alive):
        if not sys.stdin.isatty():
            raise click.UsageError(tr("stdin is not a terminal; pass --yes to confirm"))
        click.confirm(tr("end all of this?"), abort=True)
    done = recovery.cleanup(
        run_id or None,
        orphans=orphans,
        everything=everything,
        found=found,
        log=console.show_step,
    )
    console.show_cleaned(done)
    return done.exit_code


def _nothing_to_clean(found: Audit, choice: Choice) -> int:
    """Print why nothing is removed; return the exit code."""
    if found.unseen:
        click.echo(tr("nothing was seen"))
        return found.exit_code
    if choice.notes:
        click.echo(tr("nothing of this machine's is left to remove"))
    else:
        click.echo(tr("nothing is left to remove"))
    return 0
