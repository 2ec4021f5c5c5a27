"""Where a run starts from: from nothing, or where an earlier session of it ended, however it ended.

A scene is done when its file is verified and made from what its job says today: the same pictures,
sounds, subtitles and options, by the same renderer. Everything else is rendered again.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.errors import ArtifactInvalid, BadInput, InfrastructureError, RunUnknown
from cloudburst.job.fingerprint import file_digest, fingerprint
from cloudburst.job.folder.scan import JOB_FILE
from cloudburst.job.loader import load_job
from cloudburst.journal import registry, store
from cloudburst.journal.state import RunState
from cloudburst.language import tr
from cloudburst.models import Attempt, DownloadedVideo, Phase, Problem, Span
from cloudburst.runner.context import job_text
from cloudburst.workers import download

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudburst.journal.store import Journal
    from cloudburst.models import Job, RunRecord, Scene

SUPERSEDED = "superseded"
_READERS = 8


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What earlier sessions of a run have left; nothing for a run that begins.

    Args:
        rest: scenes that are to be rendered.
        state: what the journal says.
        videos: that are done and need not be rendered again, by scene.
    """

    rest: tuple[Scene, ...]
    state: RunState = RunState(None)  # noqa: RUF009 - frozen
    videos: Mapping[str, DownloadedVideo] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether nothing is to be rendered, and only kept workers were left."""
        return not self.rest and self.only_kept

    @property
    def only_kept(self) -> bool:
        """Whether the workers that were left, if any, were all kept on purpose."""
        return all(worker.kept for worker in self.state.unfinished)


def renderer(job: Job, target: str) -> str:
    """Return the name of what renders a job's videos on a target.

    With another renderer, videos may look different.
    """
    return targets.get(target).renderer(job.settings.get(target))


def load(wanted: str, *, max_cost_usd: float | None = None) -> tuple[Job, Path]:
    """Read the job of a run again.

    Args:
        wanted: the run's id, the beginning of it, or its folder.
        max_cost_usd: wins over the file's, which wins over what the run was given.

    Returns:
        The job and the run's folder.

    Raises:
        RunUnknown: there is no such run, or nothing is known of it any more.
        BadInput: the job file has changed in a way that cannot be used.
    """
    folder = find_folder(wanted)
    state = store.read(folder)
    if state is None or state.record is None:
        raise RunUnknown(
            tr("{folder} has no journal: nothing of that run was started", folder=folder)
        )
    record = state.record
    job = load_job(
        _source(record, folder),
        output=folder.parent,
        target=record.target,
        max_cost_usd=max_cost_usd,
    )
    return _with_limit(job, record), folder


def _source(record: RunRecord, folder: Path) -> Path:
    """Return what a run's job is read from: the run's own copy moves with its folder."""
    return folder / JOB_FILE if _keeps_job(record) else Path(record.source)


def _keeps_job(record: RunRecord) -> bool:
    """Whether the job was a program's, so that its run has a copy of it."""
    return Path(record.source) == record.path / JOB_FILE


def _with_limit(job: Job, record: RunRecord) -> Job:
    """Let a run cost what it was allowed to, unless the file or the caller says otherwise."""
    if job.limits.max_cost_usd is not None or record.max_cost_usd is None:
        return job
    return replace(job, limits=replace(job.limits, max_cost_usd=record.max_cost_usd))


def find_folder(wanted: str) -> Path:
    """Return a run's folder by the run's id, the beginning of it, or the folder itself.

    Raises:
        RunUnknown: there is no such run, or its folder is gone.
    """
    place = Path(wanted).expanduser()
    if (place / store.NAME).exists():
        return place.absolute()
    folder = registry.find(wanted).path
    if not folder.is_dir():
        raise RunUnknown(tr("the folder of run {run} is gone: {folder}", run=wanted, folder=folder))
    return folder


def newest(job: Job) -> tuple[Job, Path] | None:
    """Return the newest run of a job's source: the job with its limit, and the run's folder.

    For a job of values, that is the newest run of the same values. A run that was killed before
    its journal said anything has started nothing: it is passed over.

    Returns:
        None when there is none.

    Raises:
        JournalFailed: the journal of a newer run cannot be read.
    """
    for entry in reversed(_runs_of(job)):
        state = store.read(entry.path)
        if state is not None and state.record is not None:
            return _with_limit(job, state.record), entry.path
    return None


