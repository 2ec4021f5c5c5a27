"""Moments and lengths of time, as people read them."""

from __future__ import annotations

from datetime import datetime

from cloudburst.language import tr

# From here on, people count in minutes, in hours, and in days.
_MINUTES_FROM = 90.0
_HOURS_FROM = 5400.0
_DAYS_FROM = 48 * 3600.0


def moment(at: float) -> str:
    """Return a moment on this machine's clock, with its offset: ``2026-11-27 19:05+01:00``.

    Args:
        at: seconds since 1970.
    """
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "minutes")


def age(seconds: float) -> str:
    """Return a length of time in the unit that people would use."""
    seconds = max(0.0, seconds)
    if seconds < _MINUTES_FROM:
        return tr("{seconds:.0f} s", seconds=seconds)
    if seconds < _HOURS_FROM:
        return tr("{minutes:.0f} min", minutes=seconds / 60)
    if seconds < _DAYS_FROM:
        return tr("{hours:.1f} h", hours=seconds / 3600)
    return tr("{days:.0f} d", days=seconds / 86400)


def clock(at: float) -> str:
    """Return a moment to the second: ``2026-11-27 19:05:12+01:00``."""
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "seconds")
