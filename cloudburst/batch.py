"""The life of one batch: its stack comes up, its worker takes scenes, its stack is destroyed.

Whatever happens in between, the last step is taken, repeated, and checked with the provider.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from cloudburst.download import download
from cloudburst.errors import (
    CloudBurstError,
    EngineError,
    RenderFailed,
    SceneError,
    StackLocked,
    WorkerGone,
)
from cloudburst.models import Attempt, BatchResult, EventKind, Span
from cloudburst.worker import VideoApi

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.dispatch import Dispatcher
    from cloudburst.engine import Engine
    from cloudburst.ledger import Ledger
    from cloudburst.models import Batch, Limits, Scene, Worker, WorkerSpec
    from cloudburst.stop import Stop
    from cloudburst.targets.base import Target
    from cloudburst.timeline import Timeline

DESTROY_TRIES = 4
# For threads whose worker is gone: their requests break off by themselves.
JOIN_TIMEOUT = 10.0


@dataclass(frozen=True)
class Site:
    """What all batches of a run share."""

    engine: Engine
    target: Target
    dispatcher: Dispatcher
    ledger: Ledger
    timeline: Timeline
    stop: Stop
    limits: Limits
    folder: Path


@dataclass
class BatchLife:
    """One batch and its stack.

    Args:
        batch: the scenes its worker begins with.
        spec: what its stack declares.
        site: what it shares with the others.
    """

    batch: Batch
    spec: WorkerSpec
    site: Site
    spans: list[Span] = field(default_factory=list)
    worker: Worker | None = None
    was_healthy: bool = False
    destroyed: bool = False
    error: str | None = None
    state: str = "waiting"
    _threads: list[threading.Thread] = field(default_factory=list)

    def run(self) -> None:
        """Live it. Never raises: what went wrong is in `error`, what is left in `destroyed`."""
        try:
            self._work()
        except CloudBurstError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - a bug must not leave a machine running
            self.error = f"unexpected {type(error).__name__}: {error}"
        finally:
            self.site.dispatcher.leave(self.batch.label)
            if self.state == "waiting":
                self.destroyed = True  # nothing was ever begun
            else:
                self._tear_down()
            for thread in self._threads:
                thread.join(JOIN_TIMEOUT)
        if self.error and not self.site.stop.requested:
            self._tell("failed", self.error)
        else:
            self._tell("gone" if self.destroyed else "left running")

    def result(self) -> BatchResult:
        """Give what became of it."""
        return BatchResult(
            label=self.batch.label,
            stack=self.spec.stack,
            worker=self.worker.id if self.worker else None,
            scenes_done=self.site.ledger.done_by(self.batch.label),
            spans=tuple(self.spans),
            destroyed=self.destroyed,
            error=self.error,
        )

    # -- work ---------------------------------------------------------------------------------

    def _work(self) -> None:
        site = self.site
        # First the state, then the question: a request to stop that comes in between finds a
        # batch to interrupt, and one that came before is seen here.
        self.state = "creating"
        if site.stop.requested:
            self.state = "waiting"
            return
        self._tell("creating", "creating the stack")
        with site.timeline.span("up", self.spans):
            outputs = site.engine.up(self.spec.stack, site.target.program(self.spec))
        self.worker = site.target.worker(self.spec, outputs)
        api = VideoApi(self.worker)
        self._tell("starting", "waiting for the video API")
        with site.timeline.span("health", self.spans):
            try:
                api.wait_healthy(site.limits.health_timeout, site.stop.sleep)
            except CloudBurstError as error:
                words = site.target.last_words(self.spec)
                if words and not site.stop.requested:
                    raise type(error)(f"{error}; its last log lines: {words}") from error
                raise
        self.was_healthy = True
        site.dispatcher.join(self.batch.label)
        self._tell("working", "rendering")
        with site.timeline.span("drive", self.spans):
            self._drive(api, self.worker.room)

    def _drive(self, api: VideoApi, room: int) -> None:
        """Render as many scenes at once as there is room, while finished ones come home."""
        places = threading.Semaphore(room)
        self._threads = [
            threading.Thread(
                target=self._take_scenes,
                args=(api, places),
                name=f"{self.batch.label}-{number}",
                daemon=True,
            )
            # One more than there is room for: it renders while another one downloads.
            for number in range(room + 1)
        ]
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            # Once asked to stop, nobody waits for a render: the worker's end ends it.
            while thread.is_alive() and not self.site.stop.requested:
                thread.join(0.1)

    def _take_scenes(self, api: VideoApi, places: threading.Semaphore) -> None:
        """Take scenes until none is left; a place to render is kept only while rendering."""
        while True:
            # The place comes first: a scene that is taken but waits could run elsewhere.
            places.acquire()
            scene = self.site.dispatcher.take(self.batch.label)
            if scene is None:
                places.release()
                return
            began = self.site.timeline.now()
            try:
                self._one_scene(api, scene, began, places)
            except SceneError as error:
                self._failed(api, scene, began, error)
            except Exception as error:  # noqa: BLE001 - the scene is named, the others go on
                unexpected = RenderFailed(f"unexpected {type(error).__name__}: {error}")
                self._failed(api, scene, began, unexpected)

    def _one_scene(
        self, api: VideoApi, scene: Scene, began: float, places: threading.Semaphore
    ) -> None:
        site, label = self.site, self.batch.label
        try:
            site.timeline.tell(
                EventKind.SCENE_STARTED, f"rendering {scene.name}", batch=label, scene=scene.name
            )
            rendered = api.render(scene, site.limits.scene_timeout)
        finally:
            places.release()
        ready = site.timeline.now()
        artifact = download(api, rendered, scene, site.folder)
        home = site.timeline.now()
        attempt = Attempt(label, Span("render", began, ready), Span("download", ready, home))
        site.ledger.done(scene, attempt, artifact, rendered)
        site.timeline.tell(
            EventKind.SCENE_DONE,
            f"{scene.name}.mp4, {artifact.seconds:.1f} s of video in {ready - began:.1f} s",
            batch=label,
            scene=scene.name,
            seconds=round(home - began, 3),
            size=artifact.size,
            warnings=list(rendered.warnings),
        )

    def _failed(self, api: VideoApi, scene: Scene, began: float, error: SceneError) -> None:
        site, label = self.site, self.batch.label
        if site.stop.requested:
            return  # its worker is being ended under it; that is no failure of the scene
        if isinstance(error, WorkerGone) and api.healthy() is not None:
            words = site.target.last_words(self.spec)
            said = f"; its last log lines: {words}" if words else ""
            self.error = f"the worker is gone: {error}{said}"
            site.dispatcher.leave(label)
        attempt = Attempt(label, Span("render", began, site.timeline.now()), error=str(error))
        again = site.dispatcher.failed(scene, label, retry=error.retry)
        site.ledger.failed(scene, attempt)
        site.timeline.tell(
            EventKind.SCENE_RETRY if again else EventKind.SCENE_FAILED,
            str(error),
            batch=label,
            scene=scene.name,
        )

    # -- teardown -----------------------------------------------------------------------------

    def _tear_down(self) -> None:
        """Destroy the stack until the provider says that nothing of it is left."""
        site = self.site
        self._tell("destroying", "destroying the stack")
        problem = ""
        with site.timeline.span("destroy", self.spans):
            try:
                for attempt in Retrying(
                    retry=retry_if_exception_type(EngineError),
                    stop=stop_after_attempt(DESTROY_TRIES),
                    wait=wait_exponential(multiplier=0.3, max=5),
                    reraise=True,
                ):
                    with attempt:
                        self._destroy_once(attempt.retry_state.attempt_number)
            except Exception as error:  # noqa: BLE001 - whatever it was, the check below decides
                problem = str(error)
            problem = self._verify() or problem
        self.destroyed = not problem
        if problem:
            self.error = f"teardown not verified: {problem}"

    def _destroy_once(self, number: int) -> None:
        """Destroy; from the second time on, first remove what the state may not know of."""
        site, stack = self.site, self.spec.stack
        if number > 1:
            site.target.sweep(stack)
        try:
            site.engine.destroy(stack)
        except StackLocked:
            # No other run shares this stack's name, and this run's own operation has ended: the
            # lock is a dead one's.
            site.engine.cancel(stack)
            raise
        except EngineError:
            if number > 1:
                site.engine.refresh(stack)
            raise

    def _verify(self) -> str:
        """Ask the provider what is left, end it, and ask again."""
        try:
            if self.site.target.inventory(self.spec.stack):
                self.site.target.sweep(self.spec.stack)
            return ", ".join(self.site.target.inventory(self.spec.stack))
        except Exception as error:  # noqa: BLE001 - not knowing is not the same as gone
            return f"the provider could not be asked: {error}"

    def _tell(self, state: str, text: str = "") -> None:
        self.state = state
        self.site.timeline.tell(
            EventKind.BATCH_STATE,
            text,
            batch=self.batch.label,
            state=state,
            stack=self.spec.stack,
            scenes=len(self.batch.scenes),
        )
