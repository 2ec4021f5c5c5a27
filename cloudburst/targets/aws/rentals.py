"""The books on rented machines: what was asked for, what came of it, what it costs."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.models import Basis, Cost, CostLine
from cloudburst.targets.aws.pricing import EGRESS_PER_GB, IPV4_PER_HOUR, MINIMUM_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloudburst.models import Rental


class Rentals:
    """Keeps every machine that was asked for. Every method may be called from any thread.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._record: Callable[[Rental], None] = lambda _: None
        self._rented: dict[str, Rental] = {}
        self._launching: dict[str, Rental] = {}
        self._began = clock()
        self._lock = threading.RLock()

    def restore(self, rentals: Iterable[Rental], record: Callable[[Rental], None]) -> None:
        """Take in the entries of earlier sessions.

        Args:
            rentals: those.
            record: is told of every new entry and of every change to one, from now on.
        """
        with self._lock:
            self._record = record
            for one in rentals:
                if one.machine:
                    self._rented[one.machine] = one
                else:
                    self._launching[one.stack] = one

    def ask(self, rental: Rental) -> None:
        """Enter a machine that is being asked for; who it is shows later."""
        with self._lock:
            self._launching[rental.stack] = rental
            self._record(rental)

    def enter(self, rental: Rental) -> None:
        """Enter a machine that the provider has shown, in the place of the one asked for."""
        with self._lock:
            if rental.machine not in self._rented:
                self._rented[rental.machine] = rental
                self._launching.pop(rental.stack, None)
                self._record(rental)

    def knows(self, machine: str) -> bool:
        """Say if a machine is entered."""
        with self._lock:
            return machine in self._rented

    def asked(self, stack: str) -> Rental | None:
        """Give the entry of the machine that was asked for and has not been seen."""
        with self._lock:
            return self._launching.get(stack)

    def of(self, stack: str) -> list[Rental]:
        """Give a stack's machines, oldest first."""
        with self._lock:
            return sorted(
                (one for one in self._rented.values() if one.stack == stack),
                key=lambda one: one.since,
            )

    def close(self, stack: str, left: set[str], ended: dict[str, float] | None = None) -> None:
        """Close the entries of a stack's machines that the provider says are gone.

        Args:
            stack: its name.
            left: machines that are not gone.
            ended: when others ended, seconds since 1970, as far as the provider says it.

        A machine of this session is billed until it was seen to be gone. One of an earlier session,
        whenever it was first seen, may have ended long ago: it is billed until it ended, and never
        longer than its lease.
        """
        known, now = ended or {}, self._clock()
        with self._lock:
            for identity, one in self._rented.items():
                if one.stack == stack and identity not in left and one.until is None:
                    told = min(known.get(identity, now), one.expires)
                    until = min(told, now) if one.since < self._began else now
                    until = max(one.since, until)
                    self._rented[identity] = replace(one, until=until)
                    self._record(self._rented[identity])
            if not left and (asked := self._launching.pop(stack, None)):
                # It never came to be: nothing to pay.
                self._record(replace(asked, until=asked.since))

    # -- money --------------------------------------------------------------------------------

    def hourly(self, stack: str) -> float:
        """Give what a stack's newest machine costs, in USD/h."""
        entries = self.of(stack)
        return entries[-1].price.usd_per_hour if entries else 0.0

    def accrued(self) -> tuple[float, float]:
        """Give what all has cost until now, in USD, and what it costs now, in USD/h."""
        with self._lock:
            # Of a machine that nobody has seen yet, the shortest bill: it may wait for a download.
            unseen = [replace(one, until=one.since) for one in self._launching.values()]
            spent = rate = 0.0
            for one in [*self._rented.values(), *unseen]:
                usd = sum(line.usd for line in self._lines(one))
                spent += usd
                runs = one.until is None and not self._is_over(one)
                rate += usd / self._seconds(one) * 3600 if runs else 0.0
        return spent, rate

    def cost(self, downloaded: int) -> Cost:
        """Make the bill.

        Args:
            downloaded: bytes that came home.
        """
        with self._lock:
            rented = sorted(self._rented.values(), key=lambda one: one.since)
            unseen = list(self._launching.values())
        lines = tuple(line for one in rented for line in self._lines(one))
        # Asked for, and AWS could not be asked what came of it: it may run.
        lines += tuple(
            replace(line, basis=Basis.ESTIMATE) for one in unseen for line in self._lines(one)
        )
        if downloaded:
            lines += (
                CostLine("egress", "videos", downloaded / 1e9, "GB", EGRESS_PER_GB, Basis.ESTIMATE),
            )
        return Cost(
            usd=sum(line.usd for line in lines),
            worker_seconds=sum(self._seconds(one) for one in rented),
            basis=(
                "machines by the second from launch to verified termination, 60 s at least, at "
                "list or spot prices at launch; address and egress are estimates at AWS's "
                "published rates, before free allowances"
            ),
            lines=lines,
        )

    def _lines(self, one: Rental) -> list[CostLine]:
        hours, who = self._seconds(one) / 3600, one.machine or "unseen"
        lines = [
            CostLine("machine", f"{who} {one.rung}", hours, "h", one.price.usd_per_hour, one.basis),
            CostLine(
                "disk",
                f"{who} {one.disk_gb} GB gp3",
                hours * one.disk_gb,
                "GB-h",
                one.disk_rate,
                one.disk_basis,
            ),
            CostLine("address", f"{who} public IPv4", hours, "h", IPV4_PER_HOUR, Basis.ESTIMATE),
        ]
        if one.surplus:
            what = f"{who} CPU credits beyond the baseline"
            lines.append(CostLine("credits", what, hours, "h", one.surplus, Basis.ESTIMATE))
        return lines

    def _seconds(self, one: Rental) -> float:
        """Give the seconds that AWS bills: whole ones, 60 at least."""
        until = one.until if one.until is not None else self._now_for(one)
        return max(MINIMUM_SECONDS, math.ceil(until - one.since))

    def _now_for(self, one: Rental) -> float:
        """Give the time until which a machine has run that has not been seen to be gone."""
        return one.expires if self._is_over(one) else self._clock()

    def _is_over(self, one: Rental) -> bool:
        """Say if a machine of an earlier session has ended itself, for its lease is over."""
        return one.since < self._began and one.expires < self._clock()
