"""Output that is closed, full or not read to its end, and Ctrl-C at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.inputs import scenes_yaml
from tests.support.marks import but_the_first_slow
from tests.support.runs import RUN, assert_nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLOUDBURST = RUN.with_name("cloudburst")
FULL = "standard output: cannot be written: No space left on device"
# What the shell does with standard output, and the exit code of a command that would end with 0.
OUTPUTS = {
    ">&-": 0,
    ">&- 2>&-": 0,
    "<&- >&- 2>&-": 0,
    "| head -1": 0,
    "> /dev/full": 3,
    "> /dev/full 2> /dev/full": 3,
}


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    "command",
    but_the_first_slow(
        ["schema", "--help", "scan", "--dry-run --offline", "--dry-run --offline --json"], 3
    ),
)
def test_a_command_ends_as_it_should_whatever_becomes_of_its_output(
    job_file: Callable[..., Path], command: str, output: str
) -> None:
    path = job_file(scenes_yaml(200))
    whole = {
        "schema": f"{CLOUDBURST} schema",
        "--help": f"{CLOUDBURST} --help",
        "scan": f"{CLOUDBURST} scan . --force --output found.yaml",
    }.get(command, f"{RUN} {path} {command}")
    (path.parent / "p.wav").write_bytes((path.parent / "a.wav").read_bytes())
    done = shell(f"{whole} {output}", path.parent)
    assert done.returncode == OUTPUTS[output], done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert (FULL in done.stderr) == (output == "> /dev/full")


def test_a_failure_has_its_own_exit_code_though_the_disk_is_full(tmp_path: Path) -> None:
    assert shell(f"{RUN} no.yaml --dry-run > /dev/full 2>&1", tmp_path).returncode == 2
    assert shell(f"{RUN} no.yaml --dry-run >&- 2>&-", tmp_path).returncode == 2


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import os; from cloudburst.console import streams; streams.guard();"
        f"file = os.open({str(tmp_path / 'journal')!r}, os.O_CREAT | os.O_RDWR);"
        "print('to nobody', flush=True); os.system('echo to nobody'); os._exit(file)"
    )
    done = shell(f"{sys.executable} -c {code!r} <&- >&- 2>&-".replace("'\"'\"'", "'"), tmp_path)
    assert done.returncode > 2
    assert (tmp_path / "journal").read_text() == ""


def test_a_terminal_that_another_program_made_non_blocking_gets_everything() -> None:
    code = (
        "from cloudburst.console import streams; streams.guard(); print('x' * 1_000_000); "
        "streams.finish()"
    )
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen([sys.executable, "-c", code], stdout=writer) as process:
        os.close(writer)
        time.sleep(0.5)  # the pipe is full long before
        with os.fdopen(reader) as output:
            assert len(output.read()) == 1_000_001
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.video
@pytest.mark.parametrize("output", ["--json | head -1", *OUTPUTS, "--json > /dev/full"])
def test_a_run_goes_on_to_its_end_whoever_reads_its_output(
    job_file: Callable[..., Path], tmp_path: Path, state: Path, output: str
) -> None:
    command = f"{RUN} {job_file(scenes_yaml(2))} --output {tmp_path / 'out'} {output}"
    done = shell(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (FULL in done.stderr) == (output.removeprefix("--json ") == "> /dev/full")
    (folder,) = (tmp_path / "out").iterdir()
    assert sorted(path.name for path in folder.glob("*.mp4")) == ["s01.mp4", "s02.mp4"]
    assert (folder / "report.json").exists()
    assert_nothing_left(state)


def interrupted(command: list[str], after: float, cwd: Path) -> tuple[int, str, str]:
    """Send SIGINT to a command's process group, as a terminal does; return what it came to."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


