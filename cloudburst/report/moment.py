"""The journal of a run that goes on, as of a moment: what goes on has lasted until then. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.models import Phase, Span, WorkerState

if TYPE_CHECKING:
    from cloudburst.journal.state import RunState, Session
    from cloudburst.models import BatchResult, Launch, UnfinishedWorker

# Journals have a phase when it is over, and until then what its worker does.
_GOES_ON: dict[str, Phase] = {
    WorkerState.CREATING: Phase.UP,
    WorkerState.STARTING: Phase.HEALTH,
    WorkerState.WORKING: Phase.DRIVE,
    WorkerState.DESTROYING: Phase.DESTROY,
}


def as_of(state: RunState, at: float) -> RunState:
    """Return what the journal of a run that goes on would say if every phase ended at a moment.

    Args:
        state: what it says.
        at: seconds since 1970.
    """
    if not state.sessions:
        return state
    started = _started(state.sessions)
    now = max(state.seconds, at - started)
    workers = {one.label: one for one in state.unfinished}
    batches = tuple(_batch(batch, workers, started, now) for batch in state.batches)
    return replace(state, batches=batches, seconds=now)


def _started(sessions: tuple[Session, ...]) -> float:
    """Return when the run's clock would have begun if it had not stood still between sessions."""
    before = sessions[-2].seconds if len(sessions) > 1 else 0.0
    return sessions[-1].began - before


def _batch(
    batch: BatchResult, workers: dict[str, UnfinishedWorker], started: float, now: float
) -> BatchResult:
    last = {launch.label: number for number, launch in enumerate(batch.launches)}
    launches = tuple(
        _launch(launch, workers[launch.label], started, now)
        # The label of a rung that gave no worker is that of the one that did.
        if launch.label in workers and last[launch.label] == number and not launch.destroyed
        else launch
        for number, launch in enumerate(batch.launches)
    )
    return replace(batch, launches=launches)


def _launch(launch: Launch, worker: UnfinishedWorker, started: float, now: float) -> Launch:
    phase = _GOES_ON.get(worker.state)
    if phase is None:
        return launch
    began = launch.spans[-1].end if launch.spans else max(0.0, worker.began - started)
    return replace(launch, spans=(*launch.spans, Span(phase, min(began, now), now)))
