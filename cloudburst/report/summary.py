"""What a run came to → RunReport, from memory or from a journal. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.models import Outcome, RunReport, SceneStatus
from cloudburst.report import cost
from cloudburst.run.results import scene_result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cloudburst.journal.state import RunState
    from cloudburst.models import BatchResult, Cost, Job, SceneResult


def header(job: Job, run_id: str, folder: Path, began: datetime) -> dict[str, str]:
    """Give what a journal has to say of its run, so that it can be understood without the job."""
    return {
        "run": run_id,
        "job": job.name,
        "source": str(job.source),
        "target": job.target,
        "folder": str(folder),
        "began": began.isoformat(timespec="seconds"),
        "max_cost_usd": "" if job.limits.max_cost_usd is None else repr(job.limits.max_cost_usd),
        "scenes": json.dumps([[scene.name, scene.seconds] for scene in job.scenes]),
    }


def results(history: RunState) -> tuple[SceneResult, ...]:
    """Give every scene's result as a journal has it, in the order of the job."""
    return tuple(
        scene_result(name, seconds, history.attempts.get(name, ()), history.home.get(name))
        for name, seconds in json.loads(history.header.get("scenes", "[]"))
    )


def downloaded(scenes: Sequence[SceneResult]) -> int:
    """Give the bytes that came home."""
    return sum(scene.artifact.size for scene in scenes if scene.artifact)


def summarize(
    header: dict[str, str],
    *,
    scenes: Sequence[SceneResult],
    batches: Sequence[BatchResult],
    bill: Cost,
    seconds: float,
    stopped: bool,
    left: Sequence[str] = (),
    kept: Sequence[str] = (),
    error: str = "",
) -> RunReport:
    """Make the report of a run.

    Args:
        header: see `header`.
        scenes: what became of them.
        batches: of all sessions.
        bill: what it cost.
        seconds: that the run's sessions took.
        stopped: somebody asked it to stop, or killed it.
        left: what could not be verified as gone.
        kept: workers that stay on purpose.
        error: why it ended early; otherwise a batch's error is taken.
    """
    done = sum(scene.status is SceneStatus.DONE for scene in scenes)
    return RunReport(
        run_id=header["run"],
        job=header["job"],
        target=header["target"],
        outcome=_outcome(done, len(scenes), stopped=stopped),
        started_at=header["began"],
        seconds=seconds,
        directory=Path(header["folder"]),
        scenes=tuple(scenes),
        batches=tuple(batches),
        phases=cost.phases(batches),
        serial_seconds=cost.serial_seconds(batches, scenes),
        cost=bill,
        left_running=tuple(left),
        kept=tuple(kept),
        error=error or next((batch.error for batch in batches if batch.error), None),
    )


def _outcome(done: int, total: int, *, stopped: bool) -> Outcome:
    if done == total:
        return Outcome.COMPLETE
    if stopped:
        return Outcome.INTERRUPTED
    return Outcome.PARTIAL if done else Outcome.FAILED
