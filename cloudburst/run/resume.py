"""A run goes on where an earlier session of it ended, however it ended.

A scene is done when its file is verified and made from what its job says today: the same pictures,
sounds, subtitles and options, by the same renderer. Everything else is rendered again.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.errors import ArtifactInvalid, BadInput, InfrastructureError, RunUnknown
from cloudburst.job.fingerprint import file_digest, fingerprint
from cloudburst.job.loader import load_job
from cloudburst.journal import registry
from cloudburst.journal import store as journal
from cloudburst.journal.state import KEPT, DownloadedVideo
from cloudburst.models import Attempt, Problem, Span
from cloudburst.version import __version__
from cloudburst.workers import download

if TYPE_CHECKING:
    from cloudburst.journal.state import RunState
    from cloudburst.journal.store import Journal
    from cloudburst.models import Job, Scene, TargetName

SUPERSEDED = "superseded"
_READERS = 8


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier sessions of a run have left.

    Args:
        history: what the journal says.
        home: videos that are done and need not be rendered again, by scene.
        rest: scenes that are to be rendered.
    """

    history: RunState
    home: dict[str, DownloadedVideo] = field(default_factory=dict)
    rest: tuple[Scene, ...] = ()

    @property
    def finished(self) -> bool:
        """Nothing is to be rendered, and nothing was left but what was kept on purpose."""
        return not self.rest and all(one.state == KEPT for one in self.history.open)


def renderer(job: Job) -> str:
    """Name what renders a job's videos: with another one they may look different."""
    return job.aws.image if job.target == "aws" else f"cloudburst {__version__}"


def load(wanted: str, *, max_cost_usd: float | None = None) -> tuple[Job, Path]:
    """Read the job of a run again.

    Args:
        wanted: the run's id, the beginning of it, or its folder.
        max_cost_usd: wins over the file's, which wins over what the run was given.

    Returns:
        The job and the run's folder.

    Raises:
        RunUnknown: there is no such run, or nothing is known of it any more.
        BadInput: the job file is not what it was in a way that cannot be used.
    """
    folder = find_folder(wanted)
    history = journal.read(folder)
    if history is None or not history.header:
        raise RunUnknown(f"{folder} has no journal: nothing of that run was started")
    header = history.header
    target: TargetName = "aws" if header["target"] == "aws" else "local"
    job = load_job(header["source"], output=folder.parent, target=target, max_cost_usd=max_cost_usd)
    return _as_limited(job, history), folder


def _as_limited(job: Job, history: RunState) -> Job:
    """Let a run cost what it was allowed to, unless a newer word was said."""
    before = history.header.get("max_cost_usd")
    if job.limits.max_cost_usd is not None or not before:
        return job
    return replace(job, limits=replace(job.limits, max_cost_usd=float(before)))


def find_folder(wanted: str) -> Path:
    """Find a run's folder by the run's id, the beginning of it, or the folder itself.

    Raises:
        RunUnknown: there is no such run, or its folder is gone.
    """
    place = Path(wanted).expanduser()
    if (place / journal.NAME).exists():
        return place.absolute()
    folder = Path(registry.find(wanted).folder)
    if not folder.is_dir():
        raise RunUnknown(f"the folder of run {wanted} is gone: {folder}")
    return folder


def newest(job: Job) -> tuple[Job, Path] | None:
    """Give the newest run of a job's file: the job as it is limited, and the run's folder.

    None when there is none.

    A run that was killed before its journal said anything has started nothing: it is passed over.

    Raises:
        JournalFailed: the journal of a newer run cannot be read.
    """
    for run in reversed(registry.of_source(job.source)):
        history = journal.read(Path(run.folder))
        if history is not None and history.header:
            return _as_limited(job, history), Path(run.folder)
    return None


def take_stock(job: Job, folder: Path, held: Journal) -> Past:
    """See what is done; note in the journal what a killed session could not.

    Videos that are there but are not what the job wants are moved to the folder ``superseded``.

    Args:
        job: as it is today.
        folder: the run's.
        held: its journal.

    Raises:
        RunUnknown: the journal says nothing: nothing of that run was started.
        BadInput: the run was on another target.
        InfrastructureError: the folder cannot be written to.
    """
    history = held.history()
    if not history.header:
        raise RunUnknown(f"the journal in {folder} is empty: nothing of that run was started")
    if history.header.get("target") not in (None, job.target):
        raise BadInput(
            [
                Problem(
                    str(job.source),
                    0,
                    "target",
                    f"got {job.target}; the run is on {history.header['target']}, and stays there; "
                    "expected the same, or a run of its own (without --resume)",
                )
            ]
        )
    made_by = renderer(job)
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(lambda scene: _done(scene, folder, history, made_by), job.scenes)
        homes = {scene.name: home for scene, home in zip(job.scenes, found, strict=True) if home}
    for name, home in homes.items():
        if history.home.get(name) != home:
            _note(held, history, name, home)
    unwanted = [scene.name for scene in job.scenes if scene.name not in homes]
    held.superseded(name for name in unwanted if name in history.home)
    try:
        for part in folder.glob("*.part"):
            part.unlink()
        for name in unwanted:
            _set_aside(folder / f"{name}.mp4")
    except OSError as error:
        raise InfrastructureError(f"{folder} cannot be written to: {error.strerror}") from error
    rest = tuple(scene for scene in job.scenes if scene.name not in homes)
    return Past(held.history(), homes, rest)


def _done(scene: Scene, folder: Path, history: RunState, made_by: str) -> DownloadedVideo | None:
    """Give a scene's video if it is whole, and made from what the scene is today."""
    path = folder / f"{scene.name}.mp4"
    home, flight = history.home.get(scene.name), history.inflight.get(scene.name)
    with contextlib.suppress(OSError, ArtifactInvalid):
        if not path.is_file():
            return None
        mark, digest = fingerprint(scene, made_by), file_digest(path)
        if home is not None and home.sha256 == digest:
            # The folder may have been moved since.
            here = replace(home, artifact=replace(home.artifact, path=path))
            return here if home.fingerprint == mark else None
        if digest == history.superseded.get(scene.name):
            return None  # somebody has put it back
        if flight is not None and flight.fingerprint == mark:
            # Its session was killed between the rename, which is for whole videos, and the note.
            artifact = download.as_artifact(path, download.verify(path, scene))
            return DownloadedVideo(artifact, digest, mark, "", ())
    return None


def _note(held: Journal, history: RunState, name: str, home: DownloadedVideo) -> None:
    flight = history.inflight.get(name)
    if flight is None:
        return
    began = flight.began
    span, download_span = Span("render", began, began), Span("download", began, began)
    held.home(name, flight.number, Attempt(flight.worker, span, download_span), home)


def _set_aside(path: Path) -> None:
    """Move a video that is not wanted any more out of the way; never delete it."""
    if not path.exists():
        return
    folder = path.parent / SUPERSEDED
    folder.mkdir(exist_ok=True)
    number = 1
    while (aside := folder / f"{path.stem}-{number}.mp4").exists():
        number += 1
    path.replace(aside)
