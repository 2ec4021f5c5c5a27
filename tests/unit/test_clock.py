"""The clock that nobody sets."""

from __future__ import annotations

import time

import pytest

from cloudburst import clock


def test_a_step_of_the_systems_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock.now() == pytest.approx(time.time(), abs=1.0)
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    time.sleep(0.05)
    assert 0.04 < clock.now() - before < 5
