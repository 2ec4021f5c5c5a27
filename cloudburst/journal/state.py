"""What a journal says, once its tables are read."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.models import (
    Artifact,
    Attempt,
    Basis,
    BatchResult,
    Launch,
    Price,
    Rental,
    Rung,
    Span,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = dict[str, Any]
# The state of a launch that was kept on purpose, see `Job.auto_terminate`.
KEPT = "kept"
# What a launch ended of whose run was killed.
KILLED = "its run was killed"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whoever holds a run, or held it last.

    Args:
        pid: process id.
        started: when that process began, seconds since 1970.
        host: on which machine.
    """

    pid: int
    started: float
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class DownloadedVideo:
    """A video that came home.

    Args:
        artifact: the file.
        sha256: of its bytes.
        fingerprint: of what it was made from.
        scenario: the video API's word for what it rendered.
        warnings: what the renderer could not do as asked.
    """

    artifact: Artifact
    sha256: str
    fingerprint: str
    scenario: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnfinishedWorker:
    """A worker of which the journal does not say that it is gone.

    Args:
        number: of its row.
        batch: label of its batch.
        label: the worker's.
        stack: its stack's name.
        rung: how and where.
        price: by the hour, None where nothing is rented.
        began: seconds since 1970.
        expires: when it ends itself, seconds since 1970; None when it lives as long as its run.
        worker: the provider's name for it, None when its `up` did not come to an end.
        endpoint: base URL of its video API.
        room: scenes it renders at once.
        state: how far it had come.
        spans: what it has been through.
    """

    number: int
    batch: str
    label: str
    stack: str
    rung: Rung
    price: Price | None
    began: float
    expires: float | None
    worker: str | None
    endpoint: str | None
    room: int
    state: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class InFlight:
    """A try of a scene of which the journal does not say how it ended.

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
class RunState:
    """Everything that a journal says.

    Args:
        header: of the run: id, job, source, target, folder, began and the options it got.
        owner: whoever holds it or held it last.
        outcome: of the last session; None when that has not come to its end.
        seconds: that the run's sessions took.
        batches: with all their launches, open ones too.
        open: launches of which something may be left.
        attempts: by scene.
        inflight: last tries of which no end is noted, by scene.
        home: by scene.
        superseded: by scene, the SHA-256 of a video that came home and is no longer wanted.
        rentals: what was rented.
    """

    header: dict[str, str]
    owner: Owner | None
    outcome: str | None
    seconds: float
    batches: tuple[BatchResult, ...] = ()
    open: tuple[UnfinishedWorker, ...] = ()
    attempts: dict[str, tuple[Attempt, ...]] = field(default_factory=dict)
    inflight: dict[str, InFlight] = field(default_factory=dict)
    home: dict[str, DownloadedVideo] = field(default_factory=dict)
    superseded: dict[str, str] = field(default_factory=dict)
    rentals: tuple[Rental, ...] = ()

    @property
    def highest_batch(self) -> int:
        """The highest number that a batch of the run has had, 0 for none."""
        return max((int(batch.label.removeprefix("b")) for batch in self.batches), default=0)


def state_from_rows(rows: Mapping[str, list[Row]]) -> RunState:
    """Make sense of a journal's tables.

    Args:
        rows: of each table, in the order in which they were written.
    """
    session = rows["session"][-1] if rows["session"] else None
    batches: dict[str, list[Row]] = {}
    for row in rows["launch"]:
        batches.setdefault(row["batch"], []).append(row)
    attempts: dict[str, list[Attempt]] = {}
    inflight: dict[str, InFlight] = {}
    for row in rows["attempt"]:
        inflight.pop(row["scene"], None)
        if row["ended"] is None:
            inflight[row["scene"]] = InFlight(
                row["id"], row["worker"], row["began"], row["fingerprint"]
            )
        else:
            attempts.setdefault(row["scene"], []).append(_attempt(row))
    done = Counter(tries[-1].worker for tries in attempts.values() if tries[-1].error is None)
    return RunState(
        header={row["name"]: row["value"] for row in rows["run"]},
        owner=Owner(session["pid"], session["started"], session["host"]) if session else None,
        outcome=session["outcome"] if session else None,
        seconds=max((row["seconds"] for row in rows["session"]), default=0.0),
        batches=tuple(_batch(label, found, done) for label, found in batches.items()),
        open=tuple(_open(row) for row in rows["launch"] if not row["destroyed"]),
        attempts={scene: tuple(found) for scene, found in attempts.items()},
        inflight=inflight,
        home={row["scene"]: _home(row) for row in rows["artifact"] if not row["superseded"]},
        superseded={row["scene"]: row["sha256"] for row in rows["artifact"] if row["superseded"]},
        rentals=tuple(_rental(row) for row in rows["rental"]),
    )


def _rung(row: Row) -> Rung:
    return Rung(type=row["type"], market=row["market"], region=row["region"], zone=row["zone"])


def _price(row: Row) -> Price | None:
    if row["usd_per_hour"] is None:
        return None
    return Price(row["usd_per_hour"], row["price_source"])


def _batch(label: str, rows: list[Row], done: Mapping[str, int]) -> BatchResult:
    last = rows[-1]
    return BatchResult(
        label=label,
        stack=last["stack"],
        launches=tuple(
            Launch(
                label=row["label"],
                worker=row["worker"],
                rung=_rung(row),
                price=_price(row),
                # A session that was killed could not count.
                scenes_done=row["scenes_done"] or (done[row["label"]] if row is last else 0),
                spans=_read_spans(row),
                destroyed=bool(row["destroyed"]),
                expires=row["expires"],
                code=row["code"],
                error=row["error"],
            )
            for row in rows
        ),
        error=last["error"],
    )


def _open(row: Row) -> UnfinishedWorker:
    return UnfinishedWorker(
        number=row["id"],
        batch=row["batch"],
        label=row["label"],
        stack=row["stack"],
        rung=_rung(row),
        price=_price(row),
        began=row["began"],
        expires=row["expires"],
        worker=row["worker"],
        endpoint=row["endpoint"],
        room=row["room"],
        state=row["state"],
        spans=_read_spans(row),
    )


def _attempt(row: Row) -> Attempt:
    rendered = row["rendered"]
    return Attempt(
        row["worker"],
        Span("render", row["began"], rendered if rendered is not None else row["ended"]),
        Span("download", rendered, row["ended"]) if rendered is not None else None,
        row["error"],
    )


def _home(row: Row) -> DownloadedVideo:
    return DownloadedVideo(
        artifact=Artifact(
            path=Path(row["path"]),
            size=row["size"],
            seconds=row["seconds"],
            width=row["width"],
            height=row["height"],
            frames=row["frames"],
        ),
        sha256=row["sha256"],
        fingerprint=row["fingerprint"],
        scenario=row["scenario"],
        warnings=tuple(json.loads(row["warnings"])),
    )


def _rental(row: Row) -> Rental:
    return Rental(
        stack=row["stack"],
        machine=row["machine"],
        rung=_rung(row),
        price=Price(row["usd_per_hour"], row["price_source"]),
        basis=Basis(row["basis"]),
        since=row["since"],
        until=row["until"],
        expires=row["expires"],
        disk_gb=row["disk_gb"],
        disk_rate=row["disk_rate"],
        disk_basis=Basis(row["disk_basis"]),
        surplus=row["surplus"],
    )


def _read_spans(row: Row) -> tuple[Span, ...]:
    return tuple(Span(**span) for span in json.loads(row["spans"]))
