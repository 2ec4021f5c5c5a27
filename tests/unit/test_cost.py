"""Spans become figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudburst.models import (
    Artifact,
    Attempt,
    BatchResult,
    Launch,
    SceneResult,
    SceneStatus,
    Span,
)
from cloudburst.report import cost
from cloudburst.targets.local.target import PROCESS


def batch(label: str, *spans: Span, worker: str | None = "w") -> BatchResult:
    launch = Launch(label, worker, PROCESS, None, 1, spans, destroyed=True)
    return BatchResult(label, f"run-{label}", (launch,))


def test_time_covered_twice_counts_once() -> None:
    spans = [Span("up", 5, 6), Span("up", 0, 2), Span("up", 1, 3), Span("up", 1, 2)]
    assert cost.covered(spans) == 4
    assert cost.covered([]) == 0


def test_phases_are_taken_over_all_batches() -> None:
    batches = [
        batch("b01", Span("up", 0, 2), Span("drive", 2, 6)),
        batch("b02", Span("up", 1, 4), Span("drive", 4, 9)),
    ]
    assert cost.phases(batches) == {"up": 4, "health": 0, "drive": 7, "destroy": 0}


def test_a_worker_is_billed_from_launch_to_its_verified_end_even_if_it_never_worked() -> None:
    batches = [
        batch("b01", Span("up", 1, 3), Span("destroy", 10, 12)),
        batch("b02", Span("up", 2, 3), Span("destroy", 3, 5)),
        batch("b03", Span("destroy", 0, 1), worker=None),
    ]
    assert cost.worker_seconds(one for each in batches for one in each.launches) == 11 + 3


def test_serial_time_is_one_frame_and_every_good_try() -> None:
    artifact = Artifact(Path("a.mp4"), 1, 5.0, 1920, 1080, 150)
    bad = Attempt("b01", Span("render", 0, 30), error="no")
    good = Attempt("b02", Span("render", 30, 34), Span("download", 34, 35))
    scenes = [
        SceneResult("a", SceneStatus.DONE, 5.0, (bad, good), artifact),
        SceneResult("b", SceneStatus.FAILED, 5.0, (bad,), error="no"),
    ]
    batches = [
        batch("b01", Span("up", 0, 2), Span("drive", 2, 30), Span("destroy", 30, 31)),
        batch("b02", Span("up", 0, 4), Span("drive", 4, 35), Span("destroy", 35, 36)),
    ]
    assert cost.serial_seconds(batches, scenes) == pytest.approx((3 + 5) / 2 + 5)
