"""The original's functions: a folder or a list of scenes, on one machine or several."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cloudburst.compat import results
from cloudburst.compat.operation import InstantInstanceOperationV2
from cloudburst.compat.scenes import Options
from cloudburst.errors import BadInput, CloudBurstError, Interrupted
from cloudburst.models import Distribution
from cloudburst.runner.planner import batch_count

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from cloudburst.compat.progress import Progress
    from cloudburst.models import RunReport

Result = dict[str, Any]


def scan_and_test_folder(
    folder_path: str,
    language: str = "chinese",
    enable_zoom: bool = True,
    config_priority: int = 1,
    saving_dir: str | None = None,
    background_box: bool = True,
    background_opacity: float = 0.2,
    *,
    target: str | None = None,
    verbose: bool = True,
    logger: logging.Logger | None = None,
) -> Result:
    """Render the scenes of a folder on one machine, download the videos, end the machine.

    Args:
        folder_path: with ``images/`` and ``audio/``; see `cloudburst.scan` for other conventions.
        language: of the subtitles, ``chinese`` or ``english``.
        enable_zoom: whether the picture moves.
        config_priority: see `InstantInstanceOperationV2`.
        saving_dir: folder for results; then RESULTS_DIR, then ``./cloudburst_results/``.
        background_box: draw a box behind the subtitles.
        background_opacity: transparency of the box, 0 (solid) to 1 (clear).
        target: see `InstantInstanceOperationV2`.
        verbose: whether progress is printed.
        logger: takes the progress in place of standard output.

    Returns:
        See `InstantInstanceOperationV2.execute_batch`.

    Raises:
        Interrupted: Ctrl-C; everything was destroyed.
    """
    operation = InstantInstanceOperationV2(
        config_priority, target=target, verbose=verbose, logger=logger
    )
    try:
        scenes = operation.scan_scenes_from_folder(folder_path)
    except BadInput as error:
        operation.log_timing(f"❌ {error}")
        text = f"No scenes found in folder: {error}"
        return results.failure(0, text, operation.current_config, operation.timing_log)
    return operation.execute_batch(
        scenes,
        language,
        enable_zoom,
        auto_terminate=True,
        saving_dir=saving_dir,
        background_box=background_box,
        background_opacity=background_opacity,
    )


def instant_batch_processing(
    scenes: Sequence[Mapping[str, Any]],
    language: str = "chinese",
    enable_zoom: bool = True,
    config_priority: int = 1,
    saving_dir: str | None = None,
    background_box: bool = True,
    background_opacity: float = 0.2,
    *,
    target: str | None = None,
    verbose: bool = True,
    logger: logging.Logger | None = None,
) -> Result:
    """Render scenes on one machine, download the videos, end the machine.

    Args:
        scenes: see `InstantInstanceOperationV2.execute_batch`.
        language: of the subtitles, ``chinese`` or ``english``.
        enable_zoom: whether the picture moves.
        config_priority: see `InstantInstanceOperationV2`.
        saving_dir: folder for results; then RESULTS_DIR, then ``./cloudburst_results/``.
        background_box: draw a box behind the subtitles.
        background_opacity: transparency of the box, 0 (solid) to 1 (clear).
        target: see `InstantInstanceOperationV2`.
        verbose: whether progress is printed.
        logger: takes the progress in place of standard output.

    Returns:
        See `InstantInstanceOperationV2.execute_batch`.

    Raises:
        Interrupted: Ctrl-C; everything was destroyed.
    """
    operation = InstantInstanceOperationV2(
        config_priority, target=target, verbose=verbose, logger=logger
    )
    return operation.execute_batch(
        scenes,
        language,
        enable_zoom,
        auto_terminate=True,
        saving_dir=saving_dir,
        background_box=background_box,
        background_opacity=background_opacity,
    )


def calculate_optimal_batch_distribution(
    total_scenes: int,
    scenes_per_batch: int = 10,
    max_parallel_instances: int = 10,
    min_scenes_per_batch: int = 5,
) -> Result:
    """Return how many machines some scenes get, and how many scenes each begins with.

    Args:
        total_scenes: number of scenes.
        scenes_per_batch: the usual number for a machine.
        max_parallel_instances: the most machines at once.
        min_scenes_per_batch: for fewer, a machine is not worth its start.

    Returns:
        ``num_instances``, ``batch_distribution`` (scenes of each), ``total_batches``,
        ``strategy`` and ``warnings``.
    """
    wanted = Distribution(scenes_per_batch, max_parallel_instances, min_scenes_per_batch)
    count = batch_count(total_scenes, wanted)
    each, more = divmod(total_scenes, count) if count else (0, 0)
    sizes = [each + (number < more) for number in range(count)]
    return {
        "num_instances": count,
        "batch_distribution": sizes,
        "total_batches": count,
        "strategy": _strategy(total_scenes, sizes),
        "warnings": _distribution_warnings(total_scenes, sizes, wanted),
    }


def _strategy(total: int, sizes: Sequence[int]) -> str:
    if not sizes:
        return "Nothing to do: no scenes"
    if len(sizes) == 1:
        return f"Single instance: {total} scenes"
    span = f"{sizes[-1]}" if sizes[0] == sizes[-1] else f"{sizes[-1]} to {sizes[0]}"
    return f"{len(sizes)} instances with {span} scenes each"


def _distribution_warnings(total: int, sizes: Sequence[int], wanted: Distribution) -> list[str]:
    warnings = []
    if sizes and sizes[0] > wanted.scenes_per_batch:
        warnings.append(
            f"Batches of {sizes[0]} scenes instead of {wanted.scenes_per_batch}: at most "
            f"{wanted.max_parallel_instances} instances, with at least "
            f"{wanted.min_scenes_per_batch} scenes each"
        )
    if 0 < total < wanted.min_scenes_per_batch:
        warnings.append(
            f"{total} scenes are fewer than min_scenes_per_batch, {wanted.min_scenes_per_batch}"
        )
    return warnings


def execute_parallel_batches(
    scenes: Sequence[Mapping[str, Any]],
    scenes_per_batch: int = 10,
    language: str = "chinese",
    enable_zoom: bool = True,
    config_priority: int = 1,
    max_parallel_instances: int = 10,
    min_scenes_per_batch: int = 5,
    watermark_path: str | None = None,
    is_portrait: bool = False,
    saving_dir: str | None = None,
    background_box: bool = True,
    background_opacity: float = 0.2,
    auto_terminate: bool = True,
    *,
    target: str | None = None,
    verbose: bool = True,
    logger: logging.Logger | None = None,
) -> Result:
    """Render scenes on several machines at once.

    Args:
        scenes: see `InstantInstanceOperationV2.execute_batch`.
        scenes_per_batch: the usual number for a machine.
        language: of the subtitles, ``chinese`` or ``english``.
        enable_zoom: whether the picture moves.
        config_priority: see `InstantInstanceOperationV2`.
        max_parallel_instances: the most machines at once.
        min_scenes_per_batch: for fewer, a machine is not worth its start.
        watermark_path: picture drawn in the top left corner.
        is_portrait: 1080x1920 instead of 1920x1080.
        saving_dir: folder for results; then RESULTS_DIR, then ``./cloudburst_results/``.
        background_box: draw a box behind the subtitles.
        background_opacity: transparency of the box, 0 (solid) to 1 (clear).
        auto_terminate: False keeps the machines, see `InstantInstanceOperationV2.execute_batch`.
        target: see `InstantInstanceOperationV2`.
        verbose: whether progress is printed.
        logger: takes the progress in place of standard output.

    Returns:
        The original's dict. ``success`` means that every scene has a verified video.

    Raises:
        Interrupted: Ctrl-C; everything was destroyed.
    """
    operation = InstantInstanceOperationV2(
        config_priority, target=target, verbose=verbose, logger=logger
    )
    plan = calculate_optimal_batch_distribution(
        len(scenes), scenes_per_batch, max_parallel_instances, min_scenes_per_batch
    )
    progress = operation.progress
    _say_start(plan, len(scenes), progress)
    options = Options(
        language, enable_zoom, watermark_path, is_portrait, background_box, background_opacity
    )
    distribution = {
        "scenes_per_batch": scenes_per_batch,
        "max_parallel_instances": max_parallel_instances,
        "min_scenes_per_batch": min_scenes_per_batch,
    }
    try:
        job = operation.build_job(scenes, options, distribution, saving_dir, auto_terminate)
        report = operation.run_job(job)
    except Interrupted:
        raise
    except CloudBurstError as error:
        progress.line(f"❌ Failed: {error}")
        return _parallel_failure(len(scenes), scenes_per_batch, str(error))
    folders = _batch_folders(report, progress)
    result = results.parallel_result(
        job, report, scenes_per_batch, folders, operation.current_config
    )
    usd = operation.end_kept_if_failed(result, result["instance_results"])
    if usd is not None:
        result["total_cost_usd"] = usd
    _say_end(result, progress)
    return result


def _batch_folders(report: RunReport, progress: Progress) -> dict[int, str]:
    """Show each batch's videos in a folder of its own, as the original: ``batch_1_1764064800``.

    They are hard links to the run's verified videos where the file system has them.

    Returns:
        The folder of each batch that has videos, by its number. A batch whose folder cannot be
        written is left out: its videos are in the run's own folder.
    """
    stamp = int(datetime.fromisoformat(report.started_at).timestamp())
    folders = {}
    for number, scenes in results.scenes_by_batch(report).items():
        videos = [scene.artifact.path for scene in scenes if scene.artifact is not None]
        if videos:
            folder = report.directory.parent / f"batch_{number}_{stamp}"
            try:
                _link_all(videos, folder)
            except OSError as error:
                progress.line(f"⚠️  {folder} cannot be written: {error.strerror}")
            else:
                folders[number] = str(folder)
    return folders


def _link_all(videos: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for video in videos:
        path = folder / video.name
        path.unlink(missing_ok=True)
        try:
            os.link(video, path)
        except OSError:  # another file system, or one without links
            shutil.copy2(video, path)


def _parallel_failure(total: int, scenes_per_batch: int, error: str) -> Result:
    """Return the result of a run of which nothing was started."""
    return {
        "success": False,
        "error": error,
        "total_scenes": total,
        "successful_scenes": 0,
        "failed_scenes": total,
        "success_rate": 0.0,
        "total_cost_usd": 0.0,
        "cost_per_scene": 0.0,
        "parallel_time": 0.0,
        "total_time": 0.0,
        "total_processing_time": 0.0,
        "time_saved": 0.0,
        "instances_used": 0,
        "scenes_per_batch": scenes_per_batch,
        "efficiency": {
            "speedup_factor": 0.0,
            "processing_efficiency": 0.0,
            "cost_per_scene": 0.0,
            "success_rate": 0.0,
        },
        "downloaded_files": [],
        "batch_results": [],
        "instance_results": [],
    }


def _say_start(plan: Result, total: int, progress: Progress) -> None:
    progress.line("🚀 Starting parallel batch processing")
    progress.line(f"📊 Total scenes: {total}")
    progress.line(f"🖥️  Instances to use: {plan['num_instances']}")
    progress.line(f"📋 Strategy: {plan['strategy']}")
    for warning in plan["warnings"]:
        progress.line(f"⚠️  {warning}")
    progress.line(f"📊 Batch distribution: {plan['batch_distribution']}")


def _say_end(result: Result, progress: Progress) -> None:
    rule = "=" * 60
    folders = sorted({one["temp_dir"] for one in result["downloaded_files"]})
    lines = [
        rule,
        "🎬 PARALLEL BATCH PROCESSING COMPLETE",
        rule,
        f"✅ Successful scenes: {result['successful_scenes']}/{result['total_scenes']}",
        f"❌ Failed scenes: {result['failed_scenes']}",
        f"💰 Total cost: ${result['total_cost_usd']:.4f}",
        f"⏱️  Parallel time: {result['parallel_time']:.1f}s (saved {result['time_saved']:.1f}s)",
        f"🚀 Speedup: {result['efficiency']['speedup_factor']:.2f}x",
        f"📥 Downloaded files: {len(result['downloaded_files'])} videos",
        *(f"📁 {folder}" for folder in folders),
        rule,
    ]
    for line in lines:
        progress.line(line)
