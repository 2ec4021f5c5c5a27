"""What is left: by the journals, by the backend, and by the providers, held against each other.

Each of the three may know of something that the others do not: a journal of a stack that its run
was about to make, the backend of a stack whose folder was deleted, a provider of a machine that was
made by a call that broke off. Whoever cannot be asked is named, and then nothing is called clean.
"""

from __future__ import annotations

import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import (
    CloudBurstError,
    EngineError,
    InfrastructureError,
    JournalFailed,
    StackGone,
)
from cloudburst.job.loader import aws_settings
from cloudburst.journal import registry
from cloudburst.journal import store as journal
from cloudburst.journal.state import KEPT
from cloudburst.models import AwsSettings, SceneStatus, StackState
from cloudburst.paths import is_backend_own, owner, state_folder
from cloudburst.report.summary import results
from cloudburst.targets import make_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cloudburst.journal.registry import RunRecord
    from cloudburst.journal.state import Owner, RunState, UnfinishedWorker
    from cloudburst.models import Lock, Resource, TargetName
    from cloudburst.targets.base import Target

_STACK = re.compile(r"(?P<run>\d{8}-\d{6}-[0-9a-f]{6})-b\d+")
_READERS = 8


@dataclass(frozen=True, slots=True)
class StackFound:
    """A stack of which something may be left.

    Args:
        name: its name.
        target: where its worker lives, as far as anybody knows.
        in_backend: the backend holds it.
        launch: what its run's journal says of it, unless it says that it is gone.
        state: what the backend says that it holds.
        locks: on it, each with whether the process that took it lives (None: cannot be seen).
        remains: what providers show of it.
        orphans: of these, what no stack knows of.
    """

    name: str
    target: TargetName
    in_backend: bool
    launch: UnfinishedWorker | None
    state: StackState
    locks: tuple[tuple[Lock, bool | None], ...]
    remains: tuple[Resource, ...]

    @property
    def left(self) -> bool:
        """Something of it is there."""
        return self.in_backend or bool(self.remains)

    @property
    def kept(self) -> bool:
        """It was kept on purpose, for a person."""
        return self.launch is not None and self.launch.state == KEPT

    @property
    def orphans(self) -> tuple[Resource, ...]:
        """What of it no stack knows."""
        return tuple(one for one in self.remains if not _is_known(one, self.state.ids))


@dataclass(frozen=True, slots=True)
class RunFound:
    """A run of which something is left, or that is not finished.

    Args:
        run_id: its id; empty for what names no run.
        known: this machine's note of it, None when it was begun elsewhere.
        owner: the process that holds it now, None when nobody does.
        unclear: why nobody can say if a process holds it; empty when that is known.
        outcome: how its last session ended; None when it did not come to its end.
        done: scenes that have a video.
        scenes: scenes of the job, 0 when there is no journal.
        stacks: those of which something may be left.
    """

    run_id: str
    known: RunRecord | None
    owner: Owner | None
    unclear: str
    outcome: str | None
    done: int
    scenes: int
    stacks: tuple[StackFound, ...]

    @property
    def left(self) -> tuple[StackFound, ...]:
        """Give its stacks of which something is there, unless the run is going on."""
        return () if self.owner else tuple(stack for stack in self.stacks if stack.left)

    @property
    def begun_by(self) -> str:
        """Name who began it, if that was somebody else: it may be going on there."""
        if self.known is not None:
            return self.unclear
        owners = {one.owner for stack in self.stacks for one in stack.remains if one.owner}
        if owners:
            return ", ".join(sorted(owners - {owner()}))
        shared = any(stack.in_backend for stack in self.stacks) and not is_backend_own()
        return "somebody who has the same backend" if shared else ""

    @property
    def removal(self) -> str:
        """Give the command that ends what is left of it, from any machine."""
        # What this machine has a note of is looked for where it was; of others it has to be told.
        places = {
            one.place
            for stack in self.stacks
            if self.known is None and stack.target == "aws"
            for one in stack.remains
        }
        where = "".join(f" --region {place}" for place in sorted(places))
        return f"cloudburst cleanup {self.run_id or '--all'}{where}"

    @property
    def unfinished(self) -> bool:
        """It has scenes without a video, and nobody works on them."""
        return self.owner is None and self.done < self.scenes


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found.

    Args:
        at: when, seconds since 1970.
        runs: those with anything to tell, oldest first.
        finished: runs of which nothing is to be told.
        looked: the sources that answered, in words.
        unseen: the sources that could not be asked, and why.
    """

    at: float
    runs: tuple[RunFound, ...]
    finished: int
    looked: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def left(self) -> tuple[StackFound, ...]:
        """Give the stacks of which something is left and nobody works."""
        return tuple(stack for run in self.runs for stack in run.left)

    @property
    def exit_code(self) -> int:
        """0 clean, 4 something is left, 3 nothing was seen but not everything was looked at."""
        if self.left:
            return 4
        return 3 if self.unseen else 0

    @property
    def usd_per_hour(self) -> float:
        """What is left costs so much, in USD/h, as far as prices are known."""
        return sum(one.usd_per_hour or 0.0 for stack in self.left for one in stack.remains)


def audit(
    *,
    targets: Sequence[TargetName] = (),
    regions: Sequence[str] = (),
    everywhere: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Look for everything that CloudBurst has left. Changes nothing.

    AWS is asked when a run of this machine was on aws, or when `targets`, `regions` or `everywhere`
    ask for it: in the regions that runs have used, in `regions`, in the home region.

    Args:
        targets: providers that are asked in any case.
        regions: further regions of AWS.
        everywhere: all regions of AWS that the account has enabled.
        tell: is called with a line when something slow begins.
    """
    looker = _Looker(tell)
    known = {run.run_id: run for run in registry.known_runs()}
    # Asked before and after the rest: a run may end, or begin, while this looks.
    owners, _ = looker.owners(known.values())
    states, unread = looker.backend(known.values())
    on_aws = any(run.target == "aws" for run in known.values()) or any(
        _is_rented(state) for state, _ in states.values()
    )
    remains = looker.local()
    if everywhere or regions or "aws" in targets or on_aws:
        used = {region for run in known.values() for region in run.regions}
        remains += looker.aws(used | set(regions), everywhere=everywhere)
    else:
        looker.looked.append("AWS was not asked: no run of this machine was there")
    known |= {run.run_id: run for run in registry.known_runs()}
    owners_now, unclear = looker.owners(known.values())
    owners = {**owners_now, **owners}
    histories = looker.journals(known.values())
    # What a living run is just working on may be gone, or half written, when it is read.
    unseen = [line for name, line in unread.items() if run_of(name) not in owners]
    unseen += [f"the owner of {run_id}: {why}" for run_id, why in unclear.items()]
    found = _held_together(known, histories, states, remains, owners, unclear)
    # A stack that only a journal knows of has open books: a cleanup asks after it and closes them.
    telling = tuple(
        run
        for run in found
        if run.owner or run.unfinished or any(one.left or one.launch for one in run.stacks)
    )
    return Audit(
        at=time.time(),
        runs=telling,
        finished=len(known) - sum(run.run_id in known for run in telling),
        looked=tuple(looker.looked),
        unseen=(*looker.unseen, *unseen),
    )


