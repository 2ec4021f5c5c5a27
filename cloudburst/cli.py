"""The command line: parse, call one public function, give an exit code. Click lives only here."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from typing import TYPE_CHECKING

import click

from cloudburst import console, report
from cloudburst.errors import BadInput, CloudBurstError, Interrupted, LeftRunning
from cloudburst.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import RunReport, TargetName

INTERRUPTED = 130

_EPILOG = """\b
Exit codes:
  0    every scene is done
  1    some scenes failed; the report says why
  2    bad input; nothing was started
  3    the machines failed
  4    something is left running; what, and the command that removes it, is printed
  130  interrupted; everything is torn down
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cloudburst")
def group() -> None:
    """Turn scenes into videos on machines that exist for exactly that long."""


@group.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scenes", type=click.Path())
@click.option(
    "--dry-run", is_flag=True, help="Show the plan and the engine's preview; create nothing."
)
@click.option(
    "--output", metavar="DIR", help="Folder for results; each run makes its own below it."
)
@click.option(
    "--target", type=click.Choice(["local", "aws"]), help="Where workers run; wins over the file."
)
@click.option(
    "--max-cost-usd", type=click.FloatRange(min=0, min_open=True), help="Most it may cost, in USD."
)
@click.option("--offline", is_flag=True, help="With --dry-run: ask neither engine nor provider.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output, one event a line.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.version_option(__version__, prog_name="cloudburst-run")
def run(
    scenes: str,
    output: str | None,
    target: TargetName | None,
    max_cost_usd: float | None,
    *,
    dry_run: bool,
    offline: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Render every scene of a scenes.yaml and leave nothing running."""
    if offline and not dry_run:
        raise click.UsageError("--offline goes with --dry-run: a run needs engine and provider")
    from cloudburst.job import load_job  # noqa: PLC0415 - bad input is told before slow imports

    job = load_job(scenes, output=output, target=target, max_cost_usd=max_cost_usd)
    from cloudburst import pipeline  # noqa: PLC0415

    if dry_run:
        found = pipeline.preview(job, offline=offline)
        if as_json:
            click.echo(json.dumps(report.preview_document(found), indent=2, ensure_ascii=False))
        elif not quiet:
            console.show_preview(found)
        return 0

    def call() -> RunReport:
        # The changing lines are gone before the report is shown.
        with console.watcher(json_lines=as_json, quiet=quiet) as watch:
            return pipeline.run(job, on_event=watch)

    return _finish(call, show=not (quiet or as_json), quiet=quiet)


def _finish(call: Callable[[], RunReport], *, show: bool, quiet: bool) -> int:
    """Run, show what became of it, and give the exit code."""
    left: list[str] = []
    try:
        finished = call()
        code = 0 if finished.done == len(finished.scenes) else 1
    except Interrupted as error:
        finished, code = error.report, error.exit_code
    except LeftRunning as error:
        finished, code, left = error.report, error.exit_code, error.left
    if show:
        console.show_report(finished)
    elif quiet:
        console.show_failures(finished)
    for line in left:
        console.show_error(f"LEFT RUNNING: {line}")
    return code


@group.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def serve(options: tuple[str, ...]) -> None:
    """Serve the video API alone (--help lists its options)."""
    from cloudburst.videoapi.__main__ import main as serve_main  # noqa: PLC0415

    serve_main(list(options))


@group.command()
def schema() -> None:
    """Print the JSON Schema of scenes.yaml, for editors."""
    from cloudburst.schema import json_schema  # noqa: PLC0415

    click.echo(json.dumps(json_schema(), indent=2))


@group.command()
def env() -> None:
    """Print the environment in which `pulumi` sees the stacks: eval "$(cloudburst env)"."""
    from cloudburst.places import engine_environment, state_folder  # noqa: PLC0415

    for name, value in engine_environment(state_folder()).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@group.command()
@click.argument("scenes", type=click.Path(), required=False)
@click.option(
    "--target", type=click.Choice(["local", "aws"]), help="Default: the file's, or local."
)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def doctor(scenes: str | None, target: TargetName | None, *, as_json: bool) -> int:
    """Say what this machine, and the AWS account, have and lack for a run of SCENES.

    Makes the Pulumi engine if need be, and creates nothing else. The exit code is 3 when something
    is missing that a run needs.
    """
    from cloudburst.job import aws_settings, load_job  # noqa: PLC0415

    job = load_job(scenes, target=target) if scenes else None
    from cloudburst.doctor import examine  # noqa: PLC0415

    where = target or (job.target if job else "local")
    checks = examine(
        where,
        job.aws if job else aws_settings(),
        job,
        lambda text: click.echo(f"{text} ...", err=as_json),
    )
    found = []
    for check in checks:
        found.append(check)
        if not as_json:
            console.show_check(check)
    if as_json:
        click.echo(json.dumps(report.as_dict(found), indent=2, ensure_ascii=False))
    return 3 if any(check.finding == "error" for check in found) else 0


def _call(command: click.Command, name: str) -> None:
    """Run a command and turn its end into an exit code."""
    try:
        code = command.main(prog_name=name, standalone_mode=False)
        # All is torn down: a Ctrl-C too many must not change the exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read has gone; what was to be torn down has been.
        sys.stderr.close()
        sys.exit(1)
    except BadInput as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        count = len(error.problems)
        click.echo(f"{count} problem{'s' * (count != 1)}; nothing was started", err=True)
        sys.exit(error.exit_code)
    except CloudBurstError as error:
        console.show_error(str(error))
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def main() -> None:
    """Be the command `cloudburst`."""
    _call(group, "cloudburst")


def run_command() -> None:
    """Be the command `cloudburst-run`."""
    _call(run, "cloudburst-run")
