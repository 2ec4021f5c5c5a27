"""Teardown, against engines and providers that fail in every way."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst import pipeline, teardown
from cloudburst.errors import (
    CloudRefused,
    EngineError,
    InfrastructureError,
    LeftRunning,
    StackLocked,
)
from cloudburst.models import Event, Job
from cloudburst.stop import Stop
from cloudburst.teardown import TRIES
from cloudburst.timeline import Timeline
from tests.unit.fakes import SCENE, FakeEngine, FakeTarget, make_site
from tests.unit.fakes import live as live_on

if TYPE_CHECKING:
    from cloudburst.batch import BatchLife


def live(
    engine: FakeEngine, target: FakeTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BatchLife:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    return live_on(make_site(engine, target, tmp_path))


def test_a_stack_that_did_not_come_up_is_destroyed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[EngineError("no capacity")])
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy"]
    assert life.destroyed
    assert life.error == "no capacity"


def test_a_bug_in_a_program_is_no_reason_to_leave_something_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[ZeroDivisionError("a bug")])
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy"]
    assert life.destroyed
    assert life.error == "unexpected ZeroDivisionError: a bug"


def test_an_unhealthy_worker_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert life.destroyed
    assert life.error is not None
    assert "connection refused; its last log lines: the last line" in life.error
    assert [span.phase for span in life.result().spans] == ["up", "health", "destroy"]


def test_a_lock_of_our_own_dead_operation_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(destroy_errors=[StackLocked("locked")])
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy", "cancel", "sweep", "destroy"]
    assert life.destroyed


def test_after_a_failed_destroy_a_sweep_comes_before_the_refresh_that_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(destroy_errors=[EngineError("1"), EngineError("2")])
    target = FakeTarget(engine, running=["process 1"])
    life = live(engine, target, tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy", "sweep", "destroy", "refresh", "sweep", "destroy"]
    assert life.destroyed
    assert target.running == []


def test_what_the_state_does_not_know_is_found_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    target = FakeTarget(engine, running=["process 1"])
    life = live(engine, target, tmp_path, monkeypatch)
    assert engine.calls[-1] == "sweep"
    assert target.running == []
    assert life.destroyed


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"stubborn": True, "running": ["process 1"]}, "process 1"),
        ({"blind": True}, "could not be asked: the network is gone"),
    ],
)
def test_what_cannot_be_verified_counts_as_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], words: str
) -> None:
    engine = FakeEngine()
    life = live(engine, FakeTarget(engine, **more), tmp_path, monkeypatch)
    assert not life.destroyed
    assert life.error is not None
    assert life.error.startswith("teardown not verified: ")
    assert words in life.error


def test_destroy_is_not_tried_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(destroy_errors=[EngineError(str(n)) for n in range(100)])
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == TRIES
    assert not life.destroyed


def test_a_run_that_leaves_something_says_what_and_how_to_remove_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[EngineError("no capacity")])
    target = FakeTarget(engine, stubborn=True, running=["process 7"])
    monkeypatch.setattr(pipeline, "find_engine", lambda _: _binary())
    monkeypatch.setattr(pipeline, "make_target", lambda *_: target)
    monkeypatch.setattr(pipeline, "Engine", lambda *_: engine)
    job = Job("job", tmp_path / "scenes.yaml", (SCENE,), tmp_path / "out")
    events: list[Event] = []
    with pytest.raises(LeftRunning) as caught:
        pipeline.run(job, on_event=events.append)
    assert caught.value.exit_code == 4
    (line,) = caught.value.left
    assert "process 7" in line
    stack, run = caught.value.report.batches[0].stack, caught.value.report.run_id
    assert line.endswith(f"remove it with: cloudburst cleanup {run}, or: remove {stack}")
    assert (caught.value.report.directory / "report.json").exists()
    assert events[-1].kind == "run_finished"


def _binary() -> Any:
    from cloudburst.toolchain import VERSION, Engine

    return Engine(Path("/nowhere"), VERSION, "a test")


def test_a_batch_that_is_stopped_before_it_begins_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "requested", True)
    engine = FakeEngine()
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == []
    assert life.destroyed
    assert life.launches == []


def test_a_slow_watcher_holds_nothing_up() -> None:
    paused = threading.Event()
    seen: list[str] = []

    def watch(event: Event) -> None:
        paused.wait(10)
        seen.append(event.text)

    timeline = Timeline(watch, lambda: None)
    for number in range(1000):
        timeline.tell("engine", str(number))  # type: ignore[arg-type]
    assert seen == []
    paused.set()
    assert timeline.close() is None
    assert seen == [str(number) for number in range(1000)]


AWAY = EngineError("destroying: request send failed: dial tcp: lookup ec2: no such host")


def test_while_the_provider_cannot_be_reached_a_teardown_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(destroy_errors=[AWAY] * 12)
    target = FakeTarget(engine, running=["i-1"])
    life = live(engine, target, tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == 13
    assert life.destroyed
    assert target.running == []


def test_in_a_hurry_nobody_waits_for_a_provider_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "hurried", True)
    engine = FakeEngine(destroy_errors=[AWAY] * 100)
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == TRIES
    assert not life.destroyed


def test_patience_with_a_provider_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teardown, "PATIENCE", 0.0)
    engine = FakeEngine(destroy_errors=[AWAY] * 100)
    life = live(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == TRIES
    assert "no such host" in str(life.error)


def test_a_sweep_that_is_refused_does_not_keep_the_engine_from_destroying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(FakeTarget):
        def sweep(self, stack: str) -> None:
            raise CloudRefused("ec2 describe-volumes: AccessDenied", "AccessDenied")

    engine = FakeEngine(destroy_errors=[EngineError("once")])
    life = live(engine, Refusing(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy", "destroy"]
    assert life.destroyed


def test_a_full_disk_does_not_hide_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[EngineError("no capacity")])
    target = FakeTarget(engine, stubborn=True, running=["process 7"])
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    monkeypatch.setattr(pipeline, "find_engine", lambda _: _binary())
    monkeypatch.setattr(pipeline, "make_target", lambda *_: target)
    monkeypatch.setattr(pipeline, "Engine", lambda *_: engine)

    def full(_: object) -> Path:
        raise InfrastructureError("report.json cannot be written: No space left on device")

    monkeypatch.setattr(pipeline.report, "write", full)
    job = Job("job", tmp_path / "scenes.yaml", (SCENE,), tmp_path / "out")
    with pytest.raises(LeftRunning, match="process 7"):
        pipeline.run(job)
    engine.up_errors, target.stubborn = [EngineError("no capacity")], False
    with pytest.raises(InfrastructureError, match="No space left"):
        pipeline.run(job)
