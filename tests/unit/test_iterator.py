"""A run is iterated over: to its end, or left early; nothing goes on after its block."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst import BadInput, Event, EventKind, Events, Outcome, Stop, events
from cloudburst.errors import InfrastructureError, Interrupted, LeftRunning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloudburst.models import RunReport
    from tests.support.fakes import Whole


def runs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "run"]


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert runs() == []
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.fixture
def report(whole: Whole) -> RunReport:
    with events(whole.job) as stream:
        list(stream)
    whole.engine.calls.clear()
    return stream.report


@pytest.fixture
def held(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Let no stack be created before the run is asked to stop."""
    stop, up = Stop(), whole.engine.up

    def held_up(*given: Any, **more: Any) -> Any:
        assert stop.sleep(10)
        return up(*given, **more)

    monkeypatch.setattr(whole.engine, "up", held_up)
    return stop


def doubled(end: Callable[[Stop], RunReport]) -> Events:
    """Return a run of one event that ends as a test says once it is asked to stop."""
    stop = Stop()

    def call(send: Callable[[Event], None]) -> RunReport:
        send(Event(EventKind.RUN_STARTED, 0.0))
        assert stop.sleep(10)
        return end(stop)

    return Events(call, stop)


def raising(error: Exception) -> Callable[[Stop], RunReport]:
    def end(_: Stop) -> RunReport:
        raise error

    return end


def test_all_events_come_and_then_the_report(whole: Whole) -> None:
    with events(whole.job) as stream:
        kinds = [event.kind for event in stream]
        assert list(stream) == [], "and none after the end"
    assert EventKind.RUN_STARTED in kinds
    assert kinds[-1] is EventKind.RUN_FINISHED
    assert kinds.count(EventKind.SCENE_DONE) == 3
    assert stream.report.outcome is Outcome.COMPLETE
    assert whole.engine.calls == ["up", "destroy"]


def test_it_takes_what_load_job_takes_and_refuses_it_before_anything(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="file not found"):
        events(tmp_path / "none.yaml")


def test_nothing_runs_outside_of_a_block(whole: Whole) -> None:
    stream = events(whole.job)
    with pytest.raises(RuntimeError, match="with events"):
        next(stream)
    with pytest.raises(RuntimeError, match="not ended"):
        _ = stream.report
    assert whole.engine.calls == []


def test_it_goes_on_with_an_earlier_run(whole: Whole, report: RunReport) -> None:
    with events(whole.job, resume=report.run_id) as stream:
        assert next(stream).kind is EventKind.RUN_RESUMED
        list(stream)
    assert stream.report.run_id == report.run_id
    assert whole.engine.calls == []


def test_left_early_it_stops_and_has_a_report(whole: Whole, held: Stop) -> None:
    with events(whole.job, stop=held) as stream:
        for event in stream:
            if event.kind is EventKind.BATCH_STATE:
                break
    assert stream.report.outcome is Outcome.INTERRUPTED
    assert whole.engine.calls.count("up") == whole.engine.calls.count("destroy")


def within(stream: Events, body: Callable[[Events], object]) -> None:
    """Do something within the block of a run."""
    with stream:
        body(stream)


def test_an_exception_in_the_block_comes_out_when_all_is_stopped(whole: Whole, held: Stop) -> None:
    stream = events(whole.job, stop=held)
    with pytest.raises(ZeroDivisionError):
        within(stream, lambda stream: [1 // 0 for _ in stream])
    assert stream.report.outcome is Outcome.INTERRUPTED


def test_a_stop_from_elsewhere_ends_the_loop_with_interrupted(whole: Whole, held: Stop) -> None:
    seen = []

    def consume(stream: Events) -> None:
        for event in stream:
            seen.append(event.kind)
            if event.kind is EventKind.BATCH_STATE and not held.requested:
                held.request()

    with pytest.raises(Interrupted):
        within(events(whole.job, stop=held), consume)
    assert seen[-1] is EventKind.RUN_FINISHED, "the events of the teardown came"


def test_an_error_of_the_run_comes_out_of_the_loop() -> None:
    error = InfrastructureError("no engine")
    stream = doubled(raising(error))
    with pytest.raises(InfrastructureError, match="no engine") as raised:
        within(stream, lambda stream: [stream._stop.request() for _ in stream])
    assert raised.value is error


def test_an_error_of_a_run_that_was_left_comes_out_of_the_block() -> None:
    stream = doubled(raising(InfrastructureError("the disk is full")))
    with pytest.raises(InfrastructureError, match="the disk is full"):
        within(stream, next)


@pytest.mark.parametrize("why", [None, ValueError("mine"), KeyboardInterrupt()])
def test_what_is_left_running_is_told_whatever_happened(
    report: RunReport, why: BaseException | None
) -> None:
    def consume(stream: Events) -> None:
        next(stream)
        if why is not None:
            raise why

    stream = doubled(raising(LeftRunning(["a machine"], report)))
    with pytest.raises(LeftRunning, match="a machine") as raised:
        within(stream, consume)
    assert raised.value.__context__ is why
    assert stream.report is report


def signalled(number: signal.Signals, times: int = 0) -> Callable[[Events], None]:
    """Take some events, then get a signal, then take the rest."""

    def consume(stream: Events) -> None:
        for _ in range(times):
            next(stream)
        os.kill(os.getpid(), number)
        for _ in stream:
            pass

    return consume


def test_ctrl_c_leaves_the_block_and_ctrl_c_while_waiting_hurries(report: RunReport) -> None:
    def end(stop: Stop) -> RunReport:
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 10
        while not stop.hurried and time.monotonic() < deadline:
            time.sleep(0.01)
        raise Interrupted(report)

    def consume(stream: Events) -> None:
        next(stream)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the block goes on")

    stream = doubled(end)
    with pytest.raises(KeyboardInterrupt):
        within(stream, consume)
    assert stream._stop.hurried
    assert not stream._stop.abandoned


def test_ctrl_c_before_the_first_event_is_not_lost(report: RunReport) -> None:
    with pytest.raises(KeyboardInterrupt):
        within(doubled(raising(Interrupted(report))), signalled(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        within(doubled(raising(Interrupted(report))), lambda _: os.kill(os.getpid(), signal.SIGINT))


def test_who_catches_ctrl_c_sees_the_teardown(whole: Whole, held: Stop) -> None:
    kinds = []

    def consume(stream: Events) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signalled(signal.SIGINT, times=1)(stream)
        while True:
            kinds.append(next(stream).kind)

    with pytest.raises(Interrupted):
        within(events(whole.job, stop=held), consume)
    assert kinds[-1] is EventKind.RUN_FINISHED


def test_sigterm_ends_the_loop_with_interrupted(report: RunReport) -> None:
    with pytest.raises(Interrupted):
        within(doubled(raising(Interrupted(report))), signalled(signal.SIGTERM, times=1))


def test_sigterm_is_told_to_who_leaves_the_block(report: RunReport) -> None:
    with pytest.raises(Interrupted):
        within(
            doubled(raising(Interrupted(report))), lambda _: os.kill(os.getpid(), signal.SIGTERM)
        )
