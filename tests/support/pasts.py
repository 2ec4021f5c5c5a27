"""Runs as their journals have them: written with the journal's own methods, read by `history`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst import clock
from cloudburst.journal import registry
from cloudburst.journal.store import Journal
from cloudburst.models import (
    Artifact,
    Attempt,
    Basis,
    DownloadedVideo,
    Launch,
    Price,
    Rental,
    Rung,
    Span,
)
from tests.support.fakes import a_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudburst.models import RunRecord

SPOT = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
FULL = Rung("c5.4xlarge", "on-demand", "us-east-1", "us-east-1b")
PRICE = Price(3.6, "a test")
RUN = "20261124-101500-a1b2c3"
BEGAN = 1_795_000_000.0
# Of a worker of 100 s that has worked for 40.
SPANS = (
    Span("up", 0, 20),
    Span("health", 20, 40),
    Span("drive", 40, 80),
    Span("destroy", 80, 100),
)


def rental(
    machine: str, since: float, until: float | None, *, rung: Rung = SPOT, stack: str = "run-b01"
) -> Rental:
    """Return a machine that costs 3.6 USD an hour, and its disk and address 0."""
    return Rental(
        stack=stack,
        machine=machine,
        rung=rung,
        price=PRICE,
        basis=Basis.SPOT,
        since=since,
        until=until,
        expires=since + 4 * 3600,
        disk_gb=0,
        disk_rate=0.0,
        disk_basis=Basis.LIST,
        surplus=0.0,
    )


def record_of(folder: Path, run_id: str, **more: object) -> RunRecord:
    """Return the record of a run of two scenes on aws."""
    given = {"job": "tour", "target": "aws", "scenes": (("a", 5.0), ("b", 7.0)), "run_id": run_id}
    return a_record(folder, **{**given, **more})


@contextlib.contextmanager
def begun(
    folder: Path, run_id: str = "20261124-101500-a1b2c3", **more: object
) -> Iterator[Journal]:
    """Begin a run, registered and with a journal, as the pipeline does."""
    folder.mkdir(parents=True, exist_ok=True)
    record = record_of(folder, run_id, **more)
    registry.register(record)
    ticks = iter(range(1_000_000))
    with Journal(folder, lambda: float(next(ticks))) as held:
        held.begin(record)
        yield held


def launched(
    held: Journal,
    label: str = "b01",
    *,
    target: str = "aws",
    rung: Rung = FULL,
    price: Price | None = None,
) -> int:
    """Note that a worker is being launched; return its row."""
    batch = label.partition(".")[0]
    return held.launch(
        batch=batch,
        label=label,
        stack=f"run-{batch}",
        target=target,
        rung=rung,
        price=price,
        room=1,
        expires=None,
    )


def worked(
    held: Journal,
    machine: str,
    spans: tuple[Span, ...],
    *,
    label: str = "b01",
    rung: Rung = SPOT,
    error: str | None = None,
    code: str | None = None,
) -> None:
    """Note a worker from its launch to its verified end."""
    row = launched(held, label, rung=rung, price=PRICE)
    held.worker(row, machine, "http://x", None)
    launch = Launch(
        label,
        machine or None,
        rung,
        PRICE,
        1,
        spans,
        destroyed=True,
        code=code,
        error=error,
        target="aws",
    )
    held.ended(row, launch, "gone")


def rendered(held: Journal, scene: str, worker: str, start: float, end: float) -> None:
    """Note a video."""
    number = held.attempt(scene, worker, "mark", start)
    attempt = Attempt(worker, Span("render", start, end - 1), Span("download", end - 1, end))
    path = held.folder / f"{scene}.mp4"
    artifact = Artifact(path, 1_000_000, 5.0, 1920, 1080, 150)
    held.video(scene, number, attempt, DownloadedVideo(artifact, "sum", "mark", "baseline", ()))


def failed(held: Journal, scene: str, worker: str, start: float, end: float, error: str) -> None:
    """Note an attempt that failed."""
    number = held.attempt(scene, worker, "mark", start)
    held.tried(number, Attempt(worker, Span("render", start, end), error=error))


def whole_run(folder: Path, run_id: str = RUN, at: float = BEGAN) -> Path:
    """Write a run whose spot machine was taken away, with one of two scenes failed."""
    with begun(folder, run_id) as held:
        held.rental(rental("i-1", at, at + 100, rung=SPOT))
        worked(
            held,
            "i-1",
            SPANS,
            error="the worker is gone: spot instance taken back",
            code="Server.SpotInstanceTermination",
        )
        held.rental(rental("i-2", at + 100, at + 300, rung=FULL))
        worked(
            held,
            "i-2",
            (Span("up", 100, 120), Span("drive", 120, 280), Span("destroy", 280, 300)),
            label="b01.2",
            rung=FULL,
        )
        rendered(held, "a", "b01", 40, 60)
        failed(held, "b", "b01.2", 120, 160, "it is too loud")
        held.end("partial")
    return folder


def now_is(monkeypatch: object, at: float) -> None:
    """Set the clock by which machines that run are billed."""
    monkeypatch.setattr(clock, "now", lambda: at)  # type: ignore[attr-defined]


def with_rentals(
    folder: Path, run_id: str, *rentals: Rental, outcome: str | None = "failed"
) -> None:
    """Write a run of which only what it rented is known."""
    with begun(folder, run_id) as held:
        for one in rentals:
            held.rental(replace(one, stack=f"{run_id}-b01"))
        if outcome:
            held.end(outcome)
