"""What a run needs to know about a place where workers live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from cloudburst.ladder import Ladder
    from cloudburst.models import (
        BatchResult,
        Condition,
        Cost,
        Estimate,
        Plan,
        Price,
        Rung,
        Worker,
        WorkerSpec,
    )


class Target(Protocol):
    """A place where workers live. Entered once for a run, left when its stacks are gone."""

    name: str
    operation_bytes: int
    settle: float

    def __enter__(self) -> Self:
        """Get ready; everything below may be asked for from now on."""
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

    def prepare(self, plan: Plan, run_id: str) -> Ladder:
        """Find out what the plan needs; give the ways to get its workers, best first.

        Raises:
            InfrastructureError: something that is needed is not there; nothing was created.
        """
        ...

    def estimate(self) -> Estimate | None:
        """Say what the prepared plan will take and cost; None where nothing is rented."""
        ...

    def room(self, workers: int, rung: Rung) -> int:
        """Say how many scenes each of so many workers of a rung renders at once."""
        ...

    def price(self, rung: Rung) -> Price | None:
        """Say what a rung costs by the hour, now; None where nothing is rented.

        Raises:
            PriceUnknown: says how to give it.
        """
        ...

    def program(self, spec: WorkerSpec) -> Callable[[], None]:
        """Give the Pulumi program of one batch. From now on it may cost something."""
        ...

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        """Read the worker out of its stack's outputs."""
        ...

    def condition(self, worker: Worker) -> Condition:
        """Say how a worker is, by its provider's word of the last few seconds."""
        ...

    def last_words(self, spec: WorkerSpec) -> str:
        """Give the worker's own last log lines, or nothing."""
        ...

    def inventory(self, stack: str) -> list[str]:
        """Ask the provider, not the state, what there is of a stack; a line each."""
        ...

    def sweep(self, stack: str) -> None:
        """End whatever there is of a stack, known to the state or not."""
        ...

    def last_look(self) -> list[str]:
        """End what is there of the whole run, when all its stacks are gone; a line for the rest."""
        ...

    def removal(self, stack: str) -> str:
        """Give the command by which a person removes what there is of a stack."""
        ...

    def accrued(self) -> tuple[float, float]:
        """Give what this run has cost until now, in USD, and what it costs now, in USD/h."""
        ...

    def cost(self, batches: Sequence[BatchResult], downloaded: int) -> Cost:
        """Make the bill.

        Args:
            batches: what became of the batches.
            downloaded: bytes that came home.
        """
        ...
