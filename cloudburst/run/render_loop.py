"""One worker renders scenes: as many at once as it has room for, while finished ones come home.

Whoever watches the worker may find that it is gone while requests to it still wait. Its scenes go
back to the queue at once, and what such a request says later no longer counts.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.errors import (
    JournalFailed,
    RenderFailed,
    SceneError,
    SceneRejected,
    WorkerUnreachable,
)
from cloudburst.job.fingerprint import fingerprint
from cloudburst.journal.state import DownloadedVideo
from cloudburst.models import Attempt, Condition, EventKind, Health, Span
from cloudburst.workers.download import download

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import Scene, Worker
    from cloudburst.run.context import RunContext
    from cloudburst.workers.client import Rendered, VideoApi

WATCH_EVERY = 2.0
# A worker renders on while its /health is slow; this long without any answer it is given up.
SILENCE = 120.0
ASK_EVERY = 10.0
ASK_TIMEOUT = 5.0
# A container that fell is started again by its machine: that long it is waited for, where the
# provider says that the machine is there.
RESTART = 30.0
# Asked to stop, a run still waits so long for videos that are on their way home.
WAY_HOME = 120.0


@dataclass(slots=True)
class _Flight:
    """A scene on its way: being rendered, or coming home.

    Args:
        scene: which.
        began: seconds since the run began.
        number: of the journal's note.
        fingerprint: of what it is made from.
        coming_home: it is rendered; its video is being downloaded.
    """

    scene: Scene
    began: float
    number: int
    fingerprint: str
    coming_home: bool = False


class RenderLoop:
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

    def __init__(
        self, label: str, batch: str, worker: Worker, api: VideoApi, site: RunContext
    ) -> None:
        self._label = label
        self._batch = batch
        self._worker = worker
        self._api = api
        self._site = site
        self._places = threading.Semaphore(worker.room)
        self._flying: dict[str, _Flight] = {}
        self._landing = 0  # tries that are settled, and whose end is not noted yet
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
            if self._site.stop.requested:
                self._see_home()
                return
            if self._is_gone():
                self._see_home()
                return
            alive[0].join(0.1)
            self._watch()

    def _see_home(self) -> None:
        """Wait for the videos that are on their way; what still renders ends with the worker.

        Those that are here and being verified are waited for even when the worker is gone.
        """
        deadline = time.monotonic() + WAY_HOME
        while not self._site.stop.hurried and time.monotonic() < deadline:
            with self._lock:
                coming = any(flight.coming_home for flight in self._flying.values())
                here = self._landing > 0
            if not here and (not coming or self._is_gone()):
                return
            time.sleep(0.05)
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
            scene = self._site.queue.take(self._label, self._batch)
            if scene is None:
                self._places.release()
                return
            self._one_scene(scene)

    def _one_scene(self, scene: Scene) -> None:
        flight = self._take_off(scene)
        if flight is None:
            self._places.release()
            return
        mine = False

        def claim() -> bool:
            nonlocal mine
            mine = mine or self._settle(flight)
            return mine

        try:
            try:
                rendered = self._render(scene)
            finally:
                self._places.release()
            if self._turn_home(flight):
                self._bring_home(flight, rendered, claim)
        except SceneError as error:
            if isinstance(error, WorkerUnreachable) and not self._site.stop.requested:
                self._ask_after_worker(error)  # may give the scene back, with all others
            if claim():
                self._failed(flight, error)
        except Exception as error:  # noqa: BLE001 - the scene is named, the others go on
            if claim():
                unexpected = RenderFailed(f"unexpected {type(error).__name__}: {error}")
                self._failed(flight, unexpected)
        finally:
            if mine:
                with self._lock:
                    self._landing -= 1

    def _take_off(self, scene: Scene) -> _Flight | None:
        """Begin a try, unless the worker was found gone since the scene was taken."""
        site, began = self._site, self._site.timeline.now()
        mark, unread = "", None
        try:
            mark = fingerprint(scene, site.renderer)
        except OSError as error:
            unread = SceneRejected(f"{error.filename} cannot be read: {error.strerror}")
        flight = _Flight(scene, began, 0, mark)
        try:
            with self._lock:
                begun = not self._is_gone()
                if begun:
                    flight.number = site.ledger.begin(scene, self._label, mark, began)
                    self._flying[scene.name] = flight
        except JournalFailed:
            begun = False  # the journal asks the run to end: nothing begins that it knows not of
        if not begun:
            site.queue.give_back(scene, self._batch)
            return None
        if unread is not None:
            if self._settle(flight):
                self._failed(flight, unread)
                with self._lock:
                    self._landing -= 1
            return None
        return flight

    def _settle(self, flight: _Flight) -> bool:
        """Say if a try still counts; it does not when its scene was given back meanwhile."""
        with self._lock:
            mine = self._flying.pop(flight.scene.name, None) is flight
            self._landing += mine
            return mine

    def _turn_home(self, flight: _Flight) -> bool:
        """Begin to bring a video home, unless the run is being stopped."""
        with self._lock:
            flight.coming_home = not self._site.stop.requested
        return flight.coming_home

    def _render(self, scene: Scene) -> Rendered:
        self._tell(EventKind.SCENE_STARTED, scene, f"rendering {scene.name}")
        rendered = self._api.render(scene, self._site.limits.scene_timeout)
        self._heard = time.monotonic()
        return rendered

    def _bring_home(self, flight: _Flight, rendered: Rendered, claim: Callable[[], bool]) -> None:
        site, label, scene = self._site, self._label, flight.scene
        ready = site.timeline.now()
        brought = download(self._api, rendered, scene, site.folder, worker=label, wanted=claim)
        if brought is None:
            return
        artifact, digest = brought
        home = site.timeline.now()
        began = flight.began
        attempt = Attempt(label, Span("render", began, ready), Span("download", ready, home))
        video = DownloadedVideo(
            artifact, digest, flight.fingerprint, rendered.scenario, rendered.warnings
        )
        site.ledger.done(scene, flight.number, attempt, video)
        self._tell(
            EventKind.SCENE_DONE,
            scene,
            f"{scene.name}.mp4, {artifact.seconds:.1f} s of video in {ready - began:.1f} s",
            seconds=round(home - began, 3),
            size=artifact.size,
            warnings=list(rendered.warnings),
        )

    def _failed(self, flight: _Flight, error: SceneError) -> None:
        if self._site.stop.requested and not flight.coming_home:
            return  # its worker is being ended under it; that is no failure of the scene
        self._take_back(flight, str(error), retry=error.retry)

    def _take_back(self, flight: _Flight, why: str, *, retry: bool = True) -> None:
        """Queue a scene again as far as it may be, and tell."""
        site, lost, scene = self._site, self.lost, flight.scene
        if lost is not None and lost.reason not in why:
            why = f"{why}; {lost.reason}"
        if lost is not None and lost.blameless:
            again = site.queue.give_back(scene, self._batch)
        else:
            again = site.queue.failed(scene, self._label, self._batch, retry=retry)
        span = Span("render", flight.began, site.timeline.now())
        site.ledger.failed(scene, flight.number, Attempt(self._label, span, error=why))
        self._tell(EventKind.SCENE_RETRY if again else EventKind.SCENE_FAILED, scene, why)

    # -- the worker ---------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look after the worker, now and then."""
        now = time.monotonic()
        if now - self._watched > WATCH_EVERY:
            self._watched = now
            condition = self._condition()
            if condition is not None and condition.health is not Health.FINE:
                self._lose(condition)
        if now - self._asked > ASK_EVERY and self.lost is None:
            self._asked = now
            if self._api.healthy(ASK_TIMEOUT) is None:
                self._heard = now
            elif now - self._heard > SILENCE:
                words = f"its video API has not answered for {now - self._heard:.0f} s"
                self._lose(Condition(Health.GONE, words))

    def _ask_after_worker(self, error: WorkerUnreachable) -> None:
        """Find out what became of a worker that broke a request off, and whose fault it is.

        A worker may come back: its container is started again, or the network is.
        """
        began = time.monotonic()
        while self._api.healthy() is not None:
            condition = self._condition()
            # Who can reach nobody is cut off, and that says nothing about the worker.
            patience = SILENCE if condition is None else RESTART
            if condition is not None and condition.health is Health.GONE:
                self._lose(condition, str(error))
                return
            if time.monotonic() - began > patience:
                self._lose(Condition(Health.GONE, str(error)))
                return
            if self._site.stop.sleep(0.5):
                return  # other videos of its may still be on their way home

    def _condition(self) -> Condition | None:
        """Ask the provider; None when it does not say."""
        try:
            return self._site.target.condition(self._worker)
        except Exception:  # noqa: BLE001 - whatever the reason
            return None

    def _lose(self, condition: Condition, said: str = "") -> None:
        """Hand out nothing more; when the worker is gone, give back what is not home."""
        with self._lock:
            if self.lost is None or condition.health is Health.GONE:
                self.lost = self.lost if self._is_gone() else condition
            abandoned = list(self._flying.values()) if self._is_gone() else []
            self._flying = {} if self._is_gone() else self._flying
        self._site.queue.leave(self._label)
        for flight in abandoned:
            if not self._site.stop.requested:
                self._take_back(flight, said or condition.reason)

    def _is_gone(self) -> bool:
        return self.lost is not None and self.lost.health is Health.GONE

    def _tell(self, kind: EventKind, scene: Scene, text: str, **data: object) -> None:
        self._site.timeline.tell(
            kind, text, batch=self._batch, scene=scene.name, worker=self._label, **data
        )
