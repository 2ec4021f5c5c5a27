"""Teardown, against engines and providers that fail in every way."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudburst.errors import (
    EngineError,
    InfrastructureError,
    JournalFailed,
    LeftRunning,
    StackLocked,
)
from cloudburst.journal.store import Journal
from cloudburst.models import Event, Job, Lock, Refusal, Verdict
from cloudburst.runner import batch, pipeline
from cloudburst.runner.ending import teardown
from cloudburst.runner.ending.teardown import TRIES, recover
from cloudburst.runner.events import Timeline
from cloudburst.runner.worker import worker_run
from cloudburst.stop import Stop
from tests.support.fakes import (
    SCENE,
    FakeApi,
    FakeEngine,
    FakeTarget,
    cloud_refused,
    doubles,
    make_context,
    run_batch,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.runner.batch import BatchRunner


def run_one(
    engine: FakeEngine, target: FakeTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BatchRunner:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    return run_batch(make_context(engine, target, tmp_path))


def test_a_stack_that_did_not_come_up_is_destroyed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[EngineError("no capacity")])
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "sweep", "destroy"], "whatever it was, it may have made something"
    assert runner.destroyed
    assert runner.error == "no capacity"


def test_a_bug_in_a_program_is_no_reason_to_leave_something_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[ZeroDivisionError("a bug")])
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy"]
    assert runner.destroyed
    assert runner.error == "unexpected ZeroDivisionError: a bug"


def test_what_is_billed_ends_before_an_engine_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    target = FakeTarget(engine)
    runner = run_one(engine, target, tmp_path, monkeypatch)
    assert target.terminated == [(runner.stack, ["up"])]
    assert engine.calls == ["up", "destroy"]


@pytest.mark.parametrize(
    "error", [cloud_refused("no answer", None), ZeroDivisionError("a bug")], ids=["refused", "bug"]
)
def test_a_termination_that_fails_does_not_keep_the_engine_from_destroying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Failing(FakeTarget):
        def terminate(self, stack: str) -> None:
            raise error

    engine = FakeEngine()
    runner = run_one(engine, Failing(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy"]
    assert runner.destroyed


@pytest.mark.usefixtures("at_once")
def test_what_a_dead_run_has_left_is_terminated_first() -> None:
    engine = Dead()
    target = Watched(engine, running=["i-1"])
    assert recover(engine, target, "run-b01") == ""  # type: ignore[arg-type]
    assert target.terminated == [("run-b01", [])]


def test_an_unhealthy_worker_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert runner.destroyed
    assert runner.error is not None
    assert "connection refused; its last log lines: the last line" in runner.error
    assert [span.phase for span in runner.result().spans] == ["up", "health", "destroy"]


def test_a_lock_of_our_own_dead_operation_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(destroy_errors=[StackLocked("locked")])
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy", "cancel", "sweep", "destroy"]
    assert runner.destroyed


def test_after_a_failed_destroy_a_sweep_comes_before_the_refresh_that_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(destroy_errors=[EngineError("1"), EngineError("2")])
    target = FakeTarget(engine, running=["process 1"])
    runner = run_one(engine, target, tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy", "sweep", "destroy", "refresh", "sweep", "destroy"]
    assert runner.destroyed
    assert target.running == []


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ("RunInstances: request send failed, EOF", ["up", "sweep", "destroy"]),
        ("api error InsufficientInstanceCapacity: none left", ["up", "destroy"]),
    ],
)
def test_what_a_call_that_broke_off_may_have_made_is_ended_before_it_keeps_the_rest_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, calls: list[str]
) -> None:
    """A firewall is not deleted while a machine is in it: the engine waits a quarter of an hour."""
    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(batch, "PATIENCE", 0)
    engine = FakeEngine(up_errors=[EngineError(words)])
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == calls
    assert runner.destroyed


def test_what_the_state_does_not_know_is_found_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    target = FakeTarget(engine, running=["process 1"])
    runner = run_one(engine, target, tmp_path, monkeypatch)
    assert engine.calls[-1] == "sweep"
    assert target.running == []
    assert runner.destroyed


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
    runner = run_one(engine, FakeTarget(engine, **more), tmp_path, monkeypatch)
    assert not runner.destroyed
    assert runner.error is not None
    assert runner.error.startswith("teardown not verified: ")
    assert words in runner.error


def test_destroy_is_not_tried_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(destroy_errors=[EngineError(str(n)) for n in range(100)])
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == TRIES
    assert not runner.destroyed


def test_a_run_that_leaves_something_says_what_and_how_to_remove_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[EngineError("no capacity")])
    target = FakeTarget(engine, stubborn=True, running=["process 7"])
    doubles(monkeypatch, engine, target)
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


def test_a_batch_that_is_stopped_before_it_begins_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "requested", True)
    engine = FakeEngine()
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls == []
    assert runner.destroyed
    assert runner.launches == []


def test_a_slow_watcher_holds_nothing_up() -> None:
    paused = threading.Event()
    seen: list[str] = []

    def watch(event: Event) -> None:
        paused.wait(10)
        seen.append(event.text)

    timeline = Timeline(watch, lambda: None)
    for number in range(1000):
        timeline.emit("engine", str(number))  # type: ignore[arg-type]
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
    runner = run_one(engine, target, tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == 13
    assert runner.destroyed
    assert target.running == []


def test_in_a_hurry_nobody_waits_for_a_provider_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stop, "hurried", True)
    engine = FakeEngine(destroy_errors=[AWAY] * 100)
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == TRIES
    assert not runner.destroyed


def test_patience_with_a_provider_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teardown, "PATIENCE", 0.0)
    engine = FakeEngine(destroy_errors=[AWAY] * 100)
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == TRIES
    assert "no such host" in str(runner.error)


def expired(*, login: bool) -> InfrastructureError:
    """Return the refusal of a session that has expired; a login may help, or not."""
    verdict = Verdict.WAIT if login else Verdict.STOP
    refusal = Refusal("ExpiredToken", verdict, transient=login, advice="log in", login=login)
    return InfrastructureError("the session has expired (log in)", refusal)


def test_a_teardown_waits_for_a_login_longer_than_for_an_answer_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "PATIENCE", 0.0)
    engine = FakeEngine(destroy_errors=[expired(login=True) for _ in range(30)])
    events: list[Event] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    timeline = Timeline(events.append, lambda: None)
    context = replace(make_context(engine, FakeTarget(engine), tmp_path), timeline=timeline)
    runner = run_batch(context)
    timeline.close()
    assert runner.destroyed
    assert engine.calls.count("destroy") == 31
    told = [event.text for event in events if "again" in event.text or "login" in event.text]
    assert told == ["waiting for a login: the session has expired (log in)"]


@pytest.mark.parametrize("other", [EngineError("a glitch"), AWAY], ids=["refused", "unanswered"])
def test_a_glitch_does_not_end_the_wait_for_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: EngineError
) -> None:
    monkeypatch.setattr(teardown, "PATIENCE", 0.0)
    waits = [expired(login=True) for _ in range(8)]
    engine = FakeEngine(destroy_errors=[*waits, *[other] * (TRIES - 1), *waits, other])
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert runner.destroyed
    (tmp_path / "again").mkdir()
    engine = FakeEngine(destroy_errors=[*waits, *[other] * 100])
    runner = run_one(engine, FakeTarget(engine), tmp_path / "again", monkeypatch)
    assert engine.calls.count("destroy") == 8 + TRIES, "what lasts is no glitch"
    assert not runner.destroyed


def test_where_no_login_helps_a_teardown_does_not_wait_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(destroy_errors=[expired(login=False) for _ in range(30)])
    runner = run_one(engine, FakeTarget(engine), tmp_path, monkeypatch)
    assert engine.calls.count("destroy") == TRIES
    assert not runner.destroyed


def test_a_sweep_that_is_refused_does_not_keep_the_engine_from_destroying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(FakeTarget):
        def sweep(self, stack: str) -> None:
            raise cloud_refused("ec2 describe-volumes: AccessDenied", "AccessDenied")

    engine = FakeEngine(destroy_errors=[EngineError("once")])
    runner = run_one(engine, Refusing(engine), tmp_path, monkeypatch)
    assert engine.calls == ["up", "destroy", "destroy"]
    assert runner.destroyed


def test_a_full_disk_does_not_hide_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(up_errors=[EngineError("no capacity")])
    target = FakeTarget(engine, stubborn=True, running=["process 7"])
    doubles(monkeypatch, engine, target)

    def full(_: object) -> Path:
        raise InfrastructureError("report.json cannot be written: No space left on device")

    monkeypatch.setattr(pipeline.json, "write", full)
    job = Job("job", tmp_path / "scenes.yaml", (SCENE,), tmp_path / "out")
    with pytest.raises(LeftRunning, match="process 7"):
        pipeline.run(job)
    engine.up_errors, target.stubborn = [EngineError("no capacity")], False
    with pytest.raises(InfrastructureError, match="No space left"):
        pipeline.run(job)


@pytest.mark.parametrize(
    ("note", "calls"),
    [
        ("INSERT OR REPLACE INTO launch", []),
        ("UPDATE launch", ["up", "destroy"]),
        ("INSERT OR REPLACE INTO attempt", ["up", "destroy"]),
    ],
)
def test_a_run_whose_journal_cannot_be_written_ends_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str, calls: list[str]
) -> None:
    engine = FakeEngine()
    doubles(monkeypatch, engine, FakeTarget(engine))
    api = FakeApi()
    monkeypatch.setattr(worker_run, "VideoApi", lambda *_: api)
    write, full = Journal._write, threading.Event()

    def limited(held: Journal, rows: list[tuple[str, tuple[Any, ...]]]) -> int:
        if full.is_set() or any(note in statement for statement, _ in rows):
            full.set()
            raise sqlite3.OperationalError("database or disk is full")
        return write(held, rows)

    monkeypatch.setattr(Journal, "_write", limited)
    job = Job("job", tmp_path / "scenes.yaml", (SCENE,), tmp_path / "out")
    with pytest.raises(JournalFailed, match="database or disk is full"):
        pipeline.run(job)
    assert api.asked == []
    assert [call for call in engine.calls if call != "interrupt"] == calls
    (report,) = (tmp_path / "out").glob("*/report.json")
    assert '"left_running": []' in report.read_text()


# -- what a dead run has left -------------------------------------------------------------------


@dataclass
class Dead(FakeEngine):
    """An engine with a dead run's stack, whose operations fail as a test says."""

    fails: dict[str, list[Exception]] = field(default_factory=dict)
    lock: bool = False

    def _do(self, what: str) -> None:
        self.calls.append(what)
        if self.fails.get(what):
            raise self.fails[what].pop(0)

    def end_owners(self, stack: str) -> None:
        self._do("end owners")

    def locks(self, stack: str) -> tuple[Lock, ...]:
        return (Lock(1, "here", ""),) if self.lock else ()

    def cancel(self, stack: str) -> None:
        self._do("cancel")
        self.lock = False

    def refresh(self, stack: str) -> None:
        self._do("refresh")

    def destroy(self, stack: str, *, remove: bool = True) -> None:
        self._do("destroy and remove" if remove else "destroy")

    def remove(self, stack: str) -> None:
        self._do("remove")


