"""One worker: its stack comes up, it renders scenes, its stack is destroyed.

Whatever happens in between, the last step is taken, repeated, and verified with the provider.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cloudburst.errors import (
    CloudBurstError,
    EngineError,
    InfrastructureError,
    WorkerTerminated,
    WorkerUnhealthy,
)
from cloudburst.language import later, tr
from cloudburst.models import (
    Condition,
    EventKind,
    Health,
    Launch,
    Phase,
    Refusal,
    Verdict,
    WorkerState,
)
from cloudburst.runner.ending.teardown import tear_down
from cloudburst.runner.worker.render_loop import WATCH_EVERY, RenderLoop
from cloudburst.runner.worker.renewals import Renewals
from cloudburst.workers.agent import AgentApi
from cloudburst.workers.client import VideoApi

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import (
        Batch,
        Quote,
        Span,
        UnfinishedWorker,
        Worker,
        WorkerSpec,
    )
    from cloudburst.runner.context import OpenTarget, RunContext
    from cloudburst.workers.agent import Boot

# For requests to a worker that is gone: they fail by themselves.
JOIN_TIMEOUT = 10.0
LOGS_TIMEOUT = 5.0
_BOOT = {
    "booting": later("booting: {detail}"),
    "pulling": later("pulling {detail}"),
    "waiting": later("waiting for the video API's files"),
    "starting": later("starting the video API"),
    "ready": later("ready: {detail}"),
    "failed": later("failed: {detail}"),
}


@dataclass(frozen=True, slots=True)
class AdoptedWorker:
    """A worker of an earlier session that still works.

    Args:
        launch: its entry in the journal.
        worker: where it is.
    """

    launch: UnfinishedWorker
    worker: Worker


class _NotNeededError(Exception):
    """No scene waits for the worker that is starting."""


class WorkerRun:
    """One worker of a batch, from `up` to its verified teardown.

    Args:
        label: the worker's, ``b01`` or ``b01.2``.
        batch: the scenes it begins with.
        spec: what its stack declares.
        context: what it shares with the run's other workers.
        on: its target.
        adopted: a worker of an earlier session to take over instead of creating one.

    Attributes:
        state: how far it has come.
        was_healthy: its video API answered.
        destroyed: the provider confirmed that nothing of it exists.
        kept_until: when a kept worker ends itself, seconds since 1970; None when it is not kept.
        failure: what it failed of; None when it did not fail.
        error: the same, for people; also set when the worker was taken away.
    """

    def __init__(
        self,
        label: str,
        batch: Batch,
        spec: WorkerSpec,
        context: RunContext,
        on: OpenTarget,
        adopted: AdoptedWorker | None = None,
    ) -> None:
        self.label = label
        self.spec = spec
        self.state = WorkerState.WAITING
        self.worker: Worker | None = None
        self.was_healthy = self.destroyed = False
        self.kept_until: float | None = None
        self.failure: Exception | None = None
        self.error: str | None = None
        self._batch = batch
        self._context = context
        self._on = on
        self._adopted = adopted
        self._price = adopted.launch.price if adopted else None
        self._spans: list[Span] = list(adopted.launch.spans) if adopted else []
        self._row = adopted.launch.number if adopted else 0
        self._renewals = Renewals(
            context.timeline.now,
            lambda renewal: context.journal.renewal(self._row, renewal),
            adopted.launch.renewals if adopted else (),
        )
        self._loop: RenderLoop | None = None
        self._agent: AgentApi | None = None

    def run(self) -> None:
        """Run it to its end. Never raises: see `error`, and `destroyed` for what remains."""
        try:
            self._work()
        except _NotNeededError:
            pass  # others have taken every scene
        except CloudBurstError as error:
            self.failure, self.error = error, str(error)
            self._stop_launches()
        except Exception as error:  # noqa: BLE001 - a bug must not leave a machine running
            self.failure = error
            self.error = tr(
                "unexpected {error}: {reason}", error=type(error).__name__, reason=error
            )
        finally:
            self._finish()

    def _stop_launches(self) -> None:
        """Let no other worker begin that would fail alike: now, since this one's end takes time."""
        refusal = self.refusal
        if refusal.verdict is Verdict.STOP and not self.was_healthy:
            self._on.workers.ladder.stop(refusal.explain(str(self.failure)))

    def _finish(self) -> None:
        self._context.queue.leave(self.label)
        if self.state is WorkerState.WAITING:
            self.destroyed = True  # nothing was ever created
        elif not (self._is_to_be_kept() and self._keep()):
            self._keep_logs()
            self._destroy()
        if self._loop is not None:
            self._loop.join(JOIN_TIMEOUT)
        if self._row:
            self._context.journal.ended(self._row, self.result(), self.state)

    @property
    def lost(self) -> Condition | None:
        """Why the worker was taken away while it worked, None if it was not."""
        return self._loop.lost if self._loop is not None else None

    @property
    def refusal(self) -> Refusal:
        """What the provider's answer to its creation, or the worker's end, means."""
        if isinstance(self.failure, InfrastructureError):
            return self.failure.refusal
        if self.failure is None and self.lost is not None:
            return self.lost.refusal
        return Refusal()

    def result(self) -> Launch:
        """Return what became of it."""
        results, workers = self._context.results, self._on.workers
        return Launch(
            label=self.label,
            worker=self.worker.id if self.worker else None,
            rung=self.spec.rung,
            price=self._price,
            # A rung that gave no worker has the label of the one that did.
            scenes_done=results.done_by(self.label) if self.was_healthy else 0,
            spans=tuple(self._spans),
            destroyed=self.destroyed,
            bytes_sent=self._sent,
            expires=self.kept_until or (workers.expires(self.spec.stack) if self._row else None),
            code=self.refusal.code,
            error=self.error,
            target=self._on.name,
            renderer=self._on.renderer,
            renewals=self._renewals.noted,
        )

    # -- work -----------------------------------------------------------------------------------

    def _work(self) -> None:
        context = self._context
        worker = self._take_over() if self._adopted else self._create()
        if worker is None:
            return
        self.worker = worker
        self._check_needed()
        shrink = context.shrink and self._on.billing is not None
        api = self._api(worker, shrink=shrink)
        with context.timeline.span(Phase.HEALTH, self._spans):
            self._wait_healthy(api, worker)
        self.was_healthy = True
        context.queue.join(self.label)
        self.report(WorkerState.WORKING, self._rendering())
        self._loop = RenderLoop(self.label, self._batch.label, worker, api, context, self._on)
        with context.timeline.span(Phase.DRIVE, self._spans):
            self._loop.run()
        if self._loop.lost is not None:
            gone = tr("the worker is gone: {reason}", reason=self._loop.lost.reason)
            self.error = f"{gone}{self._log_tail()}"

    def _api(self, worker: Worker, *, shrink: bool) -> VideoApi:
        """Return what asks a worker; report that it is waited for."""
        if worker.certificate is None:
            self.report(WorkerState.STARTING, tr("waiting for the video API"))
            return VideoApi(worker, self._on.effort, shrink)
        self.report(WorkerState.STARTING, tr("waiting for the machine to boot"))
        self._agent = AgentApi(worker, self._on.effort, shrink)
        self._agent.on_boot = self._report_boot
        self._agent.on_renewed = self._renewals.renewed
        return self._agent

    @property
    def _sent(self) -> int:
        """Bytes of the video API's files that were sent to the machine."""
        return self._agent.sent if self._agent else 0

    def _report_boot(self, boot: Boot) -> None:
        """Report how far a machine is that boots, by its own word."""
        if self.state is WorkerState.STARTING:
            text = tr(_BOOT[boot.state], detail=tr(boot.detail))
            self.report(WorkerState.STARTING, text, boot=boot.state)

    def _create(self) -> Worker | None:
        """Bring the stack up; return None when the run is being stopped."""
        context, spec, workers = self._context, self.spec, self._on.workers
        quote = workers.quote(spec.rung)
        self._price = quote.price if quote else None
        program = workers.program(spec, quote)
        # Written first: whatever happens from now on, the journal knows that there may be a stack.
        self._row = self._note_launch(quote)
        # First the state, then the question: a request to stop that comes in between finds a
        # batch to interrupt, and one that came before is seen here.
        self.state = WorkerState.CREATING
        if context.stop.requested:
            self.state = WorkerState.WAITING
            return None
        text = tr("creating the stack: {rung}", rung=spec.rung.shown)
        self.report(WorkerState.CREATING, text)
        with context.timeline.span(Phase.UP, self._spans):
            # Checked when a slot is free: while it waited, others may have taken every scene, or
            # launching may have been stopped.
            outputs = self._on.engine.up(spec.stack, program, begin=self._check_wanted)
        worker = workers.worker(spec, outputs)
        expires = workers.expires(spec.stack)
        context.journal.worker(self._row, worker.id, worker.endpoint, expires)
        return worker

    def _note_launch(self, quote: Quote | None) -> int:
        spec = self.spec
        return self._context.journal.launch(
            batch=self._batch.label,
            label=self.label,
            stack=spec.stack,
            target=self._on.name,
            rung=spec.rung,
            price=quote.price if quote else None,
            room=spec.room,
            expires=self._on.workers.expires(spec.stack),
            renderer=self._on.renderer,
        )

    def _take_over(self) -> Worker | None:
        self.state = WorkerState.STARTING
        return self._adopted.worker if self._adopted else None

    def _rendering(self) -> str:
        """Return that the worker renders, and when it ends itself, where it does."""
        expires = self._on.workers.expires(self.spec.stack)
        if not expires:
            return tr("rendering")
        return tr("rendering; it ends itself at {time}", time=clock_time(expires))

    def _wait_healthy(self, api: VideoApi, worker: Worker) -> None:
        """Wait until the worker answers; break off when its provider says that it never will."""
        looks = _Looks(lambda: self._on.workers.condition(worker))

        def pause(seconds: float) -> bool:
            self._check_needed()
            _check(looks.latest())
            return self._context.stop.sleep(seconds)

        try:
            api.wait_healthy(self._context.limits.health_timeout, pause)
        except WorkerTerminated as error:
            message = f"{error}{self._log_tail()}"
            raise WorkerTerminated(
                message, blameless=error.blameless, refusal=error.refusal
            ) from error
        except WorkerUnhealthy as error:
            # What the agent tells is more than the console's last lines.
            tail = "" if error.refusal.code else self._log_tail()
            raise WorkerUnhealthy(f"{error}{tail}", error.refusal) from error

    def _check_needed(self) -> None:
        """End a worker that has not begun when no scene waits for it any more."""
        if not self._context.queue.pending() and not self._context.stop.requested:
            raise _NotNeededError

    def _check_wanted(self) -> None:
        """End a worker whose turn has come when it is not needed, or nothing may be launched."""
        self._check_needed()
        reason = self._on.workers.ladder.stopped
        if reason:
            raise InfrastructureError(reason)

    def _log_tail(self) -> str:
        stopped = self._context.stop.requested
        lines = "" if stopped else self._on.workers.last_log_lines(self.spec)
        return tr("; its last log lines: {lines}", lines=lines) if lines else ""

    def _keep_logs(self) -> None:
        """Write the logs of a machine that failed beside the report, while it is there."""
        failed = self.failure is not None or self.lost is not None
        if self._agent is None or not failed or self._context.stop.hurried:
            return
        if isinstance(self.failure, WorkerTerminated) or self._agent.boot is None:
            return
        with contextlib.suppress(CloudBurstError, OSError):
            self._agent.write_logs(self.spec.log.parent, self.label, LOGS_TIMEOUT)

    # -- keeping --------------------------------------------------------------------------------

    def _is_to_be_kept(self) -> bool:
        """Whether a worker that has done its work is to stay for a person."""
        healthy = self.was_healthy and self.failure is None and self.lost is None
        return self._context.keep and healthy and not self._context.stop.requested

    def _keep(self) -> bool:
        """Keep the worker; return whether it stays. One that cannot be kept is destroyed."""
        worker = self.worker
        if worker is None:
            return False
        try:
            self.kept_until = self._on.workers.keep(worker)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must not be left running
            self.error = tr("it could not be kept: {reason}", reason=error)
            return False
        self._context.journal.worker(self._row, worker.id, worker.endpoint, self.kept_until)
        text = tr(
            "kept at {endpoint} until {time}",
            endpoint=worker.endpoint,
            time=clock_time(self.kept_until),
        )
        self.report(WorkerState.KEPT, text)
        return True

    # -- teardown -------------------------------------------------------------------------------

    def _destroy(self) -> None:
        context, stack, resources = self._context, self.spec.stack, self._on.resources
        self.report(WorkerState.DESTROYING, tr("destroying the stack"))
        with context.timeline.span(Phase.DESTROY, self._spans):
            unsure = _may_have_created_more(self.failure)
            if unsure:
                # What a call that broke off has created is not described at once.
                time.sleep(resources.settle)
            problem = tear_down(
                self._on.engine,
                resources,
                stack,
                unsure=unsure,
                hurried=lambda: context.stop.hurried,
                log=lambda text: self.report(WorkerState.DESTROYING, text),
            )
        self.destroyed = not problem
        if problem:
            self.error = _not_verified(problem, self.error)

    def report(self, state: WorkerState, text: str = "", **more: str) -> None:
        """Report the state that the worker, and with it its batch, has reached."""
        self.state = state
        if self._row:
            self._context.journal.progress(self._row, state, self._spans, self._sent)
        self._context.timeline.emit(
            EventKind.BATCH_STATE,
            text,
            batch=self._batch.label,
            state=str(state),
            stack=self.spec.stack,
            worker=self.label,
            scenes=len(self._batch.scenes),
            **more,
        )


