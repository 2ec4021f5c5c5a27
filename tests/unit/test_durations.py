"""When an attempt at a scene is given up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models import Batch, Job, Limits, Plan, Scene, VideoOptions
from cloudburst.runner.worker import timeouts
from cloudburst.targets.aws.estimate import longest_attempt, warnings
from cloudburst.targets.aws.settings import AwsSettings
from cloudburst.targets.aws.workers import AwsWorkers
from cloudburst.targets.durations import (
    BUNDLED_SPEED,
    RenderTerms,
    longest_timeout,
    render_seconds,
    scene_timeout,
    slower_than,
)
from cloudburst.targets.local.target import LocalTarget, LocalWorkers
from cloudburst.targets.rates import BUNDLED_RATES

MOVING = VideoOptions(effects=("zoom_in",))
NONE = Path("missing")


def scene(seconds: float, options: VideoOptions = MOVING, name: str = "s") -> Scene:
    return Scene(name, NONE, NONE, seconds, options)


def test_a_time_out_follows_the_scene() -> None:
    assert scene_timeout(scene(8), Limits()) == 600, "at the least"
    # Three times 66.5 / 8 seconds for each of narration.
    assert scene_timeout(scene(100), Limits()) == pytest.approx(2493.75)
    assert scene_timeout(scene(100, VideoOptions()), Limits()) == 600


@pytest.mark.parametrize(
    ("limit", "terms", "expected"),
    [
        (
            2,
            RenderTerms(BUNDLED_SPEED, rates=BUNDLED_RATES),
            (
                "limits.scene_timeout is 2 s, and the scene is likely to take 3 s: raise it, or "
                "leave it out, and the limit follows the scene"
            ),
        ),
        (
            60,
            RenderTerms(BUNDLED_SPEED, rates=BUNDLED_RATES),
            (
                "limits.scene_timeout is 60 s, and the scene was estimated at 3 s: if the worker "
                "is only slow, raise it; `cloudburst logs` has what it said"
            ),
        ),
        (
            None,
            RenderTerms(BUNDLED_SPEED, rates=BUNDLED_RATES),
            (
                "limits.scene_timeout is not set, so the limit was 600 s: three times a cautious "
                "estimate of 12 s and the time to send the files, at least 600 s; if the worker is "
                "only slow, set it higher"
            ),
        ),
        (
            900,
            RenderTerms(longest=240),
            (
                "the machine ends itself, which leaves 240 s for a scene, and this one was "
                "estimated at 66 s: raise aws.lease_minutes, or leave it out"
            ),
        ),
    ],
)
def test_a_time_out_names_its_limit_its_estimate_and_what_to_do(
    limit: float | None, terms: RenderTerms, expected: str
) -> None:
    assert timeouts.explained(scene(8), Limits(scene_timeout=limit), terms) == expected


def test_a_limit_below_what_scenes_take_here_is_warned_of() -> None:
    scenes = (scene(8, name="short"), scene(60, name="long"))
    job = Job("j", NONE, scenes, NONE, limits=Limits(scene_timeout=20))
    source = LocalTarget(None, 0).prepare(Plan(job, (Batch(1, scenes),)), "run")  # type: ignore[arg-type]
    assert source.notes == (
        (
            "limits.scene_timeout is 20 s; 1 scene is likely to take longer with the bundled video "
            "API: long, 24 s. Without that limit, the time-out follows the scene"
        ),
    )
    fine = replace(job, limits=Limits(scene_timeout=30))
    assert LocalTarget(None, 0).prepare(Plan(fine, ()), "run").notes == ()  # type: ignore[arg-type]


def test_files_that_take_long_to_send_have_the_time(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(bytes(3_000_000))
    heavy = replace(scene(100), audio=tmp_path / "a.wav")
    # 4 MB in base64 over 2 Mbit/s.
    assert scene_timeout(heavy, Limits()) == pytest.approx(2493.75 + 16)
    options = replace(MOVING, subtitle=NONE, font=tmp_path / "a.wav")
    both = replace(heavy, options=options)
    lettered = 3 * render_seconds(both)
    assert scene_timeout(both, Limits()) == pytest.approx(lettered + 32), "the font, too"
    named = replace(both, options=replace(options, font="Noto Sans"))
    assert scene_timeout(named, Limits()) == pytest.approx(lettered + 16)
    bare = replace(heavy, options=replace(options, subtitle=None))
    assert scene_timeout(bare, Limits()) == pytest.approx(2493.75 + 16), "is not sent"


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
    assert slower_than([slow, fast], 30) == [slow]
    assert slower_than([slow, fast], 1000) == []


def test_on_this_machine_a_time_out_follows_the_bundled_server() -> None:
    terms = LocalWorkers(None).terms  # type: ignore[arg-type] - no provider is asked
    half_an_hour = scene(1800)
    # Three times 1800 * 66.5 / 8 / 5.7 seconds: two hours and 11 minutes, not twelve hours.
    assert scene_timeout(half_an_hour, Limits(), terms) == pytest.approx(7875)
    assert scene_timeout(scene(100), Limits(), terms) == 600, "at the least"
    assert scene_timeout(half_an_hour, Limits(scene_timeout=9000), terms) == 9000
    assert longest_timeout([scene(1), half_an_hour], Limits(), terms) == pytest.approx(7875)


PUBLIC = "betashow/video-generation-api:latest"


def rented(lease: int | None, image: str = PUBLIC) -> RenderTerms:
    """Return the terms of machines with a lease, in minutes, and an image."""
    source = AwsWorkers(*10 * [None], clock=time.time)  # type: ignore[arg-type]
    return replace(source, settings=AwsSettings(lease_minutes=lease, image=image)).terms


def test_a_hung_render_is_given_up_before_its_machine_ends() -> None:
    hung = scene(300)
    assert scene_timeout(hung, Limits()) == pytest.approx(7481.25), "two hours"
    # 60 minutes without 3 * 120 s to boot and 45 s to end.
    assert scene_timeout(hung, Limits(), rented(60)) == 3600 - 405
    assert scene_timeout(hung, Limits(scene_timeout=7200), rented(60)) == 3600 - 405
    assert scene_timeout(hung, Limits(scene_timeout=30), rented(60)) == 30
    assert scene_timeout(hung, Limits(), rented(None)) == pytest.approx(7481.25)
    assert scene_timeout(scene(1), Limits(), rented(5)) == 150, "half of so short a lease"
    assert scene_timeout(hung, Limits(), rented(60, "bundled")) == pytest.approx(7481.25 / 5.7)


@given(st.floats(0.1, 1800), st.integers(5, 1440))
def test_no_time_out_outlasts_a_lease(seconds: float, lease: int) -> None:
    assert 0 < scene_timeout(scene(seconds), Limits(), rented(lease)) < lease * 60
    assert longest_attempt(lease) < lease * 60


def test_a_limit_below_the_likely_time_is_warned_of() -> None:
    scenes = (scene(8, name="short"), scene(100, name="long"), scene(1, name="fine"))
    job = Job("job", NONE, scenes, NONE, limits=Limits(scene_timeout=30))
    settings = AwsSettings(image="example/image")
    (warning,) = warnings(Plan(job, ()), settings)
    assert warning == (
        "limits.scene_timeout is 30 s; 2 scenes are likely to take longer with example/image, "
        "long 831 s. Without that limit, the time-out follows the scene"
    )
    assert warnings(Plan(replace(job, limits=Limits()), ()), settings) == ()


def test_a_lease_below_the_likely_time_or_the_time_out_is_warned_of() -> None:
    job = Job("job", NONE, (scene(300, name="long"), scene(1)), NONE)
    short = AwsSettings(image="example/image", lease_minutes=45)
    advice = "Raise aws.lease_minutes, or leave it out: it is then sized from the plan"
    (warning,) = warnings(Plan(job, ()), short)
    assert warning == (
        "a machine ends itself after 45 minutes, 2295 s of which are for rendering; 1 scene is "
        f"likely to take longer with example/image: long, 2494 s. {advice}"
    )
    assert warnings(Plan(job, ()), replace(short, lease_minutes=60)) == ()
    assert warnings(Plan(job, ()), replace(short, lease_minutes=None)) == ()
    own = replace(job, limits=Limits(scene_timeout=7200))
    (warning,) = warnings(Plan(own, ()), replace(short, lease_minutes=60))
    assert warning == (
        "limits.scene_timeout is 7200 s, but a machine ends itself after 60 minutes: a scene is "
        f"given up after 3195 s. {advice}"
    )
    assert warnings(Plan(own, ()), replace(short, lease_minutes=None)) == ()
    day = replace(job, limits=Limits(scene_timeout=86400))
    (warning,) = warnings(Plan(day, ()), replace(short, lease_minutes=None))
    assert warning.endswith("given up after 85995 s. That is the longest that there is")


def test_a_font_that_the_public_image_ignores_is_warned_of() -> None:
    options = replace(VideoOptions(), subtitle=NONE, font="Noto Serif")
    bare = replace(options, subtitle=None)
    plan = Plan(Job("job", NONE, (scene(1), scene(1, options, "b"), scene(1, bare)), NONE), ())
    (warning,) = warnings(plan, AwsSettings(image=PUBLIC))
    assert warning == (
        "betashow/video-generation-api:latest draws subtitles in a font of its own: font of 1 "
        "scene, b, has no effect. Set aws.image to bundled, or leave font out"
    )
    assert warnings(plan, AwsSettings()) == ()
    assert warnings(plan, AwsSettings(image="example/image")) == ()
