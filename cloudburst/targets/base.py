"""What a run needs to know about a place where workers run.

A target is one package below `cloudburst.targets`, one program in ``stacks/``, and one line in
`cloudburst.targets.REGISTRY`. What it has to be is written here: a `TargetType` before it is
opened, a `Target` once it is. A target creates workers (`WorkerSource`), shows and ends what exists
of stacks (`Resources`) and, where something is rented, bills it (`Billing`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from cloudburst.errors import InfrastructureError
    from cloudburst.models import (
        Check,
        Condition,
        Cost,
        Estimate,
        Offer,
        Plan,
        Quote,
        Refusal,
        Rental,
        Resource,
        Rung,
        UnfinishedWorker,
        Worker,
        WorkerSpec,
    )
    from cloudburst.section import Section
    from cloudburst.targets.durations import RenderTerms
    from cloudburst.targets.failover import Ladder


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier sessions of a run have created on a target.

    Args:
        run_id: the run; empty for none.
        regions: by stack, where it may have something.
        rentals: the machines that were rented.
    """

    run_id: str = ""
    regions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rentals: tuple[Rental, ...] = ()


NOTHING_EARLIER = Earlier()


def ignore_rental(rental: Rental) -> None:
    """Record nothing: for who only looks."""


class WorkerSource(Protocol):
    """Makes the workers of one plan. All that it has to ask for is known when it exists."""

    @property
    def ladder(self) -> Ladder:
        """The rungs on which workers can be created."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the target leaves out of what was asked for, and why: a line each, for people."""
        ...

    @property
    def terms(self) -> RenderTerms:
        """How fast its workers render, and how long an attempt can take before they end."""
        ...

    def room(self, workers: int, rung: Rung) -> int:
        """Return how many scenes each of so many workers of a rung renders at once."""
        ...

    def estimate(self) -> Estimate | None:
        """Return what the plan will take and cost; None where nothing is rented."""
        ...

    def quote(self, rung: Rung) -> Quote | None:
        """Return the current price of a rung; None where nothing is rented.

        Raises:
            PriceUnknown: there is none; says how to give it, and what that means for the ladder.
        """
        ...

    def program(self, spec: WorkerSpec, quote: Quote | None) -> Callable[[], None]:
        """Return the Pulumi program of one batch. Once it has run, it may cost something."""
        ...

    def worker(self, spec: WorkerSpec, outputs: Mapping[str, Any]) -> Worker:
        """Return the worker that a stack's outputs describe.

        Raises:
            InfrastructureError: it cannot be reached.
        """
        ...

    def adopt(self, spec: WorkerSpec, launch: UnfinishedWorker) -> Worker | None:
        """Return a worker of an earlier session, if it runs, is the run's, and has time left.

        Raises:
            InfrastructureError: the provider could not be asked.
        """
        ...

    def expires(self, stack: str) -> float | None:
        """Return when a stack's worker ends itself, whatever becomes of the run.

        Returns:
            Seconds since 1970; None for one that does not outlive its run.
        """
        ...

    def keep(self, worker: Worker) -> float:
        """Let a worker outlive the run; return until when, in seconds since 1970."""
        ...

    def condition(self, worker: Worker) -> Condition:
        """Return what the provider has said of a worker in the last few seconds."""
        ...

    def last_log_lines(self, spec: WorkerSpec) -> str:
        """Return the end of the worker's own log; empty when there is none."""
        ...


@runtime_checkable
class Offering(Protocol):
    """A `WorkerSource` that rents: it can say what a plan would cost on each of its rungs."""

    def offers(self) -> Sequence[Offer]:
        """Return what the plan would take and cost on each rung, in the order of the ladder."""
        ...


class Resources(Protocol):
    """Shows and ends what a provider has of stacks. Asks the provider, never the state."""

    @property
    def settle(self) -> float:
        """Seconds after which the provider describes what a broken-off call has created."""
        ...

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions in which the run may create something; none where there are no regions."""
        ...

    def all_regions(self) -> tuple[str, ...]:
        """Return every region that can be asked.

        Raises:
            InfrastructureError: the provider could not be asked.
        """
        ...

    def survey(
        self, regions: Sequence[str]
    ) -> list[tuple[str, list[Resource] | InfrastructureError]]:
        """List everything of CloudBurst's that the provider shows in some regions.

        Returns:
            For each place, by its name for people: its resources, or why it could not be asked.
        """
        ...

    def inventory(self, stack: str) -> list[str]:
        """List what exists of a stack, a line each.

        Raises:
            InfrastructureError: the provider could not be asked.
        """
        ...

    def terminate(self, stack: str) -> None:
        """Ask the provider to end what costs money of a stack, now, and do not wait for it.

        The engine destroys the stack afterwards, but has to wait for its turn, and what it waits
        with is billed. Nothing to do where nothing is rented.

        Raises:
            InfrastructureError: the provider refused, or could not be asked.
        """
        ...

    def sweep(self, stack: str) -> None:
        """End whatever exists of a stack, known to its state or not.

        Raises:
            InfrastructureError: the provider refused, or could not be asked.
        """
        ...

    def final_sweep(self) -> list[str]:
        """End what exists of the whole run once its stacks are gone; a line for what remains."""
        ...

    def removal(self, stack: str) -> str:
        """Return the command by which a person removes what exists of a stack."""
        ...


class Billing(Protocol):
    """Says what a run's machines cost."""

    def accrued(self) -> tuple[float, float]:
        """Return what the run has cost so far, in USD, and what it costs now, in USD/h."""
        ...

    def cost(self, downloaded: int) -> Cost:
        """Return the bill.

        Args:
            downloaded: bytes that were downloaded.
        """
        ...


