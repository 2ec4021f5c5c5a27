"""A run is stopped in time to stay below what it may cost."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import BadInput
from cloudburst.history import reading
from cloudburst.history.month import OtherRuns
from cloudburst.job.loader import load_job
from cloudburst.journal.store import Journal
from cloudburst.models import Batch, Estimate, Event, EventKind, PlannedRun, Price
from cloudburst.runner import budget
from cloudburst.runner.budget import Budget
from cloudburst.runner.events import Timeline
from cloudburst.targets.local.target import PROCESS
from tests.support.fakes import SCENE, FakeEngine, FakeTarget, make_context, on_local
from tests.support.inputs import scenes_yaml
from tests.support.pasts import begun, now_is, rental, with_rentals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.history import PastRun
    from cloudburst.models import RunRecord
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


# -- the limit of a month -----------------------------------------------------------------------


# Of one of `rental`'s machines, with its address.
SECOND = 3.605 / 3600
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def others(folder: Path, run_id: str, began: float, seconds: float) -> None:
    """Write another run, which has cost 0.0010014 USD for each second."""
    with_rentals(folder / run_id, run_id, rental("i-1", began, began + seconds))


@pytest.fixture
def november(monkeypatch: pytest.MonkeyPatch) -> None:
    now_is(monkeypatch, NOW)


@pytest.mark.usefixtures("november")
def test_a_month_is_what_other_runs_have_cost_since_its_first_day(tmp_path: Path) -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    others(tmp_path, "20261031-000000-000000", first - 1000, 1100)
    others(tmp_path, "20261101-000000-000000", first + 5000, 60)
    others(tmp_path, "own", first + 9000, 3600)
    assert OtherRuns("own").read().spent == pytest.approx(160 * 3.605 / 3600)


@pytest.mark.usefixtures("november")
def test_runs_that_are_over_are_read_once_and_those_that_go_on_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others(tmp_path, "20261101-000000-000000", NOW - 1000, 100)
    reads: list[str] = []
    real = reading.read

    def counting(record: RunRecord) -> PastRun:
        reads.append(record.run_id)
        return real(record)

    monkeypatch.setattr(reading, "read", counting)
    runs = OtherRuns("own")
    with begun(tmp_path / "on", "20261102-000000-000000") as held:
        held.rental(rental("i-2", NOW - 100, None, stack="20261102-000000-000000-b01"))
        now_is(monkeypatch, NOW + 1)
        first = runs.read()
        now_is(monkeypatch, NOW + 11)
        second = runs.read()
    assert reads.count("20261101-000000-000000") == 1
    assert reads.count("20261102-000000-000000") == 2
    assert first.spent == pytest.approx(201 * SECOND)
    assert second.spent == pytest.approx(211 * SECOND), "what goes on costs more each second"
    assert second.per_hour == pytest.approx(3.605)
    folder = tmp_path / "20261101-000000-000000"
    with Journal(folder) as resumed:
        resumed.rental(rental("i-3", NOW - 80, NOW - 10))
    assert runs.read().spent == pytest.approx(281 * SECOND), "it was resumed meanwhile"


@pytest.mark.usefixtures("november")
@pytest.mark.parametrize(("limit", "to_come"), [(None, 0.2999), (0.25, 0.1499)])
def test_what_goes_on_is_likely_to_cost_yet_counts_before_a_run(
    tmp_path: Path, job_file: Callable[..., Path], limit: float | None, to_come: float
) -> None:
    estimate = Estimate(0.1, 0.4, 9.0, {}, 30, PROCESS, Price(1.0, "a test"), ())
    path = job_file(scenes_yaml(1, "limits:\n  attempts: 2\n  max_cost_usd_month: 0.7\n"))
    target = Dear(FakeEngine())
    on = on_local(make_context(target.engine, target, tmp_path))
    with begun(tmp_path / "on", "20261102-000000-000000", max_cost_usd=limit) as held:
        held.planned(PlannedRun((), {"aws": estimate}))
        held.rental(rental("i-2", NOW - 100, None))
        with pytest.raises(BadInput) as raised:
            budget.check(load_job(path), [on], "own")
    (problem,) = raised.value.problems
    assert (
        f"have cost $0.1001, and those that are going on will likely cost ${to_come:.4f} more, so "
        f"${0.5999 - to_come:.4f} is left; the run will likely cost $0.5000"
    ) in str(problem)
    budget.check(load_job(path), [on], "own")  # it is over, or dead: nothing more of it is to come


@pytest.mark.usefixtures("november")
@pytest.mark.parametrize(("limit", "stops"), [(0.2, False), (0.17, True)])
def test_a_run_is_stopped_when_the_month_is_spent(
    tmp_path: Path, limit: float, *, stops: bool
) -> None:
    others(tmp_path, "20261101-000000-000000", NOW - 1000, 100)  # 0.1001
    context, target, events = running(tmp_path, 0.07, 0.0, max_cost_usd_month=limit)
    with Budget(context) as watching:
        wait_for(5, target, watching)
        if stops:
            until_stopped(context)
    context.timeline.close()
    assert bool(watching.reached) is stops
    assert [event.kind for event in events] == [EventKind.STOPPING] * stops
    if stops:
        assert watching.reached == (
            "limits.max_cost_usd_month: $0.1701 of $0.17 are spent this month by the runs of this "
            "machine, and ending costs too; what renders is finished"
        )


@pytest.mark.usefixtures("november")
def test_what_others_spend_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MONTH_EVERY", 0.0)
    context, target, _ = running(tmp_path, 0.05, 0.0, max_cost_usd_month=0.1)
    with Budget(context) as watching:
        wait_for(5, target, watching)
        assert watching.reached == ""
        others(tmp_path, "20261101-000000-000000", NOW - 1000, 100)
        wait_for(10_000, target, watching)
    assert watching.reached.startswith("limits.max_cost_usd_month: $0.1501 of $0.1 are spent")


class Dear(FakeTarget):
    """A target whose plan will cost 0.5 USD."""

    def estimate(self) -> Estimate:
        return Estimate(0.25, 0.5, 9.0, {}, 30, PROCESS, Price(1.0, "a test"), ())


@pytest.mark.usefixtures("november")
def test_a_run_that_the_month_has_no_room_for_is_refused_with_the_place(
    tmp_path: Path, job_file: Callable[..., Path]
) -> None:
    others(tmp_path, "20261101-000000-000000", NOW - 1000, 100)
    path = job_file(scenes_yaml(1, "limits:\n  attempts: 2\n  max_cost_usd_month: 0.55\n"))
    target = Dear(FakeEngine())
    context = make_context(target.engine, target, tmp_path)
    on = on_local(context)
    with pytest.raises(BadInput) as raised:
        budget.check(load_job(path), [on], "own")
    (problem,) = raised.value.problems
    assert str(problem) == (
        f"{path}:4: limits.max_cost_usd_month: got 0.55; since 2026-11-01 (UTC) the runs of this "
        "machine have cost $0.1001, so $0.4499 is left; the run will likely cost $0.5000 ($0.2500 "
        "if all goes well); expected more, or fewer scenes; `cloudburst cost --since 2026-11-01` "
        "shows what it was spent for"
    )
    more = load_job(path)
    budget.check(replace(more, limits=replace(more.limits, max_cost_usd_month=0.7)), [on], "own")
