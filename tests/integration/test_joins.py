"""Clips of one run fit together: ``ffmpeg -f concat -c copy`` joins any two of one size."""

from __future__ import annotations

import itertools
import math
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from cloudburst.videoapi import encode, ffmpeg, render
from cloudburst.videoapi.ffmpeg import Deadline
from tests.support.inputs import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.video, pytest.mark.xdist_group("joins")]

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
PICTURES = EXAMPLE.parent / "pictures"
ROOT = EXAMPLE.parent.parent
SRT = b"1\n00:00:00,300 --> 00:00:00,900\nHello\n"
CLICK = 0.5
# No whole numbers of frames of either stream, and different ones.
LENGTHS = {"still": 1.337, "subtitles": 1.51, "motion": 1.222, "full": 1.45}
OPTIONS: dict[str, dict[str, Any]] = {
    "still": {},
    "subtitles": {"subtitle": SRT, "language": "english", "quality": "small"},
    "motion": {"effects": ("zoom_in",)},
    "full": {
        "effects": ("pan_left",),
        "subtitle": SRT,
        "watermark": (PICTURES / "sunset.jpg").read_bytes(),
        "quality": "high",
        "effort": "high",
    },
}
Shown = list[tuple[float, Any]]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    files = {}
    # NVENC's clips are not part of this promise: there was none to try.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ffmpeg, "has_nvenc", lambda: False)
        for name, picture in zip(OPTIONS, sorted(PICTURES.glob("*.jpg")), strict=False):
            folder = tmp_path_factory.mktemp(name)
            click = f"aevalsrc=if(between(t\\,{CLICK}\\,{CLICK}+0.01)\\,0.8*sin(6000*t)\\,0)"
            sound = tmp_path_factory.mktemp("sound") / f"{name}.wav"
            source = f"{click}:d={LENGTHS[name]}:s=48000"
            subprocess.run(
                [FFMPEG, "-v", "error", "-f", "lavfi", "-i", source, str(sound)], check=True
            )
            request = render.Request(
                image=picture.read_bytes(),
                audio=sound.read_bytes(),
                is_portrait=False,
                **OPTIONS[name],
            )
            files[name], _ = render.render(request, folder, Deadline(90), threads=2)
    return files


def documented() -> list[list[str]]:
    """Return the arguments of the two commands in docs/scenes.md: for players, for counters."""
    lines = (ROOT / "docs" / "scenes.md").read_text(encoding="utf-8").splitlines()
    return [
        shlex.split(line, comments=True)[1:]
        for line in lines
        if line.startswith("ffmpeg -f concat")
    ]


def join(clips: dict[str, Path], names: list[str], folder: Path, command: int = 0) -> Path:
    lines = "".join(f"file '{clips[name]}'\n" for name in names)
    (folder / "list.txt").write_text(lines)
    arguments = [FFMPEG, "-v", "error", "-y", *documented()[command]]
    subprocess.run(arguments, check=True, cwd=folder)
    return folder / "film.mp4"


def shown(path: Path) -> Shown:
    """Return time and luma of each frame, an eighth as large."""
    with av.open(str(path)) as container:
        return [
            (frame.time or 0.0, frame.to_ndarray(format="gray")[::8, ::8].astype(int))
            for frame in container.decode(video=0)
        ]


def clicks(path: Path) -> list[float]:
    """Return the times of the clicks, by the time stamps that players go by."""
    times: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.2)
            times += [(frame.time or 0.0) + index / frame.sample_rate for index in loud]
    return [
        time for before, time in zip([-1.0, *times], times, strict=False) if time > before + 0.1
    ]


def test_all_clips_have_the_same_parameter_sets(clips: dict[str, Path]) -> None:
    """Players may read these once, from the index of the joined file."""
    sets = {}
    for name, path in clips.items():
        with av.open(str(path)) as container:
            sets[name] = container.streams.video[0].codec_context.extradata
    assert sets["still"][:4] == b"\x01\x64\x00\x28", "avcC, High, level 4.0"
    assert len(set(sets.values())) == 1, sets


@pytest.mark.slow
@pytest.mark.parametrize("pair", list(itertools.product(OPTIONS, OPTIONS)))
def test_any_two_clips_can_be_joined(
    clips: dict[str, Path], tmp_path: Path, pair: tuple[str, str]
) -> None:
    first, second = pair
    joined = join(clips, [first, second], tmp_path)
    checked = subprocess.run(
        [FFMPEG, "-v", "error", "-i", str(joined), "-map", "0:v", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stderr == "", "every frame decodes"
    frames = shown(joined)
    expected = [shown(clips[first]), shown(clips[second])]
    assert [len(part) for part in expected] == [
        math.ceil(LENGTHS[name] * encode.FPS) for name in (first, second)
    ]
    assert len(frames) == sum(map(len, expected))
    for (_, luma), (_, alone) in zip(frames, itertools.chain(*expected), strict=True):
        assert np.array_equal(luma, alone)
    times = np.array([time for time, _ in frames])
    assert np.abs(np.diff(times) - 1 / encode.FPS).max() < 1e-3
    starts = [times[0], times[len(expected[0])]]
    in_step = [time - start for time, start in zip(clicks(joined), starts, strict=True)]
    assert in_step == pytest.approx([CLICK, CLICK], abs=0.03)


def test_sound_does_not_drift_over_twenty_clips(clips: dict[str, Path], tmp_path: Path) -> None:
    names = list(OPTIONS) * 5
    joined = join(clips, names, tmp_path)
    counts = [math.ceil(LENGTHS[name] * encode.FPS) for name in names]
    starts = np.cumsum([0, *counts[:-1]]) / encode.FPS
    drift = np.array(clicks(joined)) - starts - CLICK
    assert np.abs(drift - drift[0]).max() < 0.003
    assert abs(drift[0]) < 0.03


def counted(path: Path) -> list[float]:
    """Return the times of the clicks for whoever counts samples instead of heeding time stamps."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-f", "f32le", "-ac", "1", "-"]
    samples = np.frombuffer(
        subprocess.run(command, capture_output=True, check=True).stdout, np.float32
    )
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    return [float(loud[0] / 48000), *(loud[1:][np.diff(loud) > 4800] / 48000)]


@pytest.mark.slow
def test_counted_samples_stay_in_step_with_the_command_for_them(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    names = list(OPTIONS) * 5
    frames = [math.ceil(LENGTHS[name] * encode.FPS) for name in names]
    starts = np.cumsum([0, *frames[:-1]]) / encode.FPS
    late = np.array(counted(join(clips, names, tmp_path))) - starts - CLICK
    # What the documentation says of copied sound.
    assert late[-1] == pytest.approx(0.16, abs=0.02)
    joined = join(clips, names, tmp_path, command=1)
    late = np.array(counted(joined)) - starts - CLICK
    assert np.abs(late - late[0]).max() < 0.003
    assert abs(late[0]) < 0.025  # one block of AAC, before the first sound
    assert np.abs(np.array(clicks(joined)) - starts - CLICK).max() < 0.03
    assert len(shown(joined)) == sum(frames)
