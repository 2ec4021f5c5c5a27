"""What a journal says about a run, once its tables are read. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudburst.journal import rows
from cloudburst.language import later
from cloudburst.models import BatchResult, Owner, WorkerLabel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudburst.journal.rows import Row
    from cloudburst.models import (
        Attempt,
        DownloadedVideo,
        PlannedRun,
        Renewal,
        Rental,
        RunRecord,
        UnfinishedWorker,
    )

# Why a launch ended whose run was killed.
KILLED = later("its run was killed")


@dataclass(frozen=True, slots=True)
class InFlight:
    """An attempt at a scene of which the journal does not say how it ended.

    Args:
        number: of its row.
        worker: label of the worker.
        began: seconds since the run began.
        fingerprint: of what the video was to be made from.
    """

    number: int
    worker: str
    began: float
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Session:
    """One process that worked on the run.

    Args:
        owner: the process.
        began: seconds since 1970.
        seconds: on the run's clock when it wrote last; the clock goes on from session to session.
        outcome: how it ended; None when it goes on, or was killed.
    """

    owner: Owner
    began: float
    seconds: float
    outcome: str | None


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything that a journal says.

    Args:
        record: which run it is; None when it was killed before its first session began.
        owner: the process that holds it or held it last.
        outcome: of the last session; None when it did not finish.
        seconds: that the run's sessions took.
        batches: with all their launches, unfinished ones too.
        unfinished: workers that may still exist.
        attempts: by scene.
        inflight: last attempts of which no end is noted, by scene.
        endless: all attempts of which no end is noted, those of earlier sessions too, each with
            its scene.
        videos: by scene.
        superseded: by scene, the SHA-256 of a video that the job no longer wants.
        rentals: what was rented.
        sessions: the processes that worked on the run, in order.
        planned: what the first session set out to do; None where that was not noted.
    """

    record: RunRecord | None
    owner: Owner | None = None
    outcome: str | None = None
    seconds: float = 0.0
    batches: tuple[BatchResult, ...] = ()
    unfinished: tuple[UnfinishedWorker, ...] = ()
    attempts: Mapping[str, tuple[Attempt, ...]] = field(default_factory=dict)
    inflight: Mapping[str, InFlight] = field(default_factory=dict)
    endless: tuple[tuple[str, InFlight], ...] = ()
    videos: Mapping[str, DownloadedVideo] = field(default_factory=dict)
    superseded: Mapping[str, str] = field(default_factory=dict)
    rentals: tuple[Rental, ...] = ()
    sessions: tuple[Session, ...] = ()
    planned: PlannedRun | None = None

    @property
    def highest_batch(self) -> int:
        """The highest number that a batch of the run has had, 0 for none."""
        return max((WorkerLabel.parse(batch.label).batch for batch in self.batches), default=0)

    @property
    def targets(self) -> frozenset[str]:
        """Names of the targets on which the run has launched workers, and of its own."""
        own = {self.record.target} if self.record else set()
        return frozenset(own | {one.target for batch in self.batches for one in batch.launches})

    def regions(self, target: str) -> dict[str, tuple[str, ...]]:
        """Return the regions in which each stack of the run may have something on a target."""
        return {
            batch.stack: tuple(dict.fromkeys(launch.rung.region for launch in launches))
            for batch in self.batches
            if (launches := [one for one in batch.launches if one.target == target])
        }

    def rentals_on(self, target: str) -> tuple[Rental, ...]:
        """Return what was rented on a target."""
        own = self.record.target if self.record else ""
        targets = {batch.stack: batch.launches[-1].target for batch in self.batches}
        return tuple(one for one in self.rentals if targets.get(one.stack, own) == target)


def state_from_rows(tables: Mapping[str, list[Row]]) -> RunState:
    """Return the state that a journal's tables describe.

    Args:
        tables: the rows of each, in the order in which they were written.
    """
    session = tables["session"][-1] if tables["session"] else None
    attempts, inflight = _attempts(tables["attempt"])
    values = {row["name"]: row["value"] for row in tables["run"]}
    record = rows.record_of(values)
    target = record.target if record else ""
    artifacts, renewals = tables["artifact"], rows.renewals_of(tables["renewal"])
    return RunState(
        record=record,
        owner=_session(session).owner if session else None,
        outcome=session["outcome"] if session else None,
        seconds=max((row["seconds"] for row in tables["session"]), default=0.0),
        batches=_batches(tables["launch"], attempts, target, renewals),
        unfinished=tuple(
            rows.unfinished_of(row, target, renewals)
            for row in tables["launch"]
            if not row["destroyed"]
        ),
        attempts=attempts,
        inflight=inflight,
        endless=_endless(tables["attempt"]),
        videos={row["scene"]: rows.video_of(row) for row in artifacts if not row["superseded"]},
        superseded={row["scene"]: row["sha256"] for row in artifacts if row["superseded"]},
        rentals=tuple(rows.rental_of(row) for row in tables["rental"]),
        sessions=tuple(_session(row) for row in tables["session"]),
        planned=rows.plan_of(values),
    )


def _session(row: Row) -> Session:
    owner = Owner(row["pid"], row["started"], row["host"])
    return Session(owner, row["began"], row["seconds"], row["outcome"])


def _attempts(table: list[Row]) -> tuple[dict[str, tuple[Attempt, ...]], dict[str, InFlight]]:
    ended: dict[str, tuple[Attempt, ...]] = {}
    inflight: dict[str, InFlight] = {}
    for row in table:
        scene = row["scene"]
        inflight.pop(scene, None)
        if row["ended"] is None:
            inflight[scene] = _in_flight(row)
        else:
            ended[scene] = (*ended.get(scene, ()), rows.attempt_of(row))
    return ended, inflight


def _endless(table: list[Row]) -> tuple[tuple[str, InFlight], ...]:
    return tuple((row["scene"], _in_flight(row)) for row in table if row["ended"] is None)


def _in_flight(row: Row) -> InFlight:
    return InFlight(row["id"], row["worker"], row["began"], row["fingerprint"])


def _batches(
    table: list[Row],
    attempts: Mapping[str, tuple[Attempt, ...]],
    target: str,
    renewals: Mapping[int, tuple[Renewal, ...]],
) -> tuple[BatchResult, ...]:
    launches: dict[str, list[Row]] = {}
    for row in table:
        launches.setdefault(row["batch"], []).append(row)
    done = Counter(tries[-1].worker for tries in attempts.values() if tries[-1].error is None)
    return tuple(_batch(label, group, done, target, renewals) for label, group in launches.items())


def _batch(
    label: str,
    launches: list[Row],
    done: Mapping[str, int],
    target: str,
    renewals: Mapping[int, tuple[Renewal, ...]],
) -> BatchResult:
    last = launches[-1]
    return BatchResult(
        label=label,
        stack=last["stack"],
        launches=tuple(
            rows.launch_of(
                row,
                # A session that was killed could not count.
                row["scenes_done"] or (done.get(row["label"], 0) if row is last else 0),
                target,
                renewals,
            )
            for row in launches
        ),
        error=last["error"],
    )
