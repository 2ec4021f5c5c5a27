"""A rented machine: it executes its user data in a process tree that ends as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

STANDINS = Path(__file__).parents[1] / "standins"
# Every process of a machine inherits the machine's id in this environment variable.
MARK = "CLOUDBURST_TEST_MACHINE"
_COMMANDS = {
    "docker": "docker.py",
    "shutdown": "shutdown.py",
    "poweroff": "shutdown.py",
    "reboot": "shutdown.py",
    "halt": "shutdown.py",
    "curl": "curl.py",
    "systemctl": "systemctl.py",
    "systemd-run": "systemd_run.py",
    "python3": "python3.py",
    "dnf": "plain.py",
    "yum": "plain.py",
}
# Without site-packages and user settings an interpreter starts in 25 ms.
_FLAGS = ["-S", "-s", "-E"]
# A machine's own Python: that of Amazon Linux 2023, if this computer has it, else what it has.
_PYTHONS = ("python3.9", "/usr/bin/python3")
_OLDEST = (3, 9)
_ENDED_WITHIN = 60.0


@dataclass(eq=False)
class Machine:
    """An instance and its processes.

    Attributes:
        market: "on-demand" or "spot".
        address: the public address, "" if there is none.
        launched, ended: epoch seconds; ended is when the shutdown began.
        notice: when a spot machine will be reclaimed, epoch seconds.
        faults: the machine's faults by kind, with the seconds of each.
        lasts: for how many seconds they last, by kind; 0 for ever.
        images: commands of container images, see `Cloud`.
        installs: whether pip in a container installs packages, see `Cloud`.
        minute: seconds that one of the machine's minutes lasts.
        namespace: whether it gets system folders of its own where this computer allows that; it
            gets the variable CLOUDBURST_ROOT otherwise.
        boots: how often it has booted.
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
    lasts: dict[str, float] = field(default_factory=dict)
    images: dict[str, list[str]] = field(default_factory=dict)
    installs: bool = True
    minute: float = 60.0
    namespace: bool = True
    boots: int = 0
    instance: Any = field(default=None, repr=False)
    spot_request: Any = field(default=None, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def state(self) -> str:
        """The state as EC2 names it."""
        return str(self.instance.state)

    @property
    def facts(self) -> dict[str, str]:
        """The facts that faults can match."""
        return {
            "type": self.type,
            "zone": self.zone,
            "region": self.region,
            "market": self.market,
        }

    @property
    def container_pid(self) -> int | None:
        """The process id of the oldest running container, or None."""
        return next(iter(self.container_pids), None)

    @property
    def container_pids(self) -> list[int]:
        """The process ids of the running containers, the oldest first."""
        states, alive = [], self.alive()
        for path in (self.folder / "containers").glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                states.append(json.loads(path.read_text()))
        ordered = sorted(states, key=lambda state: float(state["created"]))
        return [int(state["pid"]) for state in ordered if state["pid"] in alive]

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """The services that were written on the machine: state, result, pid and restarts."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.folder / "units.json").read_text())["services"])
        return {}

    @property
    def root(self) -> Path:
        """The folder with the machine's own part of /etc, /run and so on."""
        return self.folder / "root"

    def journal(self) -> str:
        """Return what systemd and its services wrote to the journal."""
        log = self.folder / "journal.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def boot_log(self) -> str:
        """Return the console output."""
        log = self.folder / "boot.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def commands(self) -> list[str]:
        """List the stand-in commands that the user data ran, without values of variables."""
        log = self.folder / "commands.log"
        return log.read_text(errors="replace").splitlines() if log.exists() else []

    def alive(self) -> list[int]:
        """List the machine's process ids."""
        return processes(self.id)

    def start(self) -> None:
        """Start the machine; it executes its user data as cloud-init does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.boots += 1
        _write_files(self)
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            MARK: self.id,
        }
        with self._lock, (self.folder / "boot.log").open("ab") as console:
            if self.ended is not None:
                return
            self._process = subprocess.Popen(
                [sys.executable, *_FLAGS, str(STANDINS / "init.py"), str(self.folder), "init"],
                # The machine ends when this pipe closes, so it never outlives this process.
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Kill every process of the machine and wait until all have ended.

        Raises:
            TimeoutError: some processes did not end.
        """
        with self._lock:
            process, self._process = self._process, None
        deadline = time.monotonic() + _ENDED_WITHIN
        try:
            while pids := processes(self.id):
                for pid in pids:
                    send(pid, signal.SIGKILL)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.id}: processes {pids} did not end")
                time.sleep(0.005)
        finally:
            if process is not None:
                if process.stdin is not None:
                    process.stdin.close()
                process.wait(_ENDED_WITHIN)

    def reboot(self) -> None:
        """Boot again: processes and /run are gone, and the user data does not run again.

        Raises:
            TimeoutError: some processes did not end.
        """
        if self.ended is not None:
            return
        self.stop()
        shutil.rmtree(self.root / "run", ignore_errors=True)
        self.start()

    def freeze(self) -> None:
        """Suspend every process but init (SIGSTOP)."""
        for pid in self.alive():
            if self._process is None or pid != self._process.pid:
                send(pid, signal.SIGSTOP)


