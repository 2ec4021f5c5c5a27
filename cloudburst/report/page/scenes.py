"""Scenes and workers → rows of the page's tables. Pure but for the first pictures of videos."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from cloudburst.language import ntr, tr
from cloudburst.models import Phase, SceneStatus
from cloudburst.report import phases
from cloudburst.report.page import text
from cloudburst.report.page.model import Attempted, Cell, Reason, SceneRow, Table
from cloudburst.report.page.timeline import is_spot_loss
from cloudburst.report.uses import Use, end_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudburst.models import Artifact, RunReport, SceneResult
    from cloudburst.report.uses import Uses, WorkerUse

# So many reasons are listed before the timeline.
_REASONS = 20
# In the order in which they are put first: what needs somebody's attention.
STATUSES = (SceneStatus.FAILED, SceneStatus.UNFINISHED, SceneStatus.DONE)


def row_id(number: int) -> str:
    """Return the id of a scene's row: names may hold what an id must not."""
    return f"scene-{number}"


def columns(*, rented: bool) -> tuple[tuple[str, bool], ...]:
    """Return the figures' columns of the table of scenes."""
    money = (("USD", True),) if rented else ()
    return (
        (tr("video"), True),
        (tr("size"), True),
        (tr("sent"), True),
        (tr("received"), True),
        (phases.name(Phase.RENDER), True),
        (phases.name(Phase.DOWNLOAD), True),
        *money,
        (tr("attempts"), True),
        (tr("on"), False),
    )


def scene_rows(
    report: RunReport, went: Uses, pictures: Mapping[str, str], *, rented: bool
) -> tuple[SceneRow, ...]:
    """Return a row for each scene, in the order of the job.

    Args:
        report: of the run.
        went: what its time and money went to.
        pictures: data URLs by scene.
        rented: whether there is a bill.
    """
    return tuple(
        _row(number, scene, report, went, pictures.get(scene.name, ""), rented=rented)
        for number, scene in enumerate(report.scenes, start=1)
    )


def _row(
    number: int, scene: SceneResult, report: RunReport, went: Uses, picture: str, *, rented: bool
) -> SceneRow:
    video = scene.artifact
    single = len(scene.attempts) <= 1 and scene.error is None
    return SceneRow(
        id=row_id(number),
        number=number,
        name=scene.name,
        status=str(scene.status),
        status_text=tr(str(scene.status)),
        link=_link(video, report) if video else "",
        poster=picture,
        portrait=video is not None and video.height > video.width,
        cells=_cells(scene, went, rented=rented),
        attempts=()
        if single
        else tuple(
            Attempted(
                one.worker,
                text.seconds(end_of(one) - one.span.start),
                text.short(one.error or ""),
            )
            for one in scene.attempts
        ),
        notes=tuple(text.short(line) for line in scene.warnings)
        + ((text.short(scene.error),) if scene.error else ()),
    )


def _cells(scene: SceneResult, went: Uses, *, rented: bool) -> tuple[Cell, ...]:
    video = scene.artifact
    last = scene.attempts[-1] if scene.attempts else None
    pixels = Cell(f"{video.width}x{video.height}", video.width * video.height) if video else Cell()
    money = (text.usd_cell(went.scenes.get(scene.name)),) if rented else ()
    return (
        text.seconds_cell(video.seconds if video else None),
        pixels,
        _bytes(scene.bytes_sent),
        _bytes(video.size if video else 0),
        text.seconds_cell(last.span.seconds if last else None),
        text.seconds_cell(last.download.seconds if last and last.download else None),
        *money,
        Cell(str(len(scene.attempts)), len(scene.attempts)),
        Cell(last.worker) if last else Cell(),
    )


def _bytes(number: int) -> Cell:
    """Return a number of bytes as a cell; an empty one for 0, which is not known."""
    return Cell(text.size(number), number) if number else Cell()


def _link(video: Artifact, report: RunReport) -> str:
    """Return where a video is from the page's folder; a name must not be taken for a scheme."""
    path = PurePath(video.path)
    try:
        relative = path.relative_to(report.directory)
    except ValueError:
        relative = PurePath(path.name)  # the run's folder was moved since
    return "./" + "/".join(quote(part, safe="", errors="replace") for part in relative.parts)


def reasons(report: RunReport) -> tuple[Reason, ...]:
    """Return why scenes failed, those of one reason together, the most frequent first."""
    together: dict[str, list[tuple[str, str]]] = {}
    for number, scene in enumerate(report.scenes, start=1):
        if scene.status is SceneStatus.FAILED and scene.error:
            together.setdefault(scene.error, []).append((scene.name, row_id(number)))
    ordered = sorted(together.items(), key=lambda item: -len(item[1]))
    listed = [Reason(text.short(why), tuple(scenes)) for why, scenes in ordered[:_REASONS]]
    if rest := [scene for _, scenes in ordered[_REASONS:] for scene in scenes]:
        more = ntr(
            "{count} more reason; the table of scenes has it",
            "{count} more reasons; the table of scenes has them",
            len(ordered) - _REASONS,
        )
        listed.append(Reason(more, tuple(rest)))
    return tuple(listed)


def workers(went: Uses, *, rented: bool, going_on: bool = False) -> Table:
    """Return a table of all launches.

    Args:
        went: what the run's time and money went to.
        rented: whether there is a bill.
        going_on: the run has not ended.
    """
    money = (("$/h", True), ("USD", True)) if rented else ()
    return Table(
        title=tr("Workers"),
        columns=(
            (tr("worker"), False),
            (tr("machine"), False),
            *money,
            *((phases.name(use), True) for use in Use),
            (tr("videos"), True),
            (tr("end"), False),
        ),
        rows=tuple(
            _worker(one, went.workers[number + 1 :], rented=rented, going_on=going_on)
            for number, one in enumerate(went.workers)
        ),
        notes=(tr("Prices are those at each machine's launch."),) if rented else (),
    )


def _worker(
    one: WorkerUse, later_ones: Sequence[WorkerUse], *, rented: bool, going_on: bool
) -> tuple[str, ...]:
    launch = one.launch
    price = f"{launch.price.usd_per_hour:.4f}" if launch.price else ""
    money = (price, "" if one.usd is None else text.usd(one.usd)) if rented else ()
    name = text.machine(launch)
    return (
        launch.label,
        tr("{machine} ({id})", machine=name, id=launch.worker) if launch.worker else name,
        *money,
        *(text.seconds(one.seconds[use]) for use in Use),
        str(launch.scenes_done),
        _end(
            one,
            followed=any(other.batch == one.batch for other in later_ones),
            going_on=going_on,
        ),
    )


def _end(one: WorkerUse, *, followed: bool, going_on: bool) -> str:
    """Return how a worker ended, and why, if it was not that its work was done."""
    launch = one.launch
    parts = []
    if is_spot_loss(launch):
        parts.append(tr("the spot machine was reclaimed"))
    elif launch.error and followed:
        parts.append(tr("left for another machine"))
    if launch.destroyed:
        parts.append(tr("destroyed") if launch.worker else tr("nothing left"))
    else:
        parts.append(tr("has not ended") if going_on else tr("not verified as gone"))
        if launch.expires:
            parts.append(tr("it ends itself at {time}", time=text.epoch(launch.expires)))
    why = tr(": ").join(part for part in (launch.code, launch.error) if part)
    ended = tr(", ").join(parts)
    return tr("; ").join((ended, text.short(why))) if why else ended
