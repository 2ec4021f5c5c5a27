"""A rented machine: its user data executed for real, in a tree of processes that ends as one."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STANDINS = Path(__file__).parent / "standins"
# Every process of a machine has its id in the environment, from the first to the last.
MARK = "CLOUDBURST_TEST_MACHINE"
_COMMANDS = {
    "docker": "docker.py",
    "shutdown": "shutdown.py",
    "poweroff": "shutdown.py",
    "halt": "shutdown.py",
    "curl": "curl.py",
    "systemctl": "plain.py",
    "dnf": "plain.py",
    "yum": "plain.py",
}
# Without site-packages and the user's settings an interpreter starts in a fortieth of a second.
_PYTHON = [sys.executable, "-S", "-s", "-E"]
_GONE_WITHIN = 10.0


@dataclass(eq=False)
class Machine:
    """An instance and its processes.

    Attributes:
        market: "on-demand" or "spot".
        address: its public address, "" while it has none.
        launched, ended: epoch seconds; ended is when it began to shut down.
        state: as EC2 names it.
        faults: what befalls it, by kind, with the seconds of each.
    """

    id: str
    type: str
    region: str
    zone: str
    market: str
    user_data: str = field(repr=False)
    tags: dict[str, str]
    folder: Path
    launched: float
    control: str = field(repr=False)
    image: str = ""
    token_required: bool = True
    address: str = ""
    ended: float | None = None
    notice: float | None = None
    reason: str = ""
    faults: dict[str, float] = field(default_factory=dict)
    instance: Any = field(default=None, repr=False)
    request: Any = field(default=None, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def state(self) -> str:
        """EC2's word for how it is."""
        return str(self.instance.state)

    @property
    def facts(self) -> dict[str, str]:
        """What faults may ask for."""
        return {
            "type": self.type,
            "zone": self.zone,
            "region": self.region,
            "market": self.market,
        }

    @property
    def container_pid(self) -> int | None:
        """The process id of its running container, if it has one."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(json.loads((self.folder / "container.json").read_text())["pid"])
            return pid if pid in self.alive() else None
        return None

    def boot_log(self) -> str:
        """Give the console's text."""
        log = self.folder / "boot.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def commands(self) -> list[str]:
        """List the commands of stand-ins that its user data gave, without values of variables."""
        log = self.folder / "commands.log"
        return log.read_text(errors="replace").splitlines() if log.exists() else []

    def alive(self) -> list[int]:
        """List its processes."""
        return processes(self.id)

    def start(self) -> None:
        """Switch it on; it executes its user data as cloud-init does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _furnish(self)
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            MARK: self.id,
        }
        with self._lock, (self.folder / "boot.log").open("ab") as console:
            if self.ended is not None:
                return
            self._process = subprocess.Popen(
                [*_PYTHON, str(STANDINS / "init.py")],
                # The lifeline: when this process ends, however it ends, so does the machine.
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End every process it has, and see that they are gone.

        Raises:
            TimeoutError: some would not go.
        """
        with self._lock:
            process, self._process = self._process, None
        deadline = time.monotonic() + _GONE_WITHIN
        while left := processes(self.id):
            for pid in left:
                send(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.id}: processes {left} do not end")
            time.sleep(0.005)
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(_GONE_WITHIN)

    def freeze(self) -> None:
        """Stop the container's processes without ending them."""
        for pid in self.alive():
            if self._process is None or pid != self._process.pid:
                send(pid, signal.SIGSTOP)


def processes(machine: str) -> list[int]:
    """List the processes of a machine, known by the mark in their environment."""
    mark, found = f"{MARK}={machine}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # A zombie has no environment any more.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _furnish(machine: Machine) -> None:
    """Write what a machine finds on its disk: commands, user data, what the stand-ins must know."""
    commands = machine.folder / "bin"
    commands.mkdir(exist_ok=True)
    for name, script in _COMMANDS.items():
        line = shlex.join([*_PYTHON, str(STANDINS / script), str(machine.folder), name])
        path = commands / name
        path.write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        path.chmod(0o755)
    (machine.folder / "tmp").mkdir(exist_ok=True)
    text = machine.user_data.encode(errors="surrogateescape")
    (machine.folder / "user-data").write_bytes(text)
    known = {
        "id": machine.id,
        "mark": MARK,
        "control": machine.control,
        "pull_fails": "pull_fails" in machine.faults,
        "never_healthy": "never_healthy" in machine.faults,
        "slots": vcpus(machine.type) // 2 or 1,
    }
    (machine.folder / "machine.json").write_text(json.dumps(known))


def vcpus(kind: str) -> int:
    """Give a type's number of vCPUs."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return int(INSTANCE_TYPES[kind]["VCpuInfo"]["DefaultVCpus"])
