"""The failover ladder: the ways to create a worker, in the order in which they are tried.

A rung is a market, a region, a zone and an instance type. The user gives the order; the provider's
refusal decides how much is closed: one rung, a quota's whole family, or the ladder.

The ladder is ours, not the provider's: terraform's own retries hide a full zone for most of an
hour. It is shared by a run's batches, so that one batch's refusal saves the others an attempt.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cloudburst.models import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from cloudburst.models import Rung

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
    """

    def __init__(
        self,
        rungs: Iterable[Rung],
        clock: Callable[[], float],
        family: Callable[[str], str] = _own_type,
    ) -> None:
        self.rungs = tuple(rungs)
        self._clock = clock
        self._family = family
        self._closed: dict[Rung, float] = {}
        self._stopped = ""
        self._lock = threading.Lock()

    @property
    def stopped(self) -> str:
        """Why no rung is tried any more; empty while they are."""
        return self._stopped

    def pick(self, tried: Collection[Rung] = ()) -> Rung | None:
        """Return the first open rung that was not tried, None if there is none.

        A rung that another batch found closed is skipped for a while; when no other remains it is
        tried nevertheless, because it may have opened.
        """
        with self._lock:
            if self._stopped:
                return None
            now = self._clock()
            untried = [rung for rung in self.rungs if rung not in tried]
            open_ = (rung for rung in untried if self._closed.get(rung, now) <= now)
            return next(open_, untried[0] if untried else None)

    def close(self, rung: Rung, verdict: Verdict) -> tuple[Rung, ...]:
        """Close what a refusal closes; return those rungs."""
        closed: tuple[Rung, ...] = (rung,)
        if verdict is Verdict.SKIP_FAMILY:
            quota = self._quota(rung)
            closed = tuple(other for other in self.rungs if self._quota(other) == quota)
        with self._lock:
            until = self._clock() + CLOSED_FOR
            self._closed.update(dict.fromkeys(closed, until))
        return closed

    def stop(self, reason: str) -> None:
        """Close all rungs, for every batch; the first reason stays."""
        with self._lock:
            self._stopped = self._stopped or reason

    def _quota(self, rung: Rung) -> tuple[str, str, str]:
        return rung.region, rung.market, self._family(rung.type)
