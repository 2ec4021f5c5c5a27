"""How fast workers render is learned from the journals of earlier runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudburst.journal import registry, samples
from cloudburst.journal.store import Journal
from cloudburst.models import (
    Artifact,
    Attempt,
    DownloadedVideo,
    Launch,
    Price,
    RenderSample,
    Rung,
    Scene,
    Span,
    VideoOptions,
)
from cloudburst.runner import context as contexts
from cloudburst.targets.rates import (
    BUNDLED_RATES,
    ENOUGH,
    FULL,
    MOVING,
    PUBLIC_RATES,
    STILL,
    SUBTITLED,
    learned,
)
from tests.support.fakes import a_record

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGE = Rung("c5.2xlarge", "on-demand", "us-east-1", "us-east-1a")
SMALL = replace(LARGE, type="t3.large")


def sample(rate: float, run: str = "r1", **more: str) -> RenderSample:
    given = {"renderer": "image", "type": "c5.2xlarge", "scenario": MOVING} | more
    return RenderSample(run_id=run, rate=rate, **given)


def scenes(*options: VideoOptions) -> list[Scene]:
    return [Scene(str(n), Path("p"), Path("a"), 8.0, one) for n, one in enumerate(options)]


STILLS = scenes(VideoOptions())
BOTH = scenes(VideoOptions(), VideoOptions(effects=("random",)))


def test_a_rate_is_the_median_of_what_its_kind_of_worker_took() -> None:
    mine = [sample(rate, f"r{rate}") for rate in (0.2, 0.9, 0.3, 50.0, 0.1)]
    others = [
        *[sample(7.0, renderer="another")] * 9,
        *[sample(8.0, type="t3.large")] * 9,
        *[sample(9.0, scenario=FULL)] * (ENOUGH - 1),
    ]
    rates = learned([*others, *mine], "image", "c5.2xlarge", PUBLIC_RATES)
    assert rates.seconds == {**PUBLIC_RATES.seconds, MOVING: 0.3}
    assert rates.runs == {MOVING: 5}
    assert rates.in_turn


@pytest.mark.parametrize(
    ("count", "some", "origin"),
    [
        (ENOUGH, BOTH[1:], "measured in 1 run of this machine"),
        (
            ENOUGH,
            BOTH,
            (
                "measured in 1 run of this machine; stills: a benchmark of the public image on two "
                "cores"
            ),
        ),
        (ENOUGH, STILLS, "a benchmark of the public image on two cores"),
        (ENOUGH - 1, BOTH, "a benchmark of the public image on two cores"),
    ],
)
def test_the_source_of_a_rate_is_told(count: int, some: list[Scene], origin: str) -> None:
    rates = learned([sample(0.5)] * count, "image", "c5.2xlarge", PUBLIC_RATES)
    assert rates.origin(some) == origin


def test_every_scenario_has_a_rate() -> None:
    subtitled = VideoOptions(subtitle=Path("s.srt"))
    all_four = scenes(
        VideoOptions(), subtitled, VideoOptions(effects=("zoom_in",)),
        replace(subtitled, effects=("zoom_in",)),
    )  # fmt: skip
    for rates in (PUBLIC_RATES, BUNDLED_RATES):
        seconds = [rates.of(scene) for scene in all_four]
        assert seconds == [8 * rates.seconds[name] for name in (STILL, SUBTITLED, MOVING, FULL)]
    ratios = [PUBLIC_RATES.of(scene) / BUNDLED_RATES.of(scene) for scene in all_four]
    assert min(ratios) > 10


def run(folder: Path, run_id: str, renderer: str, rung: Rung, *, regions: Iterable[str]) -> None:
    """Write the journal of a run: a rung that was refused, a failed attempt, three videos."""
    record = replace(a_record(folder, run_id=run_id, target="aws"), regions=tuple(regions))
    folder.mkdir()
    registry.register(record)
    with Journal(folder) as held:
        held.begin(record)
        for chosen, state in ((SMALL, "gone"), (rung, "gone")):
            row = held.launch(
                batch="b01", label="b01", stack=f"{run_id}-b01", target="aws", rung=chosen,
                price=Price(0.3, "list"), room=2, expires=None, renderer=renderer,
            )  # fmt: skip
            end = Launch("b01", None, chosen, Price(0.3, "list"), 0, (), destroyed=True)
            held.ended(row, end, state)
        for number, seconds in enumerate((4.0, 2.0, 8.0)):
            failed = held.attempt(f"s{number}", "b01", "mark", 0.0)
            held.tried(failed, Attempt("b01", Span("render", 0.0, 99.0), error="it broke"))
            tried = held.attempt(f"s{number}", "b01", "mark", 100.0)
            made = Attempt(
                "b01",
                Span("render", 100.0, 100.0 + seconds),
                Span("download", 100.0 + seconds, 300.0),
            )
            video = DownloadedVideo(
                Artifact(Path("v.mp4"), 9, 8.0, 64, 36, 240), "digest", "mark", MOVING, ()
            )
            held.video(f"s{number}", tried, made, video)


def test_samples_are_the_renders_that_made_a_video(tmp_path: Path) -> None:
    run(tmp_path / "one", "20260101-000000-aaaaaa", "image", LARGE, regions=["us-east-1"])
    run(tmp_path / "two", "20260102-000000-aaaaaa", "", LARGE, regions=["us-east-1"])
    run(tmp_path / "local", "20260103-000000-aaaaaa", "image", LARGE, regions=[])
    found = samples.read()
    assert {one.run_id for one in found} == {"20260101-000000-aaaaaa"}
    assert {(one.renderer, one.type, one.scenario) for one in found} == {
        ("image", "c5.2xlarge", MOVING)
    }
    assert sorted(one.rate for one in found) == [0.25, 0.5, 1.0]


def test_a_journal_that_cannot_be_read_teaches_nothing(tmp_path: Path) -> None:
    run(tmp_path / "one", "20260101-000000-aaaaaa", "image", LARGE, regions=["us-east-1"])
    run(tmp_path / "two", "20260102-000000-aaaaaa", "image", LARGE, regions=["us-east-1"])
    (tmp_path / "two" / "journal.db").write_bytes(b"not a database" * 100)
    assert {one.run_id for one in samples.read()} == {"20260101-000000-aaaaaa"}


def test_a_plan_gets_samples_where_machines_are_rented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloudburst.models import Batch, Job, Plan

    known = (sample(0.5),)
    monkeypatch.setattr(contexts.samples, "read", lambda: known)
    plans: list[Plan] = []

    class Opened:
        name = "aws"

        def __init__(self, billing: object) -> None:
            self.billing = billing

        def prepare(self, plan: Plan, run_id: str) -> object:
            plans.append(plan)
            return self

        class ladder:  # noqa: N801
            @staticmethod
            def fitting(count: int) -> int:
                return count

    job = Job("job", tmp_path / "scenes.yaml", tuple(STILLS), tmp_path)
    planned = Plan(job, (Batch(1, tuple(STILLS), "aws"),))
    for billing in (None, object()):
        opened = contexts.OpenTarget(Opened(billing), None)  # type: ignore[arg-type]
        contexts.with_workers({"aws": opened}, planned, "run")
    assert [plan.samples for plan in plans] == [(), known]
