"""The line in front of the renderer."""

from __future__ import annotations

import threading
import time

import pytest

from cloudburst.videoapi.admission import LeftError, Line, LineFullError


def until(condition: object, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.005)


@pytest.mark.parametrize("slots", [1, 2])
def test_first_come_first_served_and_never_more_than_the_slots(slots: int) -> None:
    line = Line(slots, waiting=100)
    order: list[int] = []
    inside: list[int] = []
    most = 0
    lock = threading.Lock()
    gate = threading.Event()

    def work(number: int) -> None:
        nonlocal most
        with line.turn():
            with lock:
                order.append(number)
                inside.append(number)
                most = max(most, len(inside))
            gate.wait(5)
            with lock:
                inside.remove(number)

    threads = []
    for number in range(20):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        until(lambda n=number: line.in_flight + line.queued == n + 1)
    assert (line.in_flight, line.queued) == (slots, 20 - slots)
    gate.set()
    for thread in threads:
        thread.join()
    # With two at once, which of them writes its number first is the scheduler's business.
    assert slots == 2 or order == list(range(20))
    assert sorted(order) == list(range(20))
    assert most == slots
    assert (line.in_flight, line.queued) == (0, 0)


def test_a_full_line_is_told_at_once() -> None:
    line = Line(slots=1, waiting=0)
    with line.turn(), pytest.raises(LineFullError), line.turn():
        pytest.fail("two are in")
    with line.turn():
        assert line.in_flight == 1


def test_who_has_gone_does_not_hold_up_the_others() -> None:
    line = Line(slots=1, waiting=5)
    gone = threading.Event()
    left: list[str] = []

    def leave() -> None:
        try:
            with line.turn(gone.is_set):
                left.append("in")
        except LeftError:
            left.append("left")

    with line.turn():
        thread = threading.Thread(target=leave)
        thread.start()
        until(lambda: line.queued == 1)
        gone.set()
        thread.join(5)
        assert left == ["left"]
        assert line.queued == 0
    assert line.in_flight == 0


def test_an_error_inside_gives_the_place_back() -> None:
    line = Line(slots=1, waiting=0)
    with pytest.raises(ZeroDivisionError), line.turn():
        raise ZeroDivisionError
    assert line.in_flight == 0
