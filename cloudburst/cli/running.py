"""The commands that run and resume jobs: `cloudburst-run`, `resume`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import click

from cloudburst import configuration, console, targets
from cloudburst.cli import detach, options
from cloudburst.console import streams
from cloudburst.errors import InfrastructureError, Interrupted, LeftRunning
from cloudburst.language import later, tr
from cloudburst.report import json as documents
from cloudburst.stop import NOTHING_STARTED, Interruption, exit_on_interrupt, interruption
from cloudburst.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Job, RunRecord, RunReport

_EXIT_CODES = """\b
Exit codes:
  0    every scene is done
  1    some scenes failed; the report says why
  2    bad input; nothing was started
  3    infrastructure failed
  4    something is left running; the output says what, and how to remove it
  130  interrupted; everything was destroyed
"""


def epilog(*lines: str) -> str:
    """Return the end of the help of a command that runs a job: examples and exit codes."""
    return f"{options.examples(*lines)}\n\n{_EXIT_CODES}"


class RunCode(int):
    """Exit code of a run: what became of its videos, whether or not its output was written."""


@click.command(
    short_help="Render every scene of a job.",
    epilog=epilog(
        "cloudburst-run scenes.yaml --dry-run", "cloudburst-run scenes.yaml --target aws"
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("scenes", type=click.Path())
@click.option(
    "--dry-run", is_flag=True, help="Show the plan and the engine's preview; create nothing."
)
@click.option(
    "--output", metavar="DIR", help="Folder for results; each run makes its own below it."
)
@click.option(
    "--target", type=click.Choice(targets.names()), help="Where workers run; wins over the file."
)
@options.max_cost_usd
@options.max_cost_usd_month
@options.profile
@click.option("--resume", is_flag=True, help="Resume the newest run of this file, if there is one.")
@click.option(
    "--offline", is_flag=True, help="With --dry-run: contact neither engine nor provider."
)
@options.json_lines
@options.quiet
@click.option(
    detach.OPTION,
    "detached",
    is_flag=True,
    help="Print the run's id and return, once it has begun.",
)
@click.option(detach.TO, "detached_to", type=int, hidden=True, help="Of the child of --detach.")
@options.verbose
@click.version_option(__version__, prog_name="cloudburst-run")
def run(
    scenes: str,
    output: str | None,
    target: str | None,
    max_cost_usd: float | None,
    max_cost_usd_month: float | None,
    *,
    dry_run: bool,
    resume: bool,
    offline: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    detached: bool,
    detached_to: int | None,
) -> int:
    """Render every scene of SCENES, and leave nothing running.

    SCENES is a scenes.yaml, a CSV or JSON Lines file of scenes, or a folder of pictures and sounds.
    """
    if quiet and verbose:
        raise click.UsageError(tr("--verbose does not go with --quiet"))
    if resume and dry_run:
        raise click.UsageError(tr("--resume does not go with --dry-run"))
    if offline and not dry_run:
        raise click.UsageError(tr("--offline goes with --dry-run: a run needs engine and provider"))
    if detached and dry_run:
        raise click.UsageError(tr("--detach does not go with --dry-run"))
    if detached:
        return detach.start(_arguments(), as_json=as_json)
    # Reading changes nothing, and decoders' callbacks may swallow a KeyboardInterrupt.
    with exit_on_interrupt():
        # Bad input is reported before slow imports.
        from cloudburst.job.loader import load_job  # noqa: PLC0415

        configuration.apply()
        job = load_job(scenes, output=output, target=target, max_cost_usd=max_cost_usd)
        job = with_month(job, max_cost_usd_month)
        if not quiet:
            console.show_warnings(job.warnings, job.unused)
    if dry_run:
        return _dry_run(job, offline=offline, as_json=as_json, quiet=quiet, verbose=verbose)
    folder = None
    if resume:
        with exit_on_interrupt():
            from cloudburst.runner.resume import newest  # noqa: PLC0415

            job, folder = newest(job) or (job, None)
    return run_job(job, folder, Shown(as_json, quiet, verbose, detached_to))


def with_month(job: Job, max_cost_usd_month: float | None) -> Job:
    """Return a job with the limit of a month that the command line sets, if it does."""
    if max_cost_usd_month is None:
        return job
    place = ("--max-cost-usd-month", 0)
    return replace(
        job,
        limits=replace(job.limits, max_cost_usd_month=max_cost_usd_month),
        places={**job.places, "limits.max_cost_usd_month": place},
    )


def _arguments() -> list[str]:
    """Return what was typed after `cloudburst-run`, or after `cloudburst run`."""
    words = sys.argv[1:]
    if click.get_current_context().parent is not None:
        words.remove("run")
    return words


@interruption(later("interrupted; nothing was created"))
def _dry_run(job: Job, *, offline: bool, as_json: bool, quiet: bool, verbose: bool) -> int:
    """Show what a run of a job would do."""
    with exit_on_interrupt():
        from cloudburst.api import jobs  # noqa: PLC0415 - bad input is reported before slow imports

    found = jobs.preview(job, offline=offline)
    if as_json:
        streams.write_line(
            json.dumps(documents.preview_document(found), indent=2, ensure_ascii=False)
        )
    elif not quiet:
        console.show_preview(found, verbose=verbose)
    return 0


@dataclass(frozen=True, slots=True)
class Shown:
    """How a run is shown.

    Args:
        as_json: one event a line.
        quiet: nothing but errors.
        verbose: everything, however much.
        detached_to: where the process waits that began it; None for one that keeps its terminal.
        finished: called with the report before it is shown.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    detached_to: int | None = None
    finished: Callable[[RunReport], None] | None = None


