"""What a run needs to know about a place where workers live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from cloudburst.models import Cost, Worker, WorkerSpec


class Target(Protocol):
    """A place where workers live. Entered once for a run, left when its stacks are gone."""

    name: str

    def __enter__(self) -> Self:
        """Get ready; `environment` may be asked for from now on."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of everything that is not a stack."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Give what the engine's environment needs."""
        ...

    def room(self, workers: int) -> int:
        """Say how many scenes each of so many workers renders at once."""
        ...

    def program(self, spec: WorkerSpec) -> Callable[[], None]:
        """Give the Pulumi program of one batch."""
        ...

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        """Read the worker out of its stack's outputs."""
        ...

    def last_words(self, spec: WorkerSpec) -> str:
        """Give the worker's own last log lines, or nothing."""
        ...

    def inventory(self, stack: str) -> list[str]:
        """Ask the provider, not the state, what runs for a stack; a line each."""
        ...

    def sweep(self, stack: str) -> None:
        """End whatever runs for a stack, known to the state or not."""
        ...

    def removal(self, stack: str) -> str:
        """Give the command by which a person removes what runs for a stack."""
        ...

    def cost(self, worker_seconds: float) -> Cost:
        """Say what so many seconds of workers cost."""
        ...
