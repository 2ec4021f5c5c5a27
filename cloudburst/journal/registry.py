"""The runs that this machine has begun, and where each keeps its journal.

A run's folder may be anywhere; an audit has to find it without the job file. So every run is
registered in the state folder before it creates anything: its folder, and the regions in which it
may create machines.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst import files
from cloudburst.errors import InfrastructureError, RunUnknown
from cloudburst.language import tr
from cloudburst.models import RunRecord
from cloudburst.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

# The keys of an entry's JSON, and of the audit's: fields of RunRecord.
KEYS = ("run_id", "job", "source", "folder", "target", "regions", "began")


def register(record: RunRecord) -> None:
    """Write a run's entry, on disk, before anything of it is created.

    Raises:
        InfrastructureError: it cannot be written.
    """
    write_ahead(_path(record.run_id), json.dumps(entry(record)))


def write_ahead(path: Path, text: str) -> None:
    """Write what a run must have on disk before anything of it is created.

    Raises:
        InfrastructureError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, text, durable=True)
    except OSError as error:
        raise InfrastructureError(
            tr(
                "{file} cannot be written, so nothing is started: {reason}",
                file=path,
                reason=error.strerror or error,
            )
        ) from error


def entry(record: RunRecord) -> dict[str, Any]:
    """Return a record as its entry stores it: all that an audit has to know without a journal."""
    return {key: getattr(record, key) for key in KEYS}


def registered(run_id: str) -> RunRecord | None:
    """Return a run's entry, None when there is none."""
    return _read(_path(run_id))


def forget(run_id: str) -> None:
    """Remove the entry of a run of which nothing is left, not even its folder."""
    _path(run_id).unlink(missing_ok=True)


def runs() -> list[RunRecord]:
    """List the runs this machine has begun, oldest first. `damaged` lists what this leaves out."""
    records = (_read(path) for path in _paths())
    return [record for record in records if record is not None]


def damaged() -> list[Path]:
    """List the entries that cannot be read: which runs they were about is not known."""
    return [path for path in _paths() if _read(path) is None and path.exists()]


def find(wanted: str) -> RunRecord:
    """Return a run by its id, the beginning of it, or its folder.

    Raises:
        RunUnknown: there is none, or more than one.
    """
    records = runs()
    exact = [record for record in records if record.run_id == wanted]
    if exact:
        return exact[0]
    folder = str(Path(wanted).expanduser().absolute())
    matching = [one for one in records if one.run_id.startswith(wanted) or one.folder == folder]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise RunUnknown(ambiguous(wanted, matching))
    if not records:
        raise RunUnknown(
            tr("no run {run!r}; expected a run's id or its folder; there are none yet", run=wanted)
        )
    raise RunUnknown(
        tr(
            "no run {run!r}; expected a run's id or its folder; the newest are {names}",
            run=wanted,
            names=_names(records[-3:]),
        )
    )


def ambiguous(wanted: str, matching: Sequence[RunRecord]) -> str:
    """Return that the beginning of an id matches several runs."""
    return tr("{run!r} matches {names}; expected one of them", run=wanted, names=_names(matching))


def of_source(source: Path) -> list[RunRecord]:
    """List the runs of a job file, oldest first."""
    path = str(source.absolute())
    return [record for record in runs() if record.source == path]


def _names(records: Sequence[RunRecord]) -> str:
    return ", ".join(record.run_id for record in records)


def _path(run_id: str) -> Path:
    return state_folder() / "runs" / f"{run_id}.json"


def _paths() -> list[Path]:
    return sorted((state_folder() / "runs").glob("*.json"))


def _read(path: Path) -> RunRecord | None:
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if set(values) != set(KEYS):
            return None
        return RunRecord(**{**values, "regions": tuple(values["regions"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
