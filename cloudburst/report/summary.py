"""What a run came to → RunReport, from memory or from a journal. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.journal.state import KILLED
from cloudburst.models import Outcome, RunReport, SceneResult, SceneStatus
from cloudburst.report import cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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


def scene_results(
    scenes: Iterable[tuple[str, float]],
    attempts: Mapping[str, Iterable[Attempt]],
    videos: Mapping[str, DownloadedVideo],
) -> tuple[SceneResult, ...]:
    """Return how scenes ended, in their order.

    Args:
        scenes: (name, narration in seconds) of each.
        attempts: in order, by scene.
        videos: by scene.
    """
    return tuple(
        scene_result(name, seconds, attempts.get(name, ()), videos.get(name))
        for name, seconds in scenes
    )


def results(state: RunState) -> tuple[SceneResult, ...]:
    """Return every scene's result as a journal has it, in the order of the job."""
    scenes = state.record.scenes if state.record else ()
    return scene_results(scenes, state.attempts, state.videos)


def bill(
    scenes: Sequence[SceneResult],
    batches: Sequence[BatchResult],
    charges: Mapping[str, Callable[[int], Cost | None]],
) -> Cost:
    """Return the bill of a run from those of its targets.

    Args:
        scenes: what became of them.
        batches: of all sessions.
        charges: by target: takes the bytes that were downloaded from its workers, returns its bill,
            None where nothing is rented.
    """
    costs = [
        charge(cost.downloaded(scenes, batches, name))
        or cost.unbilled(batches, name, targets.get(name).unbilled)
        for name, charge in charges.items()
    ]
    return cost.total(costs)


def settled_bill(
    state: RunState, scenes: Sequence[SceneResult], settings: Mapping[str, object]
) -> Cost:
    """Return the bill of a run that is over, from its journal alone.

    Args:
        state: what the journal says.
        scenes: what became of them.
        settings: of each target, by its name.
    """
    charges = {
        name: partial(targets.get(name).bill, settings.get(name), state.rentals_on(name))
        for name in sorted(state.targets)
    }
    return bill(scenes, state.batches, charges)


def of_state(
    state: RunState,
    record: RunRecord,
    settings: Mapping[str, object],
    *,
    remaining: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> RunReport:
    """Return the report of a run from its journal alone.

    Args:
        state: what the journal says.
        record: which run it is, with the folder in which it is now.
        settings: of each target, by its name.
        remaining: what could not be verified as gone.
        kept: workers that stay on purpose.
    """
    scenes = results(state)
    return summarize(
        record,
        scenes=scenes,
        batches=state.batches,
        bill=settled_bill(state, scenes, settings),
        seconds=state.seconds,
        stopped=state.outcome in (None, str(Outcome.INTERRUPTED)),
        remaining=remaining,
        kept=kept,
    )


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
        error=error or _first_error(batches),
    )


def _first_error(batches: Sequence[BatchResult]) -> str | None:
    """Return a batch's error; that its run was killed explains least, and is the last choice."""
    errors = [batch.error for batch in batches if batch.error]
    return next((error for error in errors if error != KILLED), errors[0] if errors else None)


def _outcome(done: int, total: int, *, stopped: bool) -> Outcome:
    if done == total:
        return Outcome.COMPLETE
    if stopped:
        return Outcome.INTERRUPTED
    return Outcome.PARTIAL if done else Outcome.FAILED