def run_job(job: Job, folder: Path | None, shown: Shown) -> int:
    """Run a job, or resume a run of it; show what happens."""
    with exit_on_interrupt():
        from cloudburst.runner import pipeline  # noqa: PLC0415 - bad input is reported before

    # Before anything is drawn on the terminal at which somebody may have to answer. A run that is
    # resumed may need no account any more.
    refused = () if folder is None else (InfrastructureError,)
    with interruption(NOTHING_STARTED), suppress(*refused):
        targets.get(job.target).log_in()

    to = shown.detached_to
    begun = partial(detach.let_go, to) if to is not None else _ignore

    def call() -> RunReport:
        # The changing lines are gone before the report is shown.
        with console.watcher(
            json_lines=shown.as_json,
            quiet=shown.quiet,
            verbose=shown.verbose,
            plain=to is not None,
        ) as watch:
            try:
                return pipeline.run(job, resume=folder, on_event=watch, on_begun=begun)
            except KeyboardInterrupt:
                # A run turns it into its own end: it came before the run began, or after its end.
                began = tr("interrupted") if watch.began else tr(NOTHING_STARTED)
                raise Interruption(began) from None

    return _finish(call, shown)


def _ignore(_record: RunRecord) -> None:
    """Keep the terminal."""


def _finish(call: Callable[[], RunReport], shown: Shown) -> int:
    """Run, show what became of it, and return the exit code."""
    remaining: list[str] = []
    try:
        finished = call()
        code = 0 if finished.done == len(finished.scenes) else 1
    except Interrupted as error:
        finished, code = error.report, error.exit_code
    except LeftRunning as error:
        finished, code, remaining = error.report, error.exit_code, error.left
    if shown.finished is not None:
        shown.finished(finished)
    if shown.quiet:
        console.show_failures(finished)
    elif not shown.as_json:
        console.show_report(finished, verbose=shown.verbose)
    for line in remaining:
        console.show_error(tr("LEFT RUNNING: {line}", line=line))
    if remaining:
        # Nobody waited for a teardown that may still go on in threads: nor does the exit.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return RunCode(code)


@click.command(
    "resume",
    short_help="Go on with a run that ended early.",
    epilog=epilog("cloudburst resume RUN"),
)
@click.argument("run_id", metavar="RUN", shell_complete=options.complete_run)
@options.max_cost_usd
@options.json_lines
@options.quiet
@options.max_cost_usd_month
@options.verbose
def resume_command(
    run_id: str,
    max_cost_usd: float | None,
    max_cost_usd_month: float | None,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Resume RUN, given by its id, the beginning of its id, or its folder.

    Videos that were downloaded, and are still what scenes.yaml asks for, are kept; the rest is
    rendered. A finished run starts nothing.
    """
    if quiet and verbose:
        raise click.UsageError(tr("--verbose does not go with --quiet"))
    with exit_on_interrupt():
        from cloudburst.runner.resume import load  # noqa: PLC0415

        job, folder = load(run_id, max_cost_usd=max_cost_usd)
        job = with_month(job, max_cost_usd_month)
        if not quiet:
            console.show_warnings(job.warnings, job.unused)
    return run_job(job, folder, Shown(as_json, quiet, verbose))


COMMANDS = (run, resume_command)
