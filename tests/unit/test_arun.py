"""A run is awaited: its callbacks come in the event loop, and cancelling it tears it down."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst import BadInput, Event, EventKind, Outcome, Stop, arun
from cloudburst.api import asynchronous
from cloudburst.errors import Interrupted, LeftRunning
from cloudburst.runner import pipeline
from tests.support.patience import SOON

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fakes import Whole


class Stopped:
    """In the place of `run`: tells when it begins, and ends as asked once it is to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.stop: Stop | None = None
        self._error = error
        monkeypatch.setattr(asynchronous, "run", self._run)

    def _run(self, _: Any, *, stop: Stop, **more: Any) -> None:
        self.stop = stop
        self.began.set()
        assert stop.sleep(10)
        assert self.go_on.wait(SOON)
        raise self._error

    async def cancelled(self, times: int = 1) -> asyncio.Task[Any]:
        """Start a run and cancel it; it ends when `go_on` is set."""
        task = asyncio.create_task(arun("job"))
        await asyncio.to_thread(self.began.wait, 10)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.05)
        return task


def test_callbacks_come_in_the_loop_in_order(whole: Whole) -> None:
    seen: list[tuple[EventKind, bool]] = []

    def watch(event: Event) -> None:
        seen.append((event.kind, threading.current_thread() is threading.main_thread()))

    report = asyncio.run(arun(whole.job, on_event=watch))
    assert report.outcome is Outcome.COMPLETE
    assert EventKind.RUN_STARTED in dict(seen)
    assert seen[-1][0] is EventKind.RUN_FINISHED
    assert all(in_loop for _, in_loop in seen)


def test_a_coroutine_function_is_awaited_one_event_at_a_time(whole: Whole) -> None:
    inside: list[int] = []

    async def watch(_: Event) -> None:
        inside.append(1)
        await asyncio.sleep(0.01)
        assert sum(inside) == 1
        inside.append(-1)

    asyncio.run(arun(whole.job, on_event=watch))
    assert len(inside) > 6
    assert sum(inside) == 0


def test_the_loop_goes_on_meanwhile(whole: Whole) -> None:
    async def program() -> int:
        run = asyncio.create_task(arun(whole.job))
        turns = 0
        while not run.done():
            turns += 1
            await asyncio.sleep(0.001)
        await run
        return turns

    assert asyncio.run(program()) > 3


@pytest.mark.parametrize("kind", [ZeroDivisionError, TimeoutError])
def test_a_callback_that_raises_stops_the_run(whole: Whole, kind: type[Exception]) -> None:
    calls: list[Event] = []

    def watch(event: Event) -> None:
        calls.append(event)
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        asyncio.run(arun(whole.job, on_event=watch))
    assert len(calls) == 1
    assert whole.engine.calls.count("up") == whole.engine.calls.count("destroy")


def test_what_the_run_raises_comes_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="file not found"):
        asyncio.run(arun(tmp_path / "none.yaml"))


def test_cancelled_it_ends_only_when_the_run_has(
    monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    run = Stopped(monkeypatch, interrupted(whole))

    async def program() -> None:
        task = await run.cancelled()
        assert run.stop is not None
        assert run.stop.requested
        assert not run.stop.hurried
        assert not task.done()
        run.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(program())


def test_cancelled_again_it_hurries(monkeypatch: pytest.MonkeyPatch, whole: Whole) -> None:
    run = Stopped(monkeypatch, interrupted(whole))

    async def program() -> None:
        task = await run.cancelled(times=2)
        assert run.stop is not None
        assert run.stop.hurried
        run.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program())


def test_what_is_left_running_is_told_even_if_cancelled(
    monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    run = Stopped(monkeypatch, LeftRunning(["a machine"], interrupted(whole).report))
    run.go_on.set()

    async def program() -> None:
        await (await run.cancelled())

    with pytest.raises(LeftRunning, match="a machine"):
        asyncio.run(program())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_nobody_handles_stops_the_run(
    monkeypatch: pytest.MonkeyPatch, whole: Whole, number: signal.Signals
) -> None:
    run = Stopped(monkeypatch, interrupted(whole))
    run.go_on.set()
    before = signal.getsignal(number)

    async def program() -> None:
        task = asyncio.create_task(arun("job"))
        await asyncio.to_thread(run.began.wait, 10)
        os.kill(os.getpid(), number)
        await task

    loop = asyncio.new_event_loop()
    with pytest.raises(Interrupted):
        loop.run_until_complete(program())
    loop.close()
    assert signal.getsignal(number) is before


def test_a_loop_that_is_closed_holds_nobody_up() -> None:
    loop, stop = asyncio.new_event_loop(), Stop()
    send = asynchronous._in_loop(loop, lambda _: None, stop)
    event = Event(EventKind.RUN_STARTED, 0.0)
    threading.Timer(0.1, loop.close).start()
    with pytest.raises(TimeoutError):
        send(event)
    with pytest.raises(RuntimeError, match="closed"):
        send(event)


def interrupted(whole: Whole) -> Interrupted:
    """Return what a stopped run raises."""
    stop = Stop()
    stop.request()
    with pytest.raises(Interrupted) as raised:
        pipeline.run(whole.job, stop=stop)
    return raised.value
