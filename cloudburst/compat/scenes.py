"""The original's scenes and options → a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.job.loader import TARGET_VARIABLE, load_job
from cloudburst.job.records import ZOOM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudburst.models import Job

DEFAULT_TARGET = "aws"
_SUBTITLES = ("subtitle", "subtitle_path")


@dataclass(frozen=True, slots=True)
class Options:
    """What the original's functions have in common.

    Args:
        language: ``chinese`` or ``english``.
        enable_zoom: whether the picture moves.
        watermark_path: picture drawn in the top left corner; None for none.
        is_portrait: 1080x1920 instead of 1920x1080.
        background_box: draw a box behind the subtitles.
        background_opacity: transparency of the box, 0 (solid) to 1 (clear).
    """

    language: str = "chinese"
    enable_zoom: bool = True
    watermark_path: str | None = None
    is_portrait: bool = False
    background_box: bool = True
    background_opacity: float = 0.2


def build_job(
    scenes: Sequence[Mapping[str, Any]],
    options: Options,
    distribution: Mapping[str, int],
    *,
    instance_types: Sequence[str],
    saving_dir: str | Path | None,
    auto_terminate: bool,
    target: str,
    warn: Callable[[str], None],
) -> Job:
    """Return the job that the original's arguments describe.

    Args:
        scenes: as the original's: ``scene_name``, ``input_image``, ``input_audio``, ``subtitle``.
        options: of all scenes.
        distribution: as in scenes.yaml.
        instance_types: on AWS, in the order in which they are tried.
        saving_dir: folder for results; None for RESULTS_DIR, then ``./cloudburst_results``.
        auto_terminate: whether workers end when their work is done.
        target: where workers run.
        warn: called with a line for each subtitle file that does not exist.

    Raises:
        BadInput: with everything that is wrong; nothing was started.
    """
    document = {
        "version": 1,
        "name": "instant-batch",
        "target": target,
        "defaults": _defaults(options),
        "scenes": [_scene(scene, number, warn) for number, scene in enumerate(scenes, start=1)],
        "distribution": dict(distribution),
        "auto_terminate": auto_terminate,
        "aws": {"instance_types": list(instance_types)},
    }
    return load_job(document, output=saving_dir)


def chosen_target(variables: Mapping[str, str]) -> str:
    """Return where workers run unless an argument says otherwise: AWS, as the original."""
    return variables.get(TARGET_VARIABLE, DEFAULT_TARGET)


def _defaults(options: Options) -> dict[str, Any]:
    watermark = options.watermark_path
    return {
        "language": options.language,
        "effects": list(ZOOM) if options.enable_zoom else [],
        "background_box": options.background_box,
        "background_opacity": float(options.background_opacity),
        "is_portrait": options.is_portrait,
        "watermark": str(Path(watermark).absolute()) if watermark else None,
    }


def _scene(scene: Mapping[str, Any], number: int, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return a scene with a name, and without subtitles that do not exist.

    The original ignores those silently, and callers rely on being able to name them.
    """
    values = {"scene_name": f"scene_{number:03}", **scene}
    if "name" in scene:
        del values["scene_name"]
    for key in _SUBTITLES:
        path = values.get(key)
        if path and not Path(path).exists():
            name = values.get("scene_name", values.get("name"))
            warn(f"⚠️  Scene {name}: subtitle file not found: {path}; rendered without subtitles")
            values[key] = None
    return values
