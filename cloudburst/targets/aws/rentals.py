"""The rented machines: which were asked for, which ran from when to when, what they cost.

Every instance that a description with the stack's tag shows is billed, known to the state or not:
from AWS's launch time until it left the state running by AWS's word, else until it was seen to be
gone, which is an upper bound and shown as one. AWS bills an instance only while it is running
(docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html, "Billing by instance
state"); how long it was pending is recorded nowhere, so those seconds are on the bill here. A
teardown always asks, so that nothing is missed, not even what a broken-off call has created.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.language import later
from cloudburst.models import Basis, Cost, CostLine
from cloudburst.targets.aws.prices.pricing import EGRESS_PER_GB
from cloudburst.targets.aws.prices.rates import RateCard
from cloudburst.targets.base import ignore_rental

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudburst.models import Rental

# How the bill came to be: its parts, each translated where it is shown.
_BASIS = (
    later(
        "machines by the second from launch until AWS ended them, 60 s at least, at list or spot "
        "prices at launch"
    ),
    later("address and egress are estimates at AWS's published rates, before free allowances"),
)


_UNKNOWN_END = later(
    "AWS has not said when each machine ended: those are billed until they were seen to be gone"
)


class Rentals:
    """Every machine that was asked for. Every method may be called from any thread.

    Args:
        clock: seconds since 1970.
        earlier: rentals of earlier sessions.
        record: called with every new rental, and with every one that has changed.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        earlier: Iterable[Rental] = (),
        record: Callable[[Rental], None] = ignore_rental,
    ) -> None:
        self._clock = clock
        self._record = record
        known = list(earlier)
        self._rented = {rental.machine: rental for rental in known if rental.machine}
        self._launching = {rental.stack: rental for rental in known if not rental.machine}
        self._began = clock()
        self._lock = threading.RLock()

    def ask(self, rental: Rental) -> None:
        """Enter a machine that is being asked for; its id is not known yet."""
        with self._lock:
            self._launching[rental.stack] = rental
            self._record(rental)

    def enter(self, rental: Rental) -> None:
        """Enter a machine that the provider has shown, in place of the one asked for."""
        with self._lock:
            if rental.machine not in self._rented:
                self._rented[rental.machine] = rental
                self._launching.pop(rental.stack, None)
                self._record(rental)

    def knows(self, machine: str) -> bool:
        """Whether a machine is entered."""
        with self._lock:
            return machine in self._rented

    def asked(self, stack: str) -> Rental | None:
        """Return the machine that was asked for and has not been seen, None if there is none."""
        with self._lock:
            return self._launching.get(stack)

    def of(self, stack: str) -> list[Rental]:
        """Return a stack's machines, oldest first."""
        with self._lock:
            return sorted(
                (rental for rental in self._rented.values() if rental.stack == stack),
                key=lambda rental: rental.since,
            )

    def close(
        self, stack: str, remaining: set[str], ended: Mapping[str, float] | None = None
    ) -> None:
        """Close the rentals of a stack's machines that are gone by the provider's word.

        Args:
            stack: its name.
            remaining: machines that are not gone.
            ended: when others ended, seconds since 1970, where the provider says so.

        A machine is billed until it ended by the provider's word, else until it was seen to be
        gone; one of an earlier session may have ended long before: no longer than its lease then.
        """
        with self._lock:
            for machine, rental in self._rented.items():
                if rental.stack == stack and machine not in remaining and rental.until is None:
                    self._rented[machine] = self._ended(rental, (ended or {}).get(machine))
                    self._record(self._rented[machine])
            if not remaining and (asked := self._launching.pop(stack, None)):
                # It was never created: nothing to pay.
                self._record(replace(asked, until=asked.since))

    def _ended(self, rental: Rental, ended: float | None) -> Rental:
        """Return the rental of a machine that is gone now."""
        now = self._clock()
        # AWS cuts off the fraction of a second; and clocks may differ.
        if ended is not None and rental.since <= ended + 1 and ended <= now:
            return replace(rental, until=min(ended + 1, now), at_most=False)
        latest = min(rental.expires, now) if rental.since < self._began else now
        return replace(rental, until=max(rental.since, latest), at_most=True)

    # -- money --------------------------------------------------------------------------------

    def hourly(self, stack: str) -> float:
        """Return what a stack's newest machine costs, in USD/h."""
        rentals = self.of(stack)
        return rentals[-1].price.usd_per_hour if rentals else 0.0

    def accrued(self) -> tuple[float, float]:
        """Return what all have cost so far, in USD, and what they cost now, in USD/h."""
        with self._lock:
            # For a machine that nobody has seen yet, the shortest bill: its creation may wait for
            # the download of a plugin.
            unseen = [replace(asked, until=asked.since) for asked in self._launching.values()]
            spent = rate = 0.0
            for rental in [*self._rented.values(), *unseen]:
                usd = sum(line.usd for line in self._lines(rental))
                spent += usd
                runs = rental.until is None and not self._is_over(rental)
                rate += usd / self._seconds(rental) * 3600 if runs else 0.0
        return spent, rate

    def cost(self, downloaded: int) -> Cost:
        """Return the bill.

        Args:
            downloaded: bytes that were downloaded.
        """
        with self._lock:
            rented = sorted(self._rented.values(), key=lambda rental: rental.since)
            unseen = list(self._launching.values())
        lines = tuple(line for rental in rented for line in self._lines(rental))
        # Asked for, and AWS could not be asked what became of it: it may run.
        lines += tuple(
            replace(line, basis=Basis.ESTIMATE) for asked in unseen for line in self._lines(asked)
        )
        if downloaded:
            lines += (
                CostLine("egress", "videos", downloaded / 1e9, "GB", EGRESS_PER_GB, Basis.ESTIMATE),
            )
        at_most = any(rental.at_most or self._is_over(rental) for rental in rented)
        return Cost(
            usd=sum(line.usd for line in lines),
            worker_seconds=sum(self._seconds(rental) for rental in rented),
            basis="; ".join([*_BASIS, _UNKNOWN_END] if at_most else _BASIS),
            lines=lines,
            at_most=at_most,
        )

    def _lines(self, rental: Rental) -> list[CostLine]:
        hours, rates, machine = self._seconds(rental) / 3600, RateCard.of(rental), rental.machine
        name = machine or "unseen"

        def line(kind: str, what: str, rate: float, basis: Basis = Basis.ESTIMATE) -> CostLine:
            return CostLine(kind, f"{name} {what}", hours, "h", rate, basis, machine)

        lines = [
            line("machine", str(rental.rung), rates.machine, rental.basis),
            CostLine(
                "disk",
                f"{name} {rates.disk_gb} GB gp3",
                hours * rates.disk_gb,
                "GB-h",
                rates.disk_gb_hour,
                rental.disk_basis,
                machine,
            ),
            line("address", "public IPv4", rates.address),
        ]
        if rates.surplus:
            lines.append(line("credits", "CPU credits beyond the baseline", rates.surplus))
        return lines

    def _seconds(self, rental: Rental) -> float:
        """Return the seconds that AWS bills."""
        until = rental.until if rental.until is not None else self._latest(rental)
        return RateCard.of(rental).billed_seconds(until - rental.since)

    def _latest(self, rental: Rental) -> float:
        """Return until when a machine has run that has not been seen to be gone."""
        return rental.expires if self._is_over(rental) else self._clock()

    def _is_over(self, rental: Rental) -> bool:
        """Whether a machine of an earlier session has ended itself, because its lease is over."""
        return (
            rental.until is None and rental.since < self._began and rental.expires < self._clock()
        )
