"""When a machine's lease was renewed: of very many requests, a few marks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cloudburst.models import Renewal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# A machine is asked every few seconds. So many marks for each lease show whether it was out of
# reach: of 100 machines with ten minutes each, 2,400 rows of the journal in an hour.
_MARKS = 4


class Renewals:
    """Notes some of the requests that renew a machine's lease. Thread-safe.

    Args:
        now: returns the seconds that the run has taken.
        write: notes one in the journal.
        before: of earlier sessions.
    """

    def __init__(
        self,
        now: Callable[[], float],
        write: Callable[[Renewal], None],
        before: Iterable[Renewal] = (),
    ) -> None:
        self._now = now
        self._write = write
        self._noted = list(before)
        self._longest = 0.0
        self._lock = threading.Lock()

    def renewed(self, seconds: float) -> None:
        """Take a renewal, and note it if the last one that was noted is some time ago.

        Args:
            seconds: after which the machine would end itself without another request.
        """
        with self._lock:
            at = self._now()
            # Towards the end that nothing prolongs, what is left of the lease gets less.
            self._longest = max(self._longest, seconds)
            if self._noted and at - self._noted[-1].at < self._longest / _MARKS:
                return
            renewal = Renewal(round(at, 3), round(at + seconds, 3))
            self._noted.append(renewal)
        self._write(renewal)

    @property
    def noted(self) -> tuple[Renewal, ...]:
        """What was noted, in order."""
        with self._lock:
            return tuple(self._noted)
