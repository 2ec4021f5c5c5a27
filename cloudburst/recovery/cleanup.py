"""What is left of dead runs is ended, in the order that cannot lose anything, and verified.

Safe to repeat, beside a living run, and after its own death: each run is locked while it is cleaned
up, `cloudburst.runner.ending.teardown.recover` begins anew whatever it finds, and the journal says
that a stack is gone only when its provider has confirmed it.
"""

from __future__ import annotations

import contextlib
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import (
    InfrastructureError,
    JournalFailed,
    LeftRunning,
    RunBusy,
    RunUnknown,
    TargetUnknown,
)
from cloudburst.journal import lock, registry, store
from cloudburst.journal.state import KILLED, RunState
from cloudburst.journal.store import Journal
from cloudburst.language import tr
from cloudburst.models import Outcome
from cloudburst.paths import state_folder
from cloudburst.recovery.audit import run_of
from cloudburst.report import beside, json, summary
from cloudburst.runner.context import engine_for
from cloudburst.runner.ending.teardown import recover
from cloudburst.runner.worker.takeover import with_end
from cloudburst.stop import Stop, on_signals
from cloudburst.targets.base import Earlier, ignore_rental

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloudburst.engine.engine import Engine
    from cloudburst.recovery.findings import Audit, RunFound, StackFound
    from cloudburst.targets.base import Target, TargetType


@dataclass(frozen=True, slots=True)
class Failed:
    """A stack that could not be verified as gone.

    Args:
        stack: its name.
        why: the reason, for people.
        usd_per_hour: what it costs, as far as prices are known.
        removal: the command by which a person removes it.
        runs: something of it may run; otherwise the provider shows nothing, and only its record in
            the backend is left.
    """

    stack: str
    why: str
    usd_per_hour: float
    removal: str
    runs: bool = True


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of a cleanup.

    Args:
        removed: stacks of which nothing is left.
        failed: the others.
        skipped: runs that could not be touched, and why.
        notes: why other runs were not meant to be touched.
        unseen: the sources that could not be asked, and why.
    """

    removed: tuple[str, ...]
    failed: tuple[Failed, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything that was to go is verified as gone, and everybody could be asked."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0 clean, 4 something could not be verified as gone, 3 not everything could be asked."""
        if self.failed:
            return LeftRunning.exit_code
        return InfrastructureError.exit_code if self.skipped or self.unseen else 0


def cleanup(
    chosen: Sequence[tuple[RunFound, Sequence[StackFound]]],
    *,
    log: Callable[[str, str], None] = lambda _stack, _text: None,
) -> Cleaned:
    """End what is left of some runs, and verify with the providers that nothing is.

    In the main thread, SIGINT, SIGTERM and SIGHUP ask it to begin no further run; it may be begun
    again at any time.

    Args:
        chosen: runs as an audit has found them, each with the stacks that are to go.
        log: called with a stack or run and a line, from any thread.
    """
    removed: list[str] = []
    failed: list[Failed] = []
    skipped: list[str] = []
    stop = Stop()
    with on_signals(stop):
        for run, stacks in chosen:
            if stop.requested:
                failed += _untouched(run, stacks, tr("not begun, as asked"))
                continue
            try:
                gone, remaining = _clean_run(run, stacks, stop, log)
            except RunBusy as error:
                name = run.run_id or tr("without a run")
                skipped.append(f"{name}: {error}")
            except (InfrastructureError, TargetUnknown) as error:
                failed += _untouched(run, stacks, str(error))
            else:
                removed += gone
                failed += remaining
    return Cleaned(tuple(removed), tuple(failed), tuple(skipped))


def _named(stack: StackFound) -> str:
    names = [f"{one.kind} {one.id}" for one in stack.resources]
    return ", ".join(names) or tr("in the backend")


def _untouched(run: RunFound, stacks: Sequence[StackFound], why: str) -> list[Failed]:
    """Return stacks that are still as the audit has found them."""
    return [
        Failed(
            stack.name,
            tr("{what} ({why})", what=_named(stack), why=why),
            stack.usd_per_hour,
            " && ".join(one.removal for one in stack.resources if one.removal) or run.removal,
        )
        for stack in stacks
        if stack.exists
    ]


