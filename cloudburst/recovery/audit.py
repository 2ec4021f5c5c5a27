"""What is left: by the journals, by the backend, and by the providers, compared with each other.

Each of the three may know of something that the others do not: a journal of a stack that its run
was about to create, the backend of a stack whose folder was deleted, a provider of a machine that
was created by a call that broke off. Whoever cannot be asked is named, and then nothing is called
clean.
"""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psutil

from cloudburst import targets
from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import (
    CloudBurstError,
    EngineError,
    InfrastructureError,
    JournalFailed,
    StackGone,
    TargetUnknown,
)
from cloudburst.journal import lock, registry, store
from cloudburst.language import ntr, tr
from cloudburst.models import SceneStatus, StackName, StackState
from cloudburst.paths import is_backend_own, state_folder
from cloudburst.recovery.findings import Audit, RunFound, StackFound
from cloudburst.report.summary import results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cloudburst.journal.state import RunState
    from cloudburst.models import Lock, Owner, Resource, RunRecord, UnfinishedWorker
    from cloudburst.targets.base import Target, TargetType

    Stacks = Mapping[str, tuple[StackState, tuple[Lock, ...]]]

_READERS = 8


def audit(
    *,
    asked: Sequence[str] = (),
    regions: Sequence[str] = (),
    everywhere: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Audit:
    """Look for everything that CloudBurst has left. Changes nothing.

    A target that rents is asked when a run of this machine was on it, when a stack in the backend
    holds something of it, or when `asked`, `regions` or `everywhere` ask for it: in the regions
    that runs have used, in `regions`, in its own home region.

    Args:
        asked: names of targets that are asked in any case.
        regions: further regions.
        everywhere: all regions that the account has enabled.
        log: called with a line when something slow begins.
    """
    looker = _Looker(log)
    known = {record.run_id: record for record in registry.runs()}
    # Asked before and after the rest: a run may end, or begin, while this looks.
    owners, _ = looker.owners(known.values())
    states, unread = looker.backend(known.values())
    resources = [
        resource
        for kind in looker.concerned(known.values(), states, asked, regions, everywhere=everywhere)
        for resource in looker.provider(kind, known.values(), regions, everywhere=everywhere)
    ]
    known |= {record.run_id: record for record in registry.runs()}
    owners_now, unclear = looker.owners(known.values())
    owners = {**owners_now, **owners}
    journals = looker.journals(known.values())
    # What a living run is just working on may be gone, or half written, when it is read.
    unseen = [line for name, line in unread.items() if run_of(name) not in owners]
    unseen += [
        tr("the owner of {run}: {reason}", run=run_id, reason=why)
        for run_id, why in unclear.items()
    ]
    evidence = Evidence(known, journals, states, tuple(resources), owners, unclear)
    notable = tuple(run for run in compared(evidence) if run.is_notable)
    return Audit(
        at=time.time(),
        runs=notable,
        finished=len(known) - sum(run.run_id in known for run in notable),
        asked=tuple(looker.asked),
        unseen=(*looker.unseen, *unseen),
    )


def run_of(stack: str) -> str:
    """Return the run id in a stack's name, empty when it has none."""
    name = StackName.parse(stack)
    return name.run_id if name else ""


# -- looking ------------------------------------------------------------------------------------


class _Looker:
    """Asks each source, and keeps who could not be asked."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self.asked: list[str] = []
        self.unseen: list[str] = [
            tr(
                "a run's entry: {file} cannot be read; where that run was is not known; once you "
                "have looked, remove it",
                file=path,
            )
            for path in registry.damaged()
        ]

    def owners(self, runs: Iterable[RunRecord]) -> tuple[dict[str, Owner], dict[str, str]]:
        """Return the processes that hold runs now, by run; and of others why it is not known."""
        held: dict[str, Owner] = {}
        unclear: dict[str, str] = {}
        for run in runs:
            try:
                owner = lock.holder(run.path)
            except JournalFailed as error:
                unclear[run.run_id] = str(error)
                continue
            if owner is not None:
                held[run.run_id] = owner
        return held, unclear

    def journals(self, runs: Iterable[RunRecord]) -> dict[str, RunState]:
        """Return what the journals say, by run."""
        states: dict[str, RunState] = {}
        for run in runs:
            try:
                state = store.read(run.path)
            except InfrastructureError as error:
                text = tr("journal of {run}: {reason}", run=run.run_id, reason=error)
                self.unseen.append(text)
                continue
            if state is not None:
                states[run.run_id] = state
        self.asked.append(ntr("{count} journal", "{count} journals", len(states)))
        return states

    def concerned(
        self,
        runs: Iterable[RunRecord],
        stacks: Stacks,
        asked: Sequence[str],
        regions: Sequence[str],
        *,
        everywhere: bool,
    ) -> list[TargetType]:
        """Return the targets that may have something, or that somebody asked for."""
        names = {*asked, *(run.target for run in runs)}
        types = [one for state, _ in stacks.values() for one in state.types]
        concerned = []
        for kind in map(targets.get, targets.names()):
            wanted = kind.always_asked or kind.name in names or any(map(kind.owns, types))
            if wanted or (kind.has_regions and (regions or everywhere)):
                concerned.append(kind)
            else:
                text = tr(
                    "{source} was not asked: no run of this machine was there",
                    source=tr(kind.title),
                )
                self.asked.append(text)
        # What nobody can ask is not clean.
        for name in sorted(names.difference(targets.names())):
            error = TargetUnknown(name, targets.names())
            self.unseen.append(tr("target {name}: {reason}", name=name, reason=error))
        return concerned

    def provider(
        self,
        kind: TargetType,
        runs: Iterable[RunRecord],
        regions: Sequence[str],
        *,
        everywhere: bool,
    ) -> list[Resource]:
        """Return what a target's provider shows of CloudBurst's."""
        found: list[Resource] = []
        if not kind.always_asked:
            self._log(tr("asking {source}", source=tr(kind.title)))
        try:
            with kind.open(targets.own_settings(kind.name)) as target:
                home = target.resources.regions
                more = target.resources.all_regions() if everywhere else home
                used = {region for run in runs for region in run.regions} if home else ()
                places = sorted({*used, *regions, *more}) if kind.has_regions else ()
                found = self._survey(target, places)
        except CloudBurstError as error:
            self.unseen.append(f"{tr(kind.title)}: {error}")
        return found

    def _survey(self, target: Target, regions: Sequence[str]) -> list[Resource]:
        found: list[Resource] = []
        for place, answer in target.resources.survey(regions):
            if isinstance(answer, CloudBurstError):
                self.unseen.append(f"{place}: {answer}")
            else:
                self.asked.append(place)
                found += answer
        return found

    def backend(
        self, runs: Iterable[RunRecord]
    ) -> tuple[dict[str, tuple[StackState, tuple[Lock, ...]]], dict[str, str]]:
        """Read every stack of the project with its locks; say which could not be read, and why."""
        own = is_backend_own()
        if own and not (state_folder() / "backend").exists() and not list(runs):
            self.asked.append(tr("no backend yet"))
            return {}, {}
        stacks: dict[str, tuple[StackState, tuple[Lock, ...]]] = {}
        unread: dict[str, str] = {}

        def read(engine: Engine, name: str) -> None:
            try:
                stacks[name] = engine.state(name), engine.locks(name)
            except StackGone:
                pass  # since it was listed
            except EngineError as error:
                stacks[name] = StackState(), ()
                unread[name] = tr("stack {name}: {reason}", name=name, reason=error)

        try:
            # Reading a stack needs no provider.
            engine = Engine(find_engine(self._log), state_folder())
            with ThreadPoolExecutor(_READERS) as pool:
                list(pool.map(lambda name: read(engine, name), engine.stacks()))
        except (CloudBurstError, OSError) as error:
            self.unseen.append(tr("backend: {reason}", reason=error))
            return {}, {}
        url = os.environ.get("PULUMI_BACKEND_URL", "")
        self.asked.append(tr("the backend") if own else tr("the backend {url}", url=url))
        return stacks, unread


# -- comparing ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sources say.

    Args:
        known: this machine's runs, by id.
        journals: what their journals say, by run.
        stacks: in the backend, by name, with their locks.
        resources: what providers show.
        owners: who holds runs now, by run.
        unclear: of other runs, why that is not known.
    """

    known: Mapping[str, RunRecord]
    journals: Mapping[str, RunState]
    stacks: Stacks
    resources: tuple[Resource, ...]
    owners: Mapping[str, Owner]
    unclear: Mapping[str, str]

    def launches(self) -> dict[str, tuple[str, UnfinishedWorker]]:
        """Return the workers that journals do not record as gone, by stack, with their run."""
        return {
            worker.stack: (run_id, worker)
            for run_id, state in self.journals.items()
            for worker in state.unfinished
        }


def compared(evidence: Evidence) -> list[RunFound]:
    """Return every run that any source knows of, with the stacks of which something may be left."""
    shown: dict[str, list[Resource]] = {}
    for resource in evidence.resources:
        shown.setdefault(resource.stack, []).append(resource)
    launches = evidence.launches()
    by_run: dict[str, list[StackFound]] = {run_id: [] for run_id in evidence.known}
    for name in sorted({*evidence.stacks, *shown, *launches}):
        candidates = [launches[name][0]] if name in launches else []
        candidates += [run_of(name), *(one.run_id for one in shown.get(name, ()))]
        run_id = next((one for one in candidates if one), "")
        launch = launches[name][1] if name in launches else None
        stack = _stack_found(name, evidence, run_id, launch, shown.get(name, ()))
        by_run.setdefault(run_id, []).append(stack)
    return [_run_found(run_id, evidence, tuple(found)) for run_id, found in sorted(by_run.items())]


def _stack_found(
    name: str,
    evidence: Evidence,
    run_id: str,
    launch: UnfinishedWorker | None,
    resources: Iterable[Resource],
) -> StackFound:
    state, locks = evidence.stacks.get(name, (StackState(), ()))
    if launch is not None and launch.expires is not None:
        # A process cannot say when it ends itself; its run has written it down.
        resources = [replace(one, expires=one.expires or launch.expires) for one in resources]
    return StackFound(
        name=name,
        target=_target_of(evidence.known.get(run_id), launch, state, resources),
        in_backend=name in evidence.stacks,
        launch=launch,
        state=state,
        locks=tuple((lock, _lives(lock)) for lock in locks),
        resources=tuple(resources),
    )


def _target_of(
    known: RunRecord | None,
    launch: UnfinishedWorker | None,
    state: StackState,
    resources: Iterable[Resource],
) -> str:
    """Return the target of a stack: who shows it, who its types belong to, who its run names.

    A stack of which nobody knows where it was can only be an empty one: any target can remove it.
    """
    for resource in resources:
        return resource.target
    for kind in (targets.get(name) for name in targets.names()):
        if any(map(kind.owns, state.types)):
            return kind.name
    if launch is not None:
        return launch.target
    return known.target if known is not None else targets.names()[0]


def _lives(lock: Lock) -> bool | None:
    if not lock.pid:
        return False
    if lock.host != socket.gethostname():
        return None
    return bool(psutil.pid_exists(lock.pid))


def _run_found(run_id: str, evidence: Evidence, stacks: tuple[StackFound, ...]) -> RunFound:
    state = evidence.journals.get(run_id)
    scenes = results(state) if state is not None else ()
    owner = evidence.owners.get(run_id)
    return RunFound(
        run_id=run_id,
        known=evidence.known.get(run_id),
        owner=owner,
        unclear="" if owner else evidence.unclear.get(run_id, ""),
        outcome=state.outcome if state else None,
        done=sum(scene.status is SceneStatus.DONE for scene in scenes),
        scenes=len(scenes),
        stacks=stacks,
    )
