"""What three sources say, held together; and what a cleanup makes of it."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudburst.console import show_audit
from cloudburst.errors import RunUnknown
from cloudburst.journal import registry
from cloudburst.journal.store import Journal
from cloudburst.models import Lock, Owner, StackState, WorkerState
from cloudburst.paths import owner
from cloudburst.recovery import audit
from cloudburst.recovery.cleanup import choose
from cloudburst.recovery.findings import Audit, RunFound, StackFound
from cloudburst.report.cost import so_far
from tests.support.audits import (
    EMPTY,
    HOLDS,
    MACHINE,
    OTHER,
    RUN,
    STACK,
    journal,
    known,
    together,
    unfinished,
)


def found(*runs: RunFound, unseen: tuple[str, ...] = ()) -> Audit:
    return Audit(1060.0, runs, 0, (), unseen)


def test_a_stack_that_all_three_know_is_told_once() -> None:
    (run,) = together(
        runs={RUN: known()},
        journals={RUN: journal(unfinished())},
        states={STACK: HOLDS},
        resources=(MACHINE,),
    )
    (stack,) = run.stacks
    assert stack.target == "aws"
    assert stack.in_backend
    assert stack.launch == unfinished()
    assert stack.orphans == ()
    assert run.orphaned == (stack,)
    assert run.unfinished


def test_a_machine_that_its_stack_does_not_hold_is_an_orphan() -> None:
    (run,) = together(runs={RUN: known()}, states={STACK: EMPTY}, resources=(MACHINE,))
    assert run.stacks[0].orphans == (MACHINE,)


def test_a_machine_that_nobody_else_knows_is_found_under_its_run() -> None:
    (run,) = together(resources=(MACHINE,))
    assert run.run_id == RUN
    assert run.known is None
    (stack,) = run.orphaned
    assert stack.target == "aws"
    assert stack.orphans == (MACHINE,)


def test_a_process_is_known_by_its_number_whatever_its_start() -> None:
    process = replace(MACHINE, kind="process", id="17", target="local", state_id="17@99.5")
    state = StackState(
        ("cloudburst:local:Worker worker 17@99.5",),
        frozenset({"17@99.5"}),
        types=("cloudburst:local:Worker",),
    )
    (run,) = together(states={STACK: state}, resources=(process,))
    assert run.stacks[0].target == "local"
    assert run.stacks[0].orphans == ()


def test_what_only_the_journal_knows_is_not_left_but_is_looked_after() -> None:
    (run,) = together(runs={RUN: known()}, journals={RUN: journal(unfinished())})
    assert run.orphaned == ()
    choice = choose(found(run), RUN, orphans=False)
    assert [stack.name for _, stacks in choice.runs for stack in stacks] == [STACK]


def test_a_process_gets_its_end_from_the_journal() -> None:
    process = replace(MACHINE, kind="process", id="17", target="local", state_id="17@99.5")
    (run,) = together(
        runs={RUN: known(target="local")},
        journals={RUN: journal(unfinished(WorkerState.KEPT))},
        resources=(process,),
    )
    assert run.stacks[0].resources[0].expires == 2000.0
    assert run.stacks[0].kept


def test_what_a_living_run_uses_is_not_left() -> None:
    holder = Owner(os.getpid(), 0.0, "here")
    (run,) = together(
        runs={RUN: known()}, states={STACK: HOLDS}, resources=(MACHINE,), owners={RUN: holder}
    )
    assert run.orphaned == ()
    assert not run.unfinished
    assert found(run).exit_code == 0
    assert choose(found(run), None, orphans=False).runs == ()
    choice = choose(found(run), RUN, orphans=False)
    assert choice.alive
    assert choice.runs == ()
    assert f"process {os.getpid()} on here" in choice.notes[0]


@pytest.mark.parametrize(
    ("runs", "unseen", "code"),
    [
        ((), (), 0),
        ((), ("AWS: no answer",), 3),
        (tuple(together(states={STACK: HOLDS})), (), 4),
        (tuple(together(states={STACK: HOLDS})), ("AWS: no answer",), 4),
    ],
)
def test_nothing_is_clean_on_partial_sight(
    runs: tuple[RunFound, ...], unseen: tuple[str, ...], code: int
) -> None:
    assert found(*runs, unseen=unseen).exit_code == code


def test_what_is_left_has_a_price() -> None:
    two = replace(MACHINE, id="i-2", usd_per_hour=None)
    (run,) = together(resources=(MACHINE, two))
    assert found(run).usd_per_hour == 0.36
    assert so_far(MACHINE, 1000.0 + 1800) == pytest.approx(0.18)
    assert so_far(MACHINE, 1001.0) == pytest.approx(0.36 / 60), "a minute at least"
    assert so_far(MACHINE, 0.0) == pytest.approx(0.36 / 60), "a clock may be wrong"
    assert so_far(two, 2000.0) is None


def test_the_command_that_removes_a_run_says_where_it_was_if_this_machine_does_not_know() -> None:
    (mine,) = together(runs={RUN: known()}, states={STACK: HOLDS}, resources=(MACHINE,))
    assert mine.removal == f"cloudburst cleanup {RUN}"
    there = replace(MACHINE, kind="firewall", id="sg-1", place="eu-west-1")
    (lost,) = together(resources=(MACHINE, there, replace(MACHINE, id="i-2")))
    assert lost.removal == f"cloudburst cleanup {RUN} --region eu-west-1 --region us-east-1"
    process = replace(MACHINE, kind="process", id="17", place="this machine", target="local")
    (local,) = together(resources=(process,))
    assert local.removal == f"cloudburst cleanup {RUN}"
    (nameless,) = together(resources=(replace(MACHINE, stack="x", run_id=""),))
    assert nameless.removal == "cloudburst cleanup --all --region us-east-1"


def test_one_command_removes_all_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    one = together(runs={RUN: known()}, states={STACK: HOLDS})[0]
    two = together(runs={OTHER: known(OTHER)}, states={f"{OTHER}-b01": HOLDS})[0]
    lost = together(resources=(replace(MACHINE, stack=f"{OTHER}-b01", run_id=OTHER),))[0]
    for runs, words in (
        ((one,), f"LEFT: 1 stack; remove it with: cloudburst cleanup {RUN}"),
        ((one, two), "LEFT: 2 stacks; remove it with: cloudburst cleanup --all"),
        ((one, lost), "LEFT: 2 stacks, $0.3600/h; remove it with: the command shown with each run"),
    ):
        show_audit(found(*runs))
        assert capsys.readouterr().out.splitlines()[-1] == words


def test_runs_are_chosen_by_their_beginning_their_stack_or_their_folder() -> None:
    one, two = (
        together(runs={RUN: known()}, states={STACK: HOLDS})[0],
        together(runs={OTHER: known(OTHER)}, states={f"{OTHER}-b01": HOLDS})[0],
    )
    here = replace(one, known=replace(known(), folder=str(Path.cwd() / "out")))
    everything = found(here, two)
    for wanted in (RUN, RUN[:18], STACK, "out"):
        chosen = choose(everything, wanted, orphans=False).runs
        assert [run.run_id for run, _ in chosen] == [RUN], wanted
    assert len(choose(everything, None, orphans=False).runs) == 2


def test_orphans_alone() -> None:
    one = together(runs={RUN: known()}, states={STACK: HOLDS}, resources=(MACHINE,))[0]
    two = together(resources=(replace(MACHINE, stack=f"{OTHER}-b01", run_id=OTHER),))[0]
    (chosen,) = choose(found(one, two), None, orphans=True).runs
    assert chosen[0].run_id == OTHER


def test_a_run_that_nobody_knows(state: Path) -> None:
    with pytest.raises(RunUnknown, match="no run 'x'"):
        choose(found(), "x", orphans=False)
    registry.register(known())
    assert choose(found(), RUN, orphans=False).runs == (), "known, and nothing is left of it"
    assert state.exists()


@pytest.mark.parametrize("in_backend", [False, True])
@pytest.mark.parametrize(("name", "touched"), [("somebody@elsewhere", False), ("", True)])
def test_what_others_have_begun_elsewhere_is_not_touched_unasked(
    name: str, touched: bool, in_backend: bool
) -> None:
    (run,) = together(
        states={STACK: HOLDS} if in_backend else {},
        resources=(replace(MACHINE, owner=name or owner()),),
    )
    choice = choose(found(run), None, orphans=False)
    assert bool(choice.runs) is touched
    assert bool(choice.notes) is not touched
    assert choose(found(run), RUN, orphans=False).runs, "by its name it is"


def test_a_stack_in_a_backend_that_others_use_may_be_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (run,) = together(states={STACK: HOLDS})
    assert choose(found(run), None, orphans=False).runs, "in this machine's own backend it is ours"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")
    choice = choose(found(run), None, orphans=False)
    assert choice.runs == ()
    assert "begun by somebody who has the same backend" in choice.notes[0]
    (noted,) = together(runs={RUN: known()}, states={STACK: HOLDS})
    assert choose(found(noted), None, orphans=False).runs, "of this one there is a note"


def test_two_state_folders_of_one_user_are_two_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = owner()
    monkeypatch.setenv("CLOUDBURST_STATE", str(tmp_path / "another"))
    assert owner() != here
    (run,) = together(resources=(replace(MACHINE, owner=here),))
    assert choose(found(run), None, orphans=False).runs == ()


def test_a_beginning_that_fits_two_runs_is_not_enough() -> None:
    one = together(runs={RUN: known()}, states={STACK: HOLDS})[0]
    two = together(runs={OTHER: known(OTHER)}, states={f"{OTHER}-b01": HOLDS})[0]
    with pytest.raises(RunUnknown, match=f"'2026' matches {RUN}, {OTHER}; expected one of them"):
        choose(found(one, two), "2026", orphans=False)


def test_a_run_that_begins_while_an_audit_looks_is_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as held:

        def begins(*_: object) -> tuple[dict[str, Any], dict[str, str]]:
            held.enter_context(Journal(tmp_path)).begin(known(folder=str(tmp_path)))
            registry.register(replace(known(target="local"), folder=str(tmp_path)))
            return {STACK: (StackState(("x",)), ())}, {}

        monkeypatch.setattr(audit._Looker, "backend", begins)
        seen = audit.audit()
    (run,) = seen.runs
    assert run.owner is not None
    assert run.owner.pid == os.getpid()
    assert (seen.orphaned, seen.exit_code) == ((), 0)


def test_a_run_whose_folder_does_not_answer_may_be_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(replace(known(target="local"), folder=str(tmp_path / "run")))
    monkeypatch.setattr(audit._Looker, "backend", lambda *_: ({STACK: (EMPTY, ())}, {}))
    real = Path.exists

    def exists(path: Path) -> bool:
        if path.parent == tmp_path / "run":
            raise OSError(116, "Stale file handle")
        return real(path)

    monkeypatch.setattr(Path, "exists", exists)
    seen = audit.audit()
    assert len([line for line in seen.unseen if "Stale file handle" in line]) == 2
    choice = choose(seen, None, orphans=False)
    assert choice.runs == ()
    assert "Stale file handle" in choice.notes[0]
    assert choose(seen, RUN, orphans=False).runs, "by its name it is cleaned"


@pytest.mark.parametrize(
    ("lock", "lives"),
    [
        (Lock(os.getpid(), socket.gethostname(), ""), True),
        (Lock(2**22 + 1, socket.gethostname(), ""), False),
        (Lock(os.getpid(), "elsewhere", ""), None),
        (Lock(0, "", ""), False),
    ],
)
def test_who_holds_a_lock(lock: Lock, lives: bool | None) -> None:
    assert audit._lives(lock) is lives


def test_what_a_damaged_note_was_about_is_not_known(state: Path) -> None:
    (state / "runs").mkdir(parents=True)
    (state / "runs" / f"{RUN}.json").write_text("{")
    seen = audit.audit()
    assert [line for line in seen.unseen if f"{RUN}.json cannot be read" in line]
    assert seen.exit_code == 3


@pytest.mark.parametrize(
    ("stack", "run_id"), [(STACK, RUN), (f"{RUN}-b123", RUN), ("mine", ""), (RUN, "")]
)
def test_a_stacks_name_says_whose_it_is(stack: str, run_id: str) -> None:
    assert audit.run_of(stack) == run_id


def test_a_stack_is_a_value() -> None:
    stack = StackFound(STACK, "local", True, None, EMPTY, (), ())
    assert stack.exists
    assert not replace(stack, in_backend=False).exists
