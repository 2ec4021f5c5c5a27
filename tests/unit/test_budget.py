"""A run is stopped in time to stay below what it may cost."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.models import Batch, Event, EventKind
from cloudburst.runner import budget
from cloudburst.runner.budget import Budget
from cloudburst.runner.events import Timeline
from tests.support.fakes import SCENE, FakeEngine, FakeTarget, make_context, on_local

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.runner.context import RunContext

# 0.36 USD an hour are 0.006 USD in the 60 s that winding down may take.
HOURLY = 0.36


class Meter(FakeTarget):
    """A target whose machines cost what a test says, and that counts who asks."""

    looks = 0

    def accrued(self) -> tuple[float, float]:
        self.looks += 1
        return super().accrued()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LOOK_EVERY", 0.005)


def running(
    folder: Path, spent: float, hourly: float, **limits: Any
) -> tuple[RunContext, Meter, list[Event]]:
    """Give a site where one scene waits and so much is spent."""
    target = Meter(FakeEngine(), spent=(spent, hourly))
    events: list[Event] = []
    timeline = Timeline(events.append, lambda: None)
    context = replace(make_context(target.engine, target, folder, **limits), timeline=timeline)
    context.queue.add([Batch(1, (SCENE,))])
    context.queue.join("b01")
    return context, target, events


def wait_for(looks: int, target: Meter, watching: Budget) -> None:
    deadline = time.monotonic() + 10
    while target.looks < looks and not watching.reached and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("spent", "hourly"), [(0.0, 0.0), (0.0939, HOURLY), (0.0999, 0.0), (0.05, 2.9)]
)
def test_below_the_limit_nothing_happens(tmp_path: Path, spent: float, hourly: float) -> None:
    context, target, events = running(tmp_path, spent, hourly, max_cost_usd=0.1)
    with Budget(context) as watching:
        wait_for(5, target, watching)
    assert target.looks >= 5
    assert watching.reached == ""
    assert context.queue.pending() == 1
    assert not context.stop.requested
    assert on_local(context).workers.ladder.stopped == ""
    context.timeline.close()
    assert events == []


@pytest.mark.parametrize(
    ("spent", "hourly"), [(0.1, 0.0), (0.0941, HOURLY), (0.0, 6.0), (7.0, 100.0)]
)
def test_at_the_limit_nothing_more_is_begun_and_the_rest_is_finished(
    tmp_path: Path, spent: float, hourly: float
) -> None:
    context, target, events = running(tmp_path, spent, hourly, max_cost_usd=0.1)
    with Budget(context) as watching:
        wait_for(1000, target, watching)
        until_stopped(context)
        time.sleep(0.03)
    assert context.queue.take("b01", "b01") is None
    assert not context.stop.requested, "what renders is finished"
    assert target.looks == 1, "once is enough"
    assert on_local(context).workers.ladder.pick() is None
    assert watching.reached == on_local(context).workers.ladder.stopped
    assert watching.reached == (
        f"limits.max_cost_usd: ${spent:.4f} of $0.1 are spent, and ending costs too; "
        "what renders is finished"
    )
    context.timeline.close()
    assert [(event.kind, event.text) for event in events] == [
        (EventKind.STOPPING, watching.reached)
    ]


def test_at_the_limit_the_run_is_cancelled_if_the_user_wants_it_so(tmp_path: Path) -> None:
    context, target, _ = running(tmp_path, 1.0, 0.0, max_cost_usd=0.1, on_max_cost="cancel")
    with Budget(context) as watching:
        wait_for(1000, target, watching)
        until_stopped(context)
    assert context.stop.requested
    assert on_local(context).workers.ladder.pick() is None
    assert watching.reached.endswith("; what renders is cancelled")


def test_what_grows_beyond_the_limit_is_noticed(tmp_path: Path) -> None:
    context, target, _ = running(tmp_path, 0.0, HOURLY, max_cost_usd=0.1)
    with Budget(context) as watching:
        wait_for(3, target, watching)
        assert watching.reached == ""
        target.spent = (0.095, HOURLY)
        wait_for(1000, target, watching)
        until_stopped(context)
    assert watching.reached.startswith("limits.max_cost_usd: $0.0950 of $0.1 are spent")


def until_stopped(context: RunContext) -> None:
    """Wait for what comes a moment after the budget's own word."""
    deadline = time.monotonic() + 10
    while context.queue.pending() and not context.stop.requested and time.monotonic() < deadline:
        time.sleep(0.005)


def test_without_a_limit_nobody_looks(tmp_path: Path) -> None:
    context, target, _ = running(tmp_path, 1e9, 1e9)
    with Budget(context) as watching:
        assert "budget" not in {thread.name for thread in threading.enumerate()}
        time.sleep(0.05)
    assert target.looks == 0
    assert watching.reached == ""


def test_the_watch_ends_with_the_run(tmp_path: Path) -> None:
    context, target, _ = running(tmp_path, 0.0, 0.0, max_cost_usd=0.1)
    with Budget(context) as watching:
        wait_for(1, target, watching)
        assert "budget" in {thread.name for thread in threading.enumerate()}
    assert "budget" not in {thread.name for thread in threading.enumerate()}
