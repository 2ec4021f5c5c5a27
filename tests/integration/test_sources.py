"""Folders, tables and values of a program become videos, also after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import av
import pytest
from PIL import Image

from cloudburst import media
from tests.support.inputs import write_picture, write_sound
from tests.support.runs import (
    RUN,
    assert_nothing_left,
    command,
    homes,
    killed,
    processes_of,
    run_id,
    scene_done,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.stack, pytest.mark.video]

COUNT = 30


def color_of(number: int) -> tuple[int, int, int]:
    """Return a colour that no other of the thirty has, far enough apart for a lossy codec."""
    return 40 + 35 * (number % 6), 40 + 40 * (number // 6), 128


def seconds_of(number: int) -> float:
    return 0.4 + 0.02 * number


def colored(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (320, 180), color_of(number)).save(path)


def color_in(video: Path) -> tuple[int, ...]:
    """Return the colour in the middle of a video's first frame."""
    with av.open(str(video)) as container:
        frame = next(container.decode(video=0)).to_image()
    pixel = frame.getpixel((frame.width // 2, frame.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.slow
def test_a_folder_of_thirty_becomes_thirty_videos_with_two_commands(
    tmp_path: Path, state: Path
) -> None:
    folder = tmp_path / "场景 of mine"
    for number in range(1, COUNT + 1):
        colored(folder / "images" / f"scene_{number}.png", number)
        write_sound(folder / "audio" / f"scene_{number}.wav", seconds_of(number), 8000)
    colored(folder / "images" / "cover.png", 0)
    write_sound(folder / "audio" / "jingle.wav", 0.5, 8000)
    (folder / "audio" / "scene_3.ttml").write_text("<tt/>\n")

    scanned = command("scan", str(folder))
    assert scanned.returncode == 0, scanned.stderr
    for words in (
        "not used: images/cover.png: picture without a sound",
        "not used: audio/jingle.wav: sound without a picture",
        "not used: audio/scene_3.ttml: subtitles of this kind are not read; expected SRT",
        f"30 scenes in {folder}; 3 files not used",
    ):
        assert words in scanned.stdout
    assert scanned.stdout.index("scene_2 ") < scanned.stdout.index("scene_10 ")
    assert scanned.stdout.splitlines()[-1] == f"next: cloudburst-run '{folder}/scenes.yaml'"

    done = subprocess.run(
        [str(RUN), str(folder / "scenes.yaml"), "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (results,) = (tmp_path / "out").iterdir()
    assert len(list(results.glob("*.mp4"))) == COUNT
    for number in range(1, COUNT + 1):
        video = results / f"scene_{number}.mp4"
        assert abs(media.inspect_video(video).seconds - seconds_of(number)) <= 0.1
        differences = [
            abs(seen - wanted)
            for seen, wanted in zip(color_in(video), color_of(number), strict=True)
        ]
        assert max(differences) < 12, (number, differences)
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_folder_and_a_table_run_without_a_scenes_yaml(tmp_path: Path, state: Path) -> None:
    folder = tmp_path / "pictures"
    for number in (1, 2):
        colored(folder / f"{number}.png", number)
        write_sound(folder / f"{number}_english.wav", 0.5, 8000)
    colored(folder / "3.png", 3)
    (tmp_path / "scenes.csv").write_text(
        "scene_name;input_image;input_audio\na;pictures/1.png;pictures/1_english.wav\n"
    )
    for source, names in ((folder, ["1_english", "2_english"]), (tmp_path / "scenes.csv", ["a"])):
        dry = subprocess.run(
            [str(RUN), str(source), "--dry-run", "--offline", "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        document = json.loads(dry.stdout)
        assert [name for one in document["batches"] for name in one["scenes"]] == names
        noticed = ["3.png: picture without a sound; expected 3.mp3, .wav …"]
        assert document["warnings"] == (noticed if source == folder else [])
        assert ("not used: 3.png: picture without" in dry.stderr) == (source == folder)
        output = tmp_path / f"out-{names[0]}"
        done = subprocess.run(
            [str(RUN), str(source), "--output", str(output)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (results,) = output.iterdir()
        assert sorted(path.stem for path in results.glob("*.mp4")) == names
    assert not (folder / "scenes.yaml").exists()
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_killed_run_of_a_folder_goes_on(tmp_path: Path, state: Path) -> None:
    folder = tmp_path / "pictures"
    for number in (1, 2, 3):
        colored(folder / f"{number}.png", number)
        write_sound(folder / f"{number}.wav", 12 if number == 1 else 1, 8000)
    (folder / "lost.srt").write_text("not looked into\n")
    # One worker renders all, the longest first: two are missing when it dies.
    results = killed(folder, tmp_path / "out", scene_done, state)
    before = homes(results)
    assert 1 <= len(before) < 3
    done = command("resume", run_id(state))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not used: lost.srt: subtitle without a scene" in done.stderr
    after = homes(results)
    assert sorted(after) == ["1.mp4", "2.mp4", "3.mp4"]
    assert {name: after[name] for name in before} == before
    assert_nothing_left(state)


PROGRAM = """
import sys
from cloudburst import load_job, run
scenes = [
    {"scene_name": f"s{n}", "input_image": f"{n}.png", "input_audio": f"{n}.wav", "subtitle": None}
    for n in (1, 2, 3)
]
run(load_job(scenes, output="out"), on_event=lambda event: print(event.kind, flush=True))
"""


@pytest.mark.slow
def test_a_killed_run_of_a_programs_scenes_goes_on(tmp_path: Path, state: Path) -> None:
    folder = tmp_path / "work"
    for number in (1, 2, 3):
        write_picture(folder / f"{number}.png")
        write_sound(folder / f"{number}.wav", 12 if number == 1 else 1, 8000)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert any(line.strip() == "scene_done" for line in program.stdout)
        program.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any("load_job(scenes" in line for line in processes_of(state)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (results,) = (folder / "out").iterdir()
    before = homes(results)
    assert 1 <= len(before) < 3
    # From another folder, by a program that knows nothing of the scenes.
    assert os.getcwd() != str(folder)  # noqa: PTH109 - as the program sees it
    done = command("resume", run_id(state))
    assert done.returncode == 0, done.stdout + done.stderr
    after = homes(results)
    assert sorted(after) == ["s1.mp4", "s2.mp4", "s3.mp4"]
    assert {name: after[name] for name in before} == before
    assert media.inspect_video(results / "s1.mp4").seconds == pytest.approx(12, abs=0.1)
    assert_nothing_left(state)
