"""A run's machines: in which regions each stack has some, and what EC2 shows of them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cloudburst.models import Quote
from cloudburst.targets.aws.described import RUN_TAG, STACK_TAG
from cloudburst.targets.aws.rentals import Rentals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudburst.models import Rental, Rung
    from cloudburst.targets.aws.described import Instance
    from cloudburst.targets.aws.ec2 import Aws
    from cloudburst.targets.base import Earlier

# Seconds: how old a description may be for monitoring. One call describes all of a run.
FRESH = 2.0
# Seconds by which AWS's clock may differ from this machine's.
_SKEW = 60.0
ALIVE = frozenset({"pending", "running"})


@dataclass(frozen=True, slots=True)
class Description:
    """What EC2 has shown of a run's machines in a region.

    Args:
        at: when, on a monotonic clock.
        machines: by id.
        spots: status codes of the spot requests of those that run, by request.
    """

    at: float = float("-inf")
    machines: Mapping[str, Instance] = field(default_factory=dict)
    spots: Mapping[str, str] = field(default_factory=dict)


class Fleet:
    """A run's machines. Every method may be called from any thread.

    Args:
        aws: describes them.
        earlier: what earlier sessions of the run have created.
        record: called with every rental, when it begins, changes and ends.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        aws: Aws,
        earlier: Earlier,
        record: Callable[[Rental], None],
        clock: Callable[[], float],
    ) -> None:
        self.rentals = Rentals(clock, earlier.rentals, record)
        self._aws = aws
        self._clock = clock
        self._run_id = earlier.run_id
        self._began = 0.0
        self._regions = {stack: tuple(regions) for stack, regions in earlier.regions.items()}
        self._asked = {rental.stack: replace(rental, until=None) for rental in earlier.rentals}
        self._quotes: dict[Rung, Quote] = {}
        self._expires: dict[str, float] = {}
        self._described: dict[str, Description] = {}
        self._lock = threading.RLock()  # never held while AWS is asked
        self._describing = threading.Lock()

    def begin(self, run_id: str) -> None:
        """Let machines of a run be created from now on."""
        self._run_id, self._began = run_id, self._clock()

    # -- stacks -------------------------------------------------------------------------------

    def expect(self, stack: str, region: str, expires: float) -> None:
        """Note that a stack's newest machine is in a region; it may have others elsewhere."""
        with self._lock:
            others = tuple(other for other in self._regions.get(stack, ()) if other != region)
            self._regions[stack] = (*others, region)
            self._expires[stack] = expires

    def ask(self, rental: Rental) -> None:
        """Note that a machine is being created; from now on it may cost something."""
        with self._lock:
            self._asked[rental.stack] = rental
            self._quotes[rental.rung] = Quote(rental.price, rental.basis)
            self._expires[rental.stack] = rental.expires
        self.rentals.ask(rental)

    def expires(self, stack: str) -> float | None:
        """Return when a stack's newest machine ends itself, seconds since 1970."""
        with self._lock:
            return self._expires.get(stack)

    def regions_of(self, stack: str) -> tuple[str, ...]:
        """Return the regions in which a stack may have something, the newest last."""
        with self._lock:
            return self._regions.get(stack, ())

    def regions(self) -> list[str]:
        """Return the regions in which the run may have something."""
        with self._lock:
            return sorted({region for regions in self._regions.values() for region in regions})

    def stacks_in(self, region: str) -> list[str]:
        """Return the stacks whose newest machine was asked for in a region."""
        with self._lock:
            return [stack for stack, asked in self._asked.items() if asked.rung.region == region]

    # -- machines -----------------------------------------------------------------------------

    def machines_of(self, stack: str, region: str) -> list[Instance]:
        """Ask EC2 for a stack's machines; return them, oldest first.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        machines = self._aws.instances(region, STACK_TAG, stack)
        for machine in machines:
            self.note(machine)
        return sorted(machines, key=lambda machine: machine.launched)

    def machines_in(self, region: str, *, patient: bool = True) -> dict[str, Instance]:
        """Ask EC2 for all of the run's machines in a region; return them by id.

        Args:
            region: which.
            patient: see `Aws.instances`.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        machines = self._aws.instances(region, RUN_TAG, self._run_id, patient=patient)
        for machine in machines:
            self.note(machine)
        return {machine.id: machine for machine in machines}

    def describe(self, region: str, *, at_once: bool = False) -> Description:
        """Return what EC2 shows of the run's machines in a region.

        Args:
            region: which.
            at_once: ask now; otherwise a description that is still fresh will do.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        with self._describing:
            latest = self._described.get(region, _NEVER)
            if at_once or time.monotonic() - latest.at > FRESH:
                try:
                    machines = self.machines_in(region, patient=at_once)
                    latest = replace(latest, machines=machines)
                    latest = replace(latest, spots=self._spot_codes(region, machines.values()))
                finally:
                    # A failure counts too: others use what there is, and ask a little later.
                    self._described[region] = replace(latest, at=time.monotonic())
            return latest

    def _spot_codes(self, region: str, machines: Iterable[Instance]) -> dict[str, str]:
        requests = [
            machine.spot_request
            for machine in machines
            if machine.spot_request and machine.state in ALIVE
        ]
        return self._aws.spot_codes(region, requests) if requests else {}

    def note(self, machine: Instance) -> None:
        """Enter a machine into the rentals, at the price of its launch."""
        stack = machine.tags.get(STACK_TAG, "")
        with self._lock:
            asked = self._asked.get(stack)
            if asked is None or self.rentals.knows(machine.id):
                return
            quote = self._quotes.get(machine.rung, Quote(asked.price, asked.basis))
        # By AWS's clock, unless this machine's clock makes nonsense of it.
        plausible = self._began - _SKEW <= machine.launched <= self._clock()
        self.rentals.enter(
            replace(
                asked,
                machine=machine.id,
                rung=machine.rung,
                price=quote.price,
                basis=quote.basis,
                since=machine.launched if plausible else asked.since,
            )
        )


_NEVER = Description()
