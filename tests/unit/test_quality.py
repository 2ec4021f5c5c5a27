"""How finely videos are encoded: decided purely, and from real trial encodings."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from cloudburst.videoapi import ffmpeg, h264, ivf, motion, quality
from cloudburst.videoapi.between import Tweens, anchors
from cloudburst.videoapi.ffmpeg import Cancelled, Deadline
from cloudburst.videoapi.probe import Probe
from cloudburst.videoapi.quality import GOALS, HIGHEST, LOWEST, Choice, Goal, Sample, Samples

if TYPE_CHECKING:
    from cloudburst.videoapi.motion import Plane

X264 = ["-c:v", "libx264", "-profile:v", "high", "-threads", "2"]
SIZE = (960, 544)
NORMAL = GOALS["normal"]


def picture(kind: str, size: tuple[int, int] = SIZE) -> tuple[Plane, Plane, Plane]:
    """Return the planes of a picture that is easy or hard to encode."""
    random = np.random.default_rng(7)
    width, height = size
    if kind == "flat":
        luma = np.full((height, width), 90, np.uint8)
        luma[height // 4 : height // 2, width // 4 : width // 2] = 180
    else:
        grain = {"grain": 6, "noise": 45}[kind]
        luma = np.clip(random.normal(128, grain, (height, width)), 16, 235).astype(np.uint8)
        if kind == "grain":
            luma = cv2.GaussianBlur(luma, (0, 0), 1.2)
            luma[height // 4 : height // 2] += 60
    # Colours that a conversion between two standards would make lighter or darker.
    colour = np.full((height // 2, width // 2), 90, np.uint8)
    return luma, colour, 255 - colour


@functools.lru_cache
def tweens() -> Tweens:
    with tempfile.TemporaryDirectory() as name:
        black = bytes(SIZE[0] * SIZE[1] * 3 // 2)
        options = [*X264, *quality.moving(20, 1), "-vf", ffmpeg.BT709, "-f", "h264", "black.h264"]
        ffmpeg.run([*ffmpeg.raw(SIZE, 30), *options], Path(name), Deadline(60), [black])
        return Tweens(SIZE, (Path(name) / "black.h264").read_bytes())


def samples_of(
    kind: str,
    folder: Path,
    *,
    moved: str = "zoom_in",
    count: int = 120,
    search: str = "quick",
    spacing: int = 16,
    drawn: bool = False,
    deadline: Deadline | None = None,
) -> Samples | None:
    planes = motion.source(picture(kind, motion.canvas_size(moved, SIZE)), moved)
    limit = deadline or Deadline(60)
    taken = Probe(planes, moved, drawn, SIZE, count, 30, X264, tweens(), folder, limit)
    return taken.samples(search, spacing)


# -- choosing -----------------------------------------------------------------------------------


def samples(vmaf: tuple[float, float], megabits: tuple[float, float]) -> Samples:
    return Sample(14, vmaf[0], megabits[0] * 1e6), Sample(20, vmaf[1], megabits[1] * 1e6)


def chosen(vmaf: tuple[float, float], megabits: tuple[float, float], goal: Goal = NORMAL) -> int:
    return quality.choose(samples(vmaf, megabits), goal, 16).quantiser


def test_the_coarsest_quantiser_that_meets_the_goal_is_chosen() -> None:
    # VMAF is 96 at 14, 94 at 20, and falls faster and faster: more than half way between them.
    assert chosen((96, 94), (4, 2)) in {17, 18}
    assert chosen((95.2, 93.2), (4, 2)) == 14
    assert chosen((97.2, 95.2), (4, 2)) == 20


@pytest.mark.parametrize(("spacing", "least", "most"), [(16, 2, 3), (1, 1.2, 2)])
def test_vmaf_falls_by_more_with_every_step(spacing: int, least: float, most: float) -> None:
    measured = samples((96, 94), (4, 2))
    at = {step: quality.vmaf(measured, step, spacing) for step in (8, 12, 14, 16, 20)}
    assert (at[14], at[20]) == (pytest.approx(96), pytest.approx(94))
    steps = [at[8] - at[12], at[12] - at[16], at[16] - at[20]]
    assert least < steps[1] / steps[0] < most
    assert least < steps[2] / steps[1] < most


def test_what_the_frames_between_anchors_limit_is_known() -> None:
    # A picture of which even the finest anchors leave less than 95.
    limited = quality.choose(samples((94.6, 94.2), (6, 3)), NORMAL, 16)
    assert limited.is_limited
    assert limited.quantiser == LOWEST
    assert limited.vmaf < 95
    assert not quality.choose(samples((97, 94), (6, 3)), NORMAL, 16).is_limited


def test_qualities_are_in_order() -> None:
    small, normal, high = (chosen((97, 94), (4, 2), GOALS[name]) for name in quality.QUALITIES)
    assert small > normal > high


def test_noise_is_not_worth_its_bytes() -> None:
    # No quantiser reaches the VMAF; the largest number of bits decides.
    quantiser = chosen((90, 84), (64, 24))
    decline = (24 / 64) ** (1 / 6)
    assert 64 * decline ** (quantiser - 14) <= 18
    assert 64 * decline ** (quantiser - 15) > 18


def test_the_quantiser_stays_where_it_was_measured() -> None:
    for goal in GOALS.values():
        assert chosen((100, 100), (1, 0.9), goal) == goal.coarsest
    assert chosen((90, 89.9), (0.1, 0.09)) == LOWEST
    assert chosen((60, 50), (900, 800)) == HIGHEST


def test_what_has_many_bits_is_encoded_as_coarsely_as_its_goal_allows() -> None:
    # A page of text, as it was probed, and a drawing with as much VMAF and a tenth of the bits.
    text = Sample(17, 99.9, 27.1e6), Sample(25, 97.2, 7.0e6)
    quantiser = quality.choose(text, NORMAL, 1).quantiser
    assert quantiser > NORMAL.coarsest
    assert quality.bits(text, quantiser) < 0.8 * quality.bits(text, NORMAL.coarsest)
    plain = Sample(17, 99.9, 2.7e6), Sample(25, 97.2, 0.7e6)
    assert quality.choose(plain, NORMAL, 1).quantiser == NORMAL.coarsest


# VMAF and megabits with a quantiser of 14 and of 20, by spacing and search, of four pictures.
PHOTOGRAPH = {(16, "quick"): ((97, 95.0), (1.2, 0.4))}
GRASS = {
    (16, "quick"): ((94.9, 93.8), (6, 3)),
    (1, "quick"): ((97, 94.6), (14, 3)),
    (1, "thorough"): ((97, 94.6), (12, 2.6)),
    (16, "thorough"): ((94.9, 93.8), (5.8, 2.9)),
    (12, "thorough"): ((95.0, 93.9), (7, 3.3)),
}
TEXT = {
    (16, "quick"): ((94.0, 93.8), (6, 4)),
    (1, "quick"): ((99.4, 97.9), (28, 12)),
    (1, "thorough"): ((99.4, 97.9), (25, 10.5)),
}
NOISE = {
    (16, "quick"): ((88.6, 87.4), (16, 9)),
    (1, "quick"): ((95.6, 91.9), (60, 25)),
    (16, "thorough"): ((88.7, 87.5), (15.8, 8.8)),
}
Table = Mapping[tuple[int, str], tuple[tuple[float, float], tuple[float, float]]]


def decided(
    table: Table, effort: str = "low", widest: int = 16
) -> tuple[Choice, list[tuple[int, str]]]:
    """Return what is chosen, and which trials it took."""
    taken: list[tuple[int, str]] = []

    def measure(search: str, spacing: int) -> Samples:
        taken.append((spacing, search))
        return samples(*table[spacing, search])

    return quality.decide(measure, NORMAL, effort, widest, seconds=8, fps=30), taken


def test_a_photograph_takes_one_trial() -> None:
    choice, taken = decided(PHOTOGRAPH)
    assert (choice.spacing, choice.search, taken) == (16, "quick", [(16, "quick")])
    assert choice.quantiser == 19


def test_anchors_are_closer_where_that_saves_bits() -> None:
    # A tenth of a point more is worth three steps of the quantiser here, and so half of the bits.
    limited = {(16, "quick"): ((95.1, 94.7), (3, 0.6))}
    choice, taken = decided(limited)
    assert (choice.spacing, taken) == (12, [(16, "quick")])
    assert choice.bits < quality.choose(samples(*limited[16, "quick"]), NORMAL, 16).bits


def test_every_frame_is_encoded_where_anchors_are_not_good_enough() -> None:
    choice, taken = decided(TEXT)
    assert (choice.spacing, choice.search, taken) == (1, "quick", [(16, "quick"), (1, "quick")])
    assert choice.vmaf >= 95


def test_high_effort_saves_bytes_with_cpu() -> None:
    low, few = decided(GRASS)
    high, many = decided(GRASS, "high")
    assert few == [(16, "quick")]
    assert low.spacing > 1 == high.spacing
    assert high.search == "thorough"
    assert high.bits < 0.5 * low.bits
    assert many == [(16, "quick"), (1, "quick"), (1, "thorough")]


def test_what_twice_the_bits_would_not_help_takes_one_trial() -> None:
    choice, taken = decided(NOISE)
    assert (choice.spacing, taken) == (16, [(16, "quick")])
    assert 0.8 * NORMAL.bits < choice.bits <= NORMAL.bits
    # Where they would help, every frame is tried: its bits are up to a half fewer.
    near = {
        (16, "quick"): ((94.6, 91.0), (24, 9)),
        (1, "quick"): ((97, 94.6), (14, 6)),
        (1, "thorough"): ((97, 94.6), (13, 5.6)),
    }
    choice, taken = decided(near)
    assert (choice.spacing, taken[:2]) == (1, [(16, "quick"), (1, "quick")])
    assert choice.vmaf >= 95


def test_what_no_trial_reaches_takes_the_cheaper_way() -> None:
    hard = {(16, "quick"): ((92.6, 92.4), (6, 4)), (1, "quick"): ((91.5, 90), (9, 5))}
    choice, taken = decided(hard)
    assert (choice.spacing, taken) == (16, [(16, "quick"), (1, "quick")])


def test_fast_motion_has_every_frame_encoded() -> None:
    choice, taken = decided(TEXT, widest=1)
    assert (choice.spacing, taken) == (1, [(1, "quick")])


def test_without_a_probe_the_default_of_the_quality_is_used() -> None:
    choice = quality.decide(lambda *_: None, GOALS["small"], "high", 16, seconds=8, fps=30)
    assert (choice.quantiser, choice.spacing, choice.search) == (20, 16, "quick")


# -- trial encodings ----------------------------------------------------------------------------


@pytest.mark.video
@pytest.mark.parametrize(
    ("spacing", "drawn", "tried"),
    [(16, False, (13, 20)), (5, False, (13, 20)), (3, False, (13, 20)), (1, False, (17, 25)),
     (1, True, (21, 28))],
)  # fmt: skip
def test_a_probe_measures_vmaf_and_bits(
    tmp_path: Path, spacing: int, drawn: bool, tried: tuple[int, int]
) -> None:
    found = samples_of("grain", tmp_path, spacing=spacing, drawn=drawn)
    assert found is not None
    fine, coarse = found
    assert (fine.quantiser, coarse.quantiser) == tried
    assert 60 < coarse.vmaf < fine.vmaf <= 100.5
    assert fine.bits > 1.3 * coarse.bits > 0


@pytest.mark.video
@pytest.mark.parametrize("moved", ["zoom_in", "pan_left"])
@pytest.mark.parametrize("spacing", [12, 1])
def test_a_probe_expects_what_the_whole_video_has(tmp_path: Path, moved: str, spacing: int) -> None:
    """The video is encoded as the probe's finer trial was, and compared with all of its frames."""
    found = samples_of("grain", tmp_path, moved=moved, spacing=spacing)
    assert found is not None
    planes = motion.source(picture("grain", motion.canvas_size(moved, SIZE)), moved)
    count = 120
    drawn = [bytes(frame) for frame in motion.frames(planes, moved, SIZE, count, 1)]
    parts = anchors(count, {0: spacing})
    options = [*quality.moving(found[0].quantiser, spacing), "-f", "h264", "all.h264"]
    pictures = [drawn[part.place] for part in parts]
    ffmpeg.run([*ffmpeg.raw(SIZE, 30), *X264, *options], tmp_path, Deadline(60), pictures)
    stream = (tmp_path / "all.h264").read_bytes()
    if spacing > 1:
        made = list(tweens().assemble(stream, parts, motion.pan(moved, SIZE, count)))
        stream = b"".join(unit for _, unit in made)
        (tmp_path / "all.ivf").write_bytes(b"".join(ivf.written(SIZE, 30, made)))
    name = "all.ivf" if spacing > 1 else "all.h264"
    graph = f"[0:v]{ffmpeg.BT709},settb=1,setpts=N[a];[1:v]{ffmpeg.BT709},settb=1,setpts=N[b]"
    graph += ";[b][a]libvmaf=log_fmt=json:log_path=all.json"
    arguments = [*ffmpeg.raw(SIZE, 30), "-i", name, "-filter_complex", graph, "-f", "null", "-"]
    ffmpeg.run(arguments, tmp_path, Deadline(60), drawn)
    frames = json.loads((tmp_path / "all.json").read_text())["frames"]
    assert len(frames) == count
    mean = sum(frame["metrics"]["vmaf"] for frame in frames) / count
    assert found[0].vmaf == pytest.approx(mean, abs=1.0)
    assert found[0].bits == pytest.approx(len(stream) * 8 / (count / 30), rel=0.35)


