"""What the time and the money of a run went to: by worker, by use and by scene. Pure.

A provider bills a machine, not what it did. So a machine's bill is divided by time: between the
uses by the seconds that each took, and between the scenes by the seconds of their attempts on it;
its start, its end and its idle time are in its scenes' shares. Parts add up to the bill.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from cloudburst.models import Attempt, Phase, SceneStatus, Span, label_order
from cloudburst.report.cost import covered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudburst.journal.state import RunState
    from cloudburst.models import BatchResult, Cost, CostLine, Launch, SceneResult


class Use(StrEnum):
    """What a worker's time goes to."""

    BOOT = "boot"
    RENDER = "render"
    IDLE = "idle"
    END = "end"


@dataclass(frozen=True, slots=True)
class WorkerUse:
    """What one launch took and cost.

    Args:
        batch: label of its batch.
        launch: the launch.
        seconds: by use; `Use.RENDER` is the time in which at least one scene was being rendered
            or downloaded, those that were broken off too.
        usd: its part of the bill; None where nothing of the bill is for it.
        attempts: that were made on it, with the scene of each.
        broken: what was being rendered on it when its session ended, or is now; likewise.
    """

    batch: str
    launch: Launch
    seconds: Mapping[Use, float]
    usd: float | None
    attempts: tuple[tuple[str, Attempt], ...] = ()
    broken: tuple[tuple[str, Attempt], ...] = ()

    @property
    def total(self) -> float:
        """Seconds from the beginning of its creation to its verified end."""
        return sum(self.seconds.values())


@dataclass(frozen=True, slots=True)
class Uses:
    """What a run's time and money went to.

    Args:
        workers: every launch, in the order of the batches.
        seconds: by use, of all workers.
        usd: by use; empty where nothing was rented.
        scenes: USD by scene, of those that a billed worker had.
        unshared: USD that no scene's share has: of machines that rendered nothing.
        minimum: USD for seconds that are billed beyond what workers took, since a machine is billed
            for a minute at least; in no use's part.
        other: USD of no worker: egress, and machines that no launch names.
    """

    workers: tuple[WorkerUse, ...]
    seconds: Mapping[Use, float]
    usd: Mapping[Use, float] = field(default_factory=dict)
    scenes: Mapping[str, float] = field(default_factory=dict)
    unshared: float = 0.0
    minimum: float = 0.0
    other: float = 0.0


def broken_off(state: RunState | None) -> tuple[tuple[str, Attempt], ...]:
    """Return the attempts of which a journal has no end, with the scene of each.

    Each lasts until its session wrote last, a session that goes on until the state's own seconds.

    Args:
        state: what the journal says; None when it cannot be read.
    """
    if state is None:
        return ()
    ends = sorted([*(session.seconds for session in state.sessions[:-1]), state.seconds])
    return tuple(
        (scene, Attempt(one.worker, Span(Phase.RENDER, one.began, _until(one.began, ends))))
        for scene, one in state.endless
    )


def _until(began: float, ends: Iterable[float]) -> float:
    return next((end for end in ends if end >= began), began)


def uses(
    batches: Iterable[BatchResult],
    scenes: Sequence[SceneResult],
    bill: Cost,
    broken: Iterable[tuple[str, Attempt]] = (),
) -> Uses:
    """Return what the time and the money of a run went to.

    Args:
        batches: of all sessions.
        scenes: what became of them.
        bill: the run's.
        broken: attempts that nobody saw the end of, with the scene of each; see `broken_off`.
    """
    # By number: journals list them in the order in which they began.
    ordered = sorted(batches, key=lambda batch: label_order(batch.label))
    launches = [(batch.label, launch) for batch in ordered for launch in batch.launches]
    tried = _by_launch(launches, ((one.name, each) for one in scenes for each in one.attempts))
    cut = _by_launch(launches, broken)
    workers = _billed(
        [
            _worker(label, launch, tried[number], cut[number])
            for number, (label, launch) in enumerate(launches)
        ],
        bill.lines,
    )
    by_use, minimum = _by_use(workers, bill.lines)
    seconds = {use: sum(worker.seconds[use] for worker in workers) for use in Use}
    shares, egress = _shares(workers), _egress(scenes, workers, bill.lines)
    for name, usd in egress.items():
        shares[name] = shares.get(name, 0.0) + usd
    return Uses(
        workers=tuple(workers),
        seconds=seconds,
        usd=by_use if bill.lines else {},
        scenes=shares,
        unshared=max(0.0, bill.usd - sum(shares.values())) if bill.lines else 0.0,
        minimum=minimum,
        other=max(0.0, bill.usd - sum(by_use.values()) - minimum) if bill.lines else 0.0,
    )


