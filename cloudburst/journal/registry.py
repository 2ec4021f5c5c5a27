"""Which runs this machine has begun, and where each keeps its journal.

A run's folder may be anywhere; an audit has to find it without the job file. So every run leaves a
note in the state folder before it starts anything: its folder, and where it may start machines.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.errors import InfrastructureError, RunUnknown
from cloudburst.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run that this machine has begun.

    Args:
        run_id: such as ``20261124-101500-a1b2c3``.
        job: its name.
        source: the job file.
        folder: where its videos and its journal are.
        target: where its workers live.
        regions: in which it may have started machines.
        began: ISO 8601, UTC.
    """

    run_id: str
    job: str
    source: str
    folder: str
    target: str
    regions: tuple[str, ...]
    began: str


def remember(run: RunRecord) -> None:
    """Keep a run's note, on disk, before anything of it is started.

    Raises:
        InfrastructureError: it cannot be written.
    """
    path = _folder() / f"{run.run_id}.json"
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            json.dump(asdict(run), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written, so nothing is started: {error.strerror or error}"
        ) from error


def noted(run_id: str) -> RunRecord | None:
    """Give a run's note, None when there is none."""
    return _read(_folder() / f"{run_id}.json")


def forget(run_id: str) -> None:
    """Drop the note of a run of which nothing is left, not even its folder."""
    (_folder() / f"{run_id}.json").unlink(missing_ok=True)


def known_runs() -> list[RunRecord]:
    """List the runs this machine has begun, oldest first. `damaged` lists the notes left out."""
    found = (_read(path) for path in _notes())
    return [run for run in found if run is not None]


def damaged() -> list[Path]:
    """List the notes that cannot be read: what they were about is not known."""
    return [path for path in _notes() if _read(path) is None and path.exists()]


def find(wanted: str) -> RunRecord:
    """Find a run by its id, the beginning of it, or its folder.

    Raises:
        RunUnknown: there is none, or more than one.
    """
    runs = known_runs()
    exact = [run for run in runs if run.run_id == wanted]
    if exact:
        return exact[0]
    place = str(Path(wanted).expanduser().absolute())
    matching = [run for run in runs if run.run_id.startswith(wanted) or run.folder == place]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise RunUnknown(f"{wanted!r} means {_names(matching)}; expected one of them")
    newest = f"; the newest are {_names(runs[-3:])}" if runs else "; there are none yet"
    raise RunUnknown(f"no run {wanted!r}; expected a run's id or its folder{newest}")


def of_source(source: Path) -> list[RunRecord]:
    """List the runs of a job file, oldest first."""
    place = str(source.absolute())
    return [run for run in known_runs() if run.source == place]


def sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _names(runs: Sequence[RunRecord]) -> str:
    return ", ".join(run.run_id for run in runs)


def _folder() -> Path:
    return state_folder() / "runs"


def _notes() -> list[Path]:
    return sorted(_folder().glob("*.json"))


def _read(path: Path) -> RunRecord | None:
    try:
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return RunRecord(**{**value, "regions": tuple(value["regions"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