def _clean_run(
    run: RunFound,
    stacks: Sequence[StackFound],
    stop: Stop,
    log: Callable[[str, str], None],
) -> tuple[list[str], list[Failed]]:
    with ExitStack() as held:
        # Since the audit looked, a run may have registered: then it is locked by its own lock.
        run = replace(run, known=run.known or registry.registered(run.run_id))
        journal = _hold(run, held)
        gone: list[str] = []
        failed: list[Failed] = []
        for name in sorted({stack.target for stack in stacks}):
            there = [stack for stack in stacks if stack.target == name]
            for stack, problem, removal in _clean_target(name, run, there, journal, stop, log):
                if problem and not removal:
                    again = f"cloudburst cleanup {run.run_id}"
                    failed.append(Failed(stack.name, problem, 0.0, again, runs=False))
                elif problem:
                    failed.append(Failed(stack.name, problem, stack.usd_per_hour, removal))
                else:
                    gone.append(stack.name)
        if journal is not None and not journal.state().unfinished:
            _close(journal)
        if not failed and run.known and _is_gone(run.known.path / store.NAME):
            registry.forget(run.run_id)
    return gone, failed


def _hold(run: RunFound, held: ExitStack) -> Journal | None:
    """Lock the run: by its journal, or where that is gone by a lock for all such runs."""
    folder = run.known.path if run.known else None
    if folder is not None and not _is_gone(folder / store.NAME):
        with contextlib.suppress(JournalFailed):
            return held.enter_context(Journal(folder))
    # No journal, or a damaged one, or its disk is full: the machines have to go all the same.
    if folder is not None and not _is_gone(folder):
        with contextlib.suppress(JournalFailed):
            held.enter_context(lock.holding(folder))
            return None
    held.enter_context(lock.holding(state_folder()))
    return None


def _is_gone(path: Path) -> bool:
    """Whether something does not exist; what cannot be looked at may."""
    try:
        return not path.exists()
    except OSError:
        return False


def _clean_target(
    name: str,
    run: RunFound,
    stacks: Sequence[StackFound],
    journal: Journal | None,
    stop: Stop,
    log: Callable[[str, str], None],
) -> list[tuple[StackFound, str, str]]:
    """End a run's stacks on one target; return each with why it is not gone, and its removal."""
    kind = targets.get(name)
    settings = targets.own_settings(name)
    state = journal.state() if journal is not None else RunState(None)
    earlier = _earlier(kind, run, stacks, state)
    record = journal.rental if journal is not None else ignore_rental
    with kind.open(settings, earlier, record) as target:
        ended = _end_all(engine_for(find_engine(), target), target, stacks, stop, log)
    if journal is not None:
        for stack, problem, _ in ended:
            if not problem:
                journal.gone(stack.name, KILLED)
    return ended


def _earlier(
    kind: TargetType, run: RunFound, stacks: Sequence[StackFound], state: RunState
) -> Earlier:
    """Return where stacks may have something, and what was rented for them.

    A target's home region is asked only where nobody knows better: the account may forbid it.
    """
    regions: dict[str, set[str]] = {}
    if kind.has_regions:
        known = set(run.known.regions) if run.known else set()
        for stack in stacks:
            regions[stack.name] = known | {one.place for one in stack.resources}
        for name, used in state.regions(kind.name).items():
            regions.setdefault(name, set()).update(used)
    return Earlier(
        run.run_id,
        {name: sorted(places) for name, places in regions.items() if places},
        state.rentals_on(kind.name),
    )


