"""When an attempt at a scene is given up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models import Job, Limits, Plan, Scene, VideoOptions
from cloudburst.targets.aws.workers import _too_slow
from cloudburst.targets.durations import (
    longest_timeout,
    render_seconds,
    scene_timeout,
    slower_than_limit,
)

MOVING = VideoOptions(effects=("zoom_in",))
NONE = Path("missing")


def scene(seconds: float, options: VideoOptions = MOVING, name: str = "s") -> Scene:
    return Scene(name, NONE, NONE, seconds, options)


def test_a_time_out_follows_the_scene() -> None:
    assert scene_timeout(scene(8), Limits()) == 600, "at the least"
    # Three times 66.5 / 8 seconds for each of narration.
    assert scene_timeout(scene(100), Limits()) == pytest.approx(2493.75)
    assert scene_timeout(scene(100, VideoOptions()), Limits()) == 600


def test_files_that_take_long_to_send_have_the_time(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(bytes(3_000_000))
    heavy = replace(scene(100), audio=tmp_path / "a.wav")
    # 4 MB in base64 over 2 Mbit/s.
    assert scene_timeout(heavy, Limits()) == pytest.approx(2493.75 + 16)


@given(st.floats(0.1, 1800), st.sampled_from([MOVING, VideoOptions()]))
def test_no_scene_is_given_up_within_its_likely_time(seconds: float, options: VideoOptions) -> None:
    one = scene(seconds, options)
    assert scene_timeout(one, Limits()) >= 3 * render_seconds(one) - 1e-9


def test_the_limit_of_the_user_counts() -> None:
    own = Limits(scene_timeout=30)
    assert scene_timeout(scene(100), own) == 30
    assert longest_timeout([scene(1), scene(100)], own) == 30
    assert longest_timeout([scene(1), scene(100)], Limits()) == pytest.approx(2493.75)
    assert longest_timeout([], Limits()) == 600


def test_scenes_that_the_limit_of_the_user_ends_are_named() -> None:
    slow, fast = scene(100, name="slow"), scene(1, name="fast")
    assert slower_than_limit([slow, fast], Limits(scene_timeout=30)) == [slow]
    assert slower_than_limit([slow, fast], Limits()) == []


def test_a_limit_below_the_likely_time_is_warned_of() -> None:
    scenes = (scene(8, name="short"), scene(100, name="long"), scene(1, name="fine"))
    job = Job("job", NONE, scenes, NONE, limits=Limits(scene_timeout=30))
    (warning,) = _too_slow(Plan(job, ()), "example/image")
    assert warning == (
        "limits.scene_timeout is 30 s; 2 scenes are likely to take longer with example/image, "
        "long 831 s. Without that limit, the time-out follows the scene"
    )
    assert not list(_too_slow(Plan(replace(job, limits=Limits()), ()), "example/image"))
