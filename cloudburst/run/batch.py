"""One batch: up the failover ladder until a worker has done the work, then down again.

A batch has one stack. A rung is left only when the provider says that nothing of it is left; a
worker that is taken away while it renders is replaced as long as scenes wait.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudburst.errors import CloudRefused, EngineError, PriceUnknown, WorkerTerminated
from cloudburst.models import BatchResult, EventKind, Health, Rung, WorkerSpec
from cloudburst.run.worker_run import AdoptedWorker, WorkerRun
from cloudburst.targets.failover import Verdict, advice, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.models import Batch, Launch, Limits
    from cloudburst.run.context import RunContext

# Throttled, or failed on the way: so many times on one rung, with pauses that grow.
PATIENCE = 5
FIRST_PAUSE = 2.0
# Workers that are taken away before anything came home, through no fault of what they did: so many
# times as often as others. A lease that is too short, or a market that takes all back, must end.
BLAMELESS = 3
LONGEST_PAUSE = 60.0


@dataclass
class BatchRunner:
    """One batch and its workers, one after the other.

    Args:
        batch: the scenes its workers begin with.
        run_id: the run it belongs to.
        job: name of the job.
        workers: how many batches there are.
        site: what it shares with the others.
        adopted: a worker of an earlier session to begin with.
        before: launches of earlier sessions.
    """

    batch: Batch
    run_id: str
    job: str
    workers: int
    site: RunContext
    adopted: AdoptedWorker | None = None
    before: tuple[Launch, ...] = ()
    launches: list[WorkerRun] = field(default_factory=list)
    error: str | None = None
    _tried: set[Rung] = field(default_factory=set)
    _waits: int = 0
    _fruitless: int = 0

    @property
    def stack(self) -> str:
        """Name of the batch's stack."""
        return f"{self.run_id}-{self.batch.label}"

    @property
    def destroyed(self) -> bool:
        """The provider said that nothing of it is left."""
        return all(launch.destroyed for launch in self.launches)

    @property
    def kept(self) -> WorkerRun | None:
        """The worker that stays for a person, None when there is none."""
        return next((life for life in self.launches if life.kept_until is not None), None)

    def run(self) -> None:
        """Live it. Never raises: what went wrong is in `error`."""
        site = self.site
        while (life := self._next_launch()) is not None:
            self.launches.append(life)
            life.run()
            self.error = life.error
            if not life.destroyed or not self._go_on(life):
                break
        if not self.launches:
            return
        last = self.launches[-1]
        if last.destroyed and last.lost is not None and last.lost.health is Health.LEAVING:
            self.error = None  # it was told to leave, and left when its work was done
        if last.kept_until is not None:
            return
        if not last.destroyed:
            last.tell("left running", self.error or "")
        elif self.error and not site.stop.requested:
            last.tell("failed", self.error)
        else:
            last.tell("gone")

    def interrupt(self, *, kill: bool) -> None:
        """End what is being created, politely or at once."""
        if self.launches and self.launches[-1].state == "creating":
            self.site.engine.interrupt(self.stack, kill=kill)

    def result(self) -> BatchResult:
        """Give what became of it."""
        return BatchResult(
            label=self.batch.label,
            stack=self.stack,
            launches=(*self.before, *(life.result() for life in self.launches)),
            error=self.error,
        )

    def _next_launch(self) -> WorkerRun | None:
        if self.adopted is not None and not self.launches:
            launch = self.adopted.launch
            spec = self._spec(launch.rung, key=self.adopted.worker.key)
            return WorkerRun(launch.label, self.batch, spec, self.site, self.adopted)
        rung = self._next_rung()
        if rung is None:
            return None
        return WorkerRun(self._label(), self.batch, self._spec(rung), self.site)

    # -- the ladder ---------------------------------------------------------------------------

    def _next_rung(self) -> Rung | None:
        site = self.site
        if site.stop.requested or not site.queue.pending():
            return None  # whatever happened before, nobody needs another worker
        rung = site.ladder.pick(self._tried)
        if rung is None:
            self.error = site.ladder.stopped or self._tale()
        return rung

    def _tale(self) -> str:
        """Tell what was tried, when no rung is left."""
        tried = [f"{life.spec.rung}: {life.code or life.error}" for life in self.launches]
        return f"no rung is left; tried {'; '.join(dict.fromkeys(tried))}"

    def _go_on(self, life: WorkerRun) -> bool:
        """Say if another worker is to be tried; close the rungs that need not be."""
        if life.was_healthy:
            return self._replace(life)
        meaning = self._meaning(life)
        return meaning is not Verdict.FAIL and self._climb(life, meaning)

    def _meaning(self, life: WorkerRun) -> Verdict:
        """Say what it means for the ladder that a launch did not come to a healthy worker."""
        failure = life.failure
        if isinstance(failure, WorkerTerminated):
            return Verdict.NEXT
        if isinstance(failure, PriceUnknown) and life.spec.rung.market == "spot":
            return Verdict.NEXT  # this zone has none today
        if isinstance(failure, EngineError | CloudRefused):
            return verdict(life.code, str(failure))
        return Verdict.FAIL  # not healthy, no price, a bug: the next one would go the same way

    def _replace(self, life: WorkerRun) -> bool:
        """A worker that worked is gone: get another one, unless they go without any fruit."""
        if life.lost is None:
            return False
        fruitful = self.site.ledger.done_by(life.label) > 0
        self._fruitless = 0 if fruitful else self._fruitless + 1
        self._tried.clear()
        self._waits = 0
        if life.code and verdict(life.code) is Verdict.NEXT:
            self.site.ladder.close(life.spec.rung, Verdict.NEXT)
        patience = BLAMELESS if life.lost.blameless else 1
        again = self._fruitless < self.site.limits.attempts * patience
        todo = advice(life.code)
        if not again and todo:
            self.error = f"{life.error} ({todo})"
        return again

    def _climb(self, life: WorkerRun, meaning: Verdict) -> bool:
        site, rung, code = self.site, life.spec.rung, life.code
        what = code or "no answer"
        if meaning is Verdict.STOP:
            todo = advice(code)
            self.error = f"{life.error}{f' ({todo})' if todo else ''}"
            site.ladder.stop(self.error)
            return False
        if meaning is Verdict.WAIT:
            self._waits += 1
            if self._waits > PATIENCE:
                return False
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._waits - 1))
            pause *= random.uniform(0.5, 1.5)  # noqa: S311 - so that batches do not come together
            self._tell_failover(life, f"{rung}: {what}; again in {pause:.0f} s")
            return not site.stop.sleep(pause)
        self._tried.update(site.ladder.close(rung, meaning))
        self._waits = 0
        following = site.ladder.pick(self._tried)
        then = f"next: {following}" if following else "no rung is left"
        self._tell_failover(life, f"{rung}: {what}; {then}")
        return True

    def _tell_failover(self, life: WorkerRun, text: str) -> None:
        self.site.timeline.tell(
            EventKind.FAILOVER,
            text,
            batch=self.batch.label,
            code=life.code,
            rung=str(life.spec.rung),
            error=life.error,
        )

    def _label(self) -> str:
        """Name the worker to come: rungs that gave none do not count."""
        before = sum(life.was_healthy for life in self.launches)
        if self.adopted is not None:
            _, _, number = self.adopted.launch.label.partition(".")
            before += int(number or 1) - 1
        return self.batch.label if before == 0 else f"{self.batch.label}.{before + 1}"

    def _spec(self, rung: Rung, key: str | None = None) -> WorkerSpec:
        site = self.site
        return worker_spec(
            run_id=self.run_id,
            batch=self.batch.label,
            job=self.job,
            rung=rung,
            room=site.target.room(self.workers, rung),
            limits=site.limits,
            log=site.folder / "logs" / f"{self._label()}.log",
            key=key,
        )


def worker_spec(
    *,
    run_id: str,
    batch: str,
    job: str,
    rung: Rung,
    room: int,
    limits: Limits,
    log: Path,
    key: str | None = None,
) -> WorkerSpec:
    """Say what one stack declares, with a key of its own that nobody can guess."""
    return WorkerSpec(
        run_id=run_id,
        batch=batch,
        job=job,
        key=key or secrets.token_urlsafe(24),
        room=room,
        scene_timeout=limits.scene_timeout,
        log=log,
        rung=rung,
    )
