"""What an earlier session of a run has left: taken over if it still works, ended if not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cloudburst.errors import InfrastructureError
from cloudburst.journal.state import KILLED
from cloudburst.models import EventKind
from cloudburst.run.batch import worker_spec
from cloudburst.run.teardown import recover
from cloudburst.run.worker_run import AdoptedWorker
from cloudburst.workers.client import VideoApi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.journal.state import RunState, UnfinishedWorker
    from cloudburst.models import BatchResult, Launch
    from cloudburst.run.batch import BatchRunner
    from cloudburst.run.context import RunContext

_ASKERS = 8


@dataclass
class EarlierWorkers:
    """Workers of which the journal does not say that they are gone.

    Args:
        open: those.
        run_id: the run's.
        site: what the run shares.
    """

    open: tuple[UnfinishedWorker, ...]
    run_id: str
    site: RunContext
    _problems: dict[str, str] = field(default_factory=dict)
    _adopted: list[AdoptedWorker] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def adopt(self, wanted: int) -> list[AdoptedWorker]:
        """Take over as many workers as are wanted, of those that answer and are the run's."""
        if wanted and self.open:
            with ThreadPoolExecutor(_ASKERS) as pool:
                answers = list(pool.map(self._answering, self.open))
            self._adopted = [one for one in answers if one is not None][:wanted]
        for mine in self._adopted:
            self._tell(mine.launch, f"going on with {mine.worker.id}, which still works")
        return list(self._adopted)

    def _answering(self, launch: UnfinishedWorker) -> AdoptedWorker | None:
        site = self.site
        if launch.worker is None:
            return None
        try:
            key = str(site.engine.outputs(launch.stack)["key"])
            spec = worker_spec(
                run_id=self.run_id,
                batch=launch.batch,
                job="",
                rung=launch.rung,
                room=launch.room,
                limits=site.limits,
                log=site.folder / "logs" / f"{launch.label}.log",
                key=key,
            )
            worker = site.target.adopt(spec, launch)
        except (InfrastructureError, KeyError):
            return None
        if worker is None or VideoApi(worker).healthy() is not None:
            return None
        return AdoptedWorker(launch, worker)

    def threads(self) -> list[threading.Thread]:
        """Give threads that end what was not taken over, one for each stack."""
        taken = {mine.launch.stack for mine in self._adopted}
        stacks = dict.fromkeys(one.stack for one in self.open if one.stack not in taken)
        # Until it is seen to be gone, it is not: somebody may ask not to wait for that.
        self._problems = dict.fromkeys(stacks, "its end was not waited for")
        return [
            threading.Thread(target=self._end, args=(stack,), name=stack, daemon=True)
            for stack in stacks
        ]

    def _end(self, stack: str) -> None:
        launch = next(one for one in self.open if one.stack == stack)
        self._tell(launch, f"ending what {launch.label} of an earlier session has left")
        problem = recover(
            self.site.engine,
            self.site.target,
            stack,
            hurried=lambda: self.site.stop.hurried,
            tell=lambda text: self._tell(launch, text),
        )
        if problem:
            with self._lock:
                self._problems[stack] = problem
        else:
            self.site.journal.gone(stack, KILLED)
            with self._lock:
                del self._problems[stack]
            self._tell(launch, f"nothing is left of {stack}")

    def _tell(self, launch: UnfinishedWorker, text: str) -> None:
        self.site.timeline.tell(EventKind.RECOVERY, text, stack=launch.stack)

    # -- for the report -----------------------------------------------------------------------

    @property
    def left(self) -> list[str]:
        """Tell what could not be verified as gone, a line each."""
        with self._lock:
            problems = dict(self._problems)
        return [
            f"{stack}: {problem}; remove it with: cloudburst cleanup {self.run_id}, "
            f"or: {self.site.target.removal(stack)}"
            for stack, problem in problems.items()
        ]

    def launches_before(self, history: RunState, mine: AdoptedWorker) -> tuple[Launch, ...]:
        """Give the launches of an adopted worker's batch that came before it."""
        batch = next(one for one in history.batches if one.label == mine.launch.batch)
        return batch.launches[:-1]

    def batches(self, history: RunState, lives: Sequence[BatchRunner]) -> tuple[BatchResult, ...]:
        """Give the batches of earlier sessions as they are now."""
        going_on = {life.stack for life in lives}
        with self._lock:
            gone = {one.stack for one in self.open} - set(self._problems)
        return tuple(
            _ended(batch) if batch.stack in gone else batch
            for batch in history.batches
            if batch.stack not in going_on
        )


def _ended(batch: BatchResult) -> BatchResult:
    launches = tuple(
        one if one.destroyed else replace(one, destroyed=True, error=one.error or KILLED)
        for one in batch.launches
    )
    return replace(batch, launches=launches, error=batch.error or KILLED)
