"""What `cloudburst.audit` and `cloudburst.cleanup` accept, refuse and return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import cloudburst
from cloudburst.models import Owner
from cloudburst.recovery import cleanup as cleaning
from cloudburst.recovery.cleanup import Cleaned, Failed
from cloudburst.recovery.findings import Audit
from tests.support.audits import HOLDS, MACHINE, RUN, STACK, journal, known, together, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloudburst.recovery.findings import RunFound, StackFound

FAILED = Failed(STACK, "it stays", 0.36, "aws ec2 terminate-instances")


def audit_of(*, owned: bool = False, unseen: tuple[str, ...] = ()) -> Audit:
    """Return an audit that shows one run with one machine."""
    runs = together(
        runs={RUN: known()},
        journals={RUN: journal(unfinished())},
        states={STACK: HOLDS},
        resources=(MACHINE,),
        owners={RUN: Owner(1, 2.0, "elsewhere")} if owned else {},
    )
    return Audit(0.0, tuple(runs), 0, ("the backend",), unseen)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the stacks that are ended, in the place of ending them."""
    stacks: list[str] = []

    def end(
        chosen: Sequence[tuple[RunFound, Sequence[StackFound]]], *, log: Callable[[str, str], None]
    ) -> Cleaned:
        names = tuple(stack.name for _, found in chosen for stack in found)
        for name in names:
            log(name, "nothing is left")
        stacks.extend(names)
        return Cleaned(names, (), ())

    monkeypatch.setattr(cleaning, "cleanup", end)
    return stacks


@pytest.mark.parametrize(
    "arguments",
    [{}, {"run": RUN, "orphans": True}, {"orphans": True, "everything": True}],
)
def test_what_is_to_go_has_to_be_clear(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        cloudburst.cleanup(found=audit_of(), **arguments)


@pytest.mark.parametrize("arguments", [{"run": RUN}, {"run": RUN[:8]}, {"everything": True}])
def test_a_dead_run_is_ended(ended: list[str], arguments: dict[str, Any]) -> None:
    lines: list[str] = []
    cleaned = cloudburst.cleanup(
        found=audit_of(), log=lambda stack, text: lines.append(f"{stack}: {text}"), **arguments
    )
    assert cleaned.removed == (STACK,)
    assert ended == [STACK]
    assert lines == [f"{STACK}: nothing is left"]
    assert cleaned.clean


def test_without_orphans_nothing_is_ended(ended: list[str]) -> None:
    assert cloudburst.cleanup(orphans=True, found=audit_of()).clean
    assert ended == []


def test_a_run_in_progress_is_refused_by_its_name_and_passed_over_otherwise(
    ended: list[str],
) -> None:
    there = audit_of(owned=True)
    with pytest.raises(cloudburst.RunBusy, match="process 1 on elsewhere"):
        cloudburst.cleanup(RUN, found=there)
    assert cloudburst.cleanup(everything=True, found=there).removed == ()
    assert ended == []


def test_an_unknown_run_is_refused() -> None:
    with pytest.raises(cloudburst.RunUnknown):
        cloudburst.cleanup("20200101-000000-ffffff", found=audit_of())


def test_who_could_not_be_asked_is_named_and_nothing_is_called_clean(ended: list[str]) -> None:
    cleaned = cloudburst.cleanup(everything=True, found=audit_of(unseen=("us-east-1: refused",)))
    assert ended == [STACK]
    assert cleaned.unseen == ("us-east-1: refused",)
    assert not cleaned.clean


@pytest.mark.parametrize(
    ("cleaned", "code"),
    [
        (Cleaned((STACK,), (), ()), 0),
        (Cleaned((), (), (), notes=("begun elsewhere",)), 0),
        (Cleaned((), (), ("a run is busy",)), 3),
        (Cleaned((), (), (), unseen=("a region",)), 3),
        (Cleaned((), (FAILED,), ("a run is busy",)), 4),
    ],
)
def test_a_cleanup_says_how_it_ended(cleaned: Cleaned, code: int) -> None:
    assert cleaned.exit_code == code
    assert cleaned.clean == (code == 0)


def test_an_audit_refuses_a_target_that_does_not_exist() -> None:
    with pytest.raises(cloudburst.TargetUnknown, match="'moon'"):
        cloudburst.audit(targets=["moon"])


def test_an_audit_without_arguments_looks_at_this_machine() -> None:
    audit = cloudburst.audit()
    assert (audit.runs, audit.finished, audit.exit_code) == ((), 0, 0)
