"""The command line: parse, call one public function, exit. Only this package imports click."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import get_args

import click

from cloudburst import configuration, console, targets, userpath
from cloudburst.cli import history, making, options, recovery, report, running, watching
from cloudburst.cli.running import run
from cloudburst.cli.running import run_job as _run
from cloudburst.console import streams
from cloudburst.errors import (
    BadInput,
    CloudBurstError,
    InfrastructureError,
)
from cloudburst.language import later, ntr, tr
from cloudburst.models import Effect, Finding, Language, Problem
from cloudburst.report import json as documents
from cloudburst.stop import (
    INTERRUPTED,
    Interruption,
    exit_on_interrupt,
    interruption,
)
from cloudburst.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@options.profile
@click.version_option(__version__, prog_name="cloudburst")
def group() -> None:
    """Turn scenes into videos on machines that exist only while they work."""
    configuration.apply()


group.add_command(recovery.audit)
group.add_command(recovery.cleanup)
for _command in (
    *running.COMMANDS,
    *making.COMMANDS,
    *history.COMMANDS,
    *watching.COMMANDS,
):
    group.add_command(_command)
group.add_command(report.report)


@group.command(
    short_help="Serve the video API alone.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def serve(options: tuple[str, ...]) -> None:
    """Serve the video API alone (--help lists its options)."""
    from cloudburst.videoapi.__main__ import main as serve_main  # noqa: PLC0415

    serve_main(list(options))


@group.command(
    short_help="Print the JSON Schema of scenes.yaml.",
    epilog=options.examples("cloudburst schema > scenes.schema.json"),
)
def schema() -> None:
    """Print the JSON Schema of scenes.yaml, for editors."""
    with exit_on_interrupt():
        from cloudburst.job.schema import json_schema  # noqa: PLC0415

    streams.write_line(json.dumps(json_schema(), indent=2))


@group.command(
    short_help="Print the environment for `pulumi`.",
    epilog=options.examples('eval "$(cloudburst env)"'),
)
def env() -> None:
    """Print the environment in which `pulumi` sees the stacks: eval "$(cloudburst env)"."""
    from cloudburst.paths import engine_environment, state_folder  # noqa: PLC0415

    for name, value in engine_environment(state_folder()).items():
        # Paths are bytes: what a terminal may not show must still be the path.
        streams.write_bytes(os.fsencode(f"export {name}={shlex.quote(value)}\n"))


@group.command(
    short_help="Write a scenes.yaml of a folder.",
    epilog=running.epilog("cloudburst scan FOLDER", "cloudburst scan FOLDER --run"),
)
@click.argument("folder", type=click.Path())
@click.option(
    "-o", "--output", metavar="FILE", help="Default: FOLDER/scenes.yaml; - is standard output."
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.option(
    "--language",
    type=click.Choice(get_args(Language)),
    help="Of scenes whose files name none; the default is chinese.",
)
@click.option(
    "--effects", multiple=True, type=click.Choice(get_args(Effect)), help="Of all; repeatable."
)
@click.option("--target", type=click.Choice(targets.names()), help="Where workers are to run.")
@click.option("--run", "run_it", is_flag=True, help="Run the file at once.")
@options.as_json
@options.verbose
@interruption(later("interrupted"))
def scan(
    folder: str,
    output: str | None,
    language: Language | None,
    effects: tuple[Effect, ...],
    target: str | None,
    *,
    force: bool,
    run_it: bool,
    as_json: bool,
    verbose: bool,
) -> int:
    """Write a scenes.yaml of the pictures and sounds in FOLDER that share a name.

    Prints the scenes, and every file that is in none with the reason. An existing file is not
    overwritten without --force.
    """
    if run_it and (as_json or output == "-"):
        raise click.UsageError(tr("--run goes with neither --json nor --output -"))
    with exit_on_interrupt():
        from cloudburst.job.folder import scan as folders  # noqa: PLC0415

    folder = userpath.expanded(folder)
    path = (
        None
        if output == "-"
        else Path(userpath.expanded(output) if output else Path(folder) / folders.JOB_FILE)
    )
    next_command = f"cloudburst-run {shlex.quote(str(path))}"
    if path is not None and path.exists() and not force:
        message = tr(
            "exists already; pass --force to overwrite it, or run it: {command}",
            command=next_command,
        )
        raise BadInput([Problem(str(path), 0, "", message)])
    scanned = folders.scan(folder)
    document = scanned.document(
        language=language, effects=effects, target=target, base=path.parent if path else None
    )
    if path is not None:
        folders.write(path, scanned.to_yaml(document))
    elif not as_json:
        # As the file would be, whatever the terminal's encoding is.
        streams.write_bytes(scanned.to_yaml(document).encode())
    if as_json:
        shown = documents.as_dict(scanned) | {"file": str(path) if path else None}
        streams.write_line(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0
    if run_it:
        next_command = ""
    console.show_scan(
        scanned,
        next_command=next_command if path else "",
        stderr=path is None,
        verbose=verbose,
    )
    if not run_it:
        return 0
    with exit_on_interrupt():
        from cloudburst.job.loader import load_job  # noqa: PLC0415

        job = load_job(str(path))
        console.show_warnings(job.warnings, job.unused)
    return _run(job, None, running.Shown(verbose=verbose))


@group.command(
    short_help="Check what a run needs.",
    epilog=options.examples("cloudburst doctor", "cloudburst doctor scenes.yaml --target aws"),
)
@click.argument("scenes", type=click.Path(), required=False)
@click.option("--target", type=click.Choice(targets.names()), help="Default: the file's, or local.")
@options.as_json
@interruption(later("interrupted"))
def doctor(scenes: str | None, target: str | None, *, as_json: bool) -> int:
    """Check this machine, and on aws the account, for a run of SCENES, with a fix for each problem.

    Builds the Pulumi engine and downloads its AWS provider if there is none, and creates nothing
    else. The exit code is 3 when something is missing that a run needs.
    """
    with exit_on_interrupt():
        from cloudburst.environment import environment  # noqa: PLC0415
        from cloudburst.job.loader import default_target, load_job  # noqa: PLC0415

        job = load_job(scenes, target=target) if scenes else None
        from cloudburst.doctor import examine  # noqa: PLC0415

    checks = examine(
        target or (job.target if job else default_target(environment())),
        job,
        lambda text: click.echo(f"{text} ...", err=as_json),
    )
    found = []
    for check in checks:
        found.append(check)
        if not as_json:
            console.show_check(check)
    if as_json:
        streams.write_line(json.dumps(documents.as_dict(found), indent=2, ensure_ascii=False))
    failed = any(check.finding is Finding.ERROR for check in found)
    return InfrastructureError.exit_code if failed else 0


def _call(command: click.Command, name: str) -> None:
    """Run a command and exit with its code."""
    streams.guard()
    streams.replace_unencodable(as_json="--json" in sys.argv)
    code = _outcome(command, name)
    # All is torn down: one more Ctrl-C must not change the exit code.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    unwritten = streams.finish()
    if unwritten is not None:
        console.show_error(tr("standard output: cannot be written: {why}", why=unwritten.strerror))
        # A run's videos exist all the same; of any other command, the output is what was asked for.
        if not isinstance(code, running.RunCode):
            code = code or InfrastructureError.exit_code
    sys.exit(code)


def _outcome(command: click.Command, name: str) -> int:
    """Run a command, print what ended it, and return its exit code."""
    try:
        code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Interruption as error:
        console.show_interruption(str(error))
        return INTERRUPTED
    except click.Abort as error:
        # Ctrl-C where no command says what it stops, or an answer that was no.
        stopped = isinstance(error.__cause__, KeyboardInterrupt)
        console.show_interruption(tr("interrupted") if stopped else tr("nothing was removed"))
        return INTERRUPTED
    except BadInput as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        total = ntr(
            "{count} problem; nothing was started",
            "{count} problems; nothing was started",
            len(error.problems),
        )
        click.echo(total, err=True)
        return error.exit_code
    except CloudBurstError as error:
        console.show_error(str(error))
        return error.exit_code
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command `cloudburst`."""
    _call(group, "cloudburst")


def run_command() -> None:
    """Run the command `cloudburst-run`."""
    _call(run, "cloudburst-run")
