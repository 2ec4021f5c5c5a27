"""Runs that go on without the terminal that began them: detached, watched, stopped, killed."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.clouds import until
from tests.support.inputs import scenes_yaml, write_namesakes, write_sound
from tests.support.patience import SOON
from tests.support.runs import RUN, assert_nothing_left, command, processes_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.stack, pytest.mark.video]
RULES = "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1}\n"


def detached(job: Path, *more: str) -> subprocess.CompletedProcess[str]:
    write_namesakes(job.parent)
    return subprocess.run(
        [str(RUN), str(job), "--output", str(job.parent / "out"), "--detach", *more],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=job.parent,
    )


@pytest.fixture
def long_job(job_file: Callable[..., Path]) -> Path:
    """Return a job that takes far longer than any test, unless it is stopped."""
    job = job_file(scenes_yaml(2, RULES + "defaults: {effects: [zoom_in]}\n"))
    write_sound(job.parent / "a.wav", seconds=600.0)
    return job


def listed() -> list[dict[str, object]]:
    runs: list[dict[str, object]] = json.loads(command("ps", "--json").stdout)["runs"]
    return runs


def is_rendering(run: str) -> bool:
    return "rendering s" in command("logs", run).stdout


def test_a_detached_run_goes_on_and_is_watched_to_its_end(
    job_file: Callable[..., Path], state: Path
) -> None:
    begun = detached(job_file(scenes_yaml(2)))
    assert begun.returncode == 0, begun.stderr
    (run,) = begun.stdout.split()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", run)
    assert f"cloudburst watch {run}" in begun.stderr
    watched = command("watch", run)
    assert watched.returncode == 0, watched.stderr
    assert "s01.mp4, 1.0 s of video" in watched.stdout
    assert "2 of 2 videos" in watched.stdout
    again = command("watch", run, "--json")
    kinds = [json.loads(line)["event"] for line in again.stdout.splitlines()]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_finished"
    assert "nothing is left running" in (log_of(run).read_text())
    engine = command("logs", run, "b01", "--kind", "engine").stdout
    assert "created" in engine
    assert "deleted" in engine
    assert "video API on http" in command("logs", run, "b01", "--kind", "worker").stdout
    assert "not going on" in command("stop", run).stdout
    assert_nothing_left(state)


def log_of(run: str) -> Path:
    folder = json.loads(command("show", run, "--json").stdout)["folder"]
    return Path(folder) / "logs" / "run.log"


def test_a_bad_job_is_told_in_the_foreground(job_file: Callable[..., Path], state: Path) -> None:
    job = job_file(scenes_yaml(1).replace("a.wav", "no.wav"))
    done = detached(job)
    assert (done.returncode, done.stdout) == (2, "")
    assert "scenes[0].audio: file not found: no.wav" in done.stderr
    assert "1 problem; nothing was started" in done.stderr
    assert not (job.parent / "out").exists()
    assert processes_of(state) == []


@pytest.mark.slow
def test_stop_ends_it_as_ctrl_c_does(long_job: Path, state: Path) -> None:
    begun = json.loads(detached(long_job, "--json").stdout)
    run = begun["run_id"]
    assert Path(begun["log"]).exists()
    until(lambda: is_rendering(run), SOON)
    (row,) = listed()
    assert (row["run_id"], row["state"], row["workers"]) == (run, "running", 2)
    asked = command("stop", run)
    assert asked.returncode == 0, asked.stderr
    assert f"to stop {run}" in asked.stdout
    assert command("watch", run).returncode == 130
    assert listed() == []
    assert json.loads(command("show", run, "--json").stdout)["state"] == "interrupted"
    stopping = [
        line for line in command("logs", run, "--json").stdout.splitlines() if "stopping" in line
    ]
    assert [json.loads(line)["count"] for line in stopping] == [1]
    assert_nothing_left(state)


@pytest.mark.slow
def test_stop_twice_hurries(long_job: Path, state: Path) -> None:
    run = detached(long_job).stdout.strip()
    until(lambda: is_rendering(run), SOON)
    command("stop", run)
    command("stop", run)
    command("watch", run)
    events = [json.loads(line) for line in command("logs", run, "--json").stdout.splitlines()]
    counts = [event["count"] for event in events if event["event"] == "stopping"]
    assert counts[0] == 1
    assert counts[-1] in (1, 2), "the first may have been enough by then"
    assert_nothing_left(state)


def in_terminal(command_line: list[str]) -> tuple[int, int]:
    """Run a command in a terminal of its own; return its process id and the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(command_line[0], command_line)  # noqa: S606
    return pid, terminal


