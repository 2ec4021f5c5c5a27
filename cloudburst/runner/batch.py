"""One batch: up the failover ladder until a worker has done the work, then down again.

A batch has one stack. A rung is left only when the provider confirms that nothing of it exists; a
worker that is taken away while it renders is replaced as long as scenes wait.
"""

from __future__ import annotations

import random
import secrets
import threading
from typing import TYPE_CHECKING

from cloudburst.errors import InfrastructureError, WorkerTerminated
from cloudburst.language import later, tr
from cloudburst.models import (
    BatchResult,
    EventKind,
    Health,
    StackName,
    Verdict,
    WorkerLabel,
    WorkerSpec,
    WorkerState,
)
from cloudburst.runner.context import LOGS
from cloudburst.runner.worker.worker_run import AdoptedWorker, WorkerRun
from cloudburst.targets import boots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.models import Batch, Launch, Rung, RunRecord
    from cloudburst.runner.context import OpenTarget, RunContext
    from cloudburst.runner.worker.takeover import EarlierWorkers

# Throttled, or broken off on the way: so many times on one rung, with pauses that grow, in seconds.
PATIENCE = 5
# While the provider's session has expired and somebody may log in: about an hour.
LOGIN_PATIENCE = 60
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
# Seconds: how often a batch that waits for a quota looks whether a worker has ended.
QUOTA_PAUSE = 1.0
# Workers that are taken away before a video was downloaded, through no fault of what they did: so
# many times as often as others. A lease that is too short, or a market that takes all back, must
# end.
BLAMELESS = 3
# Machines of a batch that may fail to boot of what need not be every machine's.
BOOTS = 2


