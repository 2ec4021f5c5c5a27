"""The commands, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudburst.media.video import inspect_video
from tests.support.clouds import until
from tests.support.inputs import scenes_yaml
from tests.support.runs import RUN, assert_nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable


def call(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


CLOUDBURST = Path(sys.executable).with_name("cloudburst")


def test_bad_input_is_told_on_standard_error_with_exit_code_2(
    job_file: Callable[..., Path], state: Path
) -> None:
    path = job_file(scenes_yaml(1, "colour: red\n").replace("a.wav", "no.wav"))
    done = call(RUN, "scenes.yaml", cwd=path.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    unknown, missing, count = done.stderr.splitlines()
    assert unknown.startswith("scenes.yaml:2: colour: unknown key; expected one of: version, name")
    assert missing == (
        "scenes.yaml:4: scenes[0].audio: file not found: no.wav (paths are relative to scenes.yaml)"
    )
    assert count == "2 problems; nothing was started"
    assert not state.exists()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--no-such-option"]])
def test_bad_arguments_have_exit_code_2(arguments: list[str]) -> None:
    done = call(RUN, *arguments)
    assert done.returncode == 2
    assert "Usage: cloudburst-run" in done.stderr


@pytest.mark.stack
def test_dry_run_for_people_and_for_machines(job_file: Callable[..., Path], state: Path) -> None:
    rules = "distribution: {scenes_per_batch: 2, min_scenes_per_batch: 2}\n"
    path = job_file(scenes_yaml(5, rules))
    done = call(RUN, path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "+ create cloudburst:local:Worker worker" in done.stdout
    assert "2 stacks" in done.stdout
    assert "nothing was created" in done.stdout
    done = call(RUN, path, "--dry-run", "--json")
    said = json.loads(done.stdout)
    assert sum(len(batch["scenes"]) for batch in said["batches"]) == 5
    assert {"operation": "create", "type": "cloudburst:local:Worker", "name": "worker"} in said[
        "batches"
    ][0]["resources"]
    assert not (path.parent / "cloudburst_results").exists()
    assert_nothing_left(state)


@pytest.mark.stack
@pytest.mark.video
def test_a_run_in_a_pipe_says_plain_lines_and_a_summary(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    done = call(RUN, job_file(scenes_yaml(2)), "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "b01: s01.mp4, 1.0 s of video" in done.stdout
    assert "2 of 2 videos in " in done.stdout
    assert "1 stack destroyed and verified; nothing is left running" in done.stdout
    assert "$0.00 for" in done.stdout


@pytest.mark.stack
@pytest.mark.video
def test_quiet_says_nothing_and_a_failed_scene_is_exit_code_1(
    job_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = job_file(scenes_yaml(1) + "  - {name: bad, image: bad.png, audio: a.wav}\n")
    whole = (path.parent / "p.png").read_bytes()
    (path.parent / "bad.png").write_bytes(whole)
    output = tmp_path / "out"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, RUN, path, "--output", output, "--quiet")
        # The folder comes before the stack: by then the picture was checked, and not yet sent.
        until(lambda: list(output.glob("batch_*")), 60)
        (path.parent / "bad.png").write_bytes(whole[: len(whole) // 2])
        done = running.result()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bad: failed: the video API answered 422: not a usable picture")
    assert len(done.stderr.splitlines()) == 1
    (directory,) = (tmp_path / "out").iterdir()
    assert (directory / "s01.mp4").exists()
    assert not (directory / "bad.mp4").exists()


@pytest.mark.stack
@pytest.mark.video
def test_a_reader_that_goes_away_does_not_leave_a_run_behind(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    command = f"{RUN} {job_file(scenes_yaml(2))} --output {tmp_path / 'out'} | head -1"
    done = call("bash", "-c", command)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert_nothing_left(state)


def test_no_engine_is_exit_code_3_and_says_what_was_tried(
    job_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CLOUDBURST_CACHE", str(tmp_path / "cache"))
    # A proxy that refuses at once stands for a network that is not there.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    done = call(RUN, job_file(scenes_yaml(1)))
    assert done.returncode == 3
    for words in (
        "PATH: no `pulumi`",
        "official installer",
        "cannot be reached",
        "no `go` on PATH",
    ):
        assert words in done.stderr
    assert "https://www.pulumi.com/docs/install/" in done.stderr


def test_schema_is_json() -> None:
    said = json.loads(call(CLOUDBURST, "schema").stdout)
    assert set(said["required"]) == {"version", "scenes"}
    assert "background_opacity" in json.dumps(said)


def test_env_can_be_evaluated_by_a_shell(state: Path) -> None:
    done = call("bash", "-c", f'eval "$({CLOUDBURST} env)" && env')
    assert f"PULUMI_BACKEND_URL={(state / 'backend').as_uri()}" in done.stdout.splitlines()


@pytest.mark.stack
def test_doctor_names_what_there_is(state: Path) -> None:
    done = call(CLOUDBURST, "doctor")
    assert done.returncode == 0, done.stderr
    said = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert {tuple(line[:2]) for line in said} >= {
        ("ok", "engine"),
        ("ok", "state"),
        ("ok", "stacks"),
        ("ok", "ffmpeg"),
    }
    texts = {line[1]: line[2] for line in said if line[0] == "ok"}
    assert texts["engine"].startswith("Pulumi 3.")
    assert texts["state"] == str(state)
    assert texts["stacks"] == "none"
    assert "font" in done.stdout


def test_version() -> None:
    assert call(CLOUDBURST, "--version").stdout.strip() == "cloudburst, version 0.1.0"
    assert os.access(RUN, os.X_OK)


@pytest.mark.stack
@pytest.mark.video
def test_render_makes_one_video_here(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    folder = job_file("").parent
    command = [CLOUDBURST, "render", "p.png", "a.wav", "s.srt", "-o", tmp_path / "x.mp4"]
    done = call(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(tmp_path / "x.mp4")
    assert inspect_video(tmp_path / "x.mp4").frames > 20
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["a.wav", "p.png", "s.srt", "scenes.yaml"], "nothing else is left there"
    (past,) = json.loads(call(CLOUDBURST, "history", "--json").stdout)["runs"]
    assert (past["state"], past["done"], past["job"]) == ("complete", 1, "render")
    assert_nothing_left(state)