def _by_launch(
    launches: Sequence[tuple[str, Launch]], attempts: Iterable[tuple[str, Attempt]]
) -> dict[int, list[tuple[str, Attempt]]]:
    """Return the attempts of each launch by its place: rungs that gave no worker share a label."""
    places: dict[str, list[int]] = defaultdict(list)
    for number, (_, launch) in enumerate(launches):
        places[launch.label].append(number)
    tried: dict[int, list[tuple[str, Attempt]]] = defaultdict(list)
    for scene, attempt in attempts:
        mine = places.get(attempt.worker)
        if mine:
            tried[_place(mine, launches, attempt)].append((scene, attempt))
    return tried


def _place(places: Sequence[int], launches: Sequence[tuple[str, Launch]], attempt: Attempt) -> int:
    """Return the last launch that had begun when an attempt did."""
    begun = [
        number
        for number in places
        if (spans := launches[number][1].spans) and spans[0].start <= attempt.span.start
    ]
    return begun[-1] if begun else places[-1]


def end_of(attempt: Attempt) -> float:
    """Return when an attempt was over, in seconds since the run began."""
    return attempt.download.end if attempt.download else attempt.span.end


def _worker(
    batch: str,
    launch: Launch,
    attempts: Sequence[tuple[str, Attempt]],
    broken: Iterable[tuple[str, Attempt]],
) -> WorkerUse:
    cut = tuple((scene, _bounded(launch, one)) for scene, one in broken)
    seconds = _seconds(launch, [one for _, one in (*attempts, *cut)])
    return WorkerUse(batch, launch, seconds, None, tuple(attempts), cut)


def _bounded(launch: Launch, attempt: Attempt) -> Attempt:
    """Return an attempt that was broken off, over at the latest when its worker's work was."""
    began = attempt.span.start
    ends = [
        span.end if span.phase == Phase.DRIVE and span.start <= began else span.start
        for span in launch.spans
        if span.end > began and (span.phase == Phase.DRIVE or span.start >= began)
    ]
    end = max(began, min([attempt.span.end, *ends]))
    return replace(attempt, span=Span(attempt.span.phase, began, end))


def _seconds(launch: Launch, attempts: Sequence[Attempt]) -> dict[Use, float]:
    spans = launch.spans
    if not spans:
        return dict.fromkeys(Use, 0.0)
    began, ended = spans[0].start, _ended(launch, attempts)
    boots = [span for span in spans if span.phase in (Phase.UP, Phase.HEALTH)]
    ends = [span for span in spans if span.phase == Phase.DESTROY]
    boot, end = covered(boots), covered(ends)
    tries = [
        Span(Phase.RENDER, max(began, one.span.start), min(ended, end_of(one)))
        for one in attempts
        if one.span.start < ended and end_of(one) > began
    ]
    # What is still downloaded while the worker ends is in its end.
    busy = covered([*boots, *ends, *tries]) - covered([*boots, *ends])
    idle = max(0.0, ended - began - boot - end - busy)
    return {Use.BOOT: boot, Use.RENDER: busy, Use.IDLE: idle, Use.END: end}


