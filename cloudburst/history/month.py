"""What the other runs of this machine have cost in a month, and are likely to cost yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst import clock
from cloudburst.history import reading, spending
from cloudburst.journal import registry, store

if TYPE_CHECKING:
    from cloudburst.history.values import Charge, PastRun
    from cloudburst.models import RunRecord

# When a journal was written last, and how long it is: of its file, and of SQLite's log beside it.
Stamp = tuple[tuple[int, int], ...]
_FILES = (store.NAME, f"{store.NAME}-wal")


@dataclass(frozen=True, slots=True)
class Others:
    """The other runs of this machine.

    Args:
        spent: USD that they have cost since the month began.
        per_hour: USD/h that they cost now.
        to_come: USD that those that are going on are likely to cost yet.
    """

    spent: float
    per_hour: float
    to_come: float


class OtherRuns:
    """Reads the other runs again and again; a journal that does not change any more only once.

    Args:
        but: id of the run that is not counted.
    """

    def __init__(self, but: str) -> None:
        self._but = but
        self._over: dict[str, tuple[Stamp, tuple[Charge, ...]]] = {}

    def read(self) -> Others:
        """Return what they have cost this month (UTC), and are likely to cost yet."""
        since = spending.month_began(clock.now())
        spent = per_hour = to_come = 0.0
        for record in registry.runs():
            if record.run_id == self._but:
                continue
            stamp = _stamp(record)
            known, charges = self._over.get(record.run_id, ((), ()))
            if not stamp or known != stamp:
                run = reading.read(record)
                charges = run.charges
                per_hour += run.usd_per_hour
                to_come += run.to_come_usd
                if stamp and _is_over(run):
                    self._over[record.run_id] = stamp, charges
            spent += spending.total(spending.cut(charges, since))
        return Others(spent, per_hour, to_come)


def _stamp(record: RunRecord) -> Stamp:
    """Return what changes with a run's journal; empty for one that cannot be seen."""
    found = []
    for name in _FILES:
        try:
            status = (record.path / name).stat()
        except OSError:
            continue
        found.append((status.st_mtime_ns, status.st_size))
    return tuple(found)


def _is_over(run: PastRun) -> bool:
    """Whether a run costs nothing more unless its journal changes."""
    now = clock.now()
    return not (run.open or run.why) and all(charge.until < now for charge in run.charges)