@pytest.mark.stack
@pytest.mark.parametrize("after", but_the_first_slow([0.9, 0.5, 0.7, 1.4]))
def test_ctrl_c_in_a_dry_run_says_so_in_one_line(
    job_file: Callable[..., Path], state: Path, after: float
) -> None:
    rules = "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1}\n"
    path = job_file(scenes_yaml(12, rules))
    code, output, errors = interrupted([str(RUN), str(path), "--dry-run"], after, path.parent)
    while code == 0:  # on this machine it was over by then
        after /= 2
        code, output, errors = interrupted([str(RUN), str(path), "--dry-run"], after, path.parent)
    assert (code, output) == (130, "")
    (line,) = errors.splitlines()
    assert line.startswith("interrupted; nothing was ")
    assert_nothing_left(state)


@pytest.mark.parametrize("command", [["audit"], ["doctor"], ["scan", ".", "-o", "-"], ["schema"]])
@pytest.mark.parametrize("after", but_the_first_slow([0.8, 0.4, 1.4]))
def test_ctrl_c_says_so_in_one_line(
    job_file: Callable[..., Path], command: list[str], after: float
) -> None:
    """Whether it came before the end depends on the machine; there is no third outcome."""
    path = job_file(scenes_yaml(1))
    (path.parent / "p.wav").write_bytes((path.parent / "a.wav").read_bytes())
    code, _, errors = interrupted([str(CLOUDBURST), *command], after, path.parent)
    assert code in (0, 130)
    told = [line for line in errors.splitlines() if "interrupted" in line]
    assert len(told) == (code == 130)
    assert "Traceback" not in errors, errors


# Interrupts a command where MODULE is imported, or MODULE:FUNCTION called, and swallows what that
# raises, as callbacks of decoders and `except` around C modules do.
SWALLOWS = """
import importlib, os, signal, sys
from cloudburst.__main__ import main
from cloudburst import cli

module, _, function = sys.argv.pop(1).partition(":")

def swallow(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigpending()
    except KeyboardInterrupt:
        pass
    os.write(2, b"swallowed\\n")
    os._exit(1)

class Finder:
    def find_spec(self, name, *_):
        return swallow() if name == module else None

if function:
    setattr(importlib.import_module(module), function, swallow)
else:
    assert module not in sys.modules
    sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize(
    ("where", "command"),
    [
        ("cloudburst.job.loader:load_job", ["run", "scenes.yaml"]),
        ("cloudburst.job.loader:load_job", ["doctor", "scenes.yaml"]),
        ("cloudburst.job.loader:load_job", ["scan", ".", "--run", "--force"]),
        ("cloudburst.runner.resume:load", ["resume", "20261124-185549-39b168"]),
        ("cloudburst.runner.resume:newest", ["run", "scenes.yaml", "--resume"]),
        ("cloudburst.job.loader", ["run", "scenes.yaml"]),
        ("cloudburst.job.loader", ["doctor"]),
        ("cloudburst.doctor", ["doctor"]),
        ("cloudburst.job.folder.scan", ["scan", "."]),
        ("cloudburst.job.loader", ["scan", ".", "--run", "--force"]),
        ("cloudburst.job.schema", ["schema"]),
        ("cloudburst.api", ["audit"]),
        ("cloudburst.recovery.audit", ["audit"]),
        ("cloudburst.recovery.cleanup", ["cleanup", "--all"]),
    ],
)
def test_ctrl_c_counts_where_a_library_would_swallow_it(
    job_file: Callable[..., Path], where: str, command: list[str]
) -> None:
    folder = job_file(scenes_yaml(1)).parent
    (folder / "p.wav").write_bytes((folder / "a.wav").read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS, where, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "interrupted; nothing was started\n")
    # What was printed before is not lost in a buffer.
    assert ("1 scene in" in done.stdout) == ("--run" in command)


@pytest.mark.stack
def test_ctrl_c_during_the_last_preview_is_no_success(
    job_file: Callable[..., Path], state: Path
) -> None:
    path = job_file(scenes_yaml(1))
    with subprocess.Popen(
        [str(RUN), str(path), "--dry-run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        workspaces = state / "workspaces"
        while process.poll() is None and not any(workspaces.glob("*-b01")):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors == "interrupted; nothing was created\n"
    assert_nothing_left(state)
