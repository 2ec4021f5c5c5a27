"""A run is asked to stop: politely, in a hurry, to leave at once; or it has reasons of its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import Interrupted, LeftRunning
from cloudburst.journal.store import Journal
from cloudburst.models import Event, EventKind, Rung
from cloudburst.runner import pipeline
from cloudburst.stop import Stop, on_signals
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fakes import Whole


class Asked(Stop):
    """A wish to stop, and with what it was told on."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self.told = threading.Semaphore(0)
        self.on_request = self._note

    def _note(self, count: int) -> None:
        self.counts.append(count)
        self.told.release()

    def state(self) -> tuple[bool, bool, bool]:
        assert self.told.acquire(timeout=SOON)
        return self.requested, self.hurried, self.abandoned


def test_nobody_has_asked_yet() -> None:
    stop = Stop()
    assert (stop.requested, stop.hurried, stop.abandoned) == (False, False, False)
    began = time.monotonic()
    assert not stop.sleep(0.05)
    assert time.monotonic() - began >= 0.05


def test_each_request_says_more() -> None:
    stop = Asked()
    states = []
    for _ in range(4):
        stop.request()
        states.append(stop.state())
    assert states == [(True, False, False), (True, True, False), *[(True, True, True)] * 2]
    assert stop.counts == [1, 2, 3, 4]


def test_an_end_of_its_own_hurries_nobody() -> None:
    stop = Asked()
    for _ in range(4):
        stop.end()
        assert stop.state() == (True, False, False)
    assert stop.counts == [0, 0, 0, 0]
    stop.request()
    assert stop.state() == (True, False, False), "the first request of a person is the first"
    assert stop.counts[-1] == 1


@pytest.mark.parametrize("ask", [Stop.request, Stop.end])
def test_who_sleeps_is_woken(ask: Callable[[Stop], None]) -> None:
    stop = Stop()
    threading.Timer(0.05, ask, (stop,)).start()
    began = time.monotonic()
    assert stop.sleep(10 * SOON)
    assert time.monotonic() - began < SOON
    assert stop.sleep(10), "and nobody falls asleep again"


def test_whoever_is_told_does_not_hold_up_the_signal() -> None:
    stop, go_on = Stop(), threading.Event()
    stop.on_request = lambda _: assert_waited(go_on)
    began = time.monotonic()
    stop.request()
    stop.end()
    assert time.monotonic() - began < SOON
    go_on.set()


def assert_waited(event: threading.Event) -> None:
    assert event.wait(2 * SOON)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_a_request(number: signal.Signals) -> None:
    stop = Asked()
    before = signal.getsignal(number)
    with on_signals(stop):
        os.kill(os.getpid(), number)
        assert stop.state() == (True, False, False)
        os.kill(os.getpid(), number)
        assert stop.state() == (True, True, False)
    assert signal.getsignal(number) is before


def test_in_another_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[Any] = []

    def work() -> None:
        with on_signals(Stop()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(SOON)
    assert seen == [before]


# -- whole runs ---------------------------------------------------------------------------------


class Held:
    """An engine's operation that begins, and waits until a test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, engine: Any, name: str) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        operation = getattr(engine, name)

        def held(*given: Any, **more: Any) -> Any:
            self.began.set()
            assert_waited(self.go_on)
            return operation(*given, **more)

        monkeypatch.setattr(engine, name, held)


class Going:
    """A run in a thread of its own, as `cloudburst.runner` gives it to another program."""

    def __init__(self, whole: Whole, **more: Any) -> None:
        self.stop = Stop()
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._whole, self._more = whole, more
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            pipeline.run(self._whole.job, stop=self.stop, on_event=self.events.append, **self._more)
        except Exception as error:  # noqa: BLE001 - a test looks at it
            self.error = error

    def ask(self, times: int) -> None:
        for _ in range(times):
            self.stop.request()

    def ended(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def end(self) -> BaseException | None:
        assert self.ended(10)
        return self.error


@pytest.fixture
def destroys(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """Let no stack be destroyed before a test says so."""
    held = Held(monkeypatch, whole.engine, "destroy")
    yield held
    held.go_on.set()


def test_asked_to_stop_a_run_ends_when_all_is_destroyed(whole: Whole, destroys: Held) -> None:
    going = Going(whole)
    assert destroys.began.wait(SOON)
    going.ask(2)
    assert not going.ended(0.2)
    assert whole.engine.calls == ["up"]
    destroys.go_on.set()
    assert going.end() is None, "all was home before it was asked"
    counts = [event.data["count"] for event in going.events if event.kind is EventKind.STOPPING]
    assert sorted(map(str, counts)) == ["1", "2"]


def test_asked_three_times_a_run_leaves_and_says_what_it_leaves(
    whole: Whole, destroys: Held
) -> None:
    going = Going(whole)
    assert destroys.began.wait(SOON)
    going.ask(3)
    error = going.end()
    assert isinstance(error, LeftRunning)
    run = error.report.run_id
    removal = f"remove it with: cloudburst cleanup {run}, or: remove {run}-b01"
    assert error.left == [f"{run}-b01: its teardown was not waited for; {removal}"]
    assert (error.report.directory / "report.json").exists()


def test_asked_three_times_what_an_earlier_session_left_is_told_too(
    whole: Whole, destroys: Held
) -> None:
    destroys.go_on.set()
    first = pipeline.run(whole.job)
    with Journal(first.directory) as killed:
        record = killed.state().record
        assert record is not None
        killed.begin(record)
        stack, rung = f"{first.run_id}-b09", Rung("t", "spot", "r", "z")
        killed.launch(
            batch="b09",
            label="b09",
            stack=stack,
            target="local",
            rung=rung,
            price=None,
            room=1,
            expires=None,
        )
    destroys.began.clear()
    destroys.go_on.clear()
    going = Going(whole, resume=first.directory)
    assert destroys.began.wait(SOON)
    going.ask(3)
    error = going.end()
    assert isinstance(error, LeftRunning)
    (line,) = error.left
    assert line.startswith(f"{stack}: its end was not waited for; remove it with: cloudburst ")
    assert not error.report.batches[-1].destroyed


def test_a_stop_before_anything_began_starts_nothing(whole: Whole) -> None:
    stop = Stop()
    stop.request()
    with pytest.raises(Interrupted):
        pipeline.run(whole.job, stop=stop)
    assert whole.engine.calls == []
