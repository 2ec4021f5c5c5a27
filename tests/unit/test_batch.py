"""A batch climbs the ladder until a worker has done the work."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import (
    EngineError,
    InfrastructureError,
    PriceUnknown,
    RenderTimedOut,
    WorkerTerminated,
    WorkerUnreachable,
)
from cloudburst.models import (
    Basis,
    Batch,
    Condition,
    Event,
    EventKind,
    Health,
    Price,
    Quote,
    Refusal,
    Rung,
    SceneStatus,
    Verdict,
)
from cloudburst.runner import batch
from cloudburst.runner.batch import BatchRunner
from cloudburst.runner.context import OpenTarget
from cloudburst.runner.ending.results import SceneResults
from cloudburst.runner.events import Timeline
from cloudburst.runner.queue import SceneQueue
from cloudburst.runner.worker import render_loop, worker_run
from cloudburst.stop import Stop
from tests.support.fakes import (
    SCENE,
    FakeApi,
    FakeEngine,
    FakeTarget,
    cloud_refused,
    done_count,
    ended,
    fake_download,
    make_context,
    on_local,
    run_batch,
)
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Artifact, Worker
    from cloudburst.runner.context import RunContext

A = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
B = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1b")
C = Rung("m5.xlarge", "spot", "us-east-1", "us-east-1a")
D = Rung("g4dn.xlarge", "spot", "us-east-1", "us-east-1a")
E = Rung("c5.2xlarge", "on-demand", "us-east-1", "us-east-1a")


def refused(code: str, words: str = "no") -> EngineError:
    return EngineError(f"creating EC2 Instance: api error {code}: {words}")


FULL = refused("InsufficientInstanceCapacity")
TAKEN = ended("Server.SpotInstanceTermination: wanted back", blameless=True)


@dataclass
class Watched:
    """A site, and what was told on it."""

    context: RunContext
    events: list[Event]

    def failovers(self) -> list[Event]:
        self.context.timeline.close()
        return [event for event in self.events if event.kind is EventKind.FAILOVER]

    def states(self) -> list[object]:
        self.context.timeline.close()
        return [event.data["state"] for event in self.events if event.kind == "batch_state"]


def watched(engine: FakeEngine, target: FakeTarget, folder: Path, **limits: Any) -> Watched:
    events: list[Event] = []
    timeline = Timeline(events.append, lambda: None)
    context = replace(make_context(engine, target, folder, **limits), timeline=timeline)
    return Watched(context, events)


@pytest.fixture(autouse=True)
def apis(monkeypatch: pytest.MonkeyPatch) -> list[FakeApi]:
    """Give workers the video APIs that a test puts here, and then ones without a fault."""
    made: list[FakeApi] = []

    def make(*_: object) -> FakeApi:
        return made.pop(0) if made else FakeApi()

    monkeypatch.setattr(worker_run, "VideoApi", make)
    monkeypatch.setattr(render_loop, "download", fake_download)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    return made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Wait for nothing, but remember for how long."""
    waited: list[float] = []

    def sleep(stop: Stop, seconds: float) -> bool:
        waited.append(seconds)
        return stop.requested

    monkeypatch.setattr(Stop, "sleep", sleep)
    return waited


class Asked(FakeTarget):
    """A target that notes among the engine's operations when it is asked what is left."""

    def inventory(self, stack: str) -> list[str]:
        self.engine.calls.append("inventory")
        return super().inventory(stack)


def test_without_capacity_the_next_rung_is_tried_once_the_first_is_gone(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[FULL])
    target = Asked(engine, rungs=(A, B, C))
    made = watched(engine, target, tmp_path)
    runner = run_batch(made.context)
    one = ["up", "destroy", "inventory"]
    assert engine.calls == [*one, *one]
    assert target.launched == [A, B]
    assert runner.error is None
    assert runner.destroyed
    first, second = runner.result().launches
    assert (first.label, first.code, first.error) == (
        "b01",
        "InsufficientInstanceCapacity",
        "creating EC2 Instance: api error InsufficientInstanceCapacity: no",
    )
    assert (second.label, second.code, second.scenes_done) == ("b01", None, 1)
    assert made.states()[-1] == "gone"


