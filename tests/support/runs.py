"""Shared by integration tests: real servers, real runs, and a check that nothing remains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = Path(sys.executable).with_name("cloudburst-run")


def processes_of(state: Path) -> list[str]:
    """List the running processes that this test's run started: engine, workers and ffmpeg.

    They all inherit the environment variable with the test's own state folder.
    """
    mark = f"CLOUDBURST_STATE={state}".encode()
    processes = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                if mark in environment:
                    processes.append(f"{process.pid} {' '.join(process.cmdline())[:150]}")
        except (psutil.Error, OSError):
            continue
    return processes


def assert_nothing_left(state: Path) -> None:
    """Assert that no process of the run, no stack and no file of a worker remains."""
    deadline = time.monotonic() + 5
    while (remaining := processes_of(state)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert remaining == []
    assert Engine(find_engine(), state).stacks() == []
    assert not list((state / "workspaces").glob("*-b*"))
    assert not list((state / "workers").glob("*"))


@dataclass
class CliRun:
    """A `cloudburst-run --json` in its own process, and the events it has printed."""

    process: subprocess.Popen[str]
    errors: Path
    events: list[dict[str, Any]] = field(default_factory=list)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read events until one matches; fail if the run ends first."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if wanted(self.events[-1]):
                return self.events[-1]
        pytest.fail(f"the run ended first: {self.events[-5:]} {self.finish()}")

    def finish(self) -> tuple[int, str]:
        """Read the remaining events; return the exit code and standard error."""
        assert self.process.stdout is not None
        # Not `communicate`: it reads past what `until` has buffered.
        self.events += [json.loads(line) for line in self.process.stdout]
        return self.process.wait(120), self.errors.read_text()


@contextmanager
def cli_run(job: Path, output: Path, *more: str, **env: str) -> Iterator[CliRun]:
    """Start a run; kill it at the end if it still runs."""
    errors = output.with_name(f"{output.name}.stderr")
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [str(RUN), str(job), "--output", str(output), "--json", *more],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **env},
            # A process group of its own, as in a terminal: Ctrl-C reaches the whole group.
            start_new_session=True,
        ) as process,
    ):
        try:
            yield CliRun(process, errors)
        finally:
            if process.poll() is None:
                process.kill()


def jumping(folder: Path, by: float) -> tuple[Path, dict[str, str]]:
    """Return a file and an environment: while the file exists, the clock is off by some seconds.

    gRPC gets the real time, because it compares Python's time with that of its C core.
    """
    jump = folder / "jump"
    (folder / "sitecustomize.py").write_text(f"""
import os, sys, time
real = time.time
def jumping():
    inside_grpc = sys._getframe(1).f_globals.get("__name__", "").startswith("grpc")
    return real() + (0.0 if inside_grpc or not os.path.exists({str(jump)!r}) else {by})
time.time = jumping
""")
    return jump, {"PYTHONPATH": str(folder)}


def state_is(state: str) -> Callable[[dict[str, Any]], bool]:
    """Return a predicate for the event that a batch has reached a state."""
    return lambda event: event["event"] == "batch_state" and event["state"] == state


def command(*arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run `cloudburst` with some arguments to its end."""
    return subprocess.run(
        [str(RUN.with_name("cloudburst")), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def run_id(state: Path) -> str:
    """Return the id of the newest run of a state folder."""
    return max((state / "runs").glob("*.json")).stem


def killed(job: Path, output: Path, wanted: Callable[[dict[str, Any]], bool], state: Path) -> Path:
    """Run a job until an event matches, kill it with SIGKILL, and return its folder."""
    with cli_run(job, output) as running:
        running.until(wanted)
        running.process.kill()
        running.process.communicate()
    deadline = time.monotonic() + 10
    while any("cloudburst-run" in line for line in processes_of(state)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (folder,) = output.iterdir()
    return folder


def scene_done(event: dict[str, Any]) -> bool:
    return event["event"] == "scene_done"


def scene_started(event: dict[str, Any]) -> bool:
    return event["event"] == "scene_started"


def homes(folder: Path) -> dict[str, tuple[bytes, float]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.mp4")
    }