def _runs_of(job: Job) -> list[RunRecord]:
    """List the runs of a job's source, oldest first."""
    if job.document is None:
        return registry.of_source(job.source)
    text = job_text(job.document)
    runs = (record for record in registry.runs() if _keeps_job(record))
    return [record for record in runs if _kept_text(record.path) == text]


def _kept_text(folder: Path) -> str | None:
    try:
        return (folder / JOB_FILE).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def take_stock(job: Job, journal: Journal) -> StartingPoint:
    """Return what is done and what is not; note in the journal what a killed session could not.

    Videos that exist but are not what the job wants are moved to the folder ``superseded``.

    Args:
        job: as it is today.
        journal: the run's.

    Raises:
        RunUnknown: the journal says nothing: nothing of that run was started.
        BadInput: the run was on another target.
        InfrastructureError: the folder cannot be written to.
    """
    state, folder = journal.state(), journal.folder
    if state.record is None:
        raise RunUnknown(
            tr("the journal in {folder} is empty: nothing of that run was started", folder=folder)
        )
    _check_target(job, state.record)
    # A run may have batches on several targets, each with a renderer of its own.
    renderers = frozenset(renderer(job, target) for target in {job.target, *state.targets})
    with ThreadPoolExecutor(_READERS) as pool:
        done = pool.map(lambda scene: _done(scene, folder, state, renderers), job.scenes)
        videos = {scene.name: video for scene, video in zip(job.scenes, done, strict=True) if video}
    for name, video in videos.items():
        if state.videos.get(name) != video:
            _note(journal, state, name, video)
    rest = tuple(scene for scene in job.scenes if scene.name not in videos)
    journal.superseded(scene.name for scene in rest if scene.name in state.videos)
    _tidy(folder, rest)
    return StartingPoint(rest, journal.state(), videos)


def _check_target(job: Job, record: RunRecord) -> None:
    if record.target == job.target:
        return
    message = tr(
        "got {target}; the run is on {before}, and stays there; "
        "expected the same, or a run of its own (without --resume)",
        target=job.target,
        before=record.target,
    )
    raise BadInput([Problem(str(job.source), 0, "target", message)])


def _done(
    scene: Scene, folder: Path, state: RunState, renderers: frozenset[str]
) -> DownloadedVideo | None:
    """Return a scene's video if it is whole, and made from what the scene is today."""
    path = folder / f"{scene.name}.mp4"
    video, flight = state.videos.get(scene.name), state.inflight.get(scene.name)
    with contextlib.suppress(OSError, ArtifactInvalid):
        if not path.is_file():
            return None
        marks = {fingerprint(scene, renderer) for renderer in renderers}
        digest = file_digest(path)
        if video is not None and video.sha256 == digest:
            # The folder may have been moved since.
            here = replace(video, artifact=replace(video.artifact, path=path))
            return here if video.fingerprint in marks else None
        if digest == state.superseded.get(scene.name):
            return None  # somebody has put it back
        if flight is not None and flight.fingerprint in marks:
            # Its session was killed between the rename, which is for whole videos, and the note.
            artifact = download.as_artifact(path, download.verify(path, scene))
            return DownloadedVideo(artifact, digest, flight.fingerprint, "", ())
    return None


def _note(journal: Journal, state: RunState, name: str, video: DownloadedVideo) -> None:
    flight = state.inflight.get(name)
    if flight is None:
        return
    began = flight.began
    span, download_span = Span(Phase.RENDER, began, began), Span(Phase.DOWNLOAD, began, began)
    journal.video(name, flight.number, Attempt(flight.worker, span, download_span), video)


def _tidy(folder: Path, rest: tuple[Scene, ...]) -> None:
    try:
        for part in folder.glob("*.part"):
            part.unlink()
        for scene in rest:
            _set_aside(folder / f"{scene.name}.mp4")
    except OSError as error:
        raise InfrastructureError(
            tr("{folder} cannot be written to: {reason}", folder=folder, reason=error.strerror)
        ) from error


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
