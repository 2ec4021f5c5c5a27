"""The containers of a machine: what docker knows of each is a file in the machine's folder."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

State = dict[str, Any]


def folder(machine: Path) -> Path:
    """Return the folder of a machine's containers."""
    path = machine / "containers"
    path.mkdir(exist_ok=True)
    return path


def every(machine: Path) -> list[State]:
    """Return all containers, the oldest first."""
    states = [json.loads(path.read_text()) for path in folder(machine).glob("*.json")]
    return sorted(states, key=lambda state: float(state["created"]))


def find(machine: Path, name: str) -> State | None:
    """Return a container by its name, its id, or the beginning of its id."""
    for state in every(machine):
        if state["name"] == name or (name and str(state["id"]).startswith(name)):
            return state
    return None


def save(machine: Path, state: State) -> None:
    """Write a container's state, atomically."""
    path = folder(machine) / f"{state['id']}.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state))
    fresh.replace(path)


def log_file(machine: Path, state: State) -> Path:
    """Return the file with what a container has printed."""
    return folder(machine) / f"{state['id']}.log"


def forget(machine: Path, state: State) -> None:
    """Remove a container."""
    for suffix in ("json", "log"):
        (folder(machine) / f"{state['id']}.{suffix}").unlink(missing_ok=True)


def runs(pid: object) -> bool:
    """Whether a process exists and has not ended."""
    path = Path(f"/proc/{pid}/cmdline")
    try:
        return int(str(pid)) > 0 and bool(path.read_bytes())
    except OSError:
        return False


def alive(state: State) -> bool:
    """Whether the container's process runs."""
    return runs(state["pid"])


def status(state: State) -> str:
    """Return the status as docker names it."""
    if alive(state):
        return "running"
    if runs(state["supervisor"]):
        return "restarting"
    return "created" if not state["supervisor"] else "exited"


def kill(machine: Path, state: State) -> None:
    """Kill a container, and wait for the end of its processes."""
    # The supervisor first: it would start the container again.
    for key in ("supervisor", "pid"):
        fresh = find(machine, str(state["id"])) or state
        pid = int(fresh[key])
        if pid and runs(pid):
            try:
                (os.killpg if key == "pid" else os.kill)(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            while runs(pid):
                time.sleep(0.01)
