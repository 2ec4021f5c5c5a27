"""Workers on this machine: processes of the bundled video API, each in a real stack."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from cloudburst import clock
from cloudburst.engine.engine import OPERATION_BYTES
from cloudburst.models import Condition, Cost, Health, Resource, Rung, Worker, WorkerSpec
from cloudburst.report.cost import worker_seconds
from cloudburst.targets.failover import Ladder
from cloudburst.targets.local import provider
from cloudburst_stacks import local as local_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from cloudburst.errors import InfrastructureError
    from cloudburst.journal.state import UnfinishedWorker
    from cloudburst.models import BatchResult, Plan, Rental, TargetName

# As long as the video API keeps a video.
KEEP_SECONDS = 3600.0
PROCESS = Rung(type="process", market="on-demand", region="local", zone="local")


class LocalTarget:
    """This machine."""

    name: TargetName = "local"
    operation_bytes = OPERATION_BYTES
    settle = 0.0  # a process is seen from its first moment

    def __enter__(self) -> Self:
        self._provider = provider.LocalProvider(creates=True)
        self._server, self._port = provider.serve(self._provider)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._provider.reap()
        self._server.stop(grace=None).wait()

    def environment(self) -> dict[str, str]:
        """Attach the engine to the provider in this process."""
        return {
            "PULUMI_DEBUG_PROVIDERS": f"{provider.PACKAGE}:{self._port}",
            # An attached provider needs no plugin; looking for one costs 2.4 s a destroy.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def prepare(self, plan: Plan, run_id: str) -> Ladder:  # noqa: ARG002 - all is here
        """There is one way to start a process."""
        return Ladder([PROCESS], time.monotonic)

    @property
    def regions(self) -> tuple[str, ...]:
        """There are none."""
        return ()

    def estimate(self) -> None:
        """Nothing is rented here."""

    def price(self, rung: Rung) -> None:
        """Nothing is rented here."""

    def room(self, workers: int, rung: Rung) -> int:  # noqa: ARG002
        """Share this machine's cores: one encoder keeps about two of them busy."""
        cores = os.cpu_count() or 1
        return max(1, cores // 2 // max(1, workers))

    def program(self, spec: WorkerSpec) -> Callable[[], None]:
        """Declare one worker process."""
        return partial(local_stack.program, spec)

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        """Read the worker out of its stack's outputs."""
        return Worker(
            stack=spec.stack,
            id=str(outputs["id"]),
            endpoint=str(outputs["endpoint"]),
            key=spec.key,
            room=spec.room,
            log=spec.log,
        )

    def expires(self, stack: str) -> None:
        """A worker holds one end of a pipe and ends when the run's end of it is gone."""

    def keep(self, worker: Worker) -> float:
        """Tell a worker to outlive its run for as long as it keeps its videos."""
        self._provider.keep(worker.id, KEEP_SECONDS)
        return clock.now() + KEEP_SECONDS

    def know(
        self,
        run_id: str,
        places: Mapping[str, Sequence[str]],
        rentals: Iterable[Rental],
        record: Callable[[Rental], None],
    ) -> None:
        """A process is found by its stack's name alone."""

    def adopt(self, spec: WorkerSpec, launch: UnfinishedWorker) -> None:
        """A worker whose run is gone is ending, or was kept for a person."""

    def all_regions(self) -> tuple[str, ...]:
        """There are none."""
        return ()

    def survey(
        self,
        regions: Sequence[str],  # noqa: ARG002 - there are none
    ) -> list[tuple[str, list[Resource] | InfrastructureError]]:
        """List the worker processes whose files are in this state folder."""
        found = [
            Resource(
                kind="process",
                id=identity.partition("@")[0],
                place="this machine",
                stack=stack,
                run_id=stack.rpartition("-")[0],
                state="running",
                what="video API",
                since=float(identity.partition("@")[2]),
                usd_per_hour=0.0,
                removal=self.removal(stack),
            )
            for identity, stack in provider.workers()
            if not identity.endswith("@gone") and provider.is_ours(identity, stack)
        ]
        return [("processes of this machine", found)]

    def condition(self, worker: Worker) -> Condition:
        """See if the process is there."""
        if provider.find(worker.id, worker.stack) is None:
            return Condition(Health.GONE, f"process {worker.id.partition('@')[0]} has ended")
        return Condition()

    def last_log_lines(self, spec: WorkerSpec) -> str:
        """Give the last lines of the worker's log file."""
        try:
            lines = spec.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return " | ".join(line.strip() for line in lines[-3:])

    def inventory(self, stack: str) -> list[str]:
        """List the worker processes that carry the stack's name."""
        return [f"process {identity.partition('@')[0]}" for identity, _ in provider.workers(stack)]

    def sweep(self, stack: str) -> None:
        """End the worker processes that carry the stack's name, and what killed ones have left."""
        for identity, _ in provider.workers(stack):
            provider.end(identity, stack)
        provider.clear(stack)

    def final_sweep(self) -> list[str]:
        """Processes are seen from their first moment: each stack's own look was enough."""
        return []

    def removal(self, stack: str) -> str:
        """Give the command that ends them by hand."""
        return f"pkill -f -- '--stack {stack}'"

    def accrued(self) -> tuple[float, float]:
        """Nothing is rented here."""
        return 0.0, 0.0

    def cost(self, batches: Sequence[BatchResult], downloaded: int) -> Cost:  # noqa: ARG002
        """Nothing is rented here."""
        return Cost(
            usd=0.0,
            worker_seconds=worker_seconds(batches),
            basis="the local target rents nothing: workers are processes of this machine. A "
            "rented target bills the same worker-seconds, from each launch to its verified end",
        )