def _end_all(
    engine: Engine,
    target: Target,
    stacks: Sequence[StackFound],
    stop: Stop,
    log: Callable[[str, str], None],
) -> list[tuple[StackFound, str, str]]:
    """End stacks side by side; return each with why it is not gone, and how to remove it.

    No command where only its record in the backend is left.
    """
    ended: list[tuple[StackFound, str, str]] = []

    def report(stack: str, text: str) -> None:
        # A terminal that has gone ends whoever writes to it, and a thread says nothing of that.
        with contextlib.suppress(Exception, SystemExit):
            log(stack, text)

    def end(stack: StackFound) -> None:
        report(stack.name, tr("ending what is left"))
        problem = recover(
            engine,
            target.resources,
            stack.name,
            hurried=lambda: stop.requested,
            log=lambda text: report(stack.name, text),
        )
        if problem:
            ends = [one.expires for one in stack.resources if one.expires]
            problem = with_end(problem, max(ends, default=None))
        done = tr("could not be verified as gone") if problem else tr("nothing is left")
        report(stack.name, done)
        gone = bool(problem) and _shows_nothing(target, stack.name)
        ended.append((stack, problem, "" if gone else target.resources.removal(stack.name)))

    threads = [threading.Thread(target=end, args=(stack,), name=stack.name) for stack in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def _shows_nothing(target: Target, stack: str) -> bool:
    """Whether the provider says that nothing of a stack exists."""
    try:
        return not target.resources.inventory(stack)
    except Exception:  # noqa: BLE001 - not knowing is not the same as gone
        return False


def _close(journal: Journal) -> None:
    """End a run's last session: its report says what it came to, with what the cleanup ended."""
    state = journal.state()
    if state.record is None:
        return  # its run was killed before it said anything
    if state.outcome is None:
        journal.end(str(Outcome.INTERRUPTED))
    settings = {name: targets.own_settings(name) for name in state.targets}
    # The folder may have been moved since.
    record = replace(state.record, folder=str(journal.folder))
    finished = summary.of_state(state, record, settings)
    with contextlib.suppress(InfrastructureError):
        json.write(finished)
    beside.write(finished, journal.state)


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
        RunUnknown: nobody knows that run, or it may be several.
    """
    runs = _matching(found, wanted)
    chosen, notes = [], []
    for run in runs:
        stacks = _to_end(run, orphans=orphans)
        note = _why_not(run, named=wanted is not None)
        if note is None and stacks:
            chosen.append((run, stacks))
        elif note:
            notes.append(note)
    alive = wanted is not None and any(run.owner for run in runs)
    return Choice(tuple(chosen), tuple(notes), alive)


def _matching(found: Audit, wanted: str | None) -> list[RunFound]:
    if wanted is None:
        return list(found.runs)
    runs = [run for run in found.runs if _is_meant(run, wanted)]
    if len(runs) > 1:
        names = ", ".join(run.run_id for run in runs)
        raise RunUnknown(
            tr("{run!r} matches {names}; expected one of them", run=wanted, names=names)
        )
    if not runs:
        # An error, unless it is a run of this machine of which nothing is left.
        registry.find(run_of(wanted) or wanted)
    return runs


def _to_end(run: RunFound, *, orphans: bool) -> tuple[StackFound, ...]:
    if orphans:
        return tuple(stack for stack in run.stacks if stack.orphans)
    # What only the journal knows is asked for once more: it may just not be described yet.
    return tuple(stack for stack in run.stacks if stack.exists or stack.launch)


def _why_not(run: RunFound, *, named: bool) -> str | None:
    """Return why a run is not cleaned up, empty where nobody needs to know, None if it is."""
    if run.owner:
        if not named:
            return ""
        return tr(
            "{run} is going on: {owner}; stop it with Ctrl-C or kill",
            run=run.run_id,
            owner=run.owner,
        )
    if run.begun_by and not named:
        return tr(
            "{run} was begun by {whom} and may be going on there; to end it all the same: "
            "{command}",
            run=run.run_id,
            whom=run.begun_by,
            command=run.removal,
        )
    return None


def _is_meant(run: RunFound, wanted: str) -> bool:
    folder = run.known.folder if run.known else None
    named = run_of(wanted) or wanted
    return (bool(named) and run.run_id.startswith(named)) or str(
        Path(wanted).expanduser().absolute()
    ) == folder