class BatchRunner:
    """One batch and its workers, one after the other.

    Args:
        batch: the scenes its workers begin with.
        workers: how many batches there are on its target.
        context: what it shares with the others.
        on: its target.
        adopted: a worker of an earlier session to begin with.
        before: launches of earlier sessions.

    Attributes:
        error: why it ended without a worker that did its work; None otherwise.
        launches: its workers in this session, in order.
    """

    def __init__(
        self,
        batch: Batch,
        workers: int,
        context: RunContext,
        on: OpenTarget,
        adopted: AdoptedWorker | None = None,
        before: tuple[Launch, ...] = (),
    ) -> None:
        self.batch = batch
        self.on = on
        self.error: str | None = None
        self.launches: list[WorkerRun] = []
        self._workers = workers
        self._context = context
        self._adopted = adopted
        self._before = before
        self._tried: set[Rung] = set()
        self._waits = 0
        self._login_waits = 0
        self._futile = 0
        self._boots = 0

    @property
    def stack(self) -> str:
        """Name of the batch's stack."""
        return str(StackName(self._context.run_id, self.batch.number))

    @property
    def destroyed(self) -> bool:
        """Whether the provider has confirmed that nothing of it exists."""
        return all(launch.destroyed for launch in self.launches)

    @property
    def kept(self) -> WorkerRun | None:
        """The worker that stays for a person, None when there is none."""
        return next((one for one in self.launches if one.kept_until is not None), None)

    def run(self) -> None:
        """Run it to its end. Never raises: what went wrong is in `error`."""
        while (launch := self._next_launch()) is not None:
            self.launches.append(launch)
            launch.run()
            if launch.destroyed:
                self.on.workers.ladder.release(launch.spec.rung)
            self.error = launch.error
            if not launch.destroyed or not self._needs_another(launch):
                break
        if self.launches:
            self._report_end(self.launches[-1])

    def _report_end(self, last: WorkerRun) -> None:
        if last.destroyed and last.lost is not None and last.lost.health is Health.LEAVING:
            self.error = None  # it was asked to leave, and left when its work was done
        if last.kept_until is not None:
            return
        if not last.destroyed:
            last.report(WorkerState.LEFT_RUNNING, self.error or "")
        elif self.error and not self._context.stop.requested:
            last.report(WorkerState.FAILED, self.error)
        else:
            last.report(WorkerState.GONE)

    def interrupt(self, *, kill: bool) -> None:
        """End what is being created, politely or at once."""
        if self.launches and self.launches[-1].state is WorkerState.CREATING:
            self.on.engine.interrupt(self.stack, kill=kill)

    def result(self) -> BatchResult:
        """Return what became of it."""
        return BatchResult(
            label=self.batch.label,
            stack=self.stack,
            launches=(*self._before, *(launch.result() for launch in self.launches)),
            error=self.error,
        )

    def _next_launch(self) -> WorkerRun | None:
        if self._adopted is not None and not self.launches:
            launch = self._adopted.launch
            label = WorkerLabel.parse(launch.label)
            self.on.workers.ladder.hold(launch.rung)
            spec = self._spec(launch.rung, label, key=self._adopted.worker.key)
            return self._worker_run(label, spec, self._adopted)
        rung = self._next_rung()
        if rung is not None and self._wait_for_turn():
            self.on.workers.ladder.release(rung)
            rung = self._next_rung()  # what was open may be closed by now
        if rung is None:
            return None
        label = self._next_label()
        return self._worker_run(label, self._spec(rung, label))

    def _worker_run(
        self, label: WorkerLabel, spec: WorkerSpec, adopted: AdoptedWorker | None = None
    ) -> WorkerRun:
        return WorkerRun(str(label), self.batch, spec, self._context, self.on, adopted)

    def _wait_for_turn(self) -> bool:
        """Wait until this launch may begin; return whether it had to wait."""
        context = self._context
        seconds = context.pace.take_turn()
        if seconds <= 0:
            return False
        self._report_waiting(
            tr("launching in {seconds:.0f} s (distribution.launch_pause)", seconds=seconds)
        )
        context.pace.wait(seconds, context.stop.sleep, self._may_launch)
        return True

    def _report_waiting(self, text: str) -> None:
        self._context.timeline.emit(
            EventKind.BATCH_STATE,
            text,
            batch=self.batch.label,
            state=str(WorkerState.WAITING),
            stack=self.stack,
            worker=str(self._next_label()),
            scenes=len(self.batch.scenes),
        )

    # -- the ladder -----------------------------------------------------------------------------

    def _may_launch(self) -> bool:
        """Whether a worker is needed and no refusal has ended all launches."""
        return bool(self._context.queue.pending()) and not self.on.workers.ladder.stopped

    def _next_rung(self) -> Rung | None:
        """Return the next rung, reserved; wait while only the run's own workers fill its quota."""
        ladder, stop = self.on.workers.ladder, self._context.stop
        reported = False
        # Whatever happened before, without scenes that wait no further worker is needed.
        while not stop.requested and self._context.queue.pending():
            rung = ladder.reserve(self._tried)
            if rung is not None:
                return rung
            if not ladder.is_full(self._tried):
                self.error = ladder.stopped or self._attempts_summary()
                return None
            if not reported:
                self._report_waiting(
                    tr("waiting: the quota is used up by this run's other workers")
                )
                reported = True
            stop.sleep(QUOTA_PAUSE)
        return None

    def _attempts_summary(self) -> str:
        """Return what was tried, when no rung is left."""
        tried = [f"{one.spec.rung.shown}: {one.refusal.code or one.error}" for one in self.launches]
        text = tr("no rung is left; tried {rungs}", rungs="; ".join(dict.fromkeys(tried)))
        advice = dict.fromkeys(one.refusal.advice for one in self.launches if one.refusal.advice)
        return f"{text} ({'; '.join(advice)})" if advice else text

    def _needs_another(self, launch: WorkerRun) -> bool:
        """Whether another worker is to be tried; closes the rungs that need not be."""
        if launch.was_healthy:
            return self._needs_replacement(launch)
        verdict = _verdict(launch.failure)
        if boots.is_its_own(launch.refusal.code):
            return self._boot_again(launch)
        if verdict is Verdict.FAIL and launch.refusal.advice:
            self.error = _with_advice(launch)
        return verdict is not Verdict.FAIL and self._advance(launch, verdict)

    def _boot_again(self, launch: WorkerRun) -> bool:
        """Whether a machine that could not boot is followed by another one: once."""
        self._boots += 1
        self.error = _with_advice(launch)
        again = self._boots < BOOTS
        if again:
            failed = f"{launch.spec.rung.shown}: {_answer(launch)}"
            self._report_failover(launch, tr("{failed}; next: another machine", failed=failed))
        return again

    def _needs_replacement(self, launch: WorkerRun) -> bool:
        """Whether a worker that was taken away is replaced: not for ever without a video.

        Without any, there are as many workers as attempts at a scene.
        """
        if launch.lost is None:
            return False
        productive = self._context.results.done_by(launch.label) > 0 or launch.lost.of_scene
        self._futile = 0 if productive else self._futile + 1
        self._tried.clear()
        self._waits = 0
        self._login_waits = 0
        refusal = launch.refusal
        if refusal.code and refusal.verdict is Verdict.NEXT:
            self.on.workers.ladder.close(launch.spec.rung, Verdict.NEXT)
        patience = BLAMELESS if launch.lost.blameless else 1
        again = self._futile < self._context.limits.attempts * patience
        if not again:
            self.error = _with_advice(launch)
        return again

    def _advance(self, launch: WorkerRun, verdict: Verdict) -> bool:
        """Act on a refusal; return whether another launch is to be tried."""
        if verdict is Verdict.ONCE:
            first = self.on.workers.ladder.is_first(launch.refusal.code or "")
            verdict = Verdict.NEXT if first else Verdict.STOP
        if verdict is Verdict.STOP:
            self.error = _with_advice(launch)
            self.on.workers.ladder.stop(self.error or "")
            return False
        if verdict is Verdict.WAIT:
            return self._wait(launch)
        ladder, rung = self.on.workers.ladder, launch.spec.rung
        self._tried.update(ladder.close(rung, verdict))
        self._waits = 0
        self._login_waits = 0
        candidate = ladder.pick(self._tried)
        failed = f"{rung.shown}: {_answer(launch)}"
        text = tr("{failed}; no rung is left", failed=failed)
        if candidate:
            text = tr("{failed}; next: {rung}", failed=failed, rung=candidate.shown)
        self._report_failover(launch, text)
        return True

    def _wait(self, launch: WorkerRun) -> bool:
        if launch.refusal.login:
            # What else is waited for after it has all of its patience.
            self._waits = 0
            self._login_waits += 1
        else:
            self._waits += 1
        if self._waits > PATIENCE or self._login_waits > LOGIN_PATIENCE:
            return False
        waits = self._waits or self._login_waits
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(waits - 1, 9))
        pause *= random.uniform(0.5, 1.5)  # noqa: S311 - so that batches do not retry together
        failed = f"{launch.spec.rung.shown}: {_answer(launch)}"
        text = tr("{failed}; again in {seconds:.0f} s", failed=failed, seconds=pause)
        self._report_failover(launch, text)
        return not self._context.stop.sleep(pause)

    def _report_failover(self, launch: WorkerRun, text: str) -> None:
        self._context.timeline.emit(
            EventKind.FAILOVER,
            text,
            batch=self.batch.label,
            code=launch.refusal.code,
            rung=str(launch.spec.rung),
            error=launch.error,
        )

    def _next_label(self) -> WorkerLabel:
        """Return the next worker's label: rungs that gave none do not count."""
        number = 1 + sum(launch.was_healthy for launch in self.launches)
        if self._adopted is not None:
            number += WorkerLabel.parse(self._adopted.launch.label).number - 1
        return WorkerLabel(self.batch.number, number)

    def _spec(self, rung: Rung, label: WorkerLabel, key: str | None = None) -> WorkerSpec:
        room = self.on.workers.room(self._workers, rung)
        context = self._context
        return worker_spec(
            context.record,
            context.longest_timeout(self.on),
            self.batch.label,
            rung,
            room,
            str(label),
            key,
        )