class _Looks:
    """Asks how a worker is, now and then, and lets nobody wait: a provider may take a minute.

    Meanwhile its machine is asked, and told to be failed within seconds.

    Args:
        ask: the provider; what it raises is no news.
    """

    def __init__(self, ask: Callable[[], Condition]) -> None:
        self._ask = ask
        self._condition = Condition()
        self._thread: threading.Thread | None = None
        self._asked = time.monotonic()

    def latest(self) -> Condition:
        """Return the last answer; ask again if it is old."""
        waiting = self._thread is not None and self._thread.is_alive()
        if self._condition.health is Health.GONE:
            return self._condition  # for good
        if not waiting and time.monotonic() - self._asked > WATCH_EVERY:
            self._asked = time.monotonic()
            self._thread = threading.Thread(target=self._look, name="condition", daemon=True)
            self._thread.start()
        return self._condition

    def _look(self) -> None:
        with contextlib.suppress(InfrastructureError):
            self._condition = self._ask()


def _check(condition: Condition) -> None:
    """Raise `WorkerTerminated` if a worker will never be healthy, by its provider's word."""
    if condition.health is Health.GONE:
        raise WorkerTerminated(
            tr("the worker ended before it was healthy: {reason}", reason=condition.reason),
            blameless=condition.blameless,
            refusal=condition.refusal,
        )


def clock_time(moment: float) -> str:
    """Return a moment, in seconds since 1970, as this machine's clock shows it."""
    return f"{datetime.fromtimestamp(moment).astimezone():%H:%M:%S %Z}"


def _not_verified(problem: str, error: str | None) -> str:
    if error:
        return tr(
            "teardown not verified: {problem}; before that: {error}", problem=problem, error=error
        )
    return tr("teardown not verified: {problem}", problem=problem)


def _may_have_created_more(failure: Exception | None) -> bool:
    """Whether a failed `up` may have created something that nobody knows of yet."""
    return isinstance(failure, EngineError) and failure.refusal.verdict in (
        Verdict.WAIT,
        Verdict.FAIL,
    )
