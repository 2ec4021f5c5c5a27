"""What became of every scene so far."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cloudburst.models import SceneResult, SceneStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudburst.models import Artifact, Attempt, Scene
    from cloudburst.worker import Rendered


class Ledger:
    """Keeps attempts and artifacts. Every method may be called from any thread."""

    def __init__(self, scenes: Iterable[Scene]) -> None:
        self._scenes = list(scenes)
        self._attempts: dict[str, list[Attempt]] = {scene.name: [] for scene in self._scenes}
        self._done: dict[str, tuple[Artifact, Rendered]] = {}
        self._lock = threading.Lock()

    def done(self, scene: Scene, attempt: Attempt, artifact: Artifact, rendered: Rendered) -> None:
        """Note a video that is home and verified."""
        with self._lock:
            self._attempts[scene.name].append(attempt)
            self._done[scene.name] = (artifact, rendered)

    def failed(self, scene: Scene, attempt: Attempt) -> None:
        """Note a try that failed."""
        with self._lock:
            self._attempts[scene.name].append(attempt)

    def done_count(self) -> int:
        """Count the videos that are home."""
        with self._lock:
            return len(self._done)

    def done_by(self, worker: str) -> int:
        """Count the videos of one worker."""
        with self._lock:
            return sum(self._attempts[name][-1].worker == worker for name in self._done)

    def results(self) -> tuple[SceneResult, ...]:
        """Give every scene's result, in the order of the job."""
        with self._lock:
            return tuple(self._result(scene) for scene in self._scenes)

    def _result(self, scene: Scene) -> SceneResult:
        attempts = tuple(self._attempts[scene.name])
        if scene.name in self._done:
            artifact, rendered = self._done[scene.name]
            return SceneResult(
                name=scene.name,
                status=SceneStatus.DONE,
                narration=scene.seconds,
                attempts=attempts,
                artifact=artifact,
                scenario=rendered.scenario,
                warnings=rendered.warnings,
            )
        return SceneResult(
            name=scene.name,
            status=SceneStatus.FAILED if attempts else SceneStatus.UNFINISHED,
            narration=scene.seconds,
            attempts=attempts,
            error=attempts[-1].error if attempts else None,
        )
