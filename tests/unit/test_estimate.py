"""What a run will take and cost, recomputed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models import (
    Batch,
    Distribution,
    Job,
    Limits,
    Plan,
    Price,
    Rung,
    Scene,
    VideoOptions,
)
from cloudburst.targets import durations
from cloudburst.targets.aws import estimate
from cloudburst.targets.aws.prices.rates import RateCard
from cloudburst.targets.aws.settings import AwsSettings
from cloudburst.targets.rates import PUBLIC_RATES

RUNG = Rung("c5.2xlarge", "on-demand", "us-east-1", "us-east-1a")
# By the hour: 0.34 the machine, 30 * 0.0001 its disk, 0.005 its address: 0.348.
PRICE = Price(0.34, "a test")
RATES = RateCard(0.34, 30, 0.0001)

STILL = VideoOptions()
SUBTITLED = VideoOptions(subtitle=Path("s.srt"))
MOVING = VideoOptions(effects=("zoom_in",))
FULL = VideoOptions(subtitle=Path("s.srt"), effects=("pan_left", "random"))


def scene(name: str, seconds: float, options: VideoOptions = STILL) -> Scene:
    return Scene(name, Path("p"), Path("a"), seconds, options)


def plan(*batches: tuple[Scene, ...]) -> Plan:
    scenes = tuple(item for batch in batches for item in batch)
    job = Job("job", Path("scenes.yaml"), scenes, Path("out"))
    made = (Batch(number, batch) for number, batch in enumerate(batches, start=1))
    return Plan(job, tuple(made))


# Rates by the second of narration: 12.5/8 for a still, 66.8/8 with subtitles and motion.
SMALL = plan(
    (scene("a", 80, FULL), scene("b", 16)),  # 668 s and 25 s
    (scene("c", 8),),  # 12.5 s
)


@pytest.mark.parametrize(
    ("options", "seconds"), [(STILL, 12.5), (SUBTITLED, 21.2), (MOVING, 66.5), (FULL, 66.8)]
)
def test_a_scene_takes_what_the_public_image_takes(options: VideoOptions, seconds: float) -> None:
    assert durations.render_seconds(scene("a", 8, options)) == pytest.approx(seconds)


def test_a_worker_takes_the_mean_load_or_its_longest_scene() -> None:
    long = Batch(1, (scene("a", 80, FULL), scene("b", 16)))
    assert estimate.drive_seconds(long, 1) == pytest.approx(693)
    assert estimate.drive_seconds(long, 4) == pytest.approx(668), "one scene is not shared"
    moving = Batch(1, tuple(scene(str(number), 8, MOVING) for number in range(4)))
    assert estimate.drive_seconds(moving, 4) == pytest.approx(4 * 66.5), "one after the other"
    even = Batch(1, tuple(scene(str(number), 8) for number in range(6)))
    assert estimate.drive_seconds(even, 1) == pytest.approx(75)
    assert estimate.drive_seconds(even, 2) == pytest.approx(37.5)
    assert estimate.drive_seconds(even, 4) == pytest.approx(18.75)


def test_a_small_plan_by_hand() -> None:
    made = estimate.estimate(SMALL, RUNG, PRICE, RATES, room=2, lease=65, idle=600)
    # Narration 80 + 16 + 8 = 104 s, 250 kB each: 0.026 GB at 0.09 USD.
    egress = 0.00234
    second = 0.348 / 3600
    # 60 to boot, half of 668 and of 12.5 to render.
    assert made.low == pytest.approx((394 + 66.25) * second + egress)
    # 120 to boot, 668 and 12.5, 2 until it is terminated.
    assert made.likely == pytest.approx((790 + 134.5) * second + egress)
    # 180 s to boot, ten minutes that nobody asks for them, and 45 s to shut down: twice.
    assert made.worst == pytest.approx(2 * (180 + 600 + 45) * second + egress)
    kept = estimate.estimate(SMALL, RUNG, PRICE, RATES, room=2, lease=65, idle=65 * 60)
    # Two leases of 65 minutes, and 45 s each to shut down.
    assert kept.worst == pytest.approx(2 * (65 * 60 + 45) * second + egress)
    assert made.phases == {"boot": 120.0, "drive": pytest.approx(668.0), "destroy": 45.0}
    waves = Distribution(launches_per_wave=1, launch_pause=30)
    late = Plan(replace(SMALL.job, distribution=waves), SMALL.batches)
    delayed = estimate.estimate(late, RUNG, PRICE, RATES, room=2, lease=65, idle=600)
    assert list(delayed.phases.items()) == [("launches", 30.0), *made.phases.items()]
    assert delayed.likely == made.likely, "a machine that does not exist yet costs nothing"
    assert (made.lease_minutes, made.first, made.price) == (65, RUNG, Price(0.34, "a test"))
    assert made.assumptions == (
        "with a 30 GB disk, a public IPv4 address, 26 MB egress",
        "the first rung of the ladder is available for every batch",
        "worst: this program dies, and every machine ends itself after 14 minutes",
        (
            "2 scenes at once on a c5.2xlarge, of which one moves; speed: a benchmark of the "
            "public image on two cores"
        ),
    )


def test_an_estimate_follows_what_was_measured() -> None:
    known = replace(
        PUBLIC_RATES, seconds=dict.fromkeys(PUBLIC_RATES.seconds, 0.5), runs={"full_featured": 3}
    )
    assert estimate.drive_seconds(SMALL.batches[0], 2, known) == pytest.approx(40)
    together = replace(known, in_turn=False)
    moving = Batch(1, tuple(scene(str(number), 8, MOVING) for number in range(4)))
    assert estimate.drive_seconds(moving, 4, known) == pytest.approx(16)
    assert estimate.drive_seconds(moving, 4, together) == pytest.approx(4)
    made = estimate.estimate(SMALL, RUNG, PRICE, RATES, room=2, lease=65, idle=600, renders=known)
    assert made.phases["drive"] == pytest.approx(40)
    assert made.assumptions[-1].endswith(
        "speed: measured in 3 runs of this machine; stills: a benchmark of the public image on two "
        "cores"
    )
    assert estimate.lease_minutes(SMALL, 1) > estimate.lease_minutes(SMALL, 1, known)


def test_the_bundled_video_api_begins_sooner_and_renders_faster() -> None:
    ours, public = AwsSettings(), AwsSettings(image="betashow/video-generation-api:latest")
    assert estimate.boot_of(ours).likely < estimate.boot_of(public).likely
    assert estimate.benchmark(ours).of(scene("a", 8, FULL)) < 8
    assert estimate.benchmark(public).of(scene("a", 8, FULL)) == pytest.approx(66.8)
    made = estimate.estimate(
        SMALL, RUNG, PRICE, RATES, 2, 65, 600,
        renders=estimate.benchmark(ours), boot=estimate.boot_of(ours),
    )  # fmt: skip
    assert made.phases["boot"] == estimate.boot_of(ours).likely
    assert made.assumptions[-1] == (
        "2 scenes at once on a c5.2xlarge; speed: a benchmark of the bundled video API on two cores"
    )


def test_everything_that_costs_by_the_hour_counts() -> None:
    rates = RateCard(0.1664, 50, 0.0001, 0.12)
    assert rates.per_hour == pytest.approx(0.1664 + 0.12 + 0.005 + 0.005)


def test_a_machine_is_billed_for_a_minute_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_END", 2.0)
    tiny = plan((scene("a", 0.8),), (scene("b", 0.8),))  # 1.25 s each
    boot = estimate.Boot(1.0, 2.0)
    made = estimate.estimate(tiny, RUNG, PRICE, RATES, room=1, lease=30, idle=600, boot=boot)
    egress = 1.6 * 250_000 / 1e9 * 0.09
    assert made.low == pytest.approx(2 * 60 * 0.348 / 3600 + egress)
    assert made.likely == pytest.approx(made.low)


def test_a_lease_is_thrice_the_likely_length_and_twenty_minutes() -> None:
    # 3 * (668 + 120) + 1200 = 3564 s, which is 59.4 minutes.
    assert estimate.lease_minutes(SMALL, 2) == 60
    # 3 * (693 + 120) + 1200 = 3639 s, which is 60.65 minutes.
    assert estimate.lease_minutes(SMALL, 1) == 61


def test_a_lease_has_bounds() -> None:
    assert estimate.lease_minutes(plan((scene("a", 1),)), 1) == 30
    assert estimate.lease_minutes(plan((scene("a", 1_000_000),)), 1) == 1440


def test_a_lease_outlasts_the_attempt_at_any_scene() -> None:
    own = replace(SMALL.job, limits=Limits(scene_timeout=7200))
    # 3 * 120 to boot, 7200, 45 to end.
    assert estimate.lease_minutes(replace(SMALL, job=own), 2) == 127


SCENES = st.builds(
    scene,
    st.just("s"),
    st.floats(0.1, 1800),
    st.sampled_from([STILL, SUBTITLED, MOVING, FULL]),
)
PLANS = st.lists(st.lists(SCENES, min_size=1, max_size=5).map(tuple), min_size=1, max_size=4).map(
    lambda batches: plan(*batches)
)


@given(PLANS, st.integers(1, 8))
def test_low_is_below_likely_is_below_worst(some: Plan, room: int) -> None:
    lease = estimate.lease_minutes(some, room)
    made = estimate.estimate(some, RUNG, PRICE, RATES, room, lease, 600)
    assert 30 <= lease <= 1440
    if lease < 1440:
        assert 0 < made.low <= made.likely <= made.worst


@given(PLANS, st.integers(1, 8))
def test_more_room_is_never_slower(some: Plan, room: int) -> None:
    narrow = estimate.estimate(some, RUNG, PRICE, RATES, room, 60, 600)
    wide = estimate.estimate(some, RUNG, PRICE, RATES, room + 1, 60, 600)
    assert wide.phases["drive"] <= narrow.phases["drive"]
    assert wide.likely <= narrow.likely
    assert estimate.lease_minutes(some, room + 1) <= estimate.lease_minutes(some, room)


def test_a_lease_that_is_too_short_is_told_and_is_not_the_worst() -> None:
    made = estimate.estimate(SMALL, RUNG, PRICE, RATES, room=2, lease=5, idle=600)
    assert made.worst >= made.likely
    assert any("lease is shorter" in line for line in made.assumptions)
    enough = estimate.estimate(SMALL, RUNG, PRICE, RATES, room=2, lease=60, idle=600)
    assert not any("lease is shorter" in line for line in enough.assumptions)
