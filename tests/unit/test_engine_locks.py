"""Locks on stacks, and the engines of dead runs that hold them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from cloudburst.engine import locks
from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import VERSION, PulumiCli
from cloudburst.errors import StackLocked
from cloudburst.models import Lock
from cloudburst.paths import PROJECT, state_folder
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SINCE = "2026-11-24T10:15:00+00:00"


def lock(place: Path, pid: int, host: str | None = None, name: str = "one") -> Path:
    """Lock a stack as the engine does, in a backend that is a folder."""
    folder = place / ".pulumi" / "locks" / "organization" / PROJECT / "run-b01"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    said = {"pid": pid, "username": "me", "hostname": host or socket.gethostname()}
    path.write_text(json.dumps({**said, "timestamp": SINCE}))
    return path


def make() -> Engine:
    state = state_folder()
    return Engine(PulumiCli(state / "pulumi", VERSION, "a test"), state)


@pytest.fixture
def made() -> Engine:
    return make()


@contextmanager
def running(
    name: str, folder: Path, *, deaf: bool = False, stack: str = "run-b01"
) -> Iterator[subprocess.Popen[str]]:
    """Run a process of a name in a stack's workspace; a deaf one hears no Ctrl-C."""
    shell = shutil.which("sh")
    assert shell is not None
    binary = folder / name
    shutil.copy(os.path.realpath(shell), binary)
    trap = "trap '' INT" if deaf else "trap 'echo state written; exit' INT"
    # Builtins only: dash drops a signal that arrives while it starts another program (vfork).
    script = f"{trap}; echo ready; while :; do :; done"
    workspace = folder / "workspaces" / stack
    workspace.mkdir(parents=True)
    with subprocess.Popen(
        [str(binary), "-c", script],
        cwd=workspace,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_stack_without_a_lock(made: Engine) -> None:
    assert made.locks("run-b01") == ()
    made.end_owners("run-b01")


def test_locks_are_read(made: Engine, state: Path) -> None:
    lock(state / "backend", 7, "elsewhere")
    lock(state / "backend", 8, "here", "two")
    assert made.locks("run-b01") == (Lock(7, "elsewhere", SINCE), Lock(8, "here", SINCE))
    assert made.locks("run-b02") == ()


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"pid": "x", "hostname": "h"}', "{}"])
def test_a_damaged_lock_locks_all_the_same(made: Engine, state: Path, damaged: str) -> None:
    lock(state / "backend", 7).write_text(damaged)
    assert made.locks("run-b01") == (Lock(0, "", ""),)
    made.end_owners("run-b01")  # nobody to end


@pytest.mark.parametrize("url", ["file://{}", "file://{}?no_tmp_dir=true", "file://~/a folder"])
def test_a_backend_of_the_users_own_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    place = tmp_path / "a folder"
    lock(place, 7, "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PULUMI_BACKEND_URL", url.format(place))
    assert make().locks("run-b01") == (Lock(7, "elsewhere", SINCE),)


@pytest.mark.parametrize("url", ["s3://bucket", "https://api.pulumi.com"])
def test_a_backend_that_is_no_folder_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", url)
    assert make().locks("run-b01") == ()


def test_an_engine_that_has_lost_its_run_is_ended(
    made: Engine, state: Path, tmp_path: Path
) -> None:
    with running("pulumi", tmp_path) as process:
        lock(state / "backend", process.pid)
        made.end_owners("run-b01")
        assert process.stdout is not None
        assert process.stdout.read() == "state written\n"


def test_an_engine_that_does_not_listen_is_killed(
    made: Engine, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For this one alone: the others have the time that they need on a busy machine.
    monkeypatch.setattr(locks, "ENGINE_GRACE", 0.3)
    with running("pulumi", tmp_path, deaf=True) as process:
        lock(state / "backend", process.pid)
        began = time.monotonic()
        made.end_owners("run-b01")
        assert time.monotonic() - began >= 0.3
        with pytest.raises(psutil.NoSuchProcess):
            psutil.Process(process.pid)


@pytest.mark.parametrize(
    ("name", "stack"), [("editor", "run-b01"), ("pulumi", "of-another-project")]
)
def test_another_process_that_has_its_number_is_left_alone(
    made: Engine, state: Path, tmp_path: Path, name: str, stack: str
) -> None:
    with running(name, tmp_path, stack=stack) as process:
        lock(state / "backend", process.pid)
        made.end_owners("run-b01")
        assert process.poll() is None


def test_an_engine_whose_workspace_is_gone_is_still_known(
    made: Engine, state: Path, tmp_path: Path
) -> None:
    with running("pulumi", tmp_path) as process:
        lock(state / "backend", process.pid)
        shutil.rmtree(tmp_path / "workspaces")
        made.end_owners("run-b01")
        assert process.wait(SOON) == 0


def test_an_engine_that_has_ended_is_no_obstacle(made: Engine, state: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    lock(state / "backend", process.pid)
    made.end_owners("run-b01")


def test_an_engine_on_another_machine_cannot_be_ended(made: Engine, state: Path) -> None:
    lock(state / "backend", os.getpid(), "elsewhere")
    words = f"run-b01 is locked by process {os.getpid()} on elsewhere, which cannot be seen"
    with pytest.raises(StackLocked, match=words):
        made.end_owners("run-b01")
