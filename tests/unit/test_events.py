"""A run's voice: a watcher may be slow, and may stop altogether."""

from __future__ import annotations

import threading
import time

from cloudburst.journal import eventlog
from cloudburst.models import Event, EventKind
from cloudburst.runner.events import Timeline
from tests.support.patience import SOON


def test_every_event_is_handed_over_before_the_end() -> None:
    told: list[str] = []

    def slow(event: Event) -> None:
        time.sleep(0.05)
        told.append(event.text)

    timeline = Timeline(slow, lambda: None)
    for number in range(5):
        timeline.emit(EventKind.ENGINE, str(number))
    assert timeline.close() is None
    assert told == list("01234")


def test_who_has_asked_to_leave_does_not_wait_for_a_terminal_that_has_stopped() -> None:
    stopped = threading.Event()
    timeline = Timeline(lambda _: stopped.wait(10 * SOON) and None, lambda: None)
    timeline.emit(EventKind.ENGINE)
    hurried = threading.Event()
    threading.Timer(0.2, hurried.set).start()
    began = time.monotonic()
    timeline.close(hurried.is_set)
    assert 0.15 < time.monotonic() - began < SOON
    stopped.set()


def test_what_an_event_brings_takes_nobodys_place() -> None:
    data = {"seconds": 0.5, "event": "?", "text": "?", "size": 7}
    event = Event(EventKind.SCENE_DONE, 12.25, "b01", "a", "a.mp4", data)
    assert eventlog.document(event) == {
        "event": "scene_done",
        "seconds": 12.25,
        "batch": "b01",
        "scene": "a",
        "text": "a.mp4",
        "size": 7,
    }
