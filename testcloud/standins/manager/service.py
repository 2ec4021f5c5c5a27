"""A service of a machine's systemd: its processes and what follows when they end.

systemd.service(5), systemd.kill(5), systemd.exec(5).
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.units import Unit, command, seconds, variables

# As the cgroup of a unit: every process that it starts inherits this variable.
UNIT_MARK = "CLOUDBURST_TEST_UNIT"
# systemd.exec(5): the search path of system services; the stand-ins come before it.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
CLEAN_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE}
_OUTPUT = re.compile(r"(append|file|truncate):(.*)")


def spawn(words: list[str], **options: Any) -> int:
    """Start a process that the machine's first process will collect; return its id."""
    process = subprocess.Popen(words, **options)
    # Otherwise the next Popen would collect it, and its exit code would be lost.
    process.returncode = 0
    return process.pid


@dataclass
class Place:
    """Where a machine's services run.

    Attributes:
        folder: the machine's.
        bare: its system folders are this computer's, see `_namespace`.
        environment: what every process of the machine has.
        scale: seconds that a second of the machine lasts.
        log: writes a line to the journal.
    """

    folder: Path
    bare: bool
    environment: dict[str, str]
    scale: float
    log: Callable[[str], None]

    def program(self, name: str) -> str:
        """Return the path of a program on this computer."""
        folder, _, base = name.rpartition("/")
        standin = self.folder / "bin" / base
        if folder in ("", "/bin", "/sbin", "/usr/bin", "/usr/sbin") and standin.exists():
            return str(standin)
        return self.path(name)

    def path(self, word: str) -> str:
        """Return the path on this computer of a file of the machine; any other word as it is."""
        own = self.folder / "root" / word.lstrip("/")
        return str(own) if self.bare and word.startswith("/") and own.exists() else word

    def output(self, unit: Unit, key: str) -> int:
        """Return a file descriptor for what a unit prints."""
        kind = unit.last("Service", key, "journal")
        if key == "StandardError" and kind == "journal":
            kind = unit.last("Service", "StandardOutput", kind)
        if match := _OUTPUT.fullmatch(kind):
            prefix = self.folder / "root" if self.bare else Path("/")
            path = prefix / match[2].lstrip("/")
            clear = os.O_TRUNC if match[1] == "truncate" else 0
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | clear, 0o644)
        if kind == "null":
            return os.open("/dev/null", os.O_WRONLY)
        console = "console" in kind or kind in ("tty", "kmsg")
        name = "boot.log" if console else "journal.log"
        return os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


