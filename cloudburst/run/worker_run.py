"""The life of one worker: its stack comes up, it takes scenes, its stack is destroyed.

Whatever happens in between, the last step is taken, repeated, and checked with the provider.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cloudburst.errors import (
    CloudBurstError,
    CloudRefused,
    EngineError,
    InfrastructureError,
    WorkerTerminated,
)
from cloudburst.journal.state import KEPT
from cloudburst.models import EventKind, Health, Launch, Span
from cloudburst.run.render_loop import WATCH_EVERY, RenderLoop
from cloudburst.run.teardown import tear_down
from cloudburst.targets.failover import Verdict, code_of, verdict
from cloudburst.workers.client import VideoApi

if TYPE_CHECKING:
    from cloudburst.journal.state import UnfinishedWorker
    from cloudburst.models import Batch, Condition, Price, Worker, WorkerSpec
    from cloudburst.run.context import RunContext

# For requests to a worker that is gone: they break off by themselves.
JOIN_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class AdoptedWorker:
    """A worker of an earlier session that still works.

    Args:
        launch: what the journal says of it.
        worker: where it is.
    """

    launch: UnfinishedWorker
    worker: Worker


class _NotNeeded(Exception):
    """No scene waits for the worker that is starting."""


@dataclass
class WorkerRun:
    """One worker of a batch.

    Args:
        label: the worker's, ``b01`` or ``b01.2``.
        batch: the scenes it begins with.
        spec: what its stack declares.
        site: what it shares with the others.
        adopted: what an earlier session has left and still works.
    """

    label: str
    batch: Batch
    spec: WorkerSpec
    site: RunContext
    adopted: AdoptedWorker | None = None
    spans: list[Span] = field(default_factory=list)
    worker: Worker | None = None
    price: Price | None = None
    was_healthy: bool = False
    destroyed: bool = False
    kept_until: float | None = None
    failure: Exception | None = None
    error: str | None = None
    state: str = "waiting"
    _drive: RenderLoop | None = None
    _number: int = 0

    def run(self) -> None:
        """Live it. Never raises: what went wrong is in `error`, what is left in `destroyed`."""
        try:
            self._work()
        except _NotNeeded:
            pass  # others have taken every scene
        except CloudBurstError as error:
            self.failure, self.error = error, str(error)
        except Exception as error:  # noqa: BLE001 - a bug must not leave a machine running
            self.failure = error
            self.error = f"unexpected {type(error).__name__}: {error}"
        finally:
            self.site.queue.leave(self.label)
            if self.state == "waiting":
                self.destroyed = True  # nothing was ever begun
            elif not (self._is_to_be_kept() and self._keep()):
                self._end()
            if self._drive is not None:
                self._drive.join(JOIN_TIMEOUT)
            if self._number:
                self.site.journal.ended(self._number, self.result(), self.state)

    @property
    def lost(self) -> Condition | None:
        """Why the worker was taken away while it worked, None if it was not."""
        return self._drive.lost if self._drive is not None else None

    @property
    def code(self) -> str | None:
        """The provider's code for why it failed or ended."""
        if isinstance(self.failure, CloudRefused):
            return self.failure.code
        words = self.failure or (self.lost.reason if self.lost else None)
        return code_of(str(words)) if words else None

    def result(self) -> Launch:
        """Give what became of it."""
        return Launch(
            label=self.label,
            worker=self.worker.id if self.worker else None,
            rung=self.spec.rung,
            price=self.price,
            # A rung that gave no worker has the label of the one that did.
            scenes_done=self.site.ledger.done_by(self.label) if self.was_healthy else 0,
            spans=tuple(self.spans),
            destroyed=self.destroyed,
            expires=self.site.target.expires(self.spec.stack) if self._number else None,
            code=self.code,
            error=self.error,
        )

    # -- work ---------------------------------------------------------------------------------

    def _work(self) -> None:
        site = self.site
        worker = self._taken_over() if self.adopted else self._created()
        if worker is None:
            return
        self.worker = worker
        self._see_if_needed()
        api = VideoApi(worker)
        self.tell("starting", "waiting for the video API")
        with site.timeline.span("health", self.spans):
            self._wait_healthy(api, worker)
        self.was_healthy = True
        site.queue.join(self.label)
        self.tell("working", f"rendering{self._lease()}")
        self._drive = RenderLoop(self.label, self.batch.label, worker, api, site)
        with site.timeline.span("drive", self.spans):
            self._drive.run()
        if self._drive.lost is not None:
            self.error = f"the worker is gone: {self._drive.lost.reason}{self._last_words()}"

    def _created(self) -> Worker | None:
        """Bring the stack up; None when the run is being stopped."""
        site, spec = self.site, self.spec
        self.price = site.target.price(spec.rung)
        program = site.target.program(spec)
        # Written first: whatever happens from now on, the journal knows that there may be a stack.
        self._number = site.journal.launch(
            batch=self.batch.label,
            label=self.label,
            stack=spec.stack,
            rung=spec.rung,
            price=self.price,
            room=spec.room,
            expires=site.target.expires(spec.stack),
        )
        # First the state, then the question: a request to stop that comes in between finds a
        # batch to interrupt, and one that came before is seen here.
        self.state = "creating"
        if site.stop.requested:
            self.state = "waiting"
            return None
        self.tell("creating", f"creating the stack: {spec.rung}")
        with site.timeline.span("up", self.spans):
            outputs = site.engine.up(spec.stack, program, begin=self._see_if_needed)
        worker = site.target.worker(spec, outputs)
        expires = site.target.expires(spec.stack)
        site.journal.worker(self._number, worker.id, worker.endpoint, expires)
        return worker

    def _taken_over(self) -> Worker | None:
        """Go on with what an earlier session has left."""
        adopted = self.adopted
        if adopted is None:
            return None
        self._number = adopted.launch.number
        self.price = adopted.launch.price
        self.spans = list(adopted.launch.spans)
        self.state = "starting"
        return adopted.worker

    def _lease(self) -> str:
        """Say when the worker ends itself, where it does."""
        expires = self.site.target.expires(self.spec.stack)
        return f"; it ends itself at {clock_time(expires)}" if expires else ""

    def _wait_healthy(self, api: VideoApi, worker: Worker) -> None:
        """Wait until the worker answers; break off when its provider says that it never will."""
        looked = time.monotonic()

        def pause(seconds: float) -> bool:
            nonlocal looked
            self._see_if_needed()
            if time.monotonic() - looked > WATCH_EVERY:
                looked = time.monotonic()
                self._look(worker)
            return self.site.stop.sleep(seconds)

        try:
            api.wait_healthy(self.site.limits.health_timeout, pause)
        except CloudBurstError as error:
            words = self._last_words()
            if words:
                raise _with_words(error, words) from error
            raise

    def _see_if_needed(self) -> None:
        """End a worker that has not begun when no scene waits for it any more."""
        if not self.site.queue.pending() and not self.site.stop.requested:
            raise _NotNeeded

    def _look(self, worker: Worker) -> None:
        try:
            condition = self.site.target.condition(worker)
        except InfrastructureError:
            return  # not being told is no news
        if condition.health is Health.GONE:
            raise WorkerTerminated(
                f"the worker ended before it was healthy: {condition.reason}",
                blameless=condition.blameless,
            )

    def _last_words(self) -> str:
        words = "" if self.site.stop.requested else self.site.target.last_log_lines(self.spec)
        return f"; its last log lines: {words}" if words else ""

    # -- keeping ------------------------------------------------------------------------------

    def _is_to_be_kept(self) -> bool:
        """Say if a worker that has done its work is to stay for a person."""
        healthy = self.was_healthy and self.failure is None and self.lost is None
        return self.site.keep and healthy and not self.site.stop.requested

    def _keep(self) -> bool:
        """Let the worker stay; say if it does. One that cannot be told to is ended."""
        worker = self.worker
        if worker is None:
            return False
        try:
            self.kept_until = self.site.target.keep(worker)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must not be left running
            self.error = f"it could not be kept: {error}"
            return False
        self.site.journal.worker(self._number, worker.id, worker.endpoint, self.kept_until)
        self.tell(KEPT, f"kept at {worker.endpoint} until {clock_time(self.kept_until)}")
        return True

    # -- teardown -----------------------------------------------------------------------------

    def _end(self) -> None:
        site, stack = self.site, self.spec.stack
        self.tell("destroying", "destroying the stack")
        with site.timeline.span("destroy", self.spans):
            unsure = _may_have_made_more(self.failure)
            if unsure:
                # What a call that broke off has made is not seen at once.
                time.sleep(site.target.settle)
            problem = tear_down(
                site.engine,
                site.target,
                stack,
                unsure=unsure,
                hurried=lambda: site.stop.hurried,
                tell=lambda text: self.tell("destroying", text),
            )
        self.destroyed = not problem
        if problem:
            before = f"; before that: {self.error}" if self.error else ""
            self.error = f"teardown not verified: {problem}{before}"

    def tell(self, state: str, text: str = "") -> None:
        """Tell what state the batch has come to."""
        self.state = state
        if self._number:
            self.site.journal.progress(self._number, state, self.spans)
        self.site.timeline.tell(
            EventKind.BATCH_STATE,
            text,
            batch=self.batch.label,
            state=state,
            stack=self.spec.stack,
            worker=self.label,
            scenes=len(self.batch.scenes),
        )


def clock_time(moment: float) -> str:
    """Give a moment as a person reads it on this machine's clock."""
    return f"{datetime.fromtimestamp(moment).astimezone():%H:%M:%S %Z}"


def _with_words(error: CloudBurstError, words: str) -> CloudBurstError:
    if isinstance(error, WorkerTerminated):
        return WorkerTerminated(f"{error}{words}", blameless=error.blameless)
    return type(error)(f"{error}{words}")


def _may_have_made_more(failure: Exception | None) -> bool:
    """Say if a failed `up` may have made something that nobody knows of yet."""
    return isinstance(failure, EngineError) and verdict(code_of(str(failure)), str(failure)) in (
        Verdict.WAIT,
        Verdict.FAIL,
    )
