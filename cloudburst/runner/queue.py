"""The shared queue: scenes go to whichever worker is free.

A worker begins with its own batch, longest first, and then takes from the batch that would end
last. A scene that failed goes to another worker while there is one; each has a bounded number of
attempts, so that a scene that kills workers cannot kill all of them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloudburst.models import Batch, Scene


class SceneQueue:
    """Hands scenes to workers. Every method may be called from any thread.

    Args:
        attempts: most attempts at one scene.
    """

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._queues: dict[str, list[Scene]] = {}
        self._failures: dict[str, list[str]] = {}
        self._joined: set[str] = set()
        self._stopped = False
        self._changed = threading.Condition()

    def add(self, batches: Iterable[Batch]) -> None:
        """Queue the scenes of batches."""
        with self._changed:
            for batch in batches:
                self._queues[batch.label] = list(batch.scenes)

    def join(self, worker: str) -> None:
        """Let a worker take scenes: it is healthy."""
        with self._changed:
            self._joined.add(worker)

    def leave(self, worker: str) -> None:
        """Let a worker take no more scenes; those that avoided it need not any longer."""
        with self._changed:
            self._joined.discard(worker)
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def take(
        self, worker: str, batch: str, admits: Callable[[Scene], bool] = lambda _: True
    ) -> Scene | None:
        """Return the next scene for a worker of a batch, or None when nothing is left for it.

        Waits only while every queued scene has failed on this worker and another worker may take
        it, or is one that the worker does not admit now.

        Args:
            worker: label of the worker.
            batch: label of its batch.
            admits: whether the worker can begin a scene now; called for one caller at a time, and
                the first scene for which it returns True is taken. `wake` says that it changed.
        """
        with self._changed:
            while not self._stopped and worker in self._joined:
                scene = self._choose(worker, batch, admits)
                if scene is not None:
                    return scene
                if not self._waiting():
                    return None
                self._changed.wait()
            return None

    def wake(self) -> None:
        """Let those who wait ask again: a worker may admit what it did not."""
        with self._changed:
            self._changed.notify_all()

    def failed(self, scene: Scene, worker: str, batch: str, *, retry: bool) -> bool:
        """Note a failed attempt; return whether the scene was queued again."""
        with self._changed:
            failures = self._failures.setdefault(scene.name, [])
            failures.append(worker)
            again = retry and len(failures) < self._attempts and not self._stopped
            if again:
                self._queues.setdefault(batch, []).insert(0, scene)
            self._changed.notify_all()
            return again

    def give_back(self, scene: Scene, batch: str) -> bool:
        """Queue a scene again whose worker was taken away: it has used up no attempt.

        Returns:
            Whether it was queued: not when the queue is stopped.
        """
        with self._changed:
            if not self._stopped:
                self._queues.setdefault(batch, []).insert(0, scene)
            self._changed.notify_all()
            return not self._stopped

    def pending(self) -> int:
        """Return the number of scenes that wait for a worker."""
        with self._changed:
            return 0 if self._stopped else len(self._waiting())

    def _waiting(self) -> list[Scene]:
        return [scene for queue in self._queues.values() for scene in queue]

    def _choose(self, worker: str, batch: str, admits: Callable[[Scene], bool]) -> Scene | None:
        """Pick from the worker's own batch, then from the one with the most narration left."""
        own = self._first_from(batch, worker, admits)
        if own is not None:
            return own
        fullest_first = sorted(
            (label for label, queue in self._queues.items() if queue),
            key=lambda label: -sum(scene.seconds for scene in self._queues[label]),
        )
        candidates = (self._first_from(label, worker, admits) for label in fullest_first)
        return next((scene for scene in candidates if scene is not None), None)

    def _first_from(self, label: str, worker: str, admits: Callable[[Scene], bool]) -> Scene | None:
        queue = self._queues.get(label, [])
        for index, scene in enumerate(queue):
            if self._may_take(worker, scene) and admits(scene):
                del queue[index]
                self._changed.notify_all()
                return scene
        return None

    def _may_take(self, worker: str, scene: Scene) -> bool:
        failures = self._failures.get(scene.name, [])
        return worker not in failures or not (self._joined - set(failures))