def test_a_failover_is_told_with_its_code_and_its_rung(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[FULL, FULL])
    made = watched(engine, FakeTarget(engine, rungs=(A, B)), tmp_path)
    run_batch(made.context)
    first, second = made.failovers()
    assert first.batch == "b01"
    assert first.text == (
        "c5.2xlarge spot in us-east-1a: InsufficientInstanceCapacity; "
        "next: c5.2xlarge spot in us-east-1b"
    )
    assert first.data == {
        "code": "InsufficientInstanceCapacity",
        "rung": "c5.2xlarge spot in us-east-1a",
        "error": "creating EC2 Instance: api error InsufficientInstanceCapacity: no",
    }
    assert second.text == (
        "c5.2xlarge spot in us-east-1b: InsufficientInstanceCapacity; no rung is left"
    )


def test_each_rung_is_tried_once_and_then_the_batch_has_failed(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[FULL, FULL, FULL, FULL])
    target = FakeTarget(engine, rungs=(A, B, C))
    made = watched(engine, target, tmp_path)
    runner = run_batch(made.context)
    assert target.launched == [A, B, C]
    assert runner.error == (
        "no rung is left; tried c5.2xlarge spot in us-east-1a: InsufficientInstanceCapacity; "
        "c5.2xlarge spot in us-east-1b: InsufficientInstanceCapacity; "
        "m5.xlarge spot in us-east-1a: InsufficientInstanceCapacity"
    )
    assert made.failovers()[-1].text.endswith("; no rung is left")
    assert made.states()[-1] == "failed"


def test_a_ladder_without_rungs_is_told(tmp_path: Path) -> None:
    engine = FakeEngine()
    runner = run_batch(make_context(engine, FakeTarget(engine, rungs=()), tmp_path))
    assert runner.error is not None
    assert runner.error.startswith("no rung is left")
    assert runner.launches == []


def test_a_full_quota_skips_its_family(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[refused("VcpuLimitExceeded")])
    target = FakeTarget(engine, rungs=(A, B, C, D))
    runner = run_batch(make_context(engine, target, tmp_path))
    assert target.launched == [A, D]
    assert runner.error is None


def test_a_full_quota_of_spot_leaves_on_demand(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[refused("MaxSpotInstanceCountExceeded")])
    target = FakeTarget(engine, rungs=(A, B, E))
    run_batch(make_context(engine, target, tmp_path))
    assert target.launched == [A, E]


def test_what_one_batch_has_learnt_serves_the_next(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[FULL])
    target = FakeTarget(engine, rungs=(A, B))
    context = make_context(engine, target, tmp_path)
    run_batch(context)
    run_batch(context)
    assert target.launched == [A, B, B]


def test_what_no_rung_would_change_is_tried_once_for_all_batches(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[refused("UnauthorizedOperation", "not authorized")])
    target = FakeTarget(engine, rungs=(A, B))
    made = watched(engine, target, tmp_path)
    first = run_batch(made.context)
    second = run_batch(made.context)
    assert target.launched == [A]
    assert engine.calls == ["up", "destroy"]
    assert first.error == (
        "creating EC2 Instance: api error UnauthorizedOperation: not authorized "
        "(give the caller the policy in docs/aws.md)"
    )
    assert (second.error, second.launches) == (first.error, [])
    assert made.failovers() == []


def test_a_code_without_advice_stops_with_the_message_alone(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[refused("ACodeOfTheFuture", "no")])
    runner = run_batch(make_context(engine, FakeTarget(engine, rungs=(A, B)), tmp_path))
    assert runner.error == "creating EC2 Instance: api error ACodeOfTheFuture: no"
    assert runner.on.workers.ladder.stopped == runner.error


def test_a_failure_without_a_code_ends_this_batch_and_no_other(tmp_path: Path) -> None:
    engine = FakeEngine(up_errors=[EngineError("the plugin crashed")])
    target = FakeTarget(engine, rungs=(A, B))
    context = make_context(engine, target, tmp_path)
    first = run_batch(context)
    assert target.launched == [A]
    assert first.error == "the plugin crashed"
    second = run_batch(context)
    assert second.error is None
    assert target.launched == [A, A]


def test_throttled_the_same_rung_is_tried_again_after_pauses_that_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    spread: list[tuple[float, float]] = []

    def middle(low: float, high: float) -> float:
        spread.append((low, high))
        return 1.0

    monkeypatch.setattr("random.uniform", middle)
    engine = FakeEngine(up_errors=[refused("RequestLimitExceeded") for _ in range(100)])
    target = FakeTarget(engine, rungs=(A, B))
    made = watched(engine, target, tmp_path)
    runner = run_batch(made.context)
    assert pauses == [2, 4, 8, 16, 32]
    assert target.launched == [A] * 6
    assert engine.calls == ["up", "sweep", "destroy"] * 6
    assert spread == [(0.5, 1.5)] * 5
    assert runner.error is not None
    assert "RequestLimitExceeded" in runner.error
    assert made.failovers()[1].text == (
        "c5.2xlarge spot in us-east-1a: RequestLimitExceeded; again in 4 s"
    )


