"""This machine, as an open target: workers are processes, each in a real stack."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from cloudburst import clock
from cloudburst.engine.engine import OPERATION_BYTES
from cloudburst.language import later, tr
from cloudburst.models import (
    Condition,
    Health,
    ProcessId,
    Refusal,
    Resource,
    Rung,
    StackName,
    Verdict,
    Worker,
)
from cloudburst.targets import network
from cloudburst.targets.durations import BUNDLED_SPEED, RenderTerms, beyond_limit
from cloudburst.targets.failover import Ladder
from cloudburst.targets.local import provider
from cloudburst.targets.rates import BUNDLED_RATES
from cloudburst_stacks import local as local_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cloudburst.errors import InfrastructureError
    from cloudburst.models import Plan, Quote, UnfinishedWorker, WorkerSpec
    from cloudburst.targets.local.provider import LocalProvider

# Seconds; as long as the video API keeps a video.
KEEP_SECONDS = 3600.0
# One encoder keeps about two cores busy.
CORES_PER_SCENE = 2
PROCESS = Rung(type="process", market="on-demand", region="local", zone="local")


@contextmanager
def open_target() -> Iterator[LocalTarget]:
    """Serve the provider; workers that are still there in the end lose their lifelines."""
    served = provider.LocalProvider(creates=True)
    server, port = provider.serve(served)
    try:
        yield LocalTarget(served, port)
    finally:
        served.reap()
        server.stop(grace=None).wait()


class LocalTarget:
    """This machine, with its provider attached.

    Args:
        served: the provider.
        port: on which it is served.
    """

    name = "local"
    operation_bytes = OPERATION_BYTES
    billing = None

    def __init__(self, served: LocalProvider, port: int) -> None:
        self._provider = served
        self.resources = LocalProcesses()
        self.environment = {
            "PULUMI_DEBUG_PROVIDERS": f"{provider.PACKAGE}:{port}",
            # An attached provider needs no plugin; looking for one costs 2.4 s a destroy.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def prepare(self, plan: Plan, run_id: str) -> LocalWorkers:  # noqa: ARG002 - nothing to ask for
        """Return what starts the workers."""
        image = tr("the bundled video API")
        notes = tuple(beyond_limit(plan, BUNDLED_RATES, image))
        return LocalWorkers(self._provider, notes=notes)

    def diagnose(self, message: str) -> Refusal:
        """Return what an engine's error message means: whether a connection to it failed."""
        if network.has_failed(message):
            return Refusal(verdict=Verdict.WAIT, transient=True)
        return Refusal()


@dataclass(frozen=True)
class LocalWorkers:
    """Starts worker processes.

    Args:
        served: the provider that the engine is attached to.
        ladder: its only rung is a process.
        notes: what to know of the plan before it is run.
    """

    served: LocalProvider
    ladder: Ladder = field(default_factory=lambda: Ladder([PROCESS], time.monotonic))
    notes: tuple[str, ...] = ()

    @property
    def terms(self) -> RenderTerms:
        """Those of the bundled server, which ends when the run does."""
        return RenderTerms(BUNDLED_SPEED, rates=BUNDLED_RATES)

    def room(self, workers: int, rung: Rung) -> int:  # noqa: ARG002 - there is one kind
        """Return each worker's share of this machine's cores, in scenes."""
        cores = os.cpu_count() or 1
        return max(1, cores // CORES_PER_SCENE // max(1, workers))

    def estimate(self) -> None:
        """Return nothing: nothing is rented."""

    def quote(self, rung: Rung) -> None:
        """Return nothing: nothing is rented."""

    def program(self, spec: WorkerSpec, quote: Quote | None) -> Callable[[], None]:  # noqa: ARG002
        """Return the program that declares one worker process."""
        return partial(local_stack.program, spec)

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        """Return the worker that a stack's outputs describe."""
        return Worker(
            stack=spec.stack,
            id=str(outputs["id"]),
            endpoint=str(outputs["endpoint"]),
            key=spec.key,
            room=spec.room,
            log=spec.log,
        )

    def adopt(self, spec: WorkerSpec, launch: UnfinishedWorker) -> None:
        """Return nothing: a worker whose run has ended is ending, or was kept for a person."""

    def expires(self, stack: str) -> None:
        """Return nothing: a worker ends when the run's end of its lifeline is closed."""

    def keep(self, worker: Worker) -> float:
        """Let a worker outlive its run for as long as it keeps its videos."""
        self.served.keep(worker.id, KEEP_SECONDS)
        return clock.now() + KEEP_SECONDS

    def condition(self, worker: Worker) -> Condition:
        """Return whether the process exists."""
        identity = ProcessId.parse(worker.id)
        if provider.find(identity, worker.stack) is None:
            ended = tr("process {pid} has ended", pid=identity.pid)
            return Condition(Health.GONE, ended)
        return Condition()

    def last_log_lines(self, spec: WorkerSpec) -> str:
        """Return the last lines of the worker's log file."""
        try:
            lines = spec.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return " | ".join(line.strip() for line in lines[-3:])


class LocalProcesses:
    """Shows and ends worker processes.

    A worker's command line is its tag: its stack's name is in it from its first moment, so that
    whatever runs is found without the state.
    """

    settle = 0.0
    regions = ()

    def all_regions(self) -> tuple[str, ...]:
        """Return none: there are no regions."""
        return ()

    def survey(
        self,
        regions: Sequence[str],  # noqa: ARG002 - there are none
    ) -> list[tuple[str, list[Resource] | InfrastructureError]]:
        """List the worker processes whose files are in this state folder."""
        processes = [
            self._resource(process, stack)
            for process, stack in provider.workers()
            if process.started is not None and provider.is_ours(process, stack)
        ]
        return [(later("processes of this machine"), processes)]

    def _resource(self, process: ProcessId, stack: str) -> Resource:
        name = StackName.parse(stack)
        return Resource(
            kind="process",
            id=str(process.pid),
            place=later("this machine"),
            stack=stack,
            run_id=name.run_id if name else "",
            state="running",
            what=later("video API"),
            since=process.started,
            usd_per_hour=0.0,
            removal=self.removal(stack),
            target="local",
            state_id=str(process),
        )

    def inventory(self, stack: str) -> list[str]:
        """List the worker processes that carry the stack's name."""
        return [tr("process {pid}", pid=process.pid) for process, _ in provider.workers(stack)]

    def terminate(self, stack: str) -> None:
        """Do nothing: a process costs nothing."""

    def sweep(self, stack: str) -> None:
        """End the worker processes that carry the stack's name, and what killed ones have left."""
        for process, _ in provider.workers(stack):
            provider.end(process, stack)
        provider.clear(stack)

    def final_sweep(self) -> list[str]:
        """Return nothing: processes are seen from their first moment; each stack was verified."""
        return []

    def removal(self, stack: str) -> str:
        """Return the command that ends a stack's processes."""
        return f"pkill -f -- '--stack {stack}'"
