"""What is left of dead runs is ended, in the order that cannot lose anything, and checked.

Safe to repeat, beside a living run, and after its own death: each run is held by its lock while it
is cleaned, `cloudburst.run.teardown.recover` begins anew whatever it finds, and the journal says
that a stack is gone only when its provider has said so.
"""

from __future__ import annotations

import contextlib
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.errors import InfrastructureError, JournalFailed, RunBusy, RunUnknown
from cloudburst.job.loader import aws_settings
from cloudburst.journal import registry
from cloudburst.journal import store as journal
from cloudburst.journal.state import KILLED
from cloudburst.journal.store import Journal
from cloudburst.models import Outcome
from cloudburst.paths import state_folder
from cloudburst.recovery.audit import engine_for, run_of
from cloudburst.report import json as report
from cloudburst.report import summary
from cloudburst.run.teardown import recover
from cloudburst.stop import Stop, on_signals
from cloudburst.targets import make_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloudburst.engine.engine import Engine
    from cloudburst.models import TargetName
    from cloudburst.recovery.audit import Audit, RunFound, StackFound
    from cloudburst.targets.base import Target


@dataclass(frozen=True, slots=True)
class Failed:
    """A stack that could not be verified as gone.

    Args:
        stack: its name.
        why: in words.
        usd_per_hour: what it costs, as far as prices are known.
        removal: the command by which a person removes it.
    """

    stack: str
    why: str
    usd_per_hour: float
    removal: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of a cleanup.

    Args:
        removed: stacks of which nothing is left.
        failed: the others.
        skipped: runs that could not be touched, and why.
    """

    removed: tuple[str, ...]
    failed: tuple[Failed, ...]
    skipped: tuple[str, ...]


def cleanup(
    chosen: Sequence[tuple[RunFound, Sequence[StackFound]]],
    *,
    tell: Callable[[str, str], None] = lambda _stack, _text: None,
) -> Cleaned:
    """End what is left of some runs, and see with the providers that nothing is.

    In the main thread, SIGINT, SIGTERM and SIGHUP ask it to begin no further run; it may be begun
    again at any time.

    Args:
        chosen: runs as an audit has found them, each with the stacks that are to go.
        tell: is called with a stack or run and a line, from any thread.
    """
    removed: list[str] = []
    failed: list[Failed] = []
    skipped: list[str] = []
    stop = Stop()
    with on_signals(stop):
        for run, stacks in chosen:
            if stop.requested:
                failed += _untouched(run, stacks, "not begun, as asked")
                continue
            try:
                gone, there = _one_run(run, stacks, stop, tell)
            except RunBusy as error:
                skipped.append(f"{run.run_id or 'without a run'}: {error}")
            except InfrastructureError as error:
                failed += _untouched(run, stacks, str(error))
            else:
                removed += gone
                failed += there
    return Cleaned(tuple(removed), tuple(failed), tuple(skipped))


def _untouched(run: RunFound, stacks: Sequence[StackFound], why: str) -> list[Failed]:
    """Tell of stacks that are still as the audit has found them."""
    return [
        Failed(
            stack.name,
            f"{', '.join(f'{one.kind} {one.id}' for one in stack.remains) or 'in the backend'} "
            f"({why})",
            _hourly(stack),
            " && ".join(one.removal for one in stack.remains if one.removal) or run.removal,
        )
        for stack in stacks
        if stack.left
    ]


def _hourly(stack: StackFound) -> float:
    return sum(one.usd_per_hour or 0.0 for one in stack.remains)


def _one_run(
    run: RunFound,
    stacks: Sequence[StackFound],
    stop: Stop,
    tell: Callable[[str, str], None],
) -> tuple[list[str], list[Failed]]:
    with ExitStack() as held:
        # Since the audit looked, a run may have left its note: then it is held by its own lock.
        run = replace(run, known=run.known or registry.noted(run.run_id))
        kept = _hold(run, held)
        gone: list[str] = []
        failed: list[Failed] = []
        for name in ("local", "aws"):
            mine = [stack for stack in stacks if stack.target == name]
            if not mine:
                continue
            kind: TargetName = "aws" if name == "aws" else "local"
            with make_target(kind, aws_settings()) as target:
                _introduce(target, run, mine, kept)
                ended = _end_all(engine_for(target), target, mine, stop, tell)
            for stack, problem, removal in ended:
                if problem:
                    failed.append(Failed(stack.name, problem, _hourly(stack), removal))
                else:
                    gone.append(stack.name)
                    if kept is not None:
                        kept.gone(stack.name, KILLED)
        if kept is not None and not kept.history().open:
            _settle(kept)
        if not failed and run.known and _is_gone(Path(run.known.folder) / journal.NAME):
            registry.forget(run.run_id)
    return gone, failed


def _hold(run: RunFound, held: ExitStack) -> Journal | None:
    """Hold the run: by its journal, or where that is gone by a lock for all such runs."""
    folder = Path(run.known.folder) if run.known else None
    if folder is not None and not _is_gone(folder / journal.NAME):
        with contextlib.suppress(JournalFailed):
            return held.enter_context(Journal(folder))
    # No journal, or a damaged one, or its disk is full: the machines have to go all the same.
    if folder is not None and not _is_gone(folder):
        with contextlib.suppress(JournalFailed):
            held.enter_context(journal.holding(folder))
            return None
    held.enter_context(journal.holding(state_folder()))
    return None


def _is_gone(path: Path) -> bool:
    """Say if something is not there; of what cannot be looked at nobody knows."""
    try:
        return not path.exists()
    except OSError:
        return False


def _introduce(
    target: Target, run: RunFound, stacks: Sequence[StackFound], kept: Journal | None
) -> None:
    """Tell a target where its stacks may have something, and what was rented for them."""
    places: dict[str, set[str]] = {stack.name: set() for stack in stacks}
    # The home region only where nobody knows better: it may be one that the account forbids.
    regions = set(run.known.regions if run.known else target.regions)
    for stack in stacks:
        places[stack.name] |= regions | {one.place for one in stack.remains}
    history = kept.history() if kept is not None else None
    for batch in history.batches if history else ():
        places.setdefault(batch.stack, set()).update(one.rung.region for one in batch.launches)
    target.know(
        run.run_id,
        {name: sorted(found) for name, found in places.items()},
        history.rentals if history else (),
        kept.rental if kept is not None else lambda _: None,
    )


def _end_all(
    engine: Engine,
    target: Target,
    stacks: Sequence[StackFound],
    stop: Stop,
    tell: Callable[[str, str], None],
) -> list[tuple[StackFound, str, str]]:
    """End stacks side by side; give each with why it is not gone and how to remove it."""
    ended: list[tuple[StackFound, str, str]] = []

    def say(stack: str, text: str) -> None:
        # A terminal that has gone ends whoever writes to it, and a thread says nothing of that.
        with contextlib.suppress(Exception, SystemExit):
            tell(stack, text)

    def one(stack: StackFound) -> None:
        say(stack.name, "ending what is left")
        problem = recover(
            engine,
            target,
            stack.name,
            hurried=lambda: stop.requested,
            tell=lambda text: say(stack.name, text),
        )
        say(stack.name, "could not be verified as gone" if problem else "nothing is left")
        ended.append((stack, problem, target.removal(stack.name)))

    threads = [threading.Thread(target=one, args=(stack,), name=stack.name) for stack in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def _settle(kept: Journal) -> None:
    """Close a run's books: its report says what it came to, with what the cleanup found."""
    history = kept.history()
    if not history.header:
        return  # its run was killed before it said anything
    if history.outcome is None:
        kept.end(str(Outcome.INTERRUPTED))
    # The folder may have been moved since.
    header = {**history.header, "folder": str(kept.folder)}
    scenes = summary.results(history)
    name: TargetName = "aws" if history.header["target"] == "aws" else "local"
    target = make_target(name, aws_settings())
    target.know(history.header["run"], {}, history.rentals, lambda _: None)
    finished = summary.summarize(
        header,
        scenes=scenes,
        batches=history.batches,
        bill=target.cost(history.batches, summary.downloaded(scenes)),
        seconds=history.seconds,
        stopped=history.outcome in (None, str(Outcome.INTERRUPTED)),
    )
    with contextlib.suppress(InfrastructureError):
        report.write(finished)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a cleanup is to end.

    Args:
        runs: each with its stacks that are to go.
        notes: why others are not among them.
        alive: a run that was named is going on.
    """

    runs: tuple[tuple[RunFound, tuple[StackFound, ...]], ...]
    notes: tuple[str, ...]
    alive: bool


def choose(found: Audit, wanted: str | None, *, orphans: bool) -> Choice:
    """Choose what a cleanup is to end.

    Args:
        found: what there is.
        wanted: a run's id, the beginning of it, its folder, or a stack's name; None for all but
            those that others have begun on other machines, where they may be going on.
        orphans: only what no stack knows.

    Raises:
        RunUnknown: nobody knows that run.
    """
    runs = [run for run in found.runs if wanted is None or _is_meant(run, wanted)]
    if wanted is not None and not runs:
        registry.find(run_of(wanted) or wanted)  # raises, unless it is known and nothing is left
    if wanted is not None and len(runs) > 1:
        names = ", ".join(run.run_id for run in runs)
        raise RunUnknown(f"{wanted!r} means {names}; expected one of them")
    chosen, notes = [], []
    for run in runs:
        # What only the journal knows is asked after once more: it may just not be seen yet.
        stacks = tuple(stack for stack in run.stacks if stack.left or stack.launch)
        if orphans:
            stacks = tuple(stack for stack in stacks if stack.orphans)
        if run.owner:
            if wanted is not None:
                notes.append(f"{run.run_id} is going on: {run.owner}; stop it with Ctrl-C or kill")
        elif run.begun_by and wanted is None:
            notes.append(
                f"{run.run_id} was begun by {run.begun_by} and may be going on there; to end it "
                f"all the same: {run.removal}"
            )
        elif stacks:
            chosen.append((run, stacks))
    alive = wanted is not None and any(run.owner for run in runs)
    return Choice(tuple(chosen), tuple(notes), alive)


def _is_meant(run: RunFound, wanted: str) -> bool:
    folder = run.known.folder if run.known else None
    named = run_of(wanted) or wanted
    return (bool(named) and run.run_id.startswith(named)) or str(
        Path(wanted).expanduser().absolute()
    ) == folder
