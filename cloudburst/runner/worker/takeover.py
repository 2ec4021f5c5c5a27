"""Workers that an earlier session of a run has left: adopted if they still work, ended if not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.errors import InfrastructureError, WorkerUnreachable
from cloudburst.journal.state import KILLED
from cloudburst.language import tr
from cloudburst.models import EventKind
from cloudburst.runner.batch import worker_spec
from cloudburst.runner.ending.teardown import recover
from cloudburst.runner.worker.worker_run import AdoptedWorker, clock_time
from cloudburst.workers.agent import AgentApi
from cloudburst.workers.client import VideoApi

if TYPE_CHECKING:
    from collections.abc import Container

    from cloudburst.journal.state import RunState
    from cloudburst.models import BatchResult, Launch, UnfinishedWorker, Worker
    from cloudburst.runner.context import RunContext

_ASKERS = 8


class EarlierWorkers:
    """Workers that the journal does not record as gone.

    Args:
        before: the run as its earlier sessions have left it.
        context: what the run shares.
        wanted: by target, how many workers may be adopted there.
    """

    def __init__(self, before: RunState, context: RunContext, wanted: dict[str, int]) -> None:
        self._before = before
        self._context = context
        self._lock = threading.Lock()
        self.adopted = self._adopt(wanted)
        stacks = {worker.launch.stack for worker in self.adopted}
        self._ending = dict.fromkeys(
            one.stack for one in before.unfinished if one.stack not in stacks
        )
        # A stack stays here until it is verified as gone: somebody may ask not to wait for that.
        self._problems = dict.fromkeys(self._ending, tr("its end was not waited for"))

    def _adopt(self, wanted: dict[str, int]) -> list[AdoptedWorker]:
        """Take over as many workers as are wanted, of those that answer and are the run's."""
        candidates = [one for one in self._before.unfinished if wanted.get(one.target)]
        if not candidates:
            return []
        with ThreadPoolExecutor(_ASKERS) as pool:
            answering = [worker for worker in pool.map(self._answering, candidates) if worker]
        adopted = []
        rest = dict(wanted)
        for worker in answering:
            if rest[worker.launch.target] > 0:
                rest[worker.launch.target] -= 1
                adopted.append(worker)
                text = tr("going on with {worker}, which still works", worker=worker.worker.id)
                self._report(worker.launch, text)
        return adopted

    def _answering(self, launch: UnfinishedWorker) -> AdoptedWorker | None:
        on = self._context.targets[launch.target]
        if launch.worker is None:
            return None
        try:
            outputs = on.engine.outputs(launch.stack)
            certificate = outputs.get("certificate")
            spec = worker_spec(
                self._context.record,
                self._context.longest_timeout(on),
                launch.batch,
                launch.rung,
                launch.room,
                launch.label,
                str(outputs["key"]),
                None if certificate is None else str(certificate),
            )
            worker = on.workers.adopt(spec, launch)
        except (InfrastructureError, KeyError):
            return None
        if worker is None:
            return None
        if not _goes_on(worker):
            return None
        return AdoptedWorker(launch, worker)

    def threads(self) -> list[threading.Thread]:
        """Return threads that end what was not adopted, one for each stack."""
        return [
            threading.Thread(target=self._end, args=(stack,), name=stack, daemon=True)
            for stack in self._ending
        ]

    def _end(self, stack: str) -> None:
        launch = self._launch_of(stack)
        on, stop = self._context.targets[launch.target], self._context.stop
        text = tr("ending what {worker} of an earlier session has left", worker=launch.label)
        self._report(launch, text)
        problem = recover(
            on.engine,
            on.resources,
            stack,
            hurried=lambda: stop.hurried,
            log=lambda text: self._report(launch, text),
        )
        if problem:
            with self._lock:
                self._problems[stack] = problem
            return
        self._context.journal.gone(stack, KILLED)
        with self._lock:
            del self._problems[stack]
        self._report(launch, tr("nothing is left of {stack}", stack=stack))

    def _launch_of(self, stack: str) -> UnfinishedWorker:
        return next(one for one in self._before.unfinished if one.stack == stack)

    def _report(self, launch: UnfinishedWorker, text: str) -> None:
        self._context.timeline.emit(EventKind.RECOVERY, text, stack=launch.stack)

    # -- for the report -------------------------------------------------------------------------

    @property
    def remaining(self) -> list[str]:
        """What could not be verified as gone, a line each."""
        with self._lock:
            problems = dict(self._problems)
        return [
            removal_line(self._context, launch.target, stack, problem, launch.expires)
            for stack, problem in problems.items()
            for launch in [self._launch_of(stack)]
        ]

    def launches_before(self, worker: AdoptedWorker) -> tuple[Launch, ...]:
        """Return the launches of an adopted worker's batch that came before it."""
        label = worker.launch.batch
        batch = next(batch for batch in self._before.batches if batch.label == label)
        return batch.launches[:-1]

    def batches(self, continued: Container[str]) -> tuple[BatchResult, ...]:
        """Return the batches of earlier sessions as they are now.

        Args:
            continued: stacks that this session goes on with.
        """
        with self._lock:
            gone = self._ending.keys() - self._problems.keys()
        return tuple(
            _ended(batch) if batch.stack in gone else batch
            for batch in self._before.batches
            if batch.stack not in continued
        )


def _goes_on(worker: Worker) -> bool:
    """Whether a worker is healthy, and ready for scenes of this session alone."""
    if worker.certificate is None:
        return VideoApi(worker).healthy() is None
    api = AgentApi(worker)
    if api.healthy() is not None:
        return False
    try:
        # New scenes would wait for those of the killed session, whose videos nobody fetches.
        api.forget()
    except WorkerUnreachable:
        return False
    return True


def removal_line(
    context: RunContext, target: str, stack: str, problem: str, expires: float | None
) -> str:
    """Return the line that says why a stack may still exist, what removes it, and when it ends."""
    removal = context.targets[target].resources.removal(stack)
    line = tr(
        "{stack}: {problem}; remove it with: cloudburst cleanup {run}, or: {command}",
        stack=stack,
        problem=problem,
        run=context.run_id,
        command=removal,
    )
    return with_end(line, expires)


def with_end(line: str, expires: float | None) -> str:
    """Return a line on what may run, with the time at which it ends itself, if that is known."""
    if not expires:
        return line
    return tr(
        "{line}; if nobody removes it, it ends itself at {time}",
        line=line,
        time=clock_time(expires),
    )


def _ended(batch: BatchResult) -> BatchResult:
    launches = tuple(
        one if one.destroyed else replace(one, destroyed=True, error=one.error or KILLED)
        for one in batch.launches
    )
    return replace(batch, launches=launches, error=batch.error or KILLED)
