"""After a crash: resume, audit and cleanup, with the real engine and real workers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from cloudburst import media
from cloudburst.journal import store as journal
from tests.support.inputs import scenes_yaml, write_picture, write_sound
from tests.support.runs import (
    RUN,
    CliRun,
    assert_nothing_left,
    cli_run,
    command,
    homes,
    jumping,
    killed,
    processes_of,
    run_id,
    scene_done,
    scene_started,
    state_is,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.video]

TWO_EACH = "distribution: {scenes_per_batch: 2, min_scenes_per_batch: 1}\n"


def slow_job(job_file: Callable[..., Path], more: str = "", scenes: int = 4) -> Path:
    """Write a job in batches of two scenes: one is short, the other takes a while."""
    text = scenes_yaml(scenes, f"{TWO_EACH}{more}", ", effects: [zoom_in]")
    for name in ("s01", "s03"):
        text = text.replace(
            f"{name}, image: p.png, audio: a.wav", f"{name}, image: p.png, audio: long.wav"
        )
    path = job_file(text)
    write_sound(path.parent / "long.wav", 4, rate=8000)
    return path


@pytest.mark.parametrize("scenes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_where_it_was(
    job_file: Callable[..., Path], tmp_path: Path, state: Path, scenes: int
) -> None:
    folder = killed(slow_job(job_file, scenes=scenes), tmp_path / "out", scene_done, state)
    before = homes(folder)
    assert before
    told = command("audit")
    assert told.returncode == 4, told.stdout + told.stderr
    assert f"cloudburst resume {run_id(state)}" in told.stdout
    done = command("resume", run_id(state))
    assert done.returncode == 0, done.stdout + done.stderr
    after = homes(folder)
    assert sorted(after) == [f"s{number:02d}.mp4" for number in range(1, scenes + 1)]
    assert {name: after[name] for name in before} == before, "what was home was left alone"
    history = journal.read(folder)
    assert history is not None
    assert all(tries[-1].error is None for tries in history.attempts.values())
    assert all(sum(one.error is None for one in tries) == 1 for tries in history.attempts.values())
    report = json.loads((folder / "report.json").read_text())
    assert report["outcome"] == "complete"
    assert report["left_running"] == []
    assert len(report["batches"]) > scenes // 2, "what the killed session began is in it too"
    assert_nothing_left(state)
    assert command("audit").returncode == 0


@pytest.mark.slow
def test_a_resume_that_fails_says_why_it_did_and_not_its_killed_run(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    killed(slow_job(job_file, scenes=2), tmp_path / "out", scene_started, state)
    # The folders of workers cannot be created.
    shutil.rmtree(state / "workers")
    (state / "workers").write_text("in the way")
    done = command("resume", run_id(state))
    assert done.returncode == 3, done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert line.startswith("error: no worker could be used: no rung is left; tried a process on")
    (folder,) = (tmp_path / "out").iterdir()
    error = json.loads((folder / "report.json").read_text())["error"]
    assert error.startswith("no rung is left; ")


def test_resuming_a_finished_run_starts_nothing(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = job_file(scenes_yaml(2))
    with cli_run(path, tmp_path / "out") as running:
        assert running.finish()[0] == 0
    shutil.rmtree(state / "backend")  # an engine would make it again
    with cli_run(path, tmp_path / "out", "--resume") as again:
        code, err = again.finish()
    assert code == 0, err
    assert [event["event"] for event in again.events] == ["run_resumed", "run_finished"]
    assert again.events[-1]["report"]["done"] == 2
    assert not (state / "backend").exists()
    assert len(list((tmp_path / "out").iterdir())) == 1, "no run of its own"


@pytest.mark.slow
def test_only_what_has_changed_is_rendered_again(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = job_file(scenes_yaml(3).replace("s02, image: p.png", "s02, image: other.png"))
    write_picture(path.parent / "other.png", (200, 200))
    with cli_run(path, tmp_path / "out") as running:
        assert running.finish()[0] == 0
    (folder,) = (tmp_path / "out").iterdir()
    before = homes(folder)
    write_picture(path.parent / "other.png", (180, 320))
    with cli_run(path, tmp_path / "out", "--resume") as again:
        code, err = again.finish()
    assert code == 0, err
    assert [event["scene"] for event in again.events if scene_done(event)] == ["s02"]
    after = homes(folder)
    assert {name for name in after if after[name] != before[name]} == {"s02.mp4"}
    assert media.inspect_video(folder / "s02.mp4").height == 1920
    (aside,) = (folder / "superseded").iterdir()
    assert aside.read_bytes() == before["s02.mp4"][0], "nothing that was rendered is thrown away"
    assert_nothing_left(state)


@pytest.mark.slow
def test_cleanup_ends_what_a_killed_run_has_left_and_may_be_repeated(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    folder = killed(slow_job(job_file), tmp_path / "out", scene_started, state)
    assert command("audit").returncode == 4
    for _ in range(2):
        done = command("cleanup", "--all", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_left(state)
    assert command("audit").returncode == 0
    history = journal.read(folder)
    assert history is not None
    assert history.unfinished == ()
    report = json.loads((folder / "report.json").read_text())
    assert report["outcome"] == "interrupted"
    assert all(launch["destroyed"] for one in report["batches"] for launch in one["launches"])


@pytest.mark.slow
def test_audit_and_cleanup_need_neither_job_nor_journal(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = slow_job(job_file)
    folder = killed(path, tmp_path / "out", scene_started, state)
    path.unlink()
    shutil.rmtree(folder)
    told = command("audit", "--json")
    assert told.returncode == 4
    document = json.loads(told.stdout)
    assert not document["clean"]
    (run,) = document["runs"]
    assert {stack["name"] for stack in run["stacks"] if stack["left"]}
    done = command("cleanup", run["run_id"], "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_left(state)
    assert command("audit").returncode == 0
    assert not list((state / "runs").glob("*.json")), "nothing of it is left, not even the note"


@pytest.mark.slow
def test_a_journal_that_cannot_be_read_is_told_and_nothing_is_called_clean(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    with cli_run(job_file(scenes_yaml(1)), tmp_path / "out") as running:
        assert running.finish()[0] == 0
    (folder,) = (tmp_path / "out").iterdir()
    (folder / "journal.db").write_bytes(b"not a journal" * 1000)
    told = command("audit")
    assert told.returncode == 3
    assert f"journal of {run_id(state)}" in told.stdout
    assert "not clean" in told.stdout


@pytest.mark.slow
def test_a_living_run_is_left_alone(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = slow_job(job_file)
    write_sound(path.parent / "long.wav", 240, rate=8000)
    with cli_run(path, tmp_path / "out") as running:
        running.until(scene_started)
        pid = running.process.pid
        resumed = command("resume", run_id(state))
        assert resumed.returncode == 2, resumed.stdout
        assert f"process {pid}" in resumed.stderr
        told = command("audit")
        assert told.returncode == 0, "what a living run uses is not left"
        assert f"running, process {pid}" in told.stdout
        cleaned = command("cleanup", run_id(state), "--yes")
        assert cleaned.returncode == 2
        assert f"process {pid}" in cleaned.stderr
        assert command("cleanup", "--all", "--yes").returncode == 0
        os.killpg(running.process.pid, signal.SIGINT)
        code, err = running.finish()
    assert code == 130, err
    assert_nothing_left(state)


@pytest.mark.slow
def test_cleanup_asks_before_it_ends_anything(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    killed(slow_job(job_file), tmp_path / "out", scene_started, state)
    refused = command("cleanup", "--all")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert run_id(state) in refused.stdout, "it shows what it would end"
    assert command("audit").returncode == 4, "and ends nothing"
    assert command("cleanup", "--all", "--yes").returncode == 0


@pytest.mark.parametrize("arguments", [(), ("--all", "--orphans"), ("RUN", "--all")])
def test_cleanup_wants_to_know_what(arguments: tuple[str, ...]) -> None:
    refused = command("cleanup", *arguments)
    assert refused.returncode == 2
    assert "RUN, --orphans or --all" in refused.stderr


def test_a_run_that_nobody_knows_is_named() -> None:
    refused = command("resume", "20260101-000000-abcdef")
    assert refused.returncode == 2
    assert "no run '20260101-000000-abcdef'" in refused.stderr


@pytest.mark.slow
def test_kept_workers_outlive_their_run_until_they_are_cleaned_up(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = job_file(scenes_yaml(2, "auto_terminate: false\n"))
    with cli_run(path, tmp_path / "out") as running:
        code, err = running.finish()
    assert code == 0, err
    (kept,) = running.events[-1]["report"]["kept"]
    assert "http://127.0.0.1:" in kept
    assert " until " in kept
    time.sleep(1)
    assert any("videoapi" in line for line in processes_of(state)), "it outlives its run"
    told = command("audit")
    assert told.returncode == 4
    assert "kept on purpose" in told.stdout
    # A busy computer takes a while until it is asked.
    assert re.search(r"ends itself in (60|5\d) min", told.stdout)
    again = command("resume", run_id(state))
    assert again.returncode == 0, again.stderr
    assert kept in again.stdout, "going on with a finished run leaves them alone"
    assert any("videoapi" in line for line in processes_of(state))
    assert command("cleanup", run_id(state), "--yes").returncode == 0
    assert_nothing_left(state)
    assert command("audit").returncode == 0


@pytest.mark.slow
def test_a_run_that_is_stopped_keeps_no_worker(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    with cli_run(slow_job(job_file, "auto_terminate: false\n"), tmp_path / "out") as running:
        running.until(scene_started)
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.finish()[0] == 130
    assert_nothing_left(state)


@pytest.mark.slow
def test_two_runs_share_a_backend(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = job_file(scenes_yaml(2))
    codes = []

    def one(number: int) -> None:
        with cli_run(path, tmp_path / f"out{number}") as running:
            codes.append(running.finish()[0])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    assert len(list((state / "runs").glob("*.json"))) == 2
    assert_nothing_left(state)


def test_on_a_disk_that_is_full_nothing_is_started(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """A limit on the size of files stands for the disk: the journal does not fit."""
    path = job_file(scenes_yaml(1))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; exec {RUN} {path} --output {tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "journal.db cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert "creating" not in done.stdout
    assert_nothing_left(state)


@pytest.mark.slow
def test_videos_that_find_no_room_are_named_and_nothing_is_left(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = job_file(scenes_yaml(2, "limits: {attempts: 1}\n", ", effects: [zoom_in]"))
    write_picture(path.parent / "p.png", (1280, 720))
    write_sound(path.parent / "a.wav", 20, rate=8000)
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 200; exec {RUN} {path} --output {tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("failed") >= 2
    assert_nothing_left(state)
    resumed = command("resume", run_id(state))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr


@pytest.fixture
def apart() -> list[str]:
    """Give what begins a command whose mounts nobody else sees."""
    command = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs unprivileged mount namespaces")
    return command


def test_where_nothing_can_be_written_nothing_is_started(
    job_file: Callable[..., Path], tmp_path: Path, state: Path, apart: list[str]
) -> None:
    path, output = job_file(scenes_yaml(1)), tmp_path / "out"
    output.mkdir()
    script = f"""
    mount --bind {output} {output} && mount -o remount,bind,ro {output}
    exec {RUN} {path} --output {output}
    """
    done = subprocess.run(
        [*apart, "bash", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"output.directory: {output} is not writable" in done.stderr
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_disk_that_gets_full_ends_the_run_and_loses_nothing(
    job_file: Callable[..., Path], tmp_path: Path, state: Path, apart: list[str]
) -> None:
    path, output = slow_job(job_file), tmp_path / "out"
    # One scene is rendered long after the first video is there, and its video, of noise, is too
    # large for what little a full disk gives back.
    text = path.read_text()
    path.write_text(
        text.replace(
            "name: s03, image: p.png, audio: long.wav",
            "name: s03, image: p.png, audio: longest.wav",
        )
    )
    write_sound(path.parent / "longest.wav", 60, rate=8000)
    noise = Image.frombytes("RGB", (640, 360), os.urandom(640 * 360 * 3))
    noise.save(path.parent / "p.png")
    output.mkdir()
    # Filled as soon as the first video is there; until it is full, the run stands still.
    script = f"""
    mount -t tmpfs -o size=160m none {output}
    {RUN} {path} --output {output} --json & run=$!
    until ls {output}/*/*.mp4 &> /dev/null; do sleep 0.02; done
    kill -STOP $run; cat /dev/zero > {output}/filler 2> /dev/null; kill -CONT $run
    wait $run; code=$?
    rm {output}/filler
    sha256sum {output}/*/*.mp4 > {tmp_path}/before
    {RUN} {path} --output {output} --resume --quiet || exit 99
    sha256sum {output}/*/*.mp4 > {tmp_path}/after
    exit $code
    """
    with (
        (tmp_path / "stderr").open("w") as errors,
        subprocess.Popen(
            [*apart, "bash", "-c", script], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        running = CliRun(process, tmp_path / "stderr")
        code, err = running.finish()
    assert code == 3, err
    assert "journal.db cannot be written: database or disk is full" in err
    assert f"cloudburst resume {run_id(state)}" in err
    assert "Traceback" not in err
    assert_nothing_left(state)
    before = set((tmp_path / "before").read_text().splitlines())
    after = set((tmp_path / "after").read_text().splitlines())
    assert 1 <= len(before) < 4
    assert len(after) == 4
    assert before <= after, "what was home is as it was"


@pytest.mark.parametrize("by", [7200.0, -7200.0])
@pytest.mark.slow
def test_a_clock_that_is_set_while_a_run_goes_on_changes_nothing(
    job_file: Callable[..., Path], tmp_path: Path, state: Path, by: float
) -> None:
    jump, environment = jumping(tmp_path, by)
    with cli_run(job_file(scenes_yaml(2)), tmp_path / "out", **environment) as running:
        running.until(scene_started)
        jump.touch()
        code, err = running.finish()
    assert code == 0, err
    report = running.events[-1]["report"]
    assert [len(scene["attempts"]) for scene in report["scenes"]] == [1, 1]
    assert report["seconds"] < 100
    assert_nothing_left(state)
    assert command("audit").returncode == 0


@pytest.mark.parametrize("moment", ["creating", "working", "destroying"])
@pytest.mark.slow
def test_an_engine_that_is_killed_does_not_end_the_run(
    job_file: Callable[..., Path], tmp_path: Path, state: Path, moment: str
) -> None:
    """SIGKILL of the engine's own process while its run lives."""
    path = job_file(scenes_yaml(2))
    with cli_run(path, tmp_path / "out") as running:
        running.until(state_is(moment))
        deadline = time.monotonic() + 3
        victims: list[str] = []
        while not victims and time.monotonic() < deadline:
            victims = [line for line in processes_of(state) if "pulumi" in line.split()[1]]
            time.sleep(0.01)
        for line in victims:
            os.kill(int(line.split()[0]), signal.SIGKILL)
        code, err = running.finish()
    report = running.events[-1]["report"]
    assert code in (0, 3), err
    assert report["left_running"] == []
    assert_nothing_left(state)
