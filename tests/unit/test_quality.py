"""How finely videos are encoded: decided purely, and from real trial encodings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from cloudburst.videoapi import ffmpeg, quality, still
from cloudburst.videoapi.ffmpeg import Cancelled, Deadline
from cloudburst.videoapi.quality import GOALS, HIGHEST, LOWEST, Sample

if TYPE_CHECKING:
    from pathlib import Path

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
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    return luma, chroma, chroma.copy()


def probe(
    kind: str,
    folder: Path,
    *,
    count: int = 60,
    search: str = "quick",
    deadline: Deadline | None = None,
) -> tuple[Sample, Sample] | None:
    return quality.probe(
        picture(kind),
        "zoom_in",
        SIZE,
        count,
        fps=30,
        search=search,
        folder=folder,
        deadline=deadline or Deadline(60),
        encoder=X264,
    )


# -- choosing -----------------------------------------------------------------------------------


def samples(vmaf: tuple[float, float], megabits: tuple[float, float]) -> tuple[Sample, Sample]:
    return Sample(14, vmaf[0], megabits[0] * 1e6), Sample(20, vmaf[1], megabits[1] * 1e6)


def test_the_coarsest_quantiser_that_meets_the_goal_is_chosen() -> None:
    # VMAF is 96 at 14, 94 at 20, and 95 between them; it bends down, so beyond the middle. The
    # samples are taken for a little too high.
    chosen = quality.choose(*samples((96, 94), (4, 2)), NORMAL)
    assert 16.5 <= chosen <= 18
    assert chosen * 2 == int(chosen * 2)
    assert quality.choose(*samples((95, 93), (4, 2)), NORMAL) in {12, 12.5, 13}


def test_samples_are_too_low_at_coarse_quantisers_and_too_high_at_fine_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = [samples((97.5, 96.5), (4, 2)), samples((94.0, 91.0), (4, 2))]
    chosen = [quality.choose(*pair, NORMAL) for pair in measured]
    monkeypatch.setattr(quality, "_LOW", 0)
    plain = [quality.choose(*pair, NORMAL) for pair in measured]
    assert chosen[0] > plain[0] > 20
    assert chosen[1] < plain[1] < 14


def test_qualities_are_in_order() -> None:
    measured = samples((96, 94), (4, 2))
    small, normal, high = (quality.choose(*measured, GOALS[name]) for name in quality.QUALITIES)
    assert small > normal > high


def test_noise_is_not_worth_its_bytes() -> None:
    # No quantiser reaches the VMAF; the largest number of bits decides.
    chosen = quality.choose(*samples((90, 84), (64, 24)), NORMAL)
    decline = (24 / 64) ** (1 / 6)
    assert 64 * decline ** (chosen - 14) <= 18
    assert 64 * decline ** (chosen - 14.5) > 18


def test_the_quantiser_stays_where_it_was_measured() -> None:
    for goal in GOALS.values():
        assert quality.choose(*samples((100, 100), (1, 0.9)), goal) == goal.coarsest
    assert quality.choose(*samples((90, 89.9), (0.1, 0.09)), NORMAL) == LOWEST
    assert quality.choose(*samples((60, 50), (900, 800)), NORMAL) == HIGHEST


def test_what_has_many_bits_is_encoded_as_coarsely_as_its_goal_allows() -> None:
    # A page of text, as it was probed, and a drawing with as much VMAF and a tenth of the bits.
    text = Sample(15, 99.44, 28.0e6), Sample(21, 97.92, 12.0e6)
    chosen = quality.choose(*text, NORMAL)
    assert chosen > NORMAL.coarsest + 2
    assert quality.bits(*text, chosen) < 0.7 * quality.bits(*text, NORMAL.coarsest)
    plain = Sample(15, 99.44, 2.8e6), Sample(21, 97.92, 1.2e6)
    assert quality.choose(*plain, NORMAL) == NORMAL.coarsest


@pytest.mark.parametrize(
    ("effort", "quick", "thorough", "expected"),
    [
        ("low", 10, 5, "quick"),  # not asked for
        ("high", 10, 8, "thorough"),
        ("high", 10, 9.8, "quick"),  # saves less than the CPU costs
        ("high", 10, 12, "quick"),  # soft pictures
        ("high", 1.8, 0.9, "quick"),  # cannot save enough to be tried
    ],
)
def test_a_thorough_search_has_to_pay(
    effort: str, quick: float, thorough: float, expected: str
) -> None:
    tried: list[str] = []

    def measure(search: str) -> tuple[Sample, Sample]:
        tried.append(search)
        # With these, VMAF is 95 at about the same quantiser.
        return samples((95, 93), ({"quick": quick, "thorough": thorough}[search],) * 2)

    quantiser, search = quality.decide(measure, NORMAL, effort)
    assert (search, quantiser) == (expected, quality.choose(*measure("quick"), NORMAL))
    assert tried.count("thorough") == (effort == "high" and quick > 1.8)


def test_without_a_probe_the_default_of_the_quality_is_used() -> None:
    assert quality.decide(lambda _: None, GOALS["small"], "high") == (20, "quick")


def test_half_a_step_is_only_for_b_frames() -> None:
    def quantisers(level: float) -> tuple[int, int]:
        options = dict(part.split("=") for part in quality.moving(level)[-1].split(":"))
        p_frames = int(options["qp"])
        # As x264 calculates it.
        return p_frames, int(p_frames + 6 * np.log2(float(options["pbratio"])) + 0.5)

    assert [quantisers(level) for level in (15, 15.5, 16)] == [(15, 21), (15, 22), (16, 22)]


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.25, 0.25)])
def test_the_window_is_like_the_whole(x: float, y: float) -> None:
    # Half of the area has detail; so has a typical window, wherever the detail is.
    luma = np.full((1080, 1920), 128, np.uint8)
    random = np.random.default_rng(3)
    left, top = round(x * 1920), round(y * 1080)
    luma[top : top + 760, left : left + 1360] = random.integers(0, 255, (760, 1360))[
        : 1080 - top, : 1920 - left
    ]
    column, row = quality.typical(luma)
    assert column % 2 == row % 2 == 0
    window = luma[row : row + 540, column : column + 960]
    assert window.shape == (540, 960)
    assert np.mean(window != 128) == pytest.approx(np.mean(luma != 128), abs=0.15)


# -- trial encodings ----------------------------------------------------------------------------


@pytest.mark.video
def test_a_probe_measures_vmaf_and_bits(tmp_path: Path) -> None:
    found = probe("grain", tmp_path)
    assert found is not None
    fine, coarse = found
    assert 60 < coarse.vmaf < fine.vmaf <= 100
    assert fine.bits > 1.3 * coarse.bits > 0


@pytest.mark.video
def test_the_quantiser_follows_the_picture(tmp_path: Path) -> None:
    chosen = {}
    for kind in ("flat", "grain", "noise"):
        folder = tmp_path / kind
        folder.mkdir()
        found = probe(kind, folder)
        assert found is not None
        chosen[kind] = quality.choose(*found, replace(NORMAL, bits=4e6))
    # Grain is lost first; noise costs too much whatever it is worth.
    assert chosen["grain"] < chosen["flat"]
    assert chosen["grain"] < chosen["noise"]


@pytest.mark.video
def test_a_short_video_is_not_probed(tmp_path: Path) -> None:
    assert probe("flat", tmp_path, count=12) is None


@pytest.mark.video
def test_ffmpeg_without_vmaf_leaves_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "_comparison", lambda _: "[0:v]no_such_filter[result0]")
    assert probe("flat", tmp_path) is None


def test_a_log_without_measurements_leaves_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg, "run", lambda *_: None)
    (tmp_path / "probe0.json").write_text('{"frames": []}')
    assert probe("flat", tmp_path) is None


@pytest.mark.video
def test_a_cancelled_probe_is_not_a_failed_one(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        probe("flat", tmp_path, deadline=Deadline(60, lambda: True))


@pytest.mark.video
def test_no_quality_or_effort_gets_into_the_parameter_sets(tmp_path: Path) -> None:
    """Clips of one run are joined without encoding them again."""
    found = set()
    for search in ("quick", "thorough"):
        for level in (LOWEST, 14.5, 17.5, 24, HIGHEST):
            arguments = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=30", "-frames:v", "10"]
            arguments += ["-pix_fmt", "yuv420p", *X264, *quality.moving(level, search)]
            ffmpeg.run([*arguments, "-f", "h264", "v.h264"], tmp_path, Deadline(60))
            stream = (tmp_path / "v.h264").read_bytes()
            found.add(still.parameter_sets(stream[: stream.index(b"\0\0\1\x65")]))
    assert len(found) == 1
