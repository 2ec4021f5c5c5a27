"""RunReport → scenes.csv and launches.csv, by RFC 4180. Pure.

Names and reasons come from files and from workers. A spreadsheet takes a cell that begins with a
sign of a formula as one and may run it (owasp.org/www-community/attacks/CSV_Injection), so such a
text gets an apostrophe before it, which spreadsheets do not show.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudburst.report.uses import Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudburst.models import RunReport, SceneResult
    from cloudburst.report.uses import Uses, WorkerUse

SCENES, LAUNCHES = "scenes.csv", "launches.csv"
# With the full-width ones, which spreadsheets in Chinese and Japanese take for the same.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_DECIMALS = 6

Cell = str | int | float | None

SCENE_COLUMNS = (
    "scene", "status", "narration_seconds", "video_seconds", "width", "height", "frames",
    "bytes_received", "attempts", "worker", "began_seconds", "render_seconds", "download_seconds",
    "usd", "scenario", "file", "warnings", "error",
    "bytes_sent",
)  # fmt: skip
LAUNCH_COLUMNS = (
    "batch", "worker", "target", "machine", "type", "market", "region", "zone", "usd_per_hour",
    "price_source", "began_seconds", "boot_seconds", "render_seconds", "idle_seconds",
    "end_seconds", "videos", "usd", "destroyed", "expires", "code", "error",
)  # fmt: skip


def scenes_csv(report: RunReport, went: Uses) -> str:
    """Return a line for each scene, in the order of the job."""
    return _text(SCENE_COLUMNS, (_scene(scene, went) for scene in report.scenes))


def launches_csv(went: Uses) -> str:
    """Return a line for each launch, failed ones too."""
    return _text(LAUNCH_COLUMNS, (_launch(worker) for worker in went.workers))


def _scene(scene: SceneResult, went: Uses) -> list[Cell]:
    video, last = scene.artifact, scene.attempts[-1] if scene.attempts else None
    return [
        scene.name,
        str(scene.status),
        scene.narration,
        video.seconds if video else None,
        video.width if video else None,
        video.height if video else None,
        video.frames if video else None,
        video.size if video else None,
        len(scene.attempts),
        last.worker if last else None,
        last.span.start if last else None,
        last.span.seconds if last else None,
        last.download.seconds if last and last.download else None,
        went.scenes.get(scene.name),
        scene.scenario,
        video.path.name if video else None,
        "; ".join(scene.warnings) or None,
        scene.error,
        scene.bytes_sent or None,  # 0 is not known
    ]


def _launch(worker: WorkerUse) -> list[Cell]:
    launch = worker.launch
    rung, price, began = launch.rung, launch.price, launch.spans[0].start if launch.spans else None
    return [
        worker.batch,
        launch.label,
        launch.target,
        launch.worker,
        rung.type,
        rung.market,
        rung.region,
        rung.zone,
        price.usd_per_hour if price else None,
        price.source if price else None,
        began,
        *(worker.seconds[use] for use in Use),
        launch.scenes_done,
        worker.usd,
        "yes" if launch.destroyed else "no",
        # Where there never was a machine, none ends itself.
        _moment(launch.expires if launch.worker or not launch.destroyed else None),
        launch.code,
        launch.error,
    ]


def _moment(seconds: float | None) -> str | None:
    """Return a moment, in seconds since 1970, as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _text(columns: Sequence[str], lines: Iterable[Sequence[Cell]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return file.getvalue()


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        # RFC 4180 knows no NUL, and readers end at it.
        text = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        return f"'{text}" if text.startswith(_FORMULA) else text
    return f"{round(value, _DECIMALS)}" if isinstance(value, float) else str(value)