def test_a_pause_has_an_upper_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: 1.0)  # noqa: ARG005
    monkeypatch.setattr(batch, "FIRST_PAUSE", 25.0)
    engine = FakeEngine(up_errors=[EngineError("i/o timeout") for _ in range(3)])
    target = FakeTarget(engine, rungs=(A,))
    runner = run_batch(make_context(engine, target, tmp_path))
    assert pauses == [25, 50, 60]
    assert runner.error is None, "the fourth try came through"


@pytest.mark.usefixtures("pauses")
def test_a_glitch_does_not_end_a_launchs_wait_for_a_login(tmp_path: Path) -> None:
    refusal = Refusal("ExpiredToken", Verdict.WAIT, transient=True, advice="log in", login=True)
    waits = [InfrastructureError("the session has expired", refusal) for _ in range(20)]
    glitch = refused("RequestLimitExceeded")
    engine = FakeEngine(up_errors=[*waits, glitch, *waits, *[glitch] * batch.PATIENCE])
    target = FakeTarget(engine, rungs=(A,))
    runner = run_batch(make_context(engine, target, tmp_path))
    assert runner.error is None, "it came through"
    (tmp_path / "again").mkdir()
    engine = FakeEngine(up_errors=[glitch, *waits * 5])
    runner = run_batch(make_context(engine, FakeTarget(engine, rungs=(A,)), tmp_path / "again"))
    assert engine.calls.count("up") == 1 + batch.LOGIN_PATIENCE + 1
    assert runner.error is not None


@pytest.mark.usefixtures("pauses")
def test_patience_begins_anew_on_the_next_rung(tmp_path: Path) -> None:
    slow = [refused("RequestLimitExceeded") for _ in range(5)]
    engine = FakeEngine(up_errors=[*slow, FULL, *slow])
    target = FakeTarget(engine, rungs=(A, B))
    runner = run_batch(make_context(engine, target, tmp_path))
    assert target.launched == [A] * 6 + [B] * 6
    assert runner.error is None


def test_a_request_to_stop_ends_the_wait_and_the_climb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[refused("RequestLimitExceeded") for _ in range(9)])
    context = make_context(engine, FakeTarget(engine, rungs=(A, B)), tmp_path)
    monkeypatch.setattr(batch, "FIRST_PAUSE", 3600.0)

    def tell(*_: object, **__: object) -> None:
        context.stop.request()

    monkeypatch.setattr(BatchRunner, "_report_failover", tell)
    began = time.monotonic()
    run_batch(context)
    assert time.monotonic() - began < SOON
    assert engine.calls == ["up", "sweep", "destroy"]


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        EngineError("RunInstances: i/o timeout"),
        cloud_refused("RunInstances: full", "InsufficientInstanceCapacity"),
    ],
)
@pytest.mark.usefixtures("pauses")
def test_while_something_may_be_left_no_other_rung_is_tried(
    tmp_path: Path, error: Exception
) -> None:
    engine = FakeEngine(up_errors=[error])
    target = FakeTarget(engine, rungs=(A, B), stubborn=True, running=["i-1"])
    made = watched(engine, target, tmp_path)
    runner = run_batch(made.context)
    assert target.launched == [A]
    assert engine.calls.count("up") == 1
    assert not runner.destroyed
    assert runner.error == f"teardown not verified: i-1; before that: {error}"
    assert runner.result().launches[0].code == runner.launches[0].refusal.code
    assert made.states()[-1] == "left running"
    assert made.failovers() == []


class NoPrice(FakeTarget):
    """A target that has no price for spot machines in one zone, or for any machine."""

    everywhere = False

    def quote(self, rung: Rung) -> Quote | None:
        if rung == A or self.everywhere:
            spot = Refusal(verdict=Verdict.NEXT) if rung.market == "spot" else None
            raise PriceUnknown(f"no price for {rung.type} in {rung.zone}", spot)
        return Quote(Price(0.1, "a test"), Basis.GIVEN)


