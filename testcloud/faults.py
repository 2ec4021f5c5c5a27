"""Injected faults: errors of AWS API calls, and failures of machines."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: tuple[str, ...]
KINDS = ("slow_boot", "never_healthy", "dies", "silent", "reboot", "agent_killed", "logind_away")
# Of the container image, and of docker.
KINDS += ("pull_fails", "image_not_found", "pull_denied", "pull_limited", "slow_pull")
KINDS += ("wrong_architecture", "exec_format", "disk_full", "no_docker", "late_docker", "late_gpu")
# Of the network.
KINDS += ("nat", "cut", "intercepted")


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
            answers properly) · dies (the hardware fails `seconds` after the container started) ·
            silent (the container stops answering `seconds` after it started; the instance stays
            "running") · reboot (`seconds` after a port was opened) · agent_killed (SIGKILL to the
            main process of every service that was written on the machine, `seconds` after a port
            was opened) · logind_away (`shutdown +N` warns, succeeds and arms nothing).

            pull_fails (the registry does not answer) · image_not_found · pull_denied · pull_limited
            (too many pulls from this address) · slow_pull (takes `seconds` more) ·
            wrong_architecture (the image has no manifest for the machine) · exec_format (the image
            is for another processor, as its container finds) · disk_full · no_docker
            (docker.service fails) · late_docker (it is ordered after cloud-init: whoever asks
            docker earlier waits) · late_gpu (the driver is loaded `seconds` after the boot).

            nat (forgets a connection that was idle for `seconds`) · cut (nothing passes from
            `seconds` after a port was opened, for `lasts` seconds) · intercepted (a proxy ends TLS
            with a certificate of its own).
        times: number of machines it applies to; None for all.
        where: facts that must match: type, zone, region, market.
        lasts: seconds, 0 for ever.
    """

    kind: str
    times: int | None = 1
    where: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    lasts: float = 0.0

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
