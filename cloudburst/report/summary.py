"""What a run came to → RunReport, from memory or from a journal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.models import Outcome, RunReport, SceneResult, SceneStatus
from cloudburst.report import cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudburst.journal.state import RunState
    from cloudburst.models import Attempt, BatchResult, Cost, DownloadedVideo, RunRecord


def scene_result(
    name: str, narration: float, attempts: Iterable[Attempt], video: DownloadedVideo | None
) -> SceneResult:
    """Return how a scene ended.

    Args:
        name: the scene's.
        narration: its length, in seconds.
        attempts: in order.
        video: None when there is none.
    """
    made = tuple(attempts)
    if video is not None:
        return SceneResult(
            name=name,
            status=SceneStatus.DONE,
            narration=narration,
            attempts=made,
            artifact=video.artifact,
            scenario=video.scenario,
            warnings=video.warnings,
        )
    # A video that was downloaded and is not wanted any more did not fail.
    error = made[-1].error if made else None
    return SceneResult(
        name=name,
        status=SceneStatus.UNFINISHED if error is None else SceneStatus.FAILED,
        narration=narration,
        attempts=made,
        error=error,
    )


def results(state: RunState) -> tuple[SceneResult, ...]:
    """Return every scene's result as a journal has it, in the order of the job."""
    scenes = state.record.scenes if state.record else ()
    return tuple(
        scene_result(name, seconds, state.attempts.get(name, ()), state.videos.get(name))
        for name, seconds in scenes
    )


def settled_bill(
    state: RunState, scenes: Sequence[SceneResult], settings: Mapping[str, object]
) -> Cost:
    """Return the bill of a run that is over, from its journal alone.

    Args:
        state: what the journal says.
        scenes: what became of them.
        settings: of each target, by its name.
    """
    batches, costs = state.batches, []
    for name in sorted(state.targets):
        kind = targets.get(name)
        size = cost.downloaded(scenes, batches, name)
        bill = kind.bill(settings.get(name), state.rentals_on(name), size)
        costs.append(bill or cost.unbilled(batches, name, kind.unbilled))
    return cost.total(costs)


def summarize(
    record: RunRecord,
    *,
    scenes: Sequence[SceneResult],
    batches: Sequence[BatchResult],
    bill: Cost,
    seconds: float,
    stopped: bool,
    remaining: Sequence[str] = (),
    kept: Sequence[str] = (),
    error: str = "",
) -> RunReport:
    """Return the report of a run.

    Args:
        record: which run it is.
        scenes: what became of them.
        batches: of all sessions.
        bill: what it cost.
        seconds: that the run's sessions took.
        stopped: it was asked to stop, or killed.
        remaining: what could not be verified as gone.
        kept: workers that stay on purpose.
        error: why it ended early; otherwise a batch's error is taken.
    """
    done = sum(scene.status is SceneStatus.DONE for scene in scenes)
    return RunReport(
        run_id=record.run_id,
        job=record.job,
        target=record.target,
        outcome=_outcome(done, len(scenes), stopped=stopped),
        started_at=record.began,
        seconds=seconds,
        directory=record.path,
        scenes=tuple(scenes),
        batches=tuple(batches),
        phases=cost.phases(batches),
        serial_seconds=cost.serial_seconds(batches, scenes),
        cost=bill,
        left_running=tuple(remaining),
        kept=tuple(kept),
        error=error or next((batch.error for batch in batches if batch.error), None),
    )


def _outcome(done: int, total: int, *, stopped: bool) -> Outcome:
    if done == total:
        return Outcome.COMPLETE
    if stopped:
        return Outcome.INTERRUPTED
    return Outcome.PARTIAL if done else Outcome.FAILED