class Watched(FakeTarget):
    """A target that notes among the engine's operations when it is asked, and may refuse."""

    engine: Dead

    def inventory(self, stack: str) -> list[str]:
        self.engine._do("inventory")
        return super().inventory(stack)

    def sweep(self, stack: str) -> None:
        self.engine._do("sweep")
        if not self.stubborn:
            self.running.clear()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing between two tries."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)


ORDER = ["end owners", "sweep", "refresh", "destroy", "inventory", "remove"]
REFUSED = cloud_refused("ec2 describe-volumes: AccessDenied", "AccessDenied")


def test_what_a_dead_run_has_left_is_ended_in_the_order_that_loses_nothing() -> None:
    engine = Dead(lock=True)
    assert recover(engine, Watched(engine, running=["i-1"]), "run-b01") == ""  # type: ignore[arg-type]
    assert engine.calls == [ORDER[0], "cancel", *ORDER[1:]]
    assert not engine.lock


def test_where_there_is_no_lock_none_is_removed() -> None:
    engine = Dead()
    assert recover(engine, Watched(engine), "run-b01") == ""  # type: ignore[arg-type]
    assert engine.calls == ORDER


@pytest.mark.usefixtures("at_once")
def test_a_lock_that_cannot_be_seen_is_removed_when_the_stack_turns_out_to_be_locked() -> None:
    engine = Dead(fails={"refresh": [StackLocked("locked")]})
    told: list[str] = []
    assert recover(engine, Watched(engine), "run-b01", log=told.append) == ""  # type: ignore[arg-type]
    assert engine.calls == [*ORDER[:3], ORDER[0], "cancel", *ORDER[1:]]
    assert told == ["destroying the stack, again: locked"]