def _ended(launch: Launch, attempts: Iterable[Attempt]) -> float:
    """Return when a launch was over, as far as anybody saw: one whose run was killed has no end."""
    seen = [span.end for span in launch.spans]
    if any(span.phase in (Phase.DRIVE, Phase.DESTROY) for span in launch.spans):
        return max(seen)
    return max([*seen, *(end_of(one) for one in attempts)])


def _billed(workers: Sequence[WorkerUse], lines: Iterable[CostLine]) -> list[WorkerUse]:
    """Return workers with their machines' parts of the bill.

    A worker that a resumed run took over has one machine and may have several launches.
    """
    bills: dict[str, float] = defaultdict(float)
    for line in lines:
        if line.machine:
            bills[line.machine] += line.usd
    together: dict[str, list[WorkerUse]] = defaultdict(list)
    for worker in workers:
        together[worker.launch.worker or ""].append(worker)
    return [
        replace(worker, usd=_part(bills, worker, together[worker.launch.worker or ""]))
        for worker in workers
    ]


def _part(
    bills: Mapping[str, float], worker: WorkerUse, together: Sequence[WorkerUse]
) -> float | None:
    machine = worker.launch.worker
    if not machine or machine not in bills:
        return None
    seconds = sum(one.total for one in together)
    share = worker.total / seconds if seconds else 1 / len(together)
    return bills[machine] * share


def _by_use(
    workers: Sequence[WorkerUse], lines: Iterable[CostLine]
) -> tuple[dict[Use, float], float]:
    """Return what each use cost, and what was billed beyond what the workers took."""
    billed = {line.machine: line.quantity * 3600 for line in lines if line.kind == "machine"}
    took: dict[str, float] = defaultdict(float)
    for worker in workers:
        took[worker.launch.worker or ""] += worker.total
    usd, minimum = dict.fromkeys(Use, 0.0), 0.0
    for worker in workers:
        machine = worker.launch.worker or ""
        if worker.usd is None or not took[machine]:
            continue
        beyond = max(0.0, 1 - took[machine] / billed.get(machine, took[machine]))
        minimum += worker.usd * beyond
        for use, seconds in worker.seconds.items():
            usd[use] += worker.usd * (1 - beyond) * seconds / worker.total if worker.total else 0.0
    return usd, minimum


def _shares(workers: Iterable[WorkerUse]) -> dict[str, float]:
    """Return each scene's share of the machines that it was tried on."""
    shares: dict[str, float] = defaultdict(float)
    for worker in workers:
        tries = (*worker.attempts, *worker.broken)
        took = [(name, end_of(one) - one.span.start) for name, one in tries]
        total = sum(seconds for _, seconds in took)
        for name, seconds in took:
            if worker.usd is not None and total > 0:
                shares[name] += worker.usd * seconds / total
    return dict(shares)


def _egress(
    scenes: Iterable[SceneResult], workers: Iterable[WorkerUse], lines: Iterable[CostLine]
) -> dict[str, float]:
    """Return each downloaded video's part of what downloading cost, by its bytes."""
    usd = sum(line.usd for line in lines if line.kind == "egress")
    billed = {worker.launch.label for worker in workers if worker.usd is not None}
    sizes = {
        scene.name: scene.artifact.size
        for scene in scenes
        if scene.status is SceneStatus.DONE
        and scene.artifact is not None
        and scene.attempts
        and scene.attempts[-1].worker in billed
    }
    total = sum(sizes.values())
    return {name: usd * size / total for name, size in sizes.items()} if total and usd else {}


def lanes(intervals: Sequence[tuple[float, float]]) -> list[int]:
    """Return a lane for each of some intervals, so that no two in one lane overlap.

    Args:
        intervals: (start, end) of each.
    """
    free: list[float] = []
    chosen = [0] * len(intervals)
    for index in sorted(range(len(intervals)), key=lambda index: intervals[index]):
        start, end = intervals[index]
        lane = next((number for number, until in enumerate(free) if until <= start), len(free))
        if lane == len(free):
            free.append(end)
        else:
            free[lane] = end
        chosen[index] = lane
    return chosen
