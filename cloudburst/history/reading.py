"""Registry, journals and locks → runs. Changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst import clock
from cloudburst.errors import JournalFailed, RunUnknown
from cloudburst.history.deriving import past_run, unreadable
from cloudburst.journal import lock, registry, store
from cloudburst.language import tr

if TYPE_CHECKING:
    from cloudburst.history.values import PastRun
    from cloudburst.models import RunRecord


def everything(*, but: str = "") -> list[PastRun]:
    """Return the runs of this machine, oldest first.

    Args:
        but: id of a run that is left out.
    """
    return [read(record) for record in registry.runs() if record.run_id != but]


def load(wanted: str | Path) -> PastRun:
    """Return a run by its id, the beginning of it, or its folder.

    Raises:
        RunUnknown: there is none, or more than one.
        JournalFailed: there is one, and its journal cannot be read.
    """
    record = find(str(wanted))
    return past_run(record, store.read(record.path), lock.holder(record.path), clock.now())


def find(wanted: str) -> RunRecord:
    """Return which run is meant: by its id, the beginning of it, or its folder.

    Raises:
        RunUnknown: there is none, or more than one.
        JournalFailed: its journal cannot be read.
    """
    folder = Path(wanted).expanduser()
    if not (folder / store.NAME).exists():
        return registry.find(wanted)
    state = store.read(folder.absolute())
    if state is None or state.record is None:
        raise RunUnknown(
            tr("{folder} has no journal: nothing of that run was started", folder=folder)
        )
    # The folder may have been moved, or be of another machine.
    return replace(state.record, folder=str(folder.absolute()))


def read(record: RunRecord) -> PastRun:
    """Return a run of the registry, also one whose journal cannot be read."""
    try:
        state, owner = store.read(record.path), lock.holder(record.path)
    except JournalFailed as error:
        return unreadable(record, str(error))
    return past_run(record, state, owner, clock.now())
