"""Prices, rentals and bills."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cloudburst.language import tr

if TYPE_CHECKING:
    from cloudburst.models.machines import Rung

# Seconds: AWS bills no less for a machine, aws.amazon.com/ec2/pricing/on-demand
MINIMUM_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Price:
    """What a machine costs by the hour.

    Args:
        usd_per_hour: USD.
        source: where the figure is from and of when.
    """

    usd_per_hour: float
    source: str


class Basis(StrEnum):
    """How a figure came to be."""

    LIST = "list price"
    GIVEN = "given price"
    SPOT = "spot price at launch"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a rung, asked for before its machine is.

    Args:
        price: by the hour.
        basis: where it is from.
    """

    price: Price
    basis: Basis


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to get machines for a plan, and what the plan would then take and cost.

    Args:
        rung: how and where.
        price: of a machine by the hour; None where there is none.
        why: why there is no price; empty where there is one.
        seconds: that the plan likely takes; 0 without a price.
        usd: that it likely costs; 0 without a price.
        room: scenes that a machine renders at once; 0 without a price.
        speed: where it is from how fast a machine renders; empty without a price.
        measured: whether runs of this machine have measured it on machines of that type.
    """

    rung: Rung
    price: Price | None
    why: str = ""
    seconds: float = 0.0
    usd: float = 0.0
    room: int = 0
    speed: str = ""
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Rental:
    """A rented machine, for as long as it costs something.

    Args:
        stack: the stack that declares it.
        machine: the provider's name for it; empty while it has been asked for and not been seen.
        rung: how and where.
        price: by the hour, at its launch.
        basis: where the price is from.
        since: launch, seconds since 1970.
        until: end, seconds since 1970; None while it may run.
        at_most: `until` is when it was seen to be gone: it may have ended before.
        expires: when it ends itself, seconds since 1970.
        disk_gb: GB of its disk.
        disk_rate: USD per GB and hour.
        disk_basis: where that is from.
        surplus: USD per hour of CPU credits beyond the baseline.
    """

    stack: str
    machine: str
    rung: Rung
    price: Price
    basis: Basis
    since: float
    until: float | None
    expires: float
    disk_gb: int
    disk_rate: float
    disk_basis: Basis
    surplus: float
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class CostLine:
    """One part of a bill: ``usd = quantity * rate``.

    Args:
        kind: ``machine``, ``disk``, ``address``, ``credits`` or ``egress``.
        what: such as ``i-0123 c5.2xlarge on-demand in us-east-1a``.
        quantity: how much, measured, in ``unit``.
        unit: such as ``h`` or ``GB``.
        rate: USD per unit.
        basis: where the rate is from.
        machine: the provider's name for the machine that it is for; empty for none, or for one
            that has been asked for and not been seen.
    """

    kind: str
    what: str
    quantity: float
    unit: str
    rate: float
    basis: Basis
    machine: str = ""

    @property
    def usd(self) -> float:
        """What it comes to, in USD."""
        return self.quantity * self.rate


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost.

    Args:
        usd: the bill, in USD.
        worker_seconds: from each worker's launch to its verified end, added up.
        basis: how the figure came to be.
        lines: what it is made of.
        at_most: the end of a machine is known only as not later than a moment.
    """

    usd: float
    worker_seconds: float
    basis: str
    lines: tuple[CostLine, ...] = ()
    at_most: bool = False

    @property
    def shown(self) -> str:
        """The amount in the user's language."""
        usd = f"${self.usd:.4f}" if self.lines else f"${self.usd:.2f}"
        return tr("at most {usd}", usd=usd) if self.at_most else usd

    @property
    def shown_basis(self) -> str:
        """The basis in the user's language; report.json has it in English."""
        # One for each target, see `report.cost.total`.
        return tr("; ").join(tr(basis) for basis in self.basis.split("; "))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take, before it begins.

    Args:
        low: USD if all goes well.
        likely: USD.
        worst: USD if every machine runs until its dead-man switch.
        phases: phase → likely seconds.
        lease_minutes: after which a machine ends itself.
        first: the first rung of the ladder, for which the figures hold.
        price: its price by the hour.
        assumptions: in words.
    """

    low: float
    likely: float
    worst: float
    phases: dict[str, float]
    lease_minutes: int
    first: Rung
    price: Price
    assumptions: tuple[str, ...]