@pytest.mark.video
def test_the_quantiser_follows_the_picture(tmp_path: Path) -> None:
    found = {}
    for kind in ("flat", "grain", "noise"):
        folder = tmp_path / kind
        folder.mkdir()
        taken = samples_of(kind, folder, spacing=1)
        assert taken is not None
        found[kind] = quality.choose(taken, replace(NORMAL, bits=4e6), 1).quantiser
    # Grain is lost first; noise costs too much whatever it is worth.
    assert found["grain"] < found["flat"]
    assert found["grain"] < found["noise"]


@pytest.mark.video
def test_a_short_video_is_not_probed(tmp_path: Path) -> None:
    assert samples_of("flat", tmp_path, count=32) is None
    assert samples_of("flat", tmp_path, count=16, spacing=1) is None


@pytest.mark.video
def test_ffmpeg_without_vmaf_leaves_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ffmpeg.run

    def without(arguments: list[str], *rest: Any) -> None:
        run([part.replace("libvmaf", "no_such_filter") for part in arguments], *rest)

    monkeypatch.setattr(ffmpeg, "run", without)
    assert samples_of("flat", tmp_path) is None


@pytest.mark.video
def test_a_log_without_measurements_leaves_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ffmpeg.run

    def emptied(arguments: list[str], folder: Path, *rest: Any) -> None:
        run(arguments, folder, *rest)
        if (folder / "probe.json").exists():
            (folder / "probe.json").write_text('{"frames": []}')

    monkeypatch.setattr(ffmpeg, "run", emptied)
    assert samples_of("flat", tmp_path) is None


@pytest.mark.video
def test_a_cancelled_probe_is_not_a_failed_one(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        samples_of("flat", tmp_path, deadline=Deadline(60, lambda: True))


@pytest.mark.video
def test_all_anchors_fit_the_parameter_sets_of_every_video(tmp_path: Path) -> None:
    """Clips of one run are joined without encoding them again."""
    found = set()
    for search in ("quick", "thorough"):
        for level in (LOWEST, 17, 24, HIGHEST):
            for spacing in (1, 16):
                arguments = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=30", "-frames:v", "10"]
                options = quality.moving(level, spacing, search)
                arguments += ["-pix_fmt", "yuv420p", *X264, *options, "-f", "h264", "v.h264"]
                ffmpeg.run(arguments, tmp_path, Deadline(60))
                sets = h264.parameter_sets((tmp_path / "v.h264").read_bytes())
                if spacing == 1:
                    found.add(sets)
                else:
                    assert all(sets.fit(target) for target in found)
    assert len(found) == 1
