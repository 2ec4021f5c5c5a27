"""The runs of this machine, by registry, journals and locks: what each came to, and what it cost.

The one place that reads a run for people and programs that look back: `ps`, `history`, `show`,
`cost`, and the limit of a month. Nothing is parsed from text that was printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.history.spending import By, Group, grouped, spent, total, uncounted
from cloudburst.history.values import Charge, PastRun, RunStatus, Use

if TYPE_CHECKING:
    from cloudburst.history.reading import everything, load

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


def __getattr__(name: str) -> object:
    """Load what reads journals when it is asked for: the video API's image has no psutil."""
    if name in ("everything", "load"):
        from cloudburst.history import reading  # noqa: PLC0415

        return getattr(reading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
