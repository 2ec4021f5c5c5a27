"""What became of every scene, over all sessions of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.journal.store import Journal
from cloudburst.models import Attempt, Span
from cloudburst.runner.ending.results import SceneResults
from tests.support.fakes import SCENE

if TYPE_CHECKING:
    from pathlib import Path

SPAN = Span("render", 0.0, 1.0)
HOME = Attempt("b01", SPAN, Span("download", 1.0, 2.0))


def test_a_worker_that_was_taken_over_is_credited_with_its_earlier_videos(tmp_path: Path) -> None:
    failed = Attempt("b01", SPAN, error="500")
    earlier = {
        "a": (replace(HOME, worker="b02", error="500"), HOME),
        "b": (HOME, failed),  # its video was no longer wanted, and the next try failed
        "c": (failed, replace(HOME, worker="b02")),
        "no longer in the job": (HOME,),
    }
    scenes = [replace(SCENE, name=name) for name in "abc"]
    with Journal(tmp_path) as journal:
        results = SceneResults(scenes, journal, earlier)
        assert [results.done_by(name) for name in ("b01", "b02", "b03")] == [2, 1, 0]