class Target(Protocol):
    """A target that is open: its provider can be asked."""

    @property
    def name(self) -> str:
        """Its name, see `TargetType.name`."""
        ...

    @property
    def operation_bytes(self) -> int:
        """Memory that one engine operation takes, in bytes."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the engine's processes need, asked for anew before each of them.

        An empty one is unset.

        Raises:
            InfrastructureError: there are none at the moment, such as of a session that has
                expired.
        """
        ...

    @property
    def resources(self) -> Resources:
        """What shows and ends its resources."""
        ...

    @property
    def billing(self) -> Billing | None:
        """What its machines cost; None where nothing is rented."""
        ...

    def prepare(self, plan: Plan, run_id: str) -> WorkerSource:
        """Ask for all that a plan needs; create nothing.

        Raises:
            InfrastructureError: something that is needed is missing.
        """
        ...

    def diagnose(self, message: str) -> Refusal:
        """Return what an engine's error message means: the only place that reads such text."""
        ...


class TargetType(Protocol):
    """A target by name: what is known of it before it is opened."""

    @property
    def name(self) -> str:
        """Its name in scenes.yaml and on the command line."""
        ...

    @property
    def title(self) -> str:
        """Its name for people, such as ``AWS``."""
        ...

    @property
    def has_regions(self) -> bool:
        """Whether its resources are in regions."""
        ...

    @property
    def always_asked(self) -> bool:
        """Whether an audit asks it even if no run of this machine was on it.

        Where asking costs nothing and needs no account.
        """
        ...

    @property
    def health_timeout(self) -> float:
        """Default of ``limits.health_timeout``, in seconds."""
        ...

    @property
    def offline_note(self) -> str:
        """What `--dry-run --offline` does not check on it; empty for nothing."""
        ...

    @property
    def unbilled(self) -> str:
        """Why a run on it costs nothing; empty where it is billed."""
        ...

    @property
    def section(self) -> type[Section] | None:
        """The pydantic model of its section of scenes.yaml; None for none."""
        ...

    def log_in(self) -> None:
        """Ask for what only a person can say, such as a code, before anything is shown or begun.

        Raises:
            InfrastructureError: nobody can be asked, or it was wrong.
        """
        ...

    def settings(self, section: Any, environment: Mapping[str, str]) -> Any:
        """Return frozen settings from its section, and for what that leaves open from variables.

        Args:
            section: its section of scenes.yaml; None when there is no file.
            environment: see `cloudburst.environment`.
        """
        ...

    def section_problems(self, section: Any) -> Iterable[tuple[tuple[str | int, ...], str]]:
        """Return what is wrong with its section beyond the shape, as (path in it, message)."""
        ...

    def variable_problems(self, environment: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Return what is wrong with its environment variables, as (name, message)."""
        ...

    def renderer(self, settings: Any) -> str:
        """Return the name of what renders there: with another one, videos may look different."""
        ...

    def owns(self, resource_type: str) -> bool:
        """Whether a Pulumi type token, such as ``aws:ec2/instance:Instance``, is one of its."""
        ...

    def open(
        self,
        settings: Any,
        earlier: Earlier = NOTHING_EARLIER,
        record: Callable[[Rental], None] = ignore_rental,
    ) -> AbstractContextManager[Target]:
        """Open it for a run, or to look; it stays open until the run's stacks are gone.

        Args:
            settings: from `settings`.
            earlier: what earlier sessions of the run have created.
            record: called with every rental, when it begins, changes and ends.
        """
        ...

    def bill(self, settings: Any, rentals: Iterable[Rental], downloaded: int) -> Cost | None:
        """Return the bill of a run that is over, without asking anybody; None if never billed."""
        ...

    def examine(self, settings: Any, workers: int) -> Iterator[Check]:
        """Check what a run with so many workers at once needs there; create nothing."""
        ...