def test_a_zone_without_a_spot_price_is_passed_over(tmp_path: Path) -> None:
    engine = FakeEngine()
    target = NoPrice(engine, rungs=(A, B))
    made = watched(engine, target, tmp_path)
    runner = run_batch(made.context)
    assert target.launched == [B]
    assert engine.calls == ["up", "destroy"], "nothing was begun where there is no price"
    assert runner.error is None
    assert [one.price for one in runner.result().launches] == [None, Price(0.1, "a test")]
    (failover,) = made.failovers()
    assert failover.data["error"] == "no price for c5.2xlarge in us-east-1a"


def test_on_demand_without_a_price_nothing_is_launched(tmp_path: Path) -> None:
    engine = FakeEngine()
    target = NoPrice(engine, rungs=(E, replace(E, zone="us-east-1b")))
    target.everywhere = True
    runner = run_batch(make_context(engine, target, tmp_path))
    assert engine.calls == []
    assert target.launched == []
    assert runner.error == "no price for c5.2xlarge in us-east-1a"
    assert runner.destroyed


def test_a_refusal_to_tell_a_price_counts_like_one_to_launch(tmp_path: Path) -> None:
    engine = FakeEngine()
    error = cloud_refused("DescribeSpotPriceHistory: not authorized", "UnauthorizedOperation")
    target = FakeTarget(engine, rungs=(A, B), price_error=error)
    runner = run_batch(make_context(engine, target, tmp_path))
    assert engine.calls == []
    assert len(runner.launches) == 1
    assert runner.error == (
        "DescribeSpotPriceHistory: not authorized (give the caller the policy in docs/aws.md)"
    )


def test_a_worker_that_is_lost_while_it_starts_means_the_next_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apis: list[FakeApi]
) -> None:
    starting = FakeApi()

    def wait_healthy(timeout: float, stopped: Callable[[float], bool]) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert not stopped(0.01)

    monkeypatch.setattr(starting, "wait_healthy", wait_healthy)
    monkeypatch.setattr(worker_run, "WATCH_EVERY", 0.0)
    apis.append(starting)
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A, B), conditions=[Condition(), TAKEN])
    runner = run_batch(make_context(engine, target, tmp_path, health_timeout=10.0))
    assert target.launched == [A, B]
    assert engine.calls == ["up", "destroy", "up", "destroy"]
    assert runner.error is None
    first = runner.launches[0]
    assert isinstance(first.failure, WorkerTerminated)
    assert first.failure.blameless
    assert first.error == (
        "the worker ended before it was healthy: Server.SpotInstanceTermination: wanted back; "
        "its last log lines: the last line"
    )
    assert first.refusal.code == "Server.SpotInstanceTermination"


def test_a_worker_that_was_taken_away_is_replaced(tmp_path: Path, apis: list[FakeApi]) -> None:
    apis.append(FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused"))
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A, B), conditions=[TAKEN])
    context = make_context(engine, target, tmp_path)
    runner = run_batch(context)
    assert target.launched == [A, B], "where it was taken away, none is asked for at once"
    assert [one.label for one in runner.result().launches] == ["b01", "b01.2"]
    assert [one.code for one in runner.result().launches] == [
        "Server.SpotInstanceTermination",
        None,
    ]
    assert runner.error is None
    (scene,) = context.results.all()
    assert scene.status is SceneStatus.DONE
    assert [one.worker for one in scene.attempts] == ["b01", "b01.2"]


def test_after_a_worker_that_worked_every_rung_may_be_tried_again(
    tmp_path: Path, apis: list[FakeApi]
) -> None:
    apis.append(FakeApi([WorkerUnreachable("POST: connection reset")], sick="connection refused"))
    engine = FakeEngine(up_errors=[FULL])
    target = FakeTarget(engine, rungs=(A, B), conditions=[TAKEN])
    runner = run_batch(make_context(engine, target, tmp_path))
    assert target.launched == [A, B, A]
    assert runner.error is None


def test_workers_that_die_without_any_fruit_are_not_replaced_for_ever(
    tmp_path: Path, apis: list[FakeApi]
) -> None:
    apis += [FakeApi([WorkerUnreachable("POST: reset")], sick="refused") for _ in range(9)]
    engine = FakeEngine()
    died = ended("stopped: out of memory")
    target = FakeTarget(engine, rungs=(A, B), conditions=[died] * 9)
    runner = run_batch(make_context(engine, target, tmp_path, attempts=2))
    assert [one.label for one in runner.launches] == ["b01", "b01.2"]
    assert runner.error is not None
    assert runner.error.startswith("the worker is gone: stopped: out of memory")


