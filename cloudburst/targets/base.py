"""What a run needs to know about a place where workers live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from cloudburst.errors import InfrastructureError
    from cloudburst.journal.state import UnfinishedWorker
    from cloudburst.models import (
        BatchResult,
        Condition,
        Cost,
        Estimate,
        Plan,
        Price,
        Rental,
        Resource,
        Rung,
        TargetName,
        Worker,
        WorkerSpec,
    )
    from cloudburst.targets.failover import Ladder


class Target(Protocol):
    """A place where workers live. Entered once for a run, left when its stacks are gone."""

    name: TargetName
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

    @property
    def regions(self) -> tuple[str, ...]:
        """Give the regions in which it may start something; none where there are no regions."""
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

    def expires(self, stack: str) -> float | None:
        """Say when a stack's worker ends itself, whatever becomes of the run.

        Returns:
            Seconds since 1970; None for one that lives no longer than its run.
        """
        ...

    def keep(self, worker: Worker) -> float:
        """Let a worker outlive the run; say until when, in seconds since 1970."""
        ...

    def know(
        self,
        run_id: str,
        places: Mapping[str, Sequence[str]],
        rentals: Iterable[Rental],
        record: Callable[[Rental], None],
    ) -> None:
        """Take in what earlier sessions made, and where to write what is rented from now on.

        Args:
            run_id: whose they are.
            places: the regions of stacks.
            rentals: what was rented for them.
            record: is told of every rented machine, and of its end.
        """
        ...

    def adopt(self, spec: WorkerSpec, launch: UnfinishedWorker) -> Worker | None:
        """Take over a worker of an earlier session, if its provider says that it runs and is ours.

        Raises:
            InfrastructureError: the provider could not be asked.
        """
        ...

    def all_regions(self) -> tuple[str, ...]:
        """Give every region that can be asked after.

        Raises:
            InfrastructureError: the provider could not be asked.
        """
        ...

    def survey(
        self, regions: Sequence[str]
    ) -> list[tuple[str, list[Resource] | InfrastructureError]]:
        """List everything of CloudBurst's that the provider shows in some regions.

        Returns:
            For each place, in words, what is there, or why it could not be asked.
        """
        ...

    def condition(self, worker: Worker) -> Condition:
        """Say how a worker is, by its provider's word of the last few seconds."""
        ...

    def last_log_lines(self, spec: WorkerSpec) -> str:
        """Give the worker's own last log lines, or nothing."""
        ...

    def inventory(self, stack: str) -> list[str]:
        """Ask the provider, not the state, what there is of a stack; a line each."""
        ...

    def sweep(self, stack: str) -> None:
        """End whatever there is of a stack, known to the state or not."""
        ...

    def final_sweep(self) -> list[str]:
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
