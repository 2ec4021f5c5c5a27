"""The machine: its commands, its clock, and its end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

# What docker says, in small letters, and what that is. The first that fits counts.
_WORDS = (
    ("disk_full", ("no space left on device",)),
    (
        "wrong_architecture",
        ("no matching manifest", "exec format error", "does not match the detected host platform"),
    ),
    ("pull_failed", ("toomanyrequests", "timeout", "connection", "no such host", "i/o")),
    ("pull_refused", ("authorized",)),
    ("image_not_found", ("manifest unknown", "not found", "does not exist")),
    ("pull_refused", ("denied", "no basic auth", "forbidden", "the login to")),
)
_LONGEST_LINE = 500


class Failed(Exception):
    """The machine cannot render: a code, and the reason in the words of who refused."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def now() -> float:
    """Return seconds since the machine started, which no correction of the clock changes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def run(command: list[str], seconds: float, **options: Any) -> tuple[int, str]:
    """Run a command; return its exit code and what it wrote."""
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired:
        return 124, f"{' '.join(command[:2])} did not end within {seconds:.0f} s"
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def last_line(text: str) -> str:
    """Return the last line that a command wrote."""
    return text.splitlines()[-1].strip()[:_LONGEST_LINE] if text else "it said nothing"


def code_of(text: str, otherwise: str, only: tuple[str, ...] = ()) -> str:
    """Return the code of a failure by docker's words.

    Args:
        text: what docker said.
        otherwise: for what has none.
        only: codes that are possible; none for all.
    """
    small = text.lower()
    codes = (code for code, words in _WORDS if any(each in small for each in words))
    code = next(codes, otherwise)
    return code if code in only or not only else otherwise


def sha256(path: Path) -> str:
    """Return the digest of a file; empty if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(1024**2), b""):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


class Lease:
    """When the machine ends itself: after the last sign of life, or at the cap.

    It is kept on disk, so that a restart of the agent does not prolong it.

    Args:
        config: see `boot.DEFAULTS`.

    Attributes:
        rebooted: the agent has run in an earlier boot of the machine.
        restarted: it has run in this boot before.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._path = Path(config["state"]) / "lease.json"
        self._seconds = float(config["lease"])
        self._lock = threading.Lock()
        self._kept = 0.0
        boot = Path(config["boot_id"]).read_text("ascii").strip()
        record: dict[str, Any] = {}
        if self._path.exists():
            try:
                record = json.loads(self._path.read_text("utf-8"))
            except ValueError:
                record = {"boot": "cut short by the machine's end"}
        self.rebooted = record.get("boot", boot) != boot
        self.restarted = bool(record) and not self.rebooted
        self._record = record or {"boot": boot, "cap": now() + config["cap"], "end": float("inf")}
        if not record:
            self.renew()

    def renew(self) -> None:
        """Move the end away; never beyond the cap, and not at all once it has come."""
        with self._lock:
            moment = now()
            if moment >= self._record["end"]:
                return
            self._record["end"] = min(moment + self._seconds, self._record["cap"])
            if not self._kept or moment - self._kept > self._seconds / 60:
                self._kept = moment
                fresh = self._path.with_suffix(".new")
                fresh.write_text(json.dumps(self._record), "utf-8")
                fresh.replace(self._path)

    @property
    def left(self) -> float:
        """Seconds until the machine ends itself."""
        return float(self._record["end"]) - now()

    @property
    def cap(self) -> float:
        """Seconds until it does so whatever happens."""
        return float(self._record["cap"]) - now()


def power_off(grace: float) -> None:
    """End the machine, by force if it has to be.

    Args:
        grace: seconds between one way and the next.
    """
    for force in ([], ["--force"], ["--force", "--force"]):
        run(["systemctl", "poweroff", *force], 30)
        time.sleep(grace)


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a child process."""
    return {**os.environ, **more}