def test_workers_that_are_taken_away_through_no_fault_of_theirs_are_replaced_at_any_number(
    tmp_path: Path, apis: list[FakeApi]
) -> None:
    apis += [FakeApi([WorkerUnreachable("POST: reset")], sick="refused") for _ in range(5)]
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A, B), conditions=[TAKEN] * 5)
    runner = run_batch(make_context(engine, target, tmp_path, attempts=2))
    assert [one.label for one in runner.launches][-1] == "b01.6"
    assert runner.error is None


def test_a_scene_that_always_times_out_on_a_foreign_image_costs_the_others_no_worker(
    tmp_path: Path, apis: list[FakeApi]
) -> None:
    """Its server renders on, so each attempt needs another worker; then the others get one, too."""
    apis += [FakeApi([RenderTimedOut("too long")]) for _ in range(3)] + [FakeApi()]
    for api in apis:
        api.capacity = None
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A, B))
    context = make_context(engine, target, tmp_path, attempts=3)
    scenes = tuple(replace(SCENE, name=name) for name in ("a", "b"))
    context = replace(context, results=SceneResults(scenes, context.journal))
    runner = BatchRunner(Batch(1, scenes), 1, context, on_local(context))
    context.queue.add([runner.batch])
    runner.run()
    slow, other = context.results.all()
    assert [one.label for one in runner.launches] == ["b01", "b01.2", "b01.3", "b01.4"]
    assert [str(one.error).partition(";")[0] for one in slow.attempts] == ["too long"] * 3
    assert other.status is SceneStatus.DONE
    assert all(launch.destroyed for launch in runner.launches)
    assert runner.error is None


def test_workers_that_bring_something_home_are_replaced_at_any_number(
    tmp_path: Path, apis: list[FakeApi]
) -> None:
    gone: list[Exception | None] = [WorkerUnreachable("POST: reset")] * 4
    apis += [FakeApi([None] * count + gone, sick="refused") for count in (1, 0, 1, 0)]
    engine = FakeEngine()
    died = ended("stopped: out of memory")
    target = FakeTarget(engine, rungs=(A,), conditions=[died] * 16)
    scenes = tuple(replace(SCENE, name=name) for name in "abcdef")
    context = make_context(engine, target, tmp_path, attempts=2)
    context = replace(context, results=SceneResults(scenes, context.journal), queue=SceneQueue(9))
    context.queue.add([Batch(1, scenes)])
    runner = BatchRunner(Batch(1, scenes), 1, context, on_local(context))
    runner.run()
    assert [one.scenes_done for one in runner.result().launches] == [1, 0, 1, 0, 4]
    assert runner.error is None


def test_where_no_scene_waits_nothing_is_launched(tmp_path: Path) -> None:
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A,))
    context = make_context(engine, target, tmp_path)
    runner = BatchRunner(Batch(1, (SCENE,)), 1, context, on_local(context))
    runner.run()
    assert engine.calls == []
    assert runner.launches == []
    assert (runner.error, runner.destroyed) == (None, True)


def test_a_video_on_its_way_home_over_a_dead_connection_is_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apis: list[FakeApi]
) -> None:
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.01)
    closed = threading.Event()
    tries: list[str] = []

    def hang_once(
        *given: Any, worker: str, wanted: Callable[[], bool]
    ) -> tuple[Artifact, str] | None:
        tries.append(worker)
        if worker == "b01":
            closed.wait(10)  # nobody closes the connection
        return fake_download(*given, worker=worker, wanted=wanted)

    monkeypatch.setattr(render_loop, "download", hang_once)
    apis.append(FakeApi())
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A, B), conditions=[TAKEN])
    context = make_context(engine, target, tmp_path)
    runner = run_batch(context)
    closed.set()
    assert tries == ["b01", "b01.2"]
    assert [launch.label for launch in runner.launches] == ["b01", "b01.2"]
    (scene,) = context.results.all()
    assert [attempt.worker for attempt in scene.attempts] == ["b01", "b01.2"]
    assert scene.status is SceneStatus.DONE


