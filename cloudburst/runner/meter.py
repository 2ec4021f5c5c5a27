"""Reports what a run has cost so far, from time to time, where something is rented."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from cloudburst.models import EventKind
from cloudburst.runner.budget import accrued

if TYPE_CHECKING:
    from cloudburst.runner.context import RunContext

REPORT_EVERY = 5.0


class Meter:
    """Sends an event with the cost whenever it has changed, for as long as it is entered.

    Args:
        context: the run's.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._last: tuple[float, float] | None = None

    def __enter__(self) -> Self:
        if any(opened.billing is not None for opened in self._context.targets.values()):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
            self._report()

    def _watch(self) -> None:
        while not self._done.wait(REPORT_EVERY):
            self._report()

    def _report(self) -> None:
        usd, per_hour = accrued(self._context.targets.values())
        cost = round(usd, 6), round(per_hour, 6)
        if cost != self._last:
            self._last = cost
            self._context.timeline.emit(EventKind.COST, usd=cost[0], usd_per_hour=cost[1])
