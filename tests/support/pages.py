"""Canned runs for the page, the trace and the tables: as large and as troubled as a test wants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.journal.state import InFlight, RunState
from cloudburst.models import (
    Artifact,
    Attempt,
    Basis,
    BatchResult,
    Cost,
    CostLine,
    Estimate,
    Launch,
    Outcome,
    PlannedBatch,
    PlannedRun,
    Price,
    Rung,
    RunRecord,
    RunReport,
    SceneResult,
    SceneStatus,
    Span,
)
from cloudburst.report import cost

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RUN = "20261124-101500-a1b2c3"
BEGAN = "2026-11-24T10:15:00+00:00"
SPOT = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
DEMAND = Rung("c5.2xlarge", "on-demand", "us-east-1", "us-east-1b")
SPOT_PRICE = Price(0.1312, "spot price of us-east-1a at 2026-11-24 10:15 UTC")
LIST_PRICE = Price(0.34, "AWS price list of 2026-11-24")
RECLAIMED = "Server.SpotInstanceTermination"
FULL = "InsufficientInstanceCapacity"
BOOT, END = 42.0, 9.0


def spans(start: float, drive: float) -> tuple[Span, ...]:
    """Return the phases of a worker that works for some seconds."""
    up, healthy = start + 30.0, start + BOOT
    over = healthy + drive
    return (
        Span("up", start, up),
        Span("health", up, healthy),
        Span("drive", healthy, over),
        Span("destroy", over, over + END),
    )


def done(
    name: str, worker: str, start: float, folder: Path, *, before: Sequence[Attempt] = ()
) -> SceneResult:
    """Return a scene that was rendered in 6 s and downloaded in 1 s."""
    render, download = Span("render", start, start + 6), Span("download", start + 6, start + 7)
    return SceneResult(
        name,
        SceneStatus.DONE,
        5.0,
        (*before, Attempt(worker, render, download, bytes_sent=2_000_000)),
        Artifact(folder / f"{name}.mp4", 1_234_567, 5.04, 1920, 1080, 151),
        "full_featured",
    )


def failed(name: str, worker: str, start: float, why: str) -> SceneResult:
    """Return a scene that failed once and for all."""
    attempt = Attempt(worker, Span("render", start, start + 2), error=why)
    return SceneResult(name, SceneStatus.FAILED, 5.0, (attempt,), error=why)


def line(kind: str, machine: str, hours: float, rate: float, basis: Basis) -> CostLine:
    """Return a line of a bill."""
    return CostLine(kind, f"{machine} {kind}", hours, "h", rate, basis, machine)


def troubled(folder: Path) -> tuple[RunReport, RunState]:
    """Return a run on aws with all that can happen: it was refused, lost, stopped, and cleaned up.

    b01: its first rung has no capacity, its second works. b02: its spot machine is reclaimed, and
    another one goes on. Of six scenes four are done, one failed, one was broken off.
    """
    refused = Launch(
        "b01", None, SPOT, SPOT_PRICE, 0, (Span("up", 0, 6), Span("destroy", 6, 9)), True,
        1_795_700_000.0, FULL, f"{FULL}: no capacity for c5.2xlarge in us-east-1a",
    )  # fmt: skip
    worked = Launch(
        "b01", "i-1", DEMAND, LIST_PRICE, 3, spans(9, 40), True, 1_795_700_000.0, target="aws"
    )
    lost = Launch(
        "b02", "i-2", SPOT, SPOT_PRICE, 1, spans(0, 12), True, 1_795_700_000.0, RECLAIMED,
        f"the worker is gone: {RECLAIMED}: the spot instance was terminated", "aws",
    )  # fmt: skip
    last = Launch("b02.2", "i-3", DEMAND, LIST_PRICE, 0, spans(63, 20), True, None, target="aws")
    batches = (
        BatchResult("b01", f"{RUN}-b01", (replace(refused, target="aws"), worked)),
        BatchResult("b02", f"{RUN}-b02", (lost, last)),
    )
    gone = Attempt("b02", Span("render", 50, 54), error=f"the worker is gone: {RECLAIMED}")
    scenes = (
        done("intro", "b01", 51, folder),
        done("brook", "b01", 58, folder),
        done("dogs", "b01", 66, folder, before=(gone,)),
        done("sunset", "b02", 43, folder),
        failed("broken", "b01", 80, "the video API answered 400: not a picture"),
        SceneResult("late", SceneStatus.UNFINISHED, 5.0),
    )
    lines = (
        line("machine", "i-1", 0.03, 0.34, Basis.LIST),
        line("disk", "i-1", 0.03, 0.003, Basis.LIST),
        line("machine", "i-2", 1 / 60, 0.1312, Basis.SPOT),
        line("machine", "i-3", 0.02, 0.34, Basis.LIST),
        CostLine("egress", "videos", 4 * 1_234_567 / 1e9, "GB", 0.09, Basis.ESTIMATE),
    )
    bill = Cost(
        sum(one.usd for one in lines),
        240.0,
        "machines by the second from launch until AWS ended them, 60 s at least, at list or spot "
        "prices at launch; AWS has not said when each machine ended: those are billed until they "
        "were seen to be gone",
        lines,
        at_most=True,
    )
    report = RunReport(
        RUN, "mountain-day", "aws", Outcome.INTERRUPTED, BEGAN, 134.0, folder, scenes, batches,
        cost.phases(batches), cost.serial_seconds(batches, scenes), bill,
    )  # fmt: skip
    late = InFlight(9, "b02.2", 110.0, "f")
    return report, state(report, inflight={"late": late}, endless=(("late", late),))


def state(report: RunReport, **more: object) -> RunState:
    """Return what the journal of a run says."""
    record = RunRecord(
        report.run_id, report.job, "/scenes.yaml", str(report.directory), report.target, BEGAN
    )
    estimate = Estimate(
        0.02, 0.05, 0.4, {"boot": 120.0, "drive": 30.0, "destroy": 45.0}, 34, SPOT, SPOT_PRICE,
        ("the first rung of the ladder is available for every batch",),
    )  # fmt: skip
    planned = PlannedRun(
        (
            PlannedBatch("b01", "aws", 3, 15.0),
            PlannedBatch("b02", "aws", 3, 15.0),
        ),
        {"aws": estimate},
        {"aws": "cloudburst 0.1.0"},
        ("spot is not offered for g4dn.xlarge",),
        ("subtitles/intro.srt:3: a cue ends before it begins; its end is ignored",),
    )
    values: dict[str, object] = {"outcome": str(report.outcome), "seconds": report.seconds}
    return RunState(record, batches=report.batches, planned=planned, **{**values, **more})  # type: ignore[arg-type]


def many(folder: Path, scenes: int = 1000, workers: int = 100) -> tuple[RunReport, RunState]:
    """Return a run of many scenes on many machines; every 50th scene failed."""
    each = -(-scenes // workers)
    results: list[SceneResult] = []
    batches = []
    lines = []
    for number in range(1, workers + 1):
        label, start = f"b{number:02d}", number * 0.5
        for index in range(each):
            if len(results) == scenes:
                break
            name, at = f"scene-{len(results) + 1:04d}", start + BOOT + index * 6.5
            bad = len(results) % 50 == 49
            why = "the video API answered 500: the render took longer than 60 s and was ended"
            results.append(failed(name, label, at, why) if bad else done(name, label, at, folder))
        launch = Launch(
            label, f"i-{number:017x}", DEMAND, LIST_PRICE, each, spans(start, each * 6.5 + 1), True,
            1_795_700_000.0, target="aws",
        )  # fmt: skip
        batches.append(BatchResult(label, f"{RUN}-{label}", (launch,)))
        lines.append(line("machine", launch.worker or "", 0.04, 0.34, Basis.LIST))
    bill = Cost(
        sum(one.usd for one in lines), workers * 120.0, "machines by the second", tuple(lines)
    )
    seconds = max(span.end for batch in batches for span in batch.spans)
    report = RunReport(
        RUN, "a-thousand", "aws", Outcome.PARTIAL, BEGAN, seconds, folder, tuple(results),
        tuple(batches), cost.phases(batches), cost.serial_seconds(batches, results), bill,
    )  # fmt: skip
    return report, state(report)
