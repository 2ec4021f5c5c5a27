"""Waves of launches: when each may begin, how a wait ends, and that every launch counts."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.errors import EngineError
from cloudburst.models import Batch, Distribution, EventKind, Rung, Scene
from cloudburst.pace import LaunchPace, next_turn
from cloudburst.runner.batch import BatchRunner
from cloudburst.runner.events import Timeline
from cloudburst.runner.worker import render_loop, worker_run
from tests.support.fakes import (
    FILE,
    SCENE,
    FakeApi,
    FakeEngine,
    FakeTarget,
    done_count,
    fake_download,
    make_context,
    on_local,
    run_batch,
)
from tests.support.patience import SOON

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.models import Event
    from cloudburst.runner.context import RunContext

A = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
B = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1b")
FULL = EngineError("creating EC2 Instance: api error InsufficientInstanceCapacity: no")
BLOCKED = EngineError("creating EC2 Instance: api error Blocked: currently blocked")


class Clock:
    """A clock that only moves when somebody sleeps by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> bool:
        self.slept.append(seconds)
        self.now += seconds
        return False


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_run, "VideoApi", lambda *_: FakeApi())
    monkeypatch.setattr(render_loop, "download", fake_download)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


@pytest.mark.parametrize(
    ("turns", "now", "turn"),
    [
        pytest.param([], 7, 7, id="the first"),
        pytest.param([7], 7, 7, id="the second of two"),
        pytest.param([7, 7], 7, 37, id="the first of the next wave"),
        pytest.param([7, 7, 37], 8, 37, id="the second of the next wave"),
        pytest.param([7, 7, 37, 37], 8, 67, id="the third wave"),
        pytest.param([7, 20], 30, 37, id="a pause counts from the launch before two"),
        pytest.param([7, 20], 37, 37, id="the pause is over"),
        pytest.param([7, 20], 90, 90, id="long ago"),
    ],
)
def test_two_may_begin_in_thirty_seconds(turns: list[float], now: float, turn: float) -> None:
    assert next_turn(now, turns, 2, 30) == turn


def test_without_a_pause_all_begin_at_once() -> None:
    assert next_turn(7, [7] * 50, 1, 0) == 7
    pace = LaunchPace(clock=Clock())
    assert [pace.take_turn() for _ in range(20)] == [0] * 20


@given(
    st.integers(1, 6),
    st.floats(0.1, 100),
    st.lists(st.floats(0, 50), min_size=1, max_size=40),
)
def test_no_more_than_a_wave_begins_in_any_pause(
    per_wave: int, pause: float, gaps: list[float]
) -> None:
    clock = Clock()
    pace = LaunchPace(per_wave, pause, clock)
    turns = []
    for gap in gaps:
        clock.now += gap
        wait = pace.take_turn()
        assert wait >= 0
        turns.append(clock.now + wait)
    assert turns == sorted(turns)
    for early, late in zip(turns, turns[per_wave:], strict=False):
        assert late - early >= pause - 1e-6


@pytest.mark.parametrize(
    ("workers", "rules", "last"),
    [
        (10, Distribution(), 0),
        (5, Distribution(launch_pause=30), 0),
        (6, Distribution(launch_pause=30), 30),
        (11, Distribution(launch_pause=30), 60),
        (3, Distribution(launches_per_wave=1, launch_pause=2.5), 5),
        (0, Distribution(launch_pause=30), 0),
    ],
)
def test_the_last_launch_begins_as_late_as_the_dry_run_says(
    workers: int, rules: Distribution, last: float
) -> None:
    assert rules.last_launch(workers) == last
    pace = LaunchPace(rules.launches_per_wave, rules.launch_pause, Clock())
    assert [pace.take_turn() for _ in range(workers)][-1:] == [last][:workers]


def test_a_wait_is_as_long_as_the_turn_and_ends_when_it_is_not_needed() -> None:
    clock = Clock()
    pace = LaunchPace(1, 30, clock)
    pace.wait(30, clock.sleep, lambda: True)
    assert sum(clock.slept) == 30
    assert max(clock.slept) <= 0.5
    clock.slept.clear()
    pace.wait(30, clock.sleep, lambda: len(clock.slept) < 3)
    assert len(clock.slept) == 3


def paced(
    engine: FakeEngine, folder: Path, pace: LaunchPace, *rungs: Rung
) -> tuple[RunContext, list[Event]]:
    events: list[Event] = []
    target = FakeTarget(engine, rungs=rungs or (A, B))
    timeline = Timeline(events.append, lambda: None)
    return replace(make_context(engine, target, folder), timeline=timeline, pace=pace), events


def test_a_failover_counts_as_a_launch_and_says_that_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    engine = FakeEngine(up_errors=[FULL])
    context, events = paced(engine, tmp_path, LaunchPace(1, 30, clock))
    monkeypatch.setattr(context.stop, "sleep", clock.sleep)
    runner = run_batch(context)
    assert runner.error is None
    assert done_count(context) == 1
    assert sum(clock.slept) >= 30
    context.timeline.close()
    waiting = [event for event in events if event.data.get("state") == "waiting"]
    assert [event.text for event in waiting] == ["launching in 30 s (distribution.launch_pause)"]
    assert [event.kind for event in waiting] == [EventKind.BATCH_STATE]


def test_a_stop_ends_a_wait_at_once_and_nothing_is_launched(tmp_path: Path) -> None:
    engine = FakeEngine()
    pace = LaunchPace(1, 3600)
    pace.take_turn()
    context, events = paced(engine, tmp_path, pace)
    threading.Timer(0.2, context.stop.request).start()
    began = time.monotonic()
    runner = run_batch(context)
    assert time.monotonic() - began < SOON
    assert engine.calls == []
    assert runner.launches == []
    assert runner.destroyed
    context.timeline.close()
    assert any("launching in 3600 s" in event.text for event in events)


def test_a_launch_that_is_refused_for_all_ends_the_waits_of_the_others(tmp_path: Path) -> None:
    """One batch learns that the account is blocked while another one waits for its turn."""
    engine = FakeEngine(up_errors=[BLOCKED])
    context, _ = paced(engine, tmp_path, LaunchPace(1, 3600))
    scenes = (SCENE, Scene("t", FILE, FILE, 1.0))
    batches = [Batch(number, (scene,)) for number, scene in enumerate(scenes, start=1)]
    context.queue.add(batches)
    runners = [BatchRunner(batch, 2, context, on_local(context)) for batch in batches]
    threads = [threading.Thread(target=runner.run) for runner in runners]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SOON)
    assert time.monotonic() - began < SOON
    assert engine.calls.count("up") == 1
    errors = [runner.error for runner in runners]
    assert errors[0] == errors[1]
    assert "AWS has blocked this account" in str(errors[0])


def test_a_worker_whose_turn_in_the_engine_comes_after_a_refusal_is_not_launched(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()
    context, _ = paced(engine, tmp_path, LaunchPace())
    ladder = on_local(context).workers.ladder

    class Late(FakeEngine):
        def up(self, stack: str, program: object, begin: object = None) -> dict[str, object]:
            ladder.stop("refused meanwhile")
            return super().up(stack, program, begin)  # type: ignore[arg-type]

    late = Late()
    on = replace(on_local(context), engine=late)  # type: ignore[arg-type]
    context.queue.add([Batch(1, (SCENE,))])
    runner = BatchRunner(Batch(1, (SCENE,)), 1, context, on)
    runner.run()
    assert "up" not in late.calls
    assert runner.error == "refused meanwhile"
    assert runner.destroyed
