"""When launches may begin: in waves, with a pause between them.

Cloud providers suspend accounts that create many machines in little time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Seconds between looks at whether a launch that waits for its turn is still needed.
_LOOK_EVERY = 0.5


def next_turn(now: float, turns: Sequence[float], per_wave: int, pause: float) -> float:
    """Return when the next launch may begin.

    In any `pause` seconds no more than `per_wave` launches begin, however they are spread.

    Args:
        now: seconds, on the clock of `turns`.
        turns: when earlier launches began, or are to begin, in order.
        per_wave: launches that may begin together.
        pause: seconds.
    """
    if len(turns) < per_wave or pause <= 0:
        return now
    return max(now, turns[-per_wave] + pause)


class LaunchPace:
    """The launches of a run, in waves. Every method may be called from any thread.

    Args:
        per_wave: launches that may begin together.
        pause: seconds between waves; 0 for no waves.
        clock: seconds.
    """

    def __init__(
        self, per_wave: int = 1, pause: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_wave = per_wave
        self._pause = pause
        self._clock = clock
        self._turns: deque[float] = deque(maxlen=per_wave)
        self._lock = threading.Lock()

    def take_turn(self) -> float:
        """Reserve the next launch's turn; return the seconds until it begins."""
        with self._lock:
            now = self._clock()
            turn = next_turn(now, self._turns, self._per_wave, self._pause)
            self._turns.append(turn)
            return turn - now

    def wait(
        self, seconds: float, sleep: Callable[[float], bool], needed: Callable[[], bool]
    ) -> None:
        """Wait for a turn that was taken; end early when the launch is not needed any more.

        Args:
            seconds: from `take_turn`.
            sleep: waits for so many seconds at most; returns whether the run is to stop.
            needed: whether the launch is still wanted.
        """
        turn = self._clock() + seconds
        while needed() and (remaining := turn - self._clock()) > 0:
            if sleep(min(remaining, _LOOK_EVERY)):
                return