def processes(machine: str) -> list[int]:
    """List the process ids of a machine, found by the mark in their environment."""
    mark, pids = f"{MARK}={machine}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            # The environment of a zombie cannot be read.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    pids.append(int(folder.name))
    return [pid for pid in pids if pid != os.getpid()]


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that has ended is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _write_files(machine: Machine) -> None:
    """Write the machine's files: commands, user data, and settings of the stand-ins."""
    commands = machine.folder / "bin"
    commands.mkdir(exist_ok=True)
    for name, script in _COMMANDS.items():
        python = machine_python() if name == "python3" else sys.executable
        line = shlex.join([python, *_FLAGS, str(STANDINS / script), str(machine.folder)])
        path = commands / name
        path.write_text(f'#!/bin/sh\nexec {line} "$0" "$@"\n')
        path.chmod(0o755)
    (machine.folder / "tmp").mkdir(exist_ok=True)
    boot_id = machine.root / "proc/sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True, exist_ok=True)
    boot_id.write_text(f"{uuid.uuid4()}\n")
    text = machine.user_data.encode(errors="surrogateescape")
    (machine.folder / "user-data").write_bytes(text)
    settings = {
        "id": machine.id,
        "type": machine.type,
        "mark": MARK,
        "control": machine.control,
        "faults": machine.faults,
        "slots": vcpus(machine.type) // 2 or 1,
        "vcpus": vcpus(machine.type),
        "architecture": architecture(machine.type),
        "images": machine.images,
        "pip": _pip_settings(),
        "installs": machine.installs,
        "minute": machine.minute,
        "namespace": machine.namespace,
        "launched": machine.launched,
        "booted": time.time(),
        "boots": machine.boots,
    }
    (machine.folder / "machine.json").write_text(json.dumps(settings))


def _pip_settings() -> dict[str, str]:
    """Return how pip finds packages on this computer, by its variables."""
    own = {"PIP_CACHE_DIR": str(Path("~/.cache/pip").expanduser())}
    config = Path("~/.config/pip/pip.conf").expanduser()
    own |= {"PIP_CONFIG_FILE": str(config)} if config.exists() else {}
    return own | {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}


@cache
def machine_python() -> str:
    """Return the Python of machines, which is not that of the environment with the test cloud."""
    installed = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))
    known = [*map(str, installed), *filter(None, map(shutil.which, _PYTHONS))]
    for path in known:
        command = [path, "-S", "-c", "import sys; print(*sys.version_info[:2])"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if tuple(map(int, said.split())) >= _OLDEST:
            return path
    return str(getattr(sys, "_base_executable", sys.executable))


def vcpus(kind: str) -> int:
    """Return the number of vCPUs of an instance type."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return int(INSTANCE_TYPES[kind]["VCpuInfo"]["DefaultVCpus"])


def architecture(kind: str) -> str:
    """Return the processor of an instance type, as docker names it."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    supported = INSTANCE_TYPES[kind]["ProcessorInfo"]["SupportedArchitectures"]
    return "arm64" if "arm64" in supported else "amd64"