@pytest.mark.usefixtures("at_once")
def test_while_somebody_else_works_on_a_stack_nothing_of_it_is_touched() -> None:
    locked = StackLocked("run-b01 is locked by process 7 on elsewhere")
    engine = Dead(fails={"end owners": [locked] * 9}, lock=True)
    target = Watched(engine, running=["i-1"])
    assert recover(engine, target, "run-b01") == f"i-1 ({locked})"  # type: ignore[arg-type]
    assert engine.calls == ["end owners"] * TRIES + ["inventory"]
    assert engine.lock


def test_without_a_sweep_there_is_no_refresh_that_forgets() -> None:
    engine = Dead(fails={"sweep": [REFUSED]})
    assert recover(engine, Watched(engine), "run-b01") == ""  # type: ignore[arg-type]
    assert engine.calls == ["end owners", "sweep", "destroy", "inventory", "remove"]


@pytest.mark.usefixtures("at_once")
def test_the_stacks_record_stays_while_something_is_left() -> None:
    engine = Dead()
    target = Watched(engine, running=["i-1"], stubborn=True)
    assert recover(engine, target, "run-b01") == "i-1"  # type: ignore[arg-type]
    assert "remove" not in engine.calls
    assert engine.calls.count("destroy") == TRIES
    target.stubborn = False
    assert recover(engine, target, "run-b01") == ""  # type: ignore[arg-type]
    assert engine.calls[-1] == "remove"


