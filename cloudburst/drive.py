"""One worker renders scenes: as many at once as it has room for, while finished ones come home.

Whoever watches the worker may find that it is gone while requests to it still wait. Its scenes go
back to the queue at once, and what such a request says later no longer counts.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cloudburst.download import download
from cloudburst.errors import RenderFailed, SceneError, WorkerGone
from cloudburst.models import Attempt, Condition, EventKind, Health, Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import Scene, Worker
    from cloudburst.site import Site
    from cloudburst.worker import Rendered, VideoApi

WATCH_EVERY = 2.0
# A worker renders on while its /health is slow; this long without any answer it is given up.
SILENCE = 120.0
ASK_EVERY = 10.0
ASK_TIMEOUT = 5.0


class Drive:
    """Scenes on one worker.

    Args:
        label: the worker's.
        batch: label of the batch whose scenes it takes first.
        worker: where it is.
        api: its video API.
        site: what it shares with the others.

    Attributes:
        lost: why the worker is gone or about to be; None while it is fine.
    """

    def __init__(self, label: str, batch: str, worker: Worker, api: VideoApi, site: Site) -> None:
        self._label = label
        self._batch = batch
        self._worker = worker
        self._api = api
        self._site = site
        self._places = threading.Semaphore(worker.room)
        self._flying: dict[str, tuple[Scene, float]] = {}
        self._lock = threading.Lock()
        self._heard = self._asked = self._watched = time.monotonic()
        self.lost: Condition | None = None
        self._threads = [
            threading.Thread(target=self._take_scenes, name=f"{label}-{number}", daemon=True)
            # One more than there is room for: it renders while another one downloads.
            for number in range(worker.room + 1)
        ]

    def run(self) -> None:
        """Take scenes until none is left, the worker is gone, or the run is asked to stop."""
        for thread in self._threads:
            thread.start()
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            # Once asked to stop, nobody waits for a render: the worker's end ends it.
            if self._site.stop.requested or self._is_gone():
                return
            alive[0].join(0.1)
            self._watch()

    def join(self, seconds: float) -> None:
        """Wait for requests that still end by themselves; what is gone is not waited for."""
        if self._is_gone():
            return
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # -- scenes -------------------------------------------------------------------------------

    def _take_scenes(self) -> None:
        """Take scenes until none is left; a place to render is kept only while rendering."""
        while True:
            # The place comes first: a scene that is taken but waits could run elsewhere.
            self._places.acquire()
            scene = self._site.dispatcher.take(self._label, self._batch)
            if scene is None:
                self._places.release()
                return
            self._one_scene(scene)

    def _one_scene(self, scene: Scene) -> None:
        began = self._site.timeline.now()
        if not self._take_off(scene, began):
            return
        mine = False

        def claim() -> bool:
            nonlocal mine
            mine = mine or self._settle(scene)
            return mine

        try:
            try:
                rendered = self._render(scene)
            finally:
                self._places.release()
            self._bring_home(scene, rendered, began, claim)
        except SceneError as error:
            if isinstance(error, WorkerGone) and not self._site.stop.requested:
                self._ask_after_worker(error)  # may give the scene back, with all others
            if claim():
                self._failed(scene, began, error)
        except Exception as error:  # noqa: BLE001 - the scene is named, the others go on
            if claim():
                unexpected = RenderFailed(f"unexpected {type(error).__name__}: {error}")
                self._failed(scene, began, unexpected)

    def _take_off(self, scene: Scene, began: float) -> bool:
        """Begin a try, unless the worker was found gone since the scene was taken."""
        with self._lock:
            if not self._is_gone():
                self._flying[scene.name] = (scene, began)
                return True
        self._places.release()
        self._site.dispatcher.give_back(scene, self._batch)
        return False

    def _settle(self, scene: Scene) -> bool:
        """Say if a try still counts; it does not when its scene was given back meanwhile."""
        with self._lock:
            return self._flying.pop(scene.name, None) is not None

    def _render(self, scene: Scene) -> Rendered:
        self._tell(EventKind.SCENE_STARTED, scene, f"rendering {scene.name}")
        rendered = self._api.render(scene, self._site.limits.scene_timeout)
        self._heard = time.monotonic()
        return rendered

    def _bring_home(
        self, scene: Scene, rendered: Rendered, began: float, claim: Callable[[], bool]
    ) -> None:
        site, label = self._site, self._label
        ready = site.timeline.now()
        artifact = download(self._api, rendered, scene, site.folder, worker=label, wanted=claim)
        if artifact is None:
            return
        home = site.timeline.now()
        attempt = Attempt(label, Span("render", began, ready), Span("download", ready, home))
        site.ledger.done(scene, attempt, artifact, rendered)
        self._tell(
            EventKind.SCENE_DONE,
            scene,
            f"{scene.name}.mp4, {artifact.seconds:.1f} s of video in {ready - began:.1f} s",
            seconds=round(home - began, 3),
            size=artifact.size,
            warnings=list(rendered.warnings),
        )

    def _failed(self, scene: Scene, began: float, error: SceneError) -> None:
        if self._site.stop.requested:
            return  # its worker is being ended under it; that is no failure of the scene
        self._take_back(scene, began, str(error), retry=error.retry)

    def _take_back(self, scene: Scene, began: float, why: str, *, retry: bool = True) -> None:
        """Queue a scene again as far as it may be, and tell."""
        site, lost = self._site, self.lost
        if lost is not None and lost.reason not in why:
            why = f"{why}; {lost.reason}"
        if lost is not None and lost.blameless:
            again = site.dispatcher.give_back(scene, self._batch)
        else:
            again = site.dispatcher.failed(scene, self._label, self._batch, retry=retry)
        attempt = Attempt(self._label, Span("render", began, site.timeline.now()), error=why)
        site.ledger.failed(scene, attempt)
        self._tell(EventKind.SCENE_RETRY if again else EventKind.SCENE_FAILED, scene, why)

    # -- the worker ---------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look after the worker, now and then."""
        now = time.monotonic()
        if now - self._watched > WATCH_EVERY:
            self._watched = now
            condition = self._condition()
            if condition.health is not Health.FINE:
                self._lose(condition)
        if now - self._asked > ASK_EVERY and self.lost is None:
            self._asked = now
            if self._api.healthy(ASK_TIMEOUT) is None:
                self._heard = now
            elif now - self._heard > SILENCE:
                words = f"its video API has not answered for {now - self._heard:.0f} s"
                self._lose(Condition(Health.GONE, words))

    def _ask_after_worker(self, error: WorkerGone) -> None:
        """Find out what became of a worker that broke a request off, and whose fault it is."""
        if self._api.healthy() is None:
            return
        deadline = time.monotonic() + self._site.target.settle
        while True:
            condition = self._condition()
            if condition.health is Health.GONE:
                break
            # A provider says it a little later than the connection.
            if time.monotonic() > deadline or self._site.stop.sleep(0.5):
                condition = Condition(Health.GONE, str(error))
                break
        self._lose(condition, str(error))

    def _condition(self) -> Condition:
        try:
            return self._site.target.condition(self._worker)
        except Exception:  # noqa: BLE001 - not being told, whatever the reason, is no news
            return Condition()

    def _lose(self, condition: Condition, said: str = "") -> None:
        """Hand out nothing more; when the worker is gone, give back what is not home."""
        with self._lock:
            if self.lost is None or condition.health is Health.GONE:
                self.lost = self.lost if self._is_gone() else condition
            abandoned = list(self._flying.values()) if self._is_gone() else []
            self._flying = {} if self._is_gone() else self._flying
        self._site.dispatcher.leave(self._label)
        for scene, began in abandoned:
            self._take_back(scene, began, said or condition.reason)

    def _is_gone(self) -> bool:
        return self.lost is not None and self.lost.health is Health.GONE

    def _tell(self, kind: EventKind, scene: Scene, text: str, **data: object) -> None:
        self._site.timeline.tell(
            kind, text, batch=self._batch, scene=scene.name, worker=self._label, **data
        )