def worker_spec(
    record: RunRecord,
    scene_timeout: float,
    batch: str,
    rung: Rung,
    room: int,
    label: str,
    key: str | None = None,
    certificate: str | None = None,
) -> WorkerSpec:
    """Return what one stack declares.

    Args:
        record: the run.
        scene_timeout: seconds after which it gives a scene up.
        batch: label of the batch.
        rung: how and where its worker is created.
        room: scenes it renders at once.
        label: the worker's.
        key: of a worker that exists; otherwise it gets one of its own that nobody can guess.
        certificate: of a worker that exists, if it has one.
    """
    return WorkerSpec(
        run_id=record.run_id,
        batch=batch,
        job=record.job,
        key=key or secrets.token_urlsafe(24),
        room=room,
        scene_timeout=scene_timeout,
        log=record.path / LOGS / f"{label}.log",
        rung=rung,
        certificate=certificate,
    )


def _verdict(failure: Exception | None) -> Verdict:
    """Return what it means for the ladder that a launch did not lead to a healthy worker."""
    if isinstance(failure, WorkerTerminated):
        return Verdict.NEXT
    # Not healthy, or a bug: without a provider's answer the next one would fail alike.
    return failure.refusal.verdict if isinstance(failure, InfrastructureError) else Verdict.FAIL


def _answer(launch: WorkerRun) -> str:
    return launch.refusal.code or tr("no answer")


def _with_advice(launch: WorkerRun) -> str | None:
    return launch.refusal.explain(launch.error) if launch.error else None


# -- all of a run's batches -----------------------------------------------------------------------


def run_all(batches: Sequence[BatchRunner], earlier: EarlierWorkers, context: RunContext) -> None:
    """Run all batches, each in a thread of its own, while earlier workers are ended."""
    context.queue.add([runner.batch for runner in batches])
    context.stop.on_request = lambda count: _on_stop(batches, context, count)
    # Daemon threads: a third request to stop does not wait for them.
    threads = [
        threading.Thread(target=runner.run, name=runner.batch.label, daemon=True)
        for runner in batches
    ]
    threads += earlier.threads()
    for thread in threads:
        thread.start()
    while (alive := [one for one in threads if one.is_alive()]) and not context.stop.abandoned:
        alive[0].join(0.1)
    context.stop.on_request = lambda _: None


_STOPPING = {
    1: later(
        "stopping: videos that are ready are downloaded, then all workers are destroyed; ask "
        "again to hurry"
    ),
    2: later("hurrying: all workers are destroyed and verified; ask again to leave at once"),
}
_LEAVING = later("leaving; what may still run is listed below")


def _on_stop(batches: Sequence[BatchRunner], context: RunContext, count: int) -> None:
    """Hand out nothing more and end what is being created; in a hurry, end it at once."""
    context.queue.stop()
    if count:
        text = tr(_STOPPING.get(count, _LEAVING))
        context.timeline.emit(EventKind.STOPPING, text, count=count)
    for runner in batches:
        runner.interrupt(kill=count > 1)