def test_a_worker_that_leaves_when_its_work_is_done_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apis: list[FakeApi]
) -> None:
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.0)
    api = FakeApi(holds=True)
    apis.append(api)
    threading.Timer(0.5, api.go_on.set).start()
    leaving = ended("Server.SpotInstanceTermination: marked", blameless=True, health=Health.LEAVING)
    engine = FakeEngine()
    made = watched(engine, FakeTarget(engine, rungs=(A, B), conditions=[leaving] * 50), tmp_path)
    runner = run_batch(made.context)
    assert done_count(made.context) == 1
    assert (runner.error, made.states()[-1]) == (None, "gone")
    assert runner.launches[0].refusal.code == "Server.SpotInstanceTermination", (
        "the launch itself tells"
    )


def test_no_rung_is_named_twice_in_the_tale(tmp_path: Path, pauses: list[float]) -> None:
    engine = FakeEngine(up_errors=[refused("RequestLimitExceeded")] * 3 + [FULL])
    runner = run_batch(make_context(engine, FakeTarget(engine, rungs=(A,)), tmp_path))
    assert pauses
    assert str(runner.error).count("RequestLimitExceeded") == 1
    assert str(runner.error).count("InsufficientInstanceCapacity") == 1


def test_a_worker_for_which_nothing_is_left_is_ended_before_it_is_healthy(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A, B))
    made = watched(engine, target, tmp_path, health_timeout=60.0)

    class Emptied(FakeTarget):
        def worker(self, spec: Any, outputs: Any) -> Worker:
            made.context.queue.stop()  # as when others have taken all, or the money is gone
            return target.worker(spec, outputs)

    emptied = Emptied(engine, rungs=(A, B))
    on = OpenTarget(emptied, engine, "test", emptied)  # type: ignore[arg-type]
    runner = run_batch(replace(made.context, targets={"local": on}))
    assert engine.calls == ["up", "destroy"]
    assert (runner.error, made.states()[-1]) == (None, "gone")


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(("rented", "effort"), [(True, "high"), (False, "low")])
def test_a_rented_worker_spends_cpu_to_save_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, rented: bool, effort: str, wanted: bool
) -> None:
    """And gets smaller pictures, unless that is not wanted."""
    made: list[tuple[object, ...]] = []

    def make(_: Worker, *how: object) -> FakeApi:
        made.append(how)
        return FakeApi()

    monkeypatch.setattr(worker_run, "VideoApi", make)
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A,))
    context = make_context(engine, target, tmp_path)
    if not rented:
        target.billing = None  # type: ignore[assignment]
    run_batch(replace(context, shrink=wanted))
    assert made == [(effort, rented and wanted)]


def test_a_launch_that_waits_for_its_turn_is_not_begun_when_nothing_is_left(
    tmp_path: Path,
) -> None:
    class Queueing(FakeEngine):
        def up(self, stack: str, program: Any, begin: Any = None) -> dict[str, Any]:
            made.context.queue.stop()  # meanwhile others have taken all, or the money is gone
            return super().up(stack, program, begin)

    engine = Queueing()
    made = watched(engine, FakeTarget(engine, rungs=(A, B)), tmp_path)
    runner = run_batch(made.context)
    assert engine.calls == ["destroy"], "nothing was created"
    assert (runner.error, made.states()[-1]) == (None, "gone")


@pytest.mark.parametrize(
    ("condition", "launches", "words"),
    [
        (TAKEN, 9, "Server.SpotInstanceTermination"),
        (
            ended("Client.InstanceInitiatedShutdown: off", blameless=True),
            9,
            "raise aws.lease_minutes",
        ),
    ],
)
def test_even_blameless_losses_end_when_they_bear_no_fruit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    apis: list[FakeApi],
    condition: Condition,
    launches: int,
    words: str,
) -> None:
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.0)
    apis += [FakeApi(holds=True) for _ in range(50)]
    engine = FakeEngine()
    target = FakeTarget(engine, rungs=(A, B), conditions=[condition] * 500)
    runner = run_batch(make_context(engine, target, tmp_path))
    assert len(runner.launches) == launches
    assert words in str(runner.error)


def test_a_worker_that_cannot_be_kept_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> float:
        raise BrokenPipeError("the worker is just gone")

    monkeypatch.setattr(FakeTarget, "keep", refuse)
    monkeypatch.setattr(worker_run, "VideoApi", lambda *_: FakeApi())
    monkeypatch.setattr(render_loop, "download", fake_download)
    engine = FakeEngine()
    context = replace(make_context(engine, FakeTarget(engine), tmp_path), keep=True)
    runner = run_batch(context)
    assert runner.destroyed
    assert runner.kept is None
    assert "destroy" in engine.calls
    assert "could not be kept" in str(runner.launches[0].error)
