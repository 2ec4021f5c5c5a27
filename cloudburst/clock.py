"""The time by a monotonic clock, for costs and leases."""

from __future__ import annotations

import time

# Unlike CLOCK_MONOTONIC it keeps running during suspend; not every system has it.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BEGAN = time.time() - time.clock_gettime(_ELAPSED)


def now() -> float:
    """Return the seconds since 1970: the time when the process began plus the elapsed time.

    Steps of the system clock, such as after a wake-up, have no effect.
    """
    return _BEGAN + time.clock_gettime(_ELAPSED)
