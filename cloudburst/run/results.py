"""What became of every scene so far, in memory and in the journal."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from cloudburst.models import SceneResult, SceneStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudburst.journal.state import DownloadedVideo
    from cloudburst.journal.store import Journal
    from cloudburst.models import Attempt, Scene


class SceneResults:
    """Keeps attempts and videos. Every method may be called from any thread.

    Args:
        scenes: all of the job's.
        journal: where it is written, too.
        attempts: of earlier sessions, by scene.
        home: videos that are home already, by scene.

    Attributes:
        begun: a worker has begun with a scene in this session.
    """

    def __init__(
        self,
        scenes: Iterable[Scene],
        journal: Journal,
        attempts: Mapping[str, Iterable[Attempt]] | None = None,
        home: Mapping[str, DownloadedVideo] | None = None,
    ) -> None:
        self.begun = False
        self._scenes = list(scenes)
        self._journal = journal
        self._attempts = {
            scene.name: list((attempts or {}).get(scene.name, ())) for scene in self._scenes
        }
        self._home = dict(home or {})
        # A worker that was taken over has brought home what it did for earlier sessions, too.
        last = (list(tries)[-1] for tries in (attempts or {}).values() if tries)
        self._brought = Counter(attempt.worker for attempt in last if attempt.error is None)
        self._lock = threading.Lock()

    def begin(self, scene: Scene, worker: str, fingerprint: str, began: float) -> int:
        """Note that a scene is about to be rendered; give the number of the note.

        Raises:
            JournalFailed: it could not be written.
        """
        self.begun = True
        return self._journal.attempt(scene.name, worker, fingerprint, began)

    def done(self, scene: Scene, number: int, attempt: Attempt, home: DownloadedVideo) -> None:
        """Note a video that is home and verified."""
        self._journal.home(scene.name, number, attempt, home)
        with self._lock:
            self._attempts[scene.name].append(attempt)
            self._home[scene.name] = home
            self._brought[attempt.worker] += 1

    def failed(self, scene: Scene, number: int, attempt: Attempt) -> None:
        """Note a try that failed."""
        self._journal.tried(number, attempt)
        with self._lock:
            self._attempts[scene.name].append(attempt)

    def done_count(self) -> int:
        """Count the videos that are home."""
        with self._lock:
            return len(self._home)

    def done_by(self, worker: str) -> int:
        """Count the videos that one worker has brought home, in all sessions."""
        with self._lock:
            return self._brought[worker]

    def results(self) -> tuple[SceneResult, ...]:
        """Give every scene's result, in the order of the job."""
        with self._lock:
            return tuple(
                scene_result(
                    scene.name,
                    scene.seconds,
                    self._attempts[scene.name],
                    self._home.get(scene.name),
                )
                for scene in self._scenes
            )


def scene_result(
    name: str, narration: float, attempts: Iterable[Attempt], home: DownloadedVideo | None
) -> SceneResult:
    """Say how a scene ended.

    Args:
        name: its.
        narration: its length, in seconds.
        attempts: in order.
        home: its video, None when there is none.
    """
    tries = tuple(attempts)
    if home is not None:
        return SceneResult(
            name=name,
            status=SceneStatus.DONE,
            narration=narration,
            attempts=tries,
            artifact=home.artifact,
            scenario=home.scenario,
            warnings=home.warnings,
        )
    # A video that came home and is not wanted any more did not fail.
    error = tries[-1].error if tries else None
    return SceneResult(
        name=name,
        status=SceneStatus.UNFINISHED if error is None else SceneStatus.FAILED,
        narration=narration,
        attempts=tries,
        error=error,
    )
