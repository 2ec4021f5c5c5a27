"""The time, by a clock that nobody can set: bills and leases are measured with it."""

from __future__ import annotations

import time

# Goes on while a laptop sleeps, where the system has it.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BEGAN = time.time() - time.clock_gettime(_ELAPSED)


def now() -> float:
    """Return the seconds since 1970: those when the process began, and what has passed since.

    A step of the system's clock, such as after a wake-up, changes nothing.
    """
    return _BEGAN + time.clock_gettime(_ELAPSED)