@pytest.mark.usefixtures("at_once")
def test_the_stacks_record_stays_while_nobody_can_say_what_is_left() -> None:
    engine = Dead(fails={"inventory": [REFUSED] * 99})
    left = recover(engine, Watched(engine), "run-b01")  # type: ignore[arg-type]
    assert left == f"the provider could not be asked: {REFUSED}"
    assert "remove" not in engine.calls


def test_what_shows_up_after_the_destroy_is_ended_before_the_record_goes() -> None:
    engine = Dead()
    target = Watched(engine)
    destroy = engine.destroy

    def late(stack: str, *, remove: bool = True) -> None:
        destroy(stack, remove=remove)
        target.running.append("i-late")

    engine.destroy = late  # type: ignore[method-assign]
    assert recover(engine, target, "run-b01") == ""  # type: ignore[arg-type]
    assert engine.calls == [*ORDER[:-1], "sweep", "inventory", "remove"]


OPERATIONS = [*ORDER, "cancel"]
ERRORS = [EngineError("it broke"), StackLocked("locked"), REFUSED]
failures = st.lists(st.sampled_from([*ERRORS, None, None, None]), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.fixed_dictionaries(dict.fromkeys(OPERATIONS, failures)),
    lock=st.booleans(),
    running=st.booleans(),
    stubborn=st.booleans(),
)
@pytest.mark.usefixtures("at_once")
def test_the_order_holds_whatever_fails(
    script: dict[str, list[Exception | None]], lock: bool, running: bool, stubborn: bool
) -> None:
    ended: list[tuple[str, bool]] = []

    class Scripted(Dead):
        def _do(self, what: str) -> None:
            error = script[what].pop(0) if script[what] else None
            ended.append((what, error is None))
            if error is not None:
                raise error

    engine = Scripted(lock=lock)
    target = Watched(engine, running=["i-1"] if running else [], stubborn=stubborn)
    problem = recover(engine, target, "run-b01")  # type: ignore[arg-type]
    tries: list[list[tuple[str, bool]]] = []
    for what, went_well in ended:
        if what == "end owners":
            tries.append([])
        tries[-1].append((what, went_well))
    for one in tries:
        names = [what for what, _ in one]
        if not one[0][1]:
            assert set(names) <= {"end owners", "inventory"}, "whose owner lives is left alone"
        if "refresh" in names:
            assert ("sweep", True) in one[: names.index("refresh")]
        if "remove" in names:
            assert one[names.index("remove") - 1] == ("inventory", True)
    assert (problem == "") == (ended[-1] == ("remove", True))
    if problem == "":
        assert target.running == []
