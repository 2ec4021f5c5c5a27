"""What became of every scene so far, in memory and in the journal."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from cloudburst.report.summary import scene_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudburst.journal.store import Journal
    from cloudburst.models import Attempt, DownloadedVideo, Scene, SceneResult


class SceneResults:
    """Attempts and videos by scene. Every method may be called from any thread.

    Args:
        scenes: all of the job's.
        journal: where they are written, too.
        attempts: of earlier sessions, by scene.
        videos: that were downloaded before, by scene.

    Attributes:
        begun: a worker has begun with a scene in this session.
    """

    def __init__(
        self,
        scenes: Iterable[Scene],
        journal: Journal,
        attempts: Mapping[str, Iterable[Attempt]] | None = None,
        videos: Mapping[str, DownloadedVideo] | None = None,
    ) -> None:
        self.begun = False
        self._scenes = list(scenes)
        self._journal = journal
        before = {name: list(earlier) for name, earlier in (attempts or {}).items()}
        self._attempts = {scene.name: before.get(scene.name, []) for scene in self._scenes}
        self._videos = dict(videos or {})
        # A worker that was taken over has rendered for earlier sessions, too.
        last = (earlier[-1] for earlier in before.values() if earlier)
        self._done_by = Counter(attempt.worker for attempt in last if attempt.error is None)
        self._lock = threading.Lock()

    def begin(self, scene: Scene, worker: str, fingerprint: str, began: float) -> int:
        """Note that a scene is about to be rendered; return the row of the attempt.

        Raises:
            JournalFailed: it could not be written.
        """
        self.begun = True
        return self._journal.attempt(scene.name, worker, fingerprint, began)

    def done(self, scene: Scene, row: int, attempt: Attempt, video: DownloadedVideo) -> None:
        """Note a video that was downloaded and verified."""
        self._journal.video(scene.name, row, attempt, video)
        with self._lock:
            self._attempts[scene.name].append(attempt)
            self._videos[scene.name] = video
            self._done_by[attempt.worker] += 1

    def failed(self, scene: Scene, row: int, attempt: Attempt) -> None:
        """Note an attempt that failed."""
        self._journal.tried(row, attempt)
        with self._lock:
            self._attempts[scene.name].append(attempt)

    def done_by(self, worker: str) -> int:
        """Return the number of videos that one worker has rendered, in all sessions."""
        with self._lock:
            return self._done_by[worker]

    def all(self) -> tuple[SceneResult, ...]:
        """Return every scene's result, in the order of the job."""
        with self._lock:
            scenes = [(scene.name, scene.seconds) for scene in self._scenes]
            return scene_results(scenes, self._attempts, self._videos)
