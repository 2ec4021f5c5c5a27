"""What a rented machine costs by the hour, in one shape for estimates and bills. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.models.money import MINIMUM_SECONDS
from cloudburst.targets.aws.prices.pricing import EGRESS_PER_GB, IPV4_PER_HOUR

if TYPE_CHECKING:
    from cloudburst.models import Rental


@dataclass(frozen=True, slots=True)
class RateCard:
    """The rates of one machine.

    Args:
        machine: USD per hour of the machine itself.
        disk_gb: GB of its disk.
        disk_gb_hour: USD per GB and hour of disk.
        surplus: USD per hour of CPU credits beyond the baseline; 0 for none.
        address: USD per hour of a public IPv4 address.
        egress_gb: USD per GB that is downloaded.
        minimum_seconds: what is billed at least.
    """

    machine: float
    disk_gb: int
    disk_gb_hour: float
    surplus: float = 0.0
    address: float = IPV4_PER_HOUR
    egress_gb: float = EGRESS_PER_GB
    minimum_seconds: float = MINIMUM_SECONDS

    @classmethod
    def of(cls, rental: Rental) -> RateCard:
        """Return the rates at which a rental is billed."""
        return cls(
            machine=rental.price.usd_per_hour,
            disk_gb=rental.disk_gb,
            disk_gb_hour=rental.disk_rate,
            surplus=rental.surplus,
        )

    @property
    def per_hour(self) -> float:
        """All that is billed by the hour, in USD."""
        return self.machine + self.surplus + self.disk_gb_hour * self.disk_gb + self.address

    def billed_seconds(self, seconds: float) -> float:
        """Return the seconds that AWS bills: whole ones, and not less than the minimum."""
        return max(self.minimum_seconds, math.ceil(seconds))
