"""One worker renders scenes: as many at once as it has room for, while finished ones download."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cloudburst.errors import (
    InfrastructureError,
    JournalFailed,
    RenderFailed,
    RenderTimedOut,
    SceneError,
    SceneRejected,
    WorkerUnreachable,
)
from cloudburst.job.fingerprint import fingerprint
from cloudburst.language import tr
from cloudburst.models import (
    Attempt,
    Condition,
    DownloadedVideo,
    EventKind,
    Health,
    Phase,
    Span,
)
from cloudburst.runner.worker import timeouts
from cloudburst.runner.worker.in_flight import Flight, InFlight
from cloudburst.targets.durations import scene_timeout
from cloudburst.workers.download import download

if TYPE_CHECKING:
    from cloudburst.models import Scene, Worker
    from cloudburst.runner.context import OpenTarget, RunContext
    from cloudburst.workers.client import VideoApi
    from cloudburst.workers.messages import Rendered

WATCH_EVERY = 2.0
# A worker renders on while its /health is slow; this long without any answer it is given up.
SILENCE = 120.0
ASK_EVERY = 10.0
ASK_TIMEOUT = 5.0
# A container that fell is started again by its machine: that long it is waited for, where the
# provider says that the machine runs.
RESTART = 30.0
# Asked to stop, a run still waits so long for videos that are being downloaded.
DOWNLOAD_GRACE = 120.0
# Scenes at once that a machine may say it takes, for each that was planned: where a GPU encodes,
# one for each core in place of one for every two.
MOST = 2


def room_of(worker: Worker, capacity: int | None) -> int:
    """Return how many scenes a worker is given at once.

    Args:
        worker: with what the plan has hoped for.
        capacity: what it says itself; None if it says nothing. The agent of a rented machine knows
            better than the plan what encodes there, and how many containers have started.
    """
    if worker.certificate is None or capacity is None:
        return worker.room
    return min(capacity, MOST * worker.room)


class RenderLoop:
    """Renders scenes on one worker.

    Args:
        label: the worker's.
        batch: label of the batch whose scenes it takes first.
        worker: where it is.
        api: its video API.
        context: what it shares with the run's other workers.
        on: its target.

    Attributes:
        lost: why the worker is gone or about to be; None while it is fine.
    """

    def __init__(
        self,
        label: str,
        batch: str,
        worker: Worker,
        api: VideoApi,
        context: RunContext,
        on: OpenTarget,
    ) -> None:
        self._label = label
        self._batch = batch
        self._worker = worker
        self._api = api
        self._context = context
        self._on = on
        room = room_of(worker, api.capacity)
        self._slots = threading.Semaphore(room)
        # Name of the scene that has the turn of moving scenes, see `_admits`.
        self._moving: str | None = None
        self._flights = InFlight()
        self._lock = threading.Lock()
        self._heard = self._asked = self._watched = time.monotonic()
        self.lost: Condition | None = None
        self._threads = [
            threading.Thread(target=self._take_scenes, name=f"{label}-{number}", daemon=True)
            # One more than there is room for: it renders while another one downloads.
            for number in range(room + 1)
        ]
        api.wanted = self._is_wanted

    def run(self) -> None:
        """Render until no scene is left, the worker is gone, or the run is asked to stop."""
        for thread in self._threads:
            thread.start()
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            if self._context.stop.requested or self._is_gone():
                self._finish_downloads()
                return
            alive[0].join(0.1)
            self._watch()

    def _finish_downloads(self) -> None:
        """Wait for the videos that are being downloaded; what still renders ends with the worker.

        Those that are here and being verified are waited for even when the worker is gone.
        """
        deadline = time.monotonic() + DOWNLOAD_GRACE
        while not self._context.stop.hurried and time.monotonic() < deadline:
            downloading = self._flights.downloading and not self._is_gone()
            if not downloading and not self._flights.settling:
                return
            time.sleep(0.05)
            self._watch()

    def join(self, seconds: float) -> None:
        """Wait for requests that still end by themselves; not for those to a worker that is gone.

        Args:
            seconds: for all of them together.
        """
        if self._is_gone():
            return
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # -- scenes ---------------------------------------------------------------------------------

    def _take_scenes(self) -> None:
        """Take scenes until none is left; a slot is held only while rendering."""
        while True:
            # The slot comes first: a scene that is taken but waits could render elsewhere.
            self._slots.acquire()
            scene = self._context.queue.take(self._label, self._batch, self._admits)
            flight = self._start(scene) if scene is not None else None
            if flight is not None:
                self._run_flight(flight)
                continue
            self._release(scene)
            if scene is None:
                return

    def _is_wanted(self, name: str) -> bool:
        """Whether the video of a scene that renders is waited for any longer."""
        return self._flights.has(name) and not self._context.stop.requested

    def _admits(self, scene: Scene) -> bool:
        """Whether the worker can begin a scene now; a moving one then has the turn.

        A server that reports no capacity renders whatever it gets at once, as the public image,
        which mixes up the sounds of moving scenes (docs/protocol.md).
        """
        if not scene.options.effects or self._api.capacity is not None:
            return True
        if self._moving is not None:
            return False
        self._moving = scene.name
        return True

    def _release(self, scene: Scene | None) -> None:
        """Give back the slot of a scene that is not rendering any more, and its turn."""
        self._slots.release()
        if scene is not None and self._moving == scene.name:
            self._moving = None
            self._context.queue.wake()

    def _start(self, scene: Scene) -> Flight | None:
        """Start an attempt, unless the worker was found gone since the scene was taken."""
        context, began = self._context, self._context.timeline.now()
        mark, unreadable = self._fingerprint(scene)
        flight = Flight(scene, began, mark)
        try:
            started = self._flights.start(
                flight, lambda: context.results.begin(scene, self._label, mark, began)
            )
        except JournalFailed:
            started = False  # the journal asks the run to end: nothing begins that it cannot note
        if not started:
            context.queue.give_back(scene, self._batch)
            return None
        if unreadable is not None:
            self._settle_failed(flight, unreadable)
            return None
        return flight

    def _fingerprint(self, scene: Scene) -> tuple[str, SceneRejected | None]:
        try:
            return fingerprint(scene, self._on.renderer), None
        except OSError as error:
            reason = tr(
                "{file} cannot be read: {reason}", file=error.filename, reason=error.strerror
            )
            return "", SceneRejected(reason)

    def _run_flight(self, flight: Flight) -> None:
        try:
            try:
                rendered = self._render(flight.scene)
                flight.sent = rendered.sent
            except SceneError as error:
                flight.sent = error.sent
                if self._goes_on(flight.scene, error):
                    self._replace(flight, error)
                raise
            finally:
                self._release(flight.scene)
            allowed = not self._context.stop.requested
            if self._flights.start_download(flight, allowed=allowed):
                self._download(flight, rendered)
        except SceneError as error:
            if isinstance(error, WorkerUnreachable) and not self._context.stop.requested:
                self._diagnose_unreachable(error)  # may give this scene back, with all others
            self._settle_failed(flight, error)
        except Exception as error:  # noqa: BLE001 - the scene is named, the others go on
            unexpected = tr(
                "unexpected {error}: {reason}", error=type(error).__name__, reason=error
            )
            self._settle_failed(flight, RenderFailed(unexpected))
        finally:
            self._flights.finish(flight)

    def _render(self, scene: Scene) -> Rendered:
        self._report(EventKind.SCENE_STARTED, scene, tr("rendering {scene}", scene=scene.name))
        limits, terms = self._context.limits, self._on.workers.terms
        timeout, began = scene_timeout(scene, limits, terms), time.monotonic()
        try:
            rendered = self._api.render(scene, timeout)
        except RenderFailed as error:
            # The worker has the longest limit of all scenes: its own answer comes no sooner.
            late = isinstance(error, RenderTimedOut) or time.monotonic() - began >= timeout
            if not late:
                raise
            why = type(error)(f"{error}; {timeouts.explained(scene, limits, terms)}")
            why.sent = error.sent
            raise why from error
        self._heard = time.monotonic()
        return rendered

    def _goes_on(self, scene: Scene, error: SceneError) -> bool:
        """Whether the server renders on what was given up, so that it must get nothing more."""
        if self._api.capacity is not None or self._context.stop.requested:
            return False
        if isinstance(error, WorkerUnreachable):
            # One that answers at once has lost a connection, not its process. Beside a still that
            # is rendered on, another scene is only slower.
            return bool(scene.options.effects) and self._api.healthy() is None
        return isinstance(error, RenderTimedOut)

    def _replace(self, flight: Flight, error: SceneError) -> None:
        """Note the failed attempt, then let the worker finish what it has and be replaced."""
        reason = tr("the worker is replaced: its server does not stop what was given up")
        self._context.queue.leave(self._label)
        self._settle_failed(flight, type(error)(f"{error}; {reason}"))
        self._lose(Condition(Health.LEAVING, reason, of_scene=True))

    def _download(self, flight: Flight, rendered: Rendered) -> None:
        context, label, scene = self._context, self._label, flight.scene
        ready = context.timeline.now()
        downloaded = download(
            self._api,
            rendered,
            scene,
            context.folder,
            worker=label,
            wanted=lambda: self._flights.settle(flight),
        )
        if downloaded is None:
            return
        artifact, digest = downloaded
        done, began = context.timeline.now(), flight.began
        warnings = (*scene.warnings, *rendered.warnings)
        attempt = Attempt(
            label,
            Span(Phase.RENDER, began, ready),
            Span(Phase.DOWNLOAD, ready, done),
            bytes_sent=flight.sent,
        )
        video = DownloadedVideo(artifact, digest, flight.fingerprint, rendered.scenario, warnings)
        context.results.done(scene, flight.row, attempt, video)
        self._report(
            EventKind.SCENE_DONE,
            scene,
            tr(
                "{file}, {video:.1f} s of video in {render:.1f} s",
                file=f"{scene.name}.mp4",
                video=artifact.seconds,
                render=ready - began,
            ),
            took=round(done - began, 3),
            size=artifact.size,
            warnings=list(warnings),
        )

    def _settle_failed(self, flight: Flight, error: SceneError) -> None:
        """Note a failed attempt, if it still counts."""
        if not self._flights.settle(flight):
            return
        try:
            # When the run is stopped, workers are ended under their scenes: no failure of theirs.
            if not self._context.stop.requested or flight.downloading:
                self._take_back(flight, str(error), retry=error.retry)
        finally:
            self._flights.finish(flight)

    def _take_back(self, flight: Flight, reason: str, *, retry: bool = True) -> None:
        """Queue a scene again as far as it may be, and report it."""
        context, lost, scene = self._context, self.lost, flight.scene
        if lost is not None and lost.reason not in reason:
            reason = f"{reason}; {lost.reason}"
        if lost is not None and lost.blameless:
            again = context.queue.give_back(scene, self._batch)
        else:
            again = context.queue.failed(scene, self._label, self._batch, retry=retry)
        span = Span(Phase.RENDER, flight.began, context.timeline.now())
        attempt = Attempt(self._label, span, error=reason, bytes_sent=flight.sent)
        context.results.failed(scene, flight.row, attempt)
        self._report(EventKind.SCENE_RETRY if again else EventKind.SCENE_FAILED, scene, reason)

    # -- the worker -----------------------------------------------------------------------------

    def _watch(self) -> None:
        """Check the worker's condition, and ask its video API, now and then."""
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
            elif self._api.failed is not None:
                self._lose(Condition(Health.GONE, str(self._api.failed)))
            elif now - self._heard > SILENCE:
                reason = tr(
                    "its video API has not answered for {seconds:.0f} s", seconds=now - self._heard
                )
                self._lose(Condition(Health.GONE, reason))

    def _diagnose_unreachable(self, error: WorkerUnreachable) -> None:
        """Find out what became of a worker that broke a request off.

        A worker may come back: its container is restarted, or the network is up again.
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
            if self._context.stop.sleep(0.5):
                return  # other videos of this worker may still be downloading

    def _condition(self) -> Condition | None:
        """Return what the provider says; None when it does not answer."""
        try:
            return self._on.workers.condition(self._worker)
        except InfrastructureError as error:
            if error.refusal.login:
                # The worker renders all the same, but cannot be ended before somebody logs in.
                self._context.timeline.note_once(str(error))
            return None
        except Exception:  # noqa: BLE001 - whatever the reason
            return None

    def _lose(self, condition: Condition, cause: str = "") -> None:
        """Take no more scenes; when the worker is gone, give back what is not downloaded."""
        gone = condition.health is Health.GONE
        with self._lock:
            # Before anyone may see that it is gone: `run` waits for what is abandoned.
            abandoned = self._flights.abandon() if gone or self._is_gone() else []
            if self.lost is None or (gone and not self._is_gone()):
                self.lost = condition
        self._context.queue.leave(self._label)
        try:
            for flight in abandoned:
                if not self._context.stop.requested:
                    self._take_back(flight, cause or condition.reason)
        finally:
            self._flights.finish_abandoned(abandoned)

    def _is_gone(self) -> bool:
        return self.lost is not None and self.lost.health is Health.GONE

    def _report(self, kind: EventKind, scene: Scene, text: str, **data: object) -> None:
        self._context.timeline.emit(
            kind,
            text,
            batch=self._batch,
            scene=scene.name,
            worker=self._label,
            narration=round(scene.seconds, 3),
            **data,
        )
