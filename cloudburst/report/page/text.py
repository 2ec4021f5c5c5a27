"""Figures as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.report.page.model import Cell

if TYPE_CHECKING:
    from cloudburst.models import Launch

_MINUTE, _HOUR = 60, 3600
# A reason may hold the end of a log; more of it does not help anybody to read the page.
_LONGEST = 2000


def seconds(value: float) -> str:
    """Return a length of time: ``0.42 s``, ``23.5 s``, ``4 min 12 s``, ``1 h 03 min``."""
    if value < 0.995:  # noqa: PLR2004 - 1.00 s is 1.0 s
        return tr("{seconds:.2f} s", seconds=value)
    if value < 99.95:  # noqa: PLR2004 - 100.0 s is 1 min 40 s
        return tr("{seconds:.1f} s", seconds=value)
    whole = round(value)
    if whole < _HOUR:
        return tr(
            "{minutes} min {seconds:02d} s", minutes=whole // _MINUTE, seconds=whole % _MINUTE
        )
    hours, rest = divmod(round(value / _MINUTE), 60)
    return tr("{hours} h {minutes:02d} min", hours=hours, minutes=rest)


def usd(value: float) -> str:
    """Return an amount: four places, as prices by the hour have; two from a hundred on."""
    return f"${value:,.2f}" if abs(value) >= 100 else f"${value:.4f}"  # noqa: PLR2004


def size(value: float) -> str:
    """Return a number of bytes, in the units in which egress is billed (1 GB = 10^9 bytes)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:.0f} B"


def moment(iso: str) -> str:
    """Return a moment in ISO 8601 by this machine's clock, with its offset."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M:%S %z}"
    except ValueError:
        return iso


def epoch(value: float) -> str:
    """Return a moment in seconds since 1970, likewise."""
    return moment(datetime.fromtimestamp(value, UTC).isoformat())


def seconds_cell(value: float | None) -> Cell:
    """Return a length of time as a cell; an empty one for None."""
    return Cell() if value is None else Cell(seconds(value), round(value, 3))


def usd_cell(value: float | None) -> Cell:
    """Return an amount as a cell; an empty one for None."""
    return Cell() if value is None else Cell(usd(value), round(value, 6))


def short(text: str) -> str:
    """Return a text, cut where it is longer than anybody reads."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def machine(launch: Launch) -> str:
    """Return what a launch asked for, in words: no market of a process of this machine."""
    if launch.price is None:
        return tr("{type} on {target}", type=launch.rung.type, target=launch.target)
    return launch.rung.shown