def run_of(stack: str) -> str:
    """Give the run id in a stack's name, nothing when it has none."""
    found = _STACK.fullmatch(stack)
    return found["run"] if found else ""


def engine_for(target: Target, tell: Callable[[str], None] = lambda _: None) -> Engine:
    """Give an engine that can work on a target's stacks."""
    return Engine(find_engine(tell), state_folder(), target.environment(), target.operation_bytes)


# -- looking ------------------------------------------------------------------------------------


class _Looker:
    """Asks each source, and keeps who could not be asked."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.looked: list[str] = []
        self.unseen: list[str] = [
            f"a run's note: {note} cannot be read; where that run was, is not known; once you have "
            "looked, remove it"
            for note in registry.damaged()
        ]

    def owners(self, runs: Iterable[RunRecord]) -> tuple[dict[str, Owner], dict[str, str]]:
        """Give the processes that hold runs now, by run; and why of others it cannot be seen."""
        held: dict[str, Owner] = {}
        unclear: dict[str, str] = {}
        for run in runs:
            try:
                owner = journal.holder(Path(run.folder))
            except JournalFailed as error:
                unclear[run.run_id] = str(error)
                continue
            if owner is not None:
                held[run.run_id] = owner
        return held, unclear

    def journals(self, runs: Iterable[RunRecord]) -> dict[str, RunState]:
        found: dict[str, RunState] = {}
        for run in runs:
            try:
                history = journal.read(Path(run.folder))
            except InfrastructureError as error:
                self.unseen.append(f"journal of {run.run_id}: {error}")
                continue
            if history is not None:
                found[run.run_id] = history
        self.looked.append(f"{len(found)} journal{'s' * (len(found) != 1)}")
        return found

    def local(self) -> list[Resource]:
        with make_target("local", AwsSettings()) as target:
            return self._survey(target, ())

    def _survey(self, target: Target, regions: Sequence[str]) -> list[Resource]:
        found: list[Resource] = []
        for place, answer in target.survey(regions):
            if isinstance(answer, CloudBurstError):
                self.unseen.append(f"{place}: {answer}")
            else:
                self.looked.append(place)
                found += answer
        return found

    def aws(self, used: set[str], *, everywhere: bool) -> list[Resource]:
        self._tell("asking AWS")
        found: list[Resource] = []
        try:
            with make_target("aws", aws_settings()) as target:
                more = target.all_regions() if everywhere else target.regions
                found = self._survey(target, sorted({*used, *more}))
        except CloudBurstError as error:
            self.unseen.append(f"AWS: {error}")
        return found

    def backend(
        self, runs: Iterable[RunRecord]
    ) -> tuple[dict[str, tuple[StackState, tuple[Lock, ...]]], dict[str, str]]:
        """Read every stack of the project with its locks; say which could not be read, and why."""
        own = is_backend_own()
        if own and not (state_folder() / "backend").exists() and not list(runs):
            self.looked.append("no backend yet")
            return {}, {}
        found: dict[str, tuple[StackState, tuple[Lock, ...]]] = {}
        unread: dict[str, str] = {}

        def one(engine: Engine, name: str) -> None:
            try:
                found[name] = engine.state(name), engine.locks(name)
            except StackGone:
                pass  # since it was listed
            except EngineError as error:
                found[name] = StackState(), ()
                unread[name] = f"stack {name}: {error}"

        try:
            with make_target("local", AwsSettings()) as target:
                engine = engine_for(target, self._tell)
                with ThreadPoolExecutor(_READERS) as pool:
                    list(pool.map(lambda name: one(engine, name), engine.stacks()))
        except (CloudBurstError, OSError) as error:
            self.unseen.append(f"backend: {error}")
            return {}, {}
        where = "the backend" if own else f"the backend {os.environ['PULUMI_BACKEND_URL']}"
        self.looked.append(where)
        return found, unread


# -- holding together ---------------------------------------------------------------------------


def _held_together(
    known: dict[str, RunRecord],
    histories: dict[str, RunState],
    states: dict[str, tuple[StackState, tuple[Lock, ...]]],
    remains: list[Resource],
    owners: dict[str, Owner],
    unclear: dict[str, str],
) -> list[RunFound]:
    shown: dict[str, list[Resource]] = {}
    for one in remains:
        shown.setdefault(one.stack, []).append(one)
    noted = {
        one.stack: (run_id, one) for run_id, history in histories.items() for one in history.open
    }
    by_run: dict[str, list[StackFound]] = {run_id: [] for run_id in known}
    for name in sorted({*states, *shown, *noted}):
        named = [noted[name][0]] if name in noted else []
        named += [run_of(name), *(one.run_id for one in shown.get(name, ()))]
        run_id = next((one for one in named if one), "")
        by_run.setdefault(run_id, []).append(
            _stack_found(name, known.get(run_id), states.get(name), shown.get(name, ()), noted)
        )
    return [
        _run_found(
            run_id,
            known.get(run_id),
            histories.get(run_id),
            owners.get(run_id),
            unclear.get(run_id, ""),
            tuple(stacks),
        )
        for run_id, stacks in sorted(by_run.items())
    ]


def _stack_found(
    name: str,
    known: RunRecord | None,
    told: tuple[StackState, tuple[Lock, ...]] | None,
    remains: Iterable[Resource],
    noted: dict[str, tuple[str, UnfinishedWorker]],
) -> StackFound:
    state, locks = told or (StackState(), ())
    launch = noted[name][1] if name in noted else None
    if launch is not None and launch.expires is not None:
        # A process cannot say when it ends itself; its run has written it down.
        remains = [replace(one, expires=one.expires or launch.expires) for one in remains]
    return StackFound(
        name=name,
        target=_target_of(known, state, remains),
        in_backend=told is not None,
        launch=launch,
        state=state,
        locks=tuple((lock, _lives(lock)) for lock in locks),
        remains=tuple(remains),
    )


def _target_of(
    known: RunRecord | None, state: StackState, remains: Iterable[Resource]
) -> TargetName:
    if _is_rented(state) or any(one.kind != "process" for one in remains):
        return "aws"
    return "aws" if known is not None and known.target == "aws" else "local"


def _is_rented(state: StackState) -> bool:
    """Say if a stack holds something on AWS: resources begin with their type, pending with why."""
    return any("aws:" in line for line in (*state.resources, *state.pending))


def _lives(lock: Lock) -> bool | None:
    if not lock.pid:
        return False
    if lock.host != socket.gethostname():
        return None
    return bool(psutil.pid_exists(lock.pid))


def _run_found(
    run_id: str,
    known: RunRecord | None,
    history: RunState | None,
    owner: Owner | None,
    unclear: str,
    stacks: tuple[StackFound, ...],
) -> RunFound:
    scenes = results(history) if history is not None else ()
    return RunFound(
        run_id=run_id,
        known=known,
        owner=owner,
        unclear="" if owner else unclear,
        outcome=history.outcome if history else None,
        done=sum(scene.status is SceneStatus.DONE for scene in scenes),
        scenes=len(scenes),
        stacks=stacks,
    )


def _is_known(one: Resource, ids: frozenset[str]) -> bool:
    # A process has its start in its name, which a person does not need.
    return one.kind == "disk" or any(known.partition("@")[0] == one.id for known in ids)
