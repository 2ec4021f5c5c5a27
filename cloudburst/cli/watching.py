"""The commands `watch`, `stop` and `logs`: runs that another terminal, or none, has begun."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, cast

import click

from cloudburst import clock, console
from cloudburst.cli import options, past
from cloudburst.console import streams
from cloudburst.errors import Interrupted, LeftRunning
from cloudburst.language import later, tr
from cloudburst.stop import interruption

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.history import PastRun
    from cloudburst.history.logs import Kind, Line

_ASK_EVERY = 5.0
_KINDS = ("events", "engine", "boot", "worker")


@click.command(
    short_help="Watch a run that is going on.",
    epilog=options.examples("cloudburst watch RUN", "cloudburst watch RUN --json"),
)
@options.run
@options.as_json
@options.verbose
@interruption(later("stopped watching; the run goes on"))
def watch(run: str, *, as_json: bool, verbose: bool) -> int:
    """Watch RUN as the terminal that began it does, then show what it came to.

    Ctrl-C ends the watching, not the run. The exit code is that of the run.
    """
    return follow(past.load(run), as_json=as_json, verbose=verbose)


def follow(run: PastRun, *, as_json: bool, verbose: bool) -> int:
    """Show a run's events until it is over, then its summary; return its exit code."""
    from cloudburst import history  # noqa: PLC0415
    from cloudburst.history.logs import events  # noqa: PLC0415

    with console.watcher(json_lines=as_json, quiet=False, verbose=verbose) as shown:
        for at, event in events(run.record.path):
            if isinstance(shown, console.LiveLines):
                shown(event, late=max(0.0, clock.now() - at))
            else:
                shown(event)
    ended = history.load(run.record.path)
    if not as_json:
        console.show_run(ended, clock.now(), verbose=verbose)
    return exit_code(ended)


def exit_code(run: PastRun) -> int:
    """Return the exit code with which a run has ended."""
    from cloudburst.history import RunStatus  # noqa: PLC0415

    if run.workers:
        return LeftRunning.exit_code
    if run.status in (RunStatus.INTERRUPTED, RunStatus.KILLED):
        return Interrupted.exit_code
    return 0 if run.status is RunStatus.COMPLETE else 1


@click.command(
    short_help="Ask a run to stop.",
    epilog=options.examples("cloudburst stop RUN", "cloudburst stop RUN --wait"),
)
@options.run
@click.option("--wait", is_flag=True, help="Return when the run has ended; show what it came to.")
@interruption(later("no longer waited for; the run ends on its own"))
def stop(run: str, *, wait: bool) -> int:
    """Ask RUN to stop, as Ctrl-C does in its terminal.

    The first time, videos that are rendered are downloaded and everything is destroyed; the second
    time, it hurries; the third time, it does not wait for the teardown.
    """
    found = past.load(run)
    from cloudburst.journal import lock  # noqa: PLC0415

    owner = lock.interrupt(found.record.path)
    if owner is None:
        click.echo(tr("{run} is not going on; nothing was stopped", run=found.run_id))
        return 0
    if wait:
        follow(found, as_json=False, verbose=False)
        return 0
    click.echo(
        tr("asked {owner} to stop {run}; once more hurries it", owner=owner, run=found.run_id)
    )
    return 0


@click.command(
    short_help="Print the logs of a run or a worker.",
    epilog=options.examples(
        "cloudburst logs RUN", "cloudburst logs RUN b01 --follow", "cloudburst logs RUN intro"
    ),
)
@options.run
@click.argument(
    "name", metavar="[SCENE|WORKER]", required=False, shell_complete=options.complete_name
)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(_KINDS),
    help="Only this kind of log; repeatable. Default: events, and of a worker all there are.",
)
@options.as_json
@interruption(later("interrupted"))
def logs(run: str, name: str | None, kinds: tuple[str, ...], *, follow: bool, as_json: bool) -> int:
    """Print the logs of RUN: its events; of a WORKER such as b01 also its own, boot and engine log.

    A run that is over keeps its logs in its folder. Rented machines that exist are asked for theirs
    if you name one of them, or a kind that they have.
    """
    found = past.load(run)
    from cloudburst.history.logs import Logs  # noqa: PLC0415

    source = Logs(found, name, cast("tuple[Kind, ...]", kinds))
    machines = _Machines(found.record.path, name if source.is_worker else None)
    if source.is_worker or {"boot", "worker"} & set(kinds):
        machines.refresh()
    said = False
    for line in source.follow(machines.sleep) if follow else source.more():
        said = True
        if as_json:
            streams.write_line(_json(line))
        else:
            console.show_line(line)
    if not said:
        whose = f"{found.run_id} {name}" if name else found.run_id
        text = tr("{whose}: nothing was logged", whose=whose)
        if kinds:
            wanted = tr(", ").join(kinds)
            text = tr("{whose}: nothing was logged of {kinds}", whose=whose, kinds=wanted)
        click.echo(text, err=True)
    return 0


class _Machines:
    """The logs of rented machines, fetched anew now and then while they are followed."""

    def __init__(self, folder: Path, name: str | None) -> None:
        from cloudburst.recovery.machinelogs import MachineLogs  # noqa: PLC0415

        self._logs = MachineLogs(folder, name)
        self._asked: float | None = None

    def refresh(self) -> None:
        self._asked = time.monotonic()
        for problem in self._logs.refresh():
            click.echo(problem, err=True)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        if self._asked is not None and time.monotonic() - self._asked > _ASK_EVERY:
            self.refresh()


def _json(line: Line) -> str:
    from cloudburst.journal.eventlog import document  # noqa: PLC0415

    values = {"source": line.source, "text": line.text}
    if line.event is not None:
        values["at"] = options.utc(line.at)
        values |= document(line.event)
    return json.dumps(values, ensure_ascii=False)


COMMANDS = (watch, stop, logs)
