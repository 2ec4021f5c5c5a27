"""The failover ladder: the ways to create a worker, in the order in which they are tried.

A rung is a market, a region, a zone and an instance type. The user gives the order; the provider's
refusal decides how much is closed: one rung, a quota's whole family, or the ladder.

The ladder is ours, not the provider's: terraform's own retries hide a full zone for most of an
hour. It is shared by a run's batches, so that one batch's refusal saves the others an attempt.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

from cloudburst.models import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from cloudburst.models import Rung

    # Region, market and family: what counts against one quota.
    Quota = tuple[str, str, str]

# Seconds. A full zone stays full for a while; a quota frees when a machine of the run ends.
CLOSED_FOR = 300.0


def _own_type(instance_type: str) -> str:
    """Return the quota family of a type where each type has a quota of its own."""
    return instance_type


class Ladder:
    """Which rungs are open. Every method may be called from any thread.

    Args:
        rungs: in the order in which they are tried.
        clock: seconds.
        family: instance type → the family that shares a quota.
        size: instance type → how much of the quota it takes.
        allowances: quota → how much of it the run may take; a quota that is not named is not known.
    """

    def __init__(
        self,
        rungs: Iterable[Rung],
        clock: Callable[[], float],
        family: Callable[[str], str] = _own_type,
        size: Callable[[str], float] = lambda _: 1.0,
        allowances: Mapping[Quota, float] | None = None,
    ) -> None:
        self.rungs = tuple(rungs)
        self._clock = clock
        self._family = family
        self._size = size
        self._allowances = dict(allowances or {})
        self._taken: dict[Quota, float] = {}
        self._once: set[str] = set()
        self._closed: dict[Rung, float] = {}
        self._stopped = ""
        self._lock = threading.Lock()

    @property
    def stopped(self) -> str:
        """Why no rung is tried any more; empty while they are."""
        return self._stopped

    @property
    def first(self) -> Rung:
        """The rung that the next worker is likely to get."""
        return self.pick() or self.rungs[0]

    def pick(self, tried: Collection[Rung] = ()) -> Rung | None:
        """Return the first open rung that was not tried, None if there is none.

        A rung that another batch found closed is skipped for a while; when no other remains it is
        tried nevertheless, because it may have opened. One that does not fit its quota beside the
        run's other workers is not tried: its refusal is foreseen.
        """
        with self._lock:
            return self._pick(tried)

    def _pick(self, tried: Collection[Rung]) -> Rung | None:
        if self._stopped:
            return None
        now = self._clock()
        untried = [rung for rung in self.rungs if rung not in tried and self._fits(rung)]
        open_ = (rung for rung in untried if self._closed.get(rung, now) <= now)
        return next(open_, untried[0] if untried else None)

    def reserve(self, tried: Collection[Rung] = ()) -> Rung | None:
        """Return what `pick` returns, and count it against its quota until `release`."""
        with self._lock:
            rung = self._pick(tried)
            if rung is not None:
                self._count(rung, 1)
            return rung

    def hold(self, rung: Rung) -> None:
        """Count a worker that exists already against its quota, until `release`."""
        with self._lock:
            self._count(rung, 1)

    def release(self, rung: Rung) -> None:
        """Count a worker no more: nothing of it exists."""
        with self._lock:
            self._count(rung, -1)

    def is_full(self, tried: Collection[Rung] = ()) -> bool:
        """Whether a rung that was not tried fits once another worker of the run has ended."""
        with self._lock:
            return not self._stopped and any(
                not self._fits(rung) and self._fits_alone(rung)
                for rung in self.rungs
                if rung not in tried
            )

    def fitting(self, count: int) -> int:
        """Return how many of so many workers fit their quotas at once, in the ladder's order."""
        with self._lock:
            before = dict(self._taken)
            fitting = 0
            while fitting < count and (rung := next(filter(self._fits, self.rungs), None)):
                self._count(rung, 1)
                fitting += 1
            self._taken = before
            return fitting

    def _fits(self, rung: Rung) -> bool:
        quota = self._quota(rung)
        allowance = self._allowances.get(quota, math.inf)
        return self._taken.get(quota, 0.0) + self._size(rung.type) <= allowance

    def _fits_alone(self, rung: Rung) -> bool:
        return self._size(rung.type) <= self._allowances.get(self._quota(rung), math.inf)

    def _count(self, rung: Rung, workers: int) -> None:
        quota = self._quota(rung)
        taken = self._taken.get(quota, 0.0) + workers * self._size(rung.type)
        self._taken[quota] = max(0.0, taken)

    def close(self, rung: Rung, verdict: Verdict) -> tuple[Rung, ...]:
        """Close what a refusal closes; return those rungs."""
        closes = _SCOPES.get(verdict)
        closed = tuple(
            each for each in self.rungs if each == rung or (closes and closes(self, rung, each))
        )
        with self._lock:
            until = self._clock() + CLOSED_FOR
            self._closed.update(dict.fromkeys(closed, until))
        return closed

    def is_first(self, code: str) -> bool:
        """Whether no batch has met this refusal before, for those that are forgiven once."""
        with self._lock:
            if code in self._once:
                return False
            self._once.add(code)
            return True

    def stop(self, reason: str) -> None:
        """Close all rungs, for every batch; the first reason stays."""
        with self._lock:
            self._stopped = self._stopped or reason

    def shares_quota(self, rung: Rung, other: Rung) -> bool:
        """Whether two rungs count against one quota."""
        return self._quota(rung) == self._quota(other)

    def is_larger(self, rung: Rung, other: Rung) -> bool:
        """Whether the other rung takes at least as much of a quota as a rung."""
        return self._size(other.type) >= self._size(rung.type)

    def _quota(self, rung: Rung) -> Quota:
        return rung.region, rung.market, self._family(rung.type)


# Whether a refusal of a rung closes another one, too.
_SCOPES: dict[Verdict, Callable[[Ladder, Rung, Rung], bool]] = {
    Verdict.SKIP_LARGER: lambda ladder, rung, other: (
        ladder.shares_quota(rung, other) and ladder.is_larger(rung, other)
    ),
    Verdict.SKIP_FAMILY: Ladder.shares_quota,
    Verdict.SKIP_MARKET: lambda _, rung, other: rung.market == other.market,
    Verdict.SKIP_REGION: lambda _, rung, other: rung.region == other.region,
}
