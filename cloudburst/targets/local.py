"""Workers on this machine: processes of the bundled video API, each in a real stack."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from cloudburst.models import Cost, Worker, WorkerSpec
from cloudburst.targets import provider
from cloudburst_stacks import local as local_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType


class LocalTarget:
    """This machine."""

    name = "local"

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

    def room(self, workers: int) -> int:
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

    def last_words(self, spec: WorkerSpec) -> str:
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
        """End the worker processes that carry the stack's name."""
        for identity, _ in provider.workers(stack):
            provider.end(identity, stack)

    def removal(self, stack: str) -> str:
        """Give the command that ends them by hand."""
        return f"pkill -f -- '--stack {stack}'"

    def cost(self, worker_seconds: float) -> Cost:
        """Nothing is rented here."""
        return Cost(
            usd=0.0,
            worker_seconds=worker_seconds,
            basis="the local target rents nothing: workers are processes of this machine. A "
            "rented target bills the same worker-seconds, from each launch to its verified end",
        )
