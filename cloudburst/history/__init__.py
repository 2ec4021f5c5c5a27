"""The runs of this machine, by registry, journals and locks: what each came to, and what it cost.

The one place that reads a run for people and programs that look back: `ps`, `history`, `show`,
`cost`, and the limit of a month. Nothing is parsed from text that was printed.
"""

from cloudburst.history.reading import everything, load
from cloudburst.history.spending import By, Group, grouped, spent, total, uncounted
from cloudburst.history.values import Charge, PastRun, RunStatus, Use

__all__ = [
    "By",
    "Charge",
    "Group",
    "PastRun",
    "RunStatus",
    "Use",
    "everything",
    "grouped",
    "load",
    "spent",
    "total",
    "uncounted",
]
