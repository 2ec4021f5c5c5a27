"""`max_cost_usd`, while a run goes on: stop in time to stay below it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from cloudburst.models import EventKind

if TYPE_CHECKING:
    from cloudburst.run.context import RunContext

LOOK_EVERY = 1.0
# What the machines cost while they finish and end: so much earlier the run is stopped.
WIND_DOWN = 60.0


class Budget:
    """Watches what a run has cost, in a thread of its own, for as long as it is entered.

    Args:
        site: the run's.

    Attributes:
        reached: why the run was stopped; nothing if it was not.
    """

    def __init__(self, site: RunContext) -> None:
        self._site = site
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="budget", daemon=True)
        self.reached = ""

    def __enter__(self) -> Self:
        if self._site.limits.max_cost_usd is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        site, most = self._site, self._site.limits.max_cost_usd or 0.0
        while not self._done.wait(LOOK_EVERY):
            spent, per_hour = site.target.accrued()
            if spent + per_hour * WIND_DOWN / 3600 >= most:
                self._stop(spent, most)
                return

    def _stop(self, spent: float, most: float) -> None:
        site = self._site
        finish = site.limits.on_max_cost == "finish"
        rest = "what renders is finished" if finish else "what renders is cancelled"
        self.reached = (
            f"limits.max_cost_usd: ${spent:.4f} of ${most:g} are spent, and ending costs too; "
            f"{rest}"
        )
        site.timeline.tell(EventKind.STOPPING, self.reached, count=0)
        site.ladder.stop(self.reached)
        if finish:
            site.queue.stop()
        else:
            site.stop.end()