def read_all(terminal: int, within: float = SOON) -> str:
    """Read a terminal until it is closed."""
    text, deadline = b"", time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    return text.decode(errors="replace")


@pytest.mark.slow
def test_closing_the_terminal_does_not_end_a_detached_run(long_job: Path, state: Path) -> None:
    output = str(long_job.parent / "out")
    pid, terminal = in_terminal([str(RUN), str(long_job), "--output", output, "--detach"])
    said = read_all(terminal)
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    found = re.search(r"\d{8}-\d{6}-[0-9a-f]{6}", said)
    assert found
    (row,) = listed()
    owner = row["owner"]
    assert isinstance(owner, dict)
    process = psutil.Process(owner["pid"])
    assert process.terminal() is None
    assert os.getsid(process.pid) == process.pid
    process.send_signal(signal.SIGHUP)  # as a last resort: it is a request to stop
    assert command("watch", found[0]).returncode == 130
    assert_nothing_left(state)


@pytest.mark.slow
def test_ctrl_c_before_it_has_begun_ends_it(long_job: Path, state: Path) -> None:
    output = str(long_job.parent / "out")
    pid, terminal = in_terminal([str(RUN), str(long_job), "--output", output, "--detach"])
    time.sleep(0.4)
    os.write(terminal, b"\x03")
    said = read_all(terminal)
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:  # on this machine it had begun by then
        found = re.search(r"\d{8}-\d{6}-[0-9a-f]{6}", said)
        assert found
        command("stop", found[0], "--wait")
    else:
        assert code == 130
        assert said.count("nothing was started") == 1
    assert_nothing_left(state)


@pytest.mark.slow
def test_the_live_view_from_a_second_terminal(long_job: Path, state: Path) -> None:
    run = detached(long_job).stdout.strip()
    until(lambda: is_rendering(run), SOON)
    for _ in range(2):  # and again after the first was closed
        pid, terminal = in_terminal([str(RUN.with_name("cloudburst")), "watch", run])
        seen, deadline = "", time.monotonic() + SOON
        while "s02" not in seen and time.monotonic() < deadline:
            seen += os.read(terminal, 65536).decode(errors="replace")
        assert "b01" in seen
        assert "0 of 2 scenes" in seen
        os.write(terminal, b"\x03")
        rest = read_all(terminal)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
        assert "stopped watching; the run goes on" in rest
        assert listed()[0]["state"] == "running"
    assert command("stop", run, "--wait").returncode == 0
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_run_that_was_killed_is_told_from_one_that_goes_on(long_job: Path, state: Path) -> None:
    run = detached(long_job).stdout.strip()
    until(lambda: is_rendering(run), SOON)
    owner = listed()[0]["owner"]
    assert isinstance(owner, dict)
    os.kill(owner["pid"], signal.SIGKILL)
    watched = command("watch", run)
    assert watched.returncode == 4, "its workers are not noted as gone"
    (row,) = listed()
    assert (row["state"], row["owner"]) == ("killed", None)
    assert "cloudburst audit" in command("ps").stdout
    assert "not going on" in command("stop", run).stdout
    assert command("cleanup", run, "--yes").returncode == 0
    assert listed() == []
    assert_nothing_left(state)