@dataclass
class Service:
    """A service.

    Attributes:
        state: inactive · activating · active · deactivating · failed.
        result: success · exit-code · signal · start-limit-hit · resources.
        pid: of the main process, 0 if there is none.
        restarts: how often it was restarted by itself.
        restart_at, kill_at: monotonic seconds, None if nothing is due.
    """

    unit: Unit
    place: Place
    state: str = "inactive"
    result: str = "success"
    pid: int = 0
    restarts: int = 0
    restart_at: float | None = None
    kill_at: float | None = None
    starts: list[float] = field(default_factory=list)
    _steps: list[tuple[str, str]] = field(default_factory=list)
    _step: tuple[str, bool] = ("", True)
    _stopping: bool = False

    @property
    def name(self) -> str:
        """The unit's name."""
        return str(self.unit.name)

    @property
    def kind(self) -> str:
        """What Type= says."""
        return self.get("Type", "simple")

    def get(self, key: str, default: str = "") -> str:
        """Return a setting of the service."""
        return str(self.unit.last("Service", key, default))

    def span(self, section: str, key: str, default: str) -> float:
        """Return the seconds of a setting, scaled."""
        return float(seconds(self.unit.last(section, key, default))) * self.place.scale

    def start(self) -> None:
        """Start the service; `ended` continues it."""
        now = time.monotonic()
        within = self.span("Unit", "StartLimitIntervalSec", "10s")
        burst = int(self.unit.last("Unit", "StartLimitBurst", "5"))
        self.starts = [moment for moment in self.starts if now - moment < within]
        if within and len(self.starts) >= burst:
            self.place.log(f"{self.name}: Start request repeated too quickly.")
            self._fail("start-limit-hit")
            return
        self.starts.append(now)
        self.state, self.result, self._stopping = "activating", "success", False
        self.restart_at = None
        keys = ("ExecStartPre", "ExecStart", "ExecStartPost")
        self._steps = [(key, line) for key in keys for line in self.unit.all("Service", key)]
        self._next()

    def _next(self) -> None:
        """Run the next command."""
        if not self._steps:
            self._done()
            return
        key, line = self._steps.pop(0)
        try:
            words, required = command(line)
            pid = self._run(words)
        except (OSError, ValueError) as error:
            self.place.log(f"{self.name}: Failed to execute {line}: {error}")
            self._ended_badly("exit-code")
            return
        self._step = (key, required)
        self.pid = pid
        if key == "ExecStart" and self.kind != "oneshot":
            self.state = "active"

    def _run(self, words: list[str]) -> int:
        """Start one process of the service; return its id."""
        place = self.place
        environment = {"LANG": "C.UTF-8", "PATH": PATH, **variables(self.unit)}
        environment["PATH"] = f"{place.folder / 'bin'}:{environment['PATH']}"
        environment |= {**place.environment, UNIT_MARK: self.name}
        descriptors = [place.output(self.unit, key) for key in ("StandardOutput", "StandardError")]
        try:
            return spawn(
                [place.program(words[0]), *map(place.path, words[1:])],
                stdin=subprocess.DEVNULL,
                stdout=descriptors[0],
                stderr=descriptors[1],
                cwd=self.get("WorkingDirectory", "/"),
                env=environment,
                start_new_session=True,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def ended(self, code: int) -> None:
        """Take note that the main process ended: negative for a signal, as in `subprocess`."""
        self.pid = 0
        key, required = self._step
        if self._stopping:
            self._stopped()
        elif code != 0 and required and not (key == "ExecStart" and self._is_clean(code)):
            self.place.log(f"{self.name}: {key} ended with {code}")
            self._ended_badly("signal" if code < 0 else "exit-code")
        else:
            self._next()

    def _is_clean(self, code: int) -> bool:
        signals = {
            f"SIG{name.removeprefix('SIG')}" for name in self.get("SuccessExitStatus").split()
        }
        if code < 0:
            number = signal.Signals(-code)
            return (self.kind != "oneshot" and number in CLEAN_SIGNALS) or number.name in signals
        return str(code) in self.get("SuccessExitStatus").split()

    def _done(self) -> None:
        """All commands ended well."""
        if self.kind == "oneshot" and self.get("RemainAfterExit", "no") in ("yes", "true", "1"):
            self.state = "active"
            return
        self._kill_group(signal.SIGTERM)
        self.state = "inactive"
        if self.get("Restart", "no") in ("always", "on-success"):
            self._again()

    def _ended_badly(self, result: str) -> None:
        self._steps = []
        # KillMode=control-group: what is left of the service ends with its main process.
        self._kill_group(signal.SIGKILL)
        wanted = self.get("Restart", "no")
        fits = {"exit-code": {"always", "on-failure"}}
        fits["signal"] = {"always", "on-failure", "on-abnormal", "on-abort"}
        self._fail(result)
        if wanted in fits.get(result, ()):
            self._again()

    def _fail(self, result: str) -> None:
        self.state, self.result = "failed", result
        self.place.log(f"{self.name}: Failed with result '{result}'.")

    def _again(self) -> None:
        self.restarts += 1
        self.restart_at = time.monotonic() + self.span("Service", "RestartSec", "100ms")
        self.state = "activating"

    def stop(self) -> None:
        """Ask the service to end; it is killed when it does not within TimeoutStopSec=."""
        self.restart_at, self._steps = None, []
        if not self.pid and not self.group():
            self._stopped()
            return
        self._stopping, self.state = True, "deactivating"
        number = getattr(signal, self.get("KillSignal", "SIGTERM"))
        self._kill_group(number)
        self.kill_at = time.monotonic() + self.span("Service", "TimeoutStopSec", "90s")

    def kill(self) -> None:
        """Kill what did not end."""
        self.kill_at = None
        self.place.log(f"{self.name}: State 'stop-sigterm' timed out. Killing.")
        self._kill_group(signal.SIGKILL)

    def _stopped(self) -> None:
        if self.get("KillMode", "control-group") != "process":
            self._kill_group(signal.SIGKILL)
        self.kill_at, self._stopping = None, False
        self.state = "inactive"

    def _kill_group(self, number: signal.Signals) -> None:
        for pid in self.group():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def group(self) -> list[int]:
        """List the processes of the service."""
        unit = f"{UNIT_MARK}={self.name}".encode()
        machine = [f"{key}={value}".encode() for key, value in self.place.environment.items()]
        pids = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                # The environment of a zombie cannot be read.
                with contextlib.suppress(OSError):
                    words = (folder / "environ").read_bytes().split(b"\0")
                    if unit in words and machine[0] in words:
                        pids.append(int(folder.name))
        return pids
