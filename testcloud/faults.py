"""Faults to order: what AWS answers instead, and what befalls a machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("slow_boot", "never_healthy", "pull_fails", "dies", "silent")


@dataclass(frozen=True, eq=False)
class Fault:
    """What one kind of API call is to suffer.

    Attributes:
        action: such as RunInstances; * for every one.
        code: AWS's error code; "" when the call is only delayed or dropped.
        times: calls that suffer it; None for all.
        where: what must be so: type, zone, region, market, caller.
        after: let the call take effect first.
        delay: seconds to wait before anything else.
        drop: close the connection without an answer.
        message: instead of AWS's usual words.
    """

    action: str
    code: str = ""
    times: int | None = field(default=1, kw_only=True)
    where: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    after: bool = field(default=False, kw_only=True)
    delay: float = field(default=0.0, kw_only=True)
    drop: bool = field(default=False, kw_only=True)
    message: str | None = field(default=None, kw_only=True)


class Faults:
    """The faults in store; each is used up as it fires."""

    def __init__(self) -> None:
        self.fired: list[Fault] = []
        self._left: list[tuple[Fault, int | None]] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Put faults in store; the first that matches a call fires."""
        with self._lock:
            self._left += [(fault, fault.times) for fault in faults]

    def clear(self) -> None:
        """Forget those that have not fired."""
        with self._lock:
            self._left.clear()

    def take(self, action: str, facts: Mapping[str, str]) -> Fault | None:
        """Use up one fault for a call, if there is one for it."""
        with self._lock:
            for place, (fault, left) in enumerate(self._left):
                if fault.action not in ("*", action) or left == 0 or not _fits(fault.where, facts):
                    continue
                self._left[place] = (fault, None if left is None else left - 1)
                self.fired.append(fault)
                return fault
        return None


@dataclass(eq=False)
class MachineFault:
    """What is to befall a machine, decided when it boots.

    Attributes:
        kind: slow_boot (the user data starts `seconds` late) · never_healthy (the container never
            answers properly) · pull_fails (no image can be pulled) · dies (the hardware fails
            `seconds` after the container started) · silent (the container stops answering
            `seconds` after it started; the instance stays "running").
        times: machines that suffer it; None for all.
        where: what must be so: type, zone, region, market.
    """

    kind: str
    times: int | None = 1
    where: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such fault: {self.kind}; there are {', '.join(KINDS)}")

    def take(self, facts: Mapping[str, str]) -> bool:
        """Use it up once for a machine it fits."""
        if self.times == 0 or not _fits(self.where, facts):
            return False
        if self.times is not None:
            self.times -= 1
        return True


def _fits(where: Mapping[str, str], facts: Mapping[str, str]) -> bool:
    return all(facts.get(name) == value for name, value in where.items())
