"""The page of a run that may be over for long, from its journal alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cloudburst import clock, targets
from cloudburst.errors import RunUnknown
from cloudburst.journal import lock, store
from cloudburst.language import tr
from cloudburst.report import beside, moment, summary

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.journal.state import RunState

# Seconds for pictures of videos: whoever asks for the page wants to see them.
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Args:
        page: the file.
        problems: what could not be written, and why, a line each; the page may be among it.
        going_on: the run has not ended: the page shows what there was until now.
    """

    page: Path
    problems: tuple[str, ...]
    going_on: bool


def write(folder: Path) -> Written:
    """Write the page, the trace and the tables of a run again. Changes nothing else.

    Args:
        folder: the run's.

    Raises:
        RunUnknown: it has no journal.
        JournalFailed: its journal cannot be read.
        TargetUnknown: it was on a target that this release does not know.
    """
    state = store.read(folder)
    if state is None or state.record is None:
        raise RunUnknown(
            tr("{folder} has no journal: nothing of that run was started", folder=folder)
        )
    record = replace(state.record, folder=str(folder))  # it may have been moved since
    going_on = lock.holder(folder) is not None
    if going_on:
        state = moment.as_of(state, clock.now())
    report = summary.of_state(
        state,
        record,
        {name: targets.own_settings(name) for name in state.targets},
        remaining=() if going_on else _remaining(state),
        kept=[one.stack for one in state.unfinished if one.kept],
    )
    problems = beside.write(report, lambda: state, going_on=going_on, patience=_PATIENCE)
    return Written(folder / beside.PAGE, problems, going_on)


def _remaining(state: RunState) -> list[str]:
    return [
        tr("{stack}: its end was not verified; cloudburst audit asks the provider", stack=one.stack)
        for one in sorted(state.unfinished, key=lambda one: one.stack)
        if not one.kept
    ]
