"""Admission of requests to the renderer."""

from __future__ import annotations

import threading
import time

import pytest

from cloudburst.videoapi.admission import (
    Admission,
    AdmissionFullError,
    ClientDisconnectedError,
    slots,
)
from tests.support.patience import SOON


def until(condition: object, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("cores", "without", "with_nvenc"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (4, 2, 4),  # g4dn.xlarge
        (8, 4, 8),
        (16, 8, 8),
        (64, 32, 32),  # NVENC never makes it fewer: stills are encoded by the CPU
    ],
)
def test_slots_follow_what_encodes(cores: int, without: int, with_nvenc: int) -> None:
    assert slots(cores) == without
    assert slots(cores, nvenc=True) == with_nvenc


@pytest.mark.parametrize("slots", [1, 2])
def test_first_come_first_served_and_never_more_than_the_slots(slots: int) -> None:
    admission = Admission(slots, waiting=100)
    order: list[int] = []
    inside: list[int] = []
    most = 0
    lock = threading.Lock()
    gate = threading.Event()

    def work(number: int) -> None:
        nonlocal most
        with admission.turn():
            with lock:
                order.append(number)
                inside.append(number)
                most = max(most, len(inside))
            gate.wait(SOON)
            with lock:
                inside.remove(number)

    threads = []
    for number in range(20):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        until(lambda n=number: admission.in_flight + admission.queued == n + 1)
    assert (admission.in_flight, admission.queued) == (slots, 20 - slots)
    gate.set()
    for thread in threads:
        thread.join()
    # With two at once, which of them writes its number first is the scheduler's business.
    assert slots == 2 or order == list(range(20))
    assert sorted(order) == list(range(20))
    assert most == slots
    assert (admission.in_flight, admission.queued) == (0, 0)


def test_a_full_queue_is_refused_at_once() -> None:
    admission = Admission(slots=1, waiting=0)
    with admission.turn(), pytest.raises(AdmissionFullError), admission.turn():
        pytest.fail("two are in")
    with admission.turn():
        assert admission.in_flight == 1


def test_a_disconnected_client_does_not_block_the_others() -> None:
    admission = Admission(slots=1, waiting=5)
    gone = threading.Event()
    outcomes: list[str] = []

    def leave() -> None:
        try:
            with admission.turn(gone.is_set):
                outcomes.append("admitted")
        except ClientDisconnectedError:
            outcomes.append("disconnected")

    with admission.turn():
        thread = threading.Thread(target=leave)
        thread.start()
        until(lambda: admission.queued == 1)
        gone.set()
        thread.join(SOON)
        assert outcomes == ["disconnected"]
        assert admission.queued == 0
    assert admission.in_flight == 0


def test_an_error_inside_frees_the_slot() -> None:
    admission = Admission(slots=1, waiting=0)
    with pytest.raises(ZeroDivisionError), admission.turn():
        raise ZeroDivisionError
    assert admission.in_flight == 0
