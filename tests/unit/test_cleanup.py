"""A cleanup: held by the run's own lock, loud about what it did not end, deaf to its terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import EngineMissing
from cloudburst.journal import registry
from cloudburst.journal.store import Journal
from cloudburst.models import StackState
from cloudburst.recovery import cleanup
from cloudburst.stop import Stop
from tests.support.audits import HOLDS, INSTANCE, MACHINE, OTHER, RUN, STACK, known, together
from tests.support.fakes import FakeEngine, FakeTarget, doubles

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.recovery.findings import RunFound

TWO = f"{RUN}-b02"


class Cleaning:
    """Cleanups in which every stack ends at once, unless a test says otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended: list[str] = []
        self.problems: dict[str, str] = {}
        self.engine = FakeEngine()
        self.target = FakeTarget(self.engine)
        doubles(monkeypatch, self.engine, self.target)
        monkeypatch.setattr(cleanup, "find_engine", lambda: None)
        monkeypatch.setattr(cleanup, "recover", self._recover)

    def _recover(self, _engine: object, _target: object, stack: str, **how: Any) -> str:
        how["log"]("in the middle of it")
        self.ended.append(stack)
        return self.problems.get(stack, "")


@pytest.fixture
def cleaning(monkeypatch: pytest.MonkeyPatch) -> Cleaning:
    return Cleaning(monkeypatch)


def two_stacks(folder: Path | None = None) -> RunFound:
    """Return a run that has left two stacks, noted here if it has a folder."""
    notes = {} if folder is None else {RUN: replace(known(), folder=str(folder))}
    (run,) = together(
        runs=notes,
        states={STACK: HOLDS, TWO: StackState(("x",), types=(INSTANCE,))},
        resources=(MACHINE,),
    )
    return run


def test_every_stack_ends_whatever_becomes_of_the_terminal(cleaning: Cleaning) -> None:
    run = two_stacks()

    def gone(stack: str, _text: str) -> None:
        raise SystemExit(1) if stack == STACK else BrokenPipeError

    done = cleanup.cleanup([(run, run.stacks)], log=gone)
    assert sorted(cleaning.ended) == [STACK, TWO]
    assert sorted(done.removed) == [STACK, TWO]
    assert (done.failed, done.skipped) == ((), ())


def test_a_run_that_has_begun_since_the_audit_looked_is_held_by_its_own_lock(
    cleaning: Cleaning, tmp_path: Path
) -> None:
    run = two_stacks()
    registry.register(replace(known(), folder=str(tmp_path)))
    with Journal(tmp_path):
        done = cleanup.cleanup([(run, run.stacks)])
    assert cleaning.ended == []
    (line,) = done.skipped
    assert "is in use by process" in line
    assert cleanup.cleanup([(run, run.stacks)]).removed, "once it has ended, it is cleaned"


@pytest.mark.usefixtures("cleaning")
def test_what_could_not_be_begun_is_told_with_what_it_costs_and_what_removes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object) -> object:
        raise EngineMissing("no engine")

    monkeypatch.setattr(cleanup, "engine_for", missing)
    run = two_stacks()
    done = cleanup.cleanup([(run, run.stacks)])
    assert done.skipped == ()
    assert [one.stack for one in done.failed] == [STACK, TWO]
    first, second = done.failed
    assert first.why == "machine i-1 (no engine)"
    assert first.usd_per_hour == 0.36
    assert first.removal == "aws ec2 terminate-instances"
    assert second.why == "in the backend (no engine)"
    assert second.removal == f"cloudburst cleanup {RUN} --region us-east-1"


@pytest.mark.usefixtures("cleaning")
def test_runs_that_a_stop_has_kept_from_being_begun_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = Stop()
    monkeypatch.setattr(cleanup, "Stop", lambda: stop)
    first = two_stacks()
    second = together(states={f"{OTHER}-b01": HOLDS})[0]
    done = cleanup.cleanup(
        [(first, first.stacks), (second, second.stacks)], log=lambda *_: stop.request()
    )
    assert sorted(done.removed) == [STACK, TWO], "what was begun is brought to its end"
    (left,) = done.failed
    assert (left.stack, left.why) == (f"{OTHER}-b01", "in the backend (not begun, as asked)")


@pytest.mark.parametrize("there", [True, False])
def test_a_note_is_dropped_only_when_its_journal_is_surely_gone(
    cleaning: Cleaning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    folder = tmp_path / "run"
    registry.register(replace(known(), folder=str(folder)))
    run = two_stacks(folder)
    if there:  # perhaps: its disk does not answer
        real = type(folder).exists

        def exists(path: Path) -> bool:
            if path.is_relative_to(folder):
                raise OSError(116, "Stale file handle")
            return real(path)

        monkeypatch.setattr(type(folder), "exists", exists)
    assert sorted(cleanup.cleanup([(run, run.stacks)]).removed) == [STACK, TWO]
    assert bool(registry.runs()) is there
    assert sorted(cleaning.ended) == [STACK, TWO]
