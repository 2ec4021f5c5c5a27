"""Injected faults: errors of AWS API calls, and failures of machines."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("slow_boot", "never_healthy", "pull_fails", "dies", "silent")


@dataclass(frozen=True, eq=False)
class Fault:
    """A fault to inject into one kind of API call.

    Attributes:
        action: such as RunInstances; * for every action.
        code: AWS's error code; "" when the call is only delayed or dropped.
        times: number of calls it applies to; None for all.
        where: facts that must match: type, zone, region, market, caller.
        after: let the call take effect first.
        delay: seconds to wait before anything else.
        drop: close the connection without a response.
        message: replaces AWS's usual message.
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
    """The pending faults; each firing uses one up."""

    def __init__(self) -> None:
        self.fired: list[Fault] = []
        self._pending: list[tuple[Fault, int | None]] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        """Add faults; the first that matches a call fires."""
        with self._lock:
            self._pending += [(fault, fault.times) for fault in faults]

    def clear(self) -> None:
        """Remove the faults that have not fired."""
        with self._lock:
            self._pending.clear()

    def take(self, action: str, facts: Mapping[str, str]) -> Fault | None:
        """Return the fault for a call and use it up once; None if none matches."""
        with self._lock:
            for index, (fault, times) in enumerate(self._pending):
                if fault.action not in ("*", action) or times == 0:
                    continue
                if not _matches(fault.where, facts):
                    continue
                self._pending[index] = (fault, None if times is None else times - 1)
                self.fired.append(fault)
                return fault
        return None


@dataclass(eq=False)
class MachineFault:
    """A failure of a machine, decided when it boots.

    Attributes:
        kind: slow_boot (the user data starts `seconds` late) · never_healthy (the container never
            answers properly) · pull_fails (no image can be pulled) · dies (the hardware fails
            `seconds` after the container started) · silent (the container stops answering
            `seconds` after it started; the instance stays "running").
        times: number of machines it applies to; None for all.
        where: facts that must match: type, zone, region, market.
    """

    kind: str
    times: int | None = 1
    where: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; must be one of {', '.join(KINDS)}")

    def take(self, facts: Mapping[str, str]) -> bool:
        """Use the fault up once; whether it applies to a machine."""
        if self.times == 0 or not _matches(self.where, facts):
            return False
        if self.times is not None:
            self.times -= 1
        return True


def _matches(where: Mapping[str, str], facts: Mapping[str, str]) -> bool:
    return all(facts.get(name) == value for name, value in where.items())
