"""Job and report → the original's result dicts: plain values, its keys. Pure.

Where the original's figure was wrong or invented, the key stays and has the true one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.compat import instances
from cloudburst.models import SceneStatus, WorkerLabel
from cloudburst.models.money import MINIMUM_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudburst.models import (
        BatchResult,
        Cost,
        Job,
        Launch,
        RunReport,
        SceneResult,
        VideoOptions,
    )

Result = dict[str, Any]
_WITH_SUBTITLES = ("subtitles_only", "full_featured")
_WITH_EFFECTS = ("effects_only", "full_featured")


def scene_result(scene: SceneResult, options: VideoOptions) -> Result:
    """Return what became of a scene.

    Args:
        scene: as reported.
        options: that it was to be rendered with; they count where there is no video.
    """
    video, scenario = scene.artifact, scene.scenario
    result = {
        "scene_name": scene.name,
        "success": scene.status is SceneStatus.DONE,
        # It has been downloaded and verified, and its machine may be gone: the address that works.
        "download_url": video.path.as_uri() if video else None,
        "local_path": str(video.path) if video else None,
        "file_size": video.size if video else 0,
        "processing_time": scene.attempts[-1].span.seconds if scene.attempts else 0.0,
        "has_subtitle": scenario in _WITH_SUBTITLES if video else options.subtitle is not None,
        "has_zoom": scenario in _WITH_EFFECTS if video else bool(options.effects),
        "scenario": scenario,
        "error": None if video else (scene.error or "not rendered"),
    }
    return result | ({"warnings": list(scene.warnings)} if scene.warnings else {})


def scene_results(job: Job, scenes: Iterable[SceneResult]) -> list[Result]:
    """Return what became of scenes, in their order."""
    options = {scene.name: scene.options for scene in job.scenes}
    return [scene_result(scene, options[scene.name]) for scene in scenes]


def batch_result(
    job: Job, report: RunReport, config: instances.Config, timing_log: Sequence[str]
) -> Result:
    """Return the result of one batch on one machine.

    Args:
        job: that was run.
        report: of the run.
        config: the instance configuration that was asked for.
        timing_log: the lines that were printed.
    """
    launch = used_launch(report.batches)
    scenes = scene_results(job, report.scenes)
    files = [one["local_path"] for one in scenes if one["success"]]
    times = [one["processing_time"] for one in scenes if one["success"]]
    price = launch.price.usd_per_hour if launch and launch.price else 0.0
    result = _outcome(report) | {
        "cost_usd": report.cost.usd,
        "cost_info": cost_info(report.cost, price, instance_type(launch, config)),
        "total_time": report.seconds,
        "avg_processing_time": sum(times) / len(times) if times else 0.0,
        "total_file_size": sum(one["file_size"] for one in scenes),
        "instance_id": launch.worker if launch else None,
        "instance_type": instance_type(launch, config),
        "instance_expires_at": expiry(report.batches),
        "config_used": instances.used(config, instance_type(launch, config)),
        "timing_log": list(timing_log),
        "batch_results": scenes,
        "downloaded_files": files,
        "download_count": len(files),
        "download_dir": str(report.directory),
    }
    if job.auto_terminate:
        result |= {"final_cost_usd": report.cost.usd, "output_directory": str(report.directory)}
    return result


def _outcome(report: RunReport) -> Result:
    """Return the counts, and why anything is missing."""
    total = len(report.scenes)
    result: Result = {
        "success": report.done == total and not report.left_running,
        "run_id": report.run_id,
        "total_scenes": total,
        "successful_scenes": report.done,
        "failed_scenes": total - report.done,
    }
    if not result["success"]:
        result["error"] = _error(report)
    if report.left_running:
        result["left_running"] = list(report.left_running)
    return result


def _error(report: RunReport) -> str:
    if report.left_running:
        return f"left running: {'; '.join(report.left_running)}"
    if report.error:
        return report.error
    failed = [scene for scene in report.scenes if scene.status is not SceneStatus.DONE]
    first = failed[0]
    return f"{len(failed)} of {len(report.scenes)} scenes failed; {first.name}: {first.error}"


def failure(total: int, error: str, config: instances.Config, timing_log: Sequence[str]) -> Result:
    """Return the result of a batch of which nothing was started."""
    return {
        "success": False,
        "error": error,
        "total_scenes": total,
        "successful_scenes": 0,
        "failed_scenes": total,
        "cost_usd": 0.0,
        "final_cost_usd": 0.0,
        "total_time": 0.0,
        "instance_id": None,
        "config_used": dict(config),
        "timing_log": list(timing_log),
        "batch_results": [],
        "downloaded_files": [],
        "download_count": 0,
    }


def used_launch(batches: Iterable[BatchResult]) -> Launch | None:
    """Return the last machine that there was, None when there was none."""
    launches = [one for batch in batches for one in batch.launches if one.worker is not None]
    return launches[-1] if launches else None


def instance_type(launch: Launch | None, config: instances.Config) -> str:
    """Return the instance type of a machine; the one that was asked for when there was none."""
    return launch.rung.type if launch else str(config["instance_type"])


def expiry(batches: Iterable[BatchResult]) -> str | None:
    """Return when the last kept machine ends itself, as ISO 8601 in UTC; None when none is kept."""
    launch = used_launch(batches)
    if launch is None or launch.destroyed or launch.expires is None:
        return None
    return datetime.fromtimestamp(launch.expires, UTC).isoformat(timespec="seconds")


def cost_info(cost: Cost, usd_per_hour: float, instance: str) -> Result:
    """Return a bill with the original's keys, and what it is made of.

    Args:
        cost: the bill.
        usd_per_hour: the machine's price.
        instance: its type.
    """
    info = _cost(instance, usd_per_hour, cost.worker_seconds, cost.usd, cost.basis)
    info["cost_breakdown"]["lines"] = [
        {
            "kind": line.kind,
            "what": line.what,
            "quantity": line.quantity,
            "unit": line.unit,
            "rate": line.rate,
            "usd": line.usd,
            "basis": str(line.basis),
        }
        for line in cost.lines
    ]
    return info


def cost_of(instance: str, usd_per_hour: float, seconds: float) -> Result:
    """Return what a machine costs for some seconds, disk and traffic not included.

    Args:
        instance: its type.
        usd_per_hour: its price; 0 where nothing is rented.
        seconds: that it runs; AWS bills at least `MINIMUM_SECONDS`.
    """
    billed = max(seconds, MINIMUM_SECONDS) if usd_per_hour else seconds
    usd = round(usd_per_hour * billed / 3600, 6)
    calculation = f"${usd_per_hour:.4f}/hour * {billed / 3600:.4f} hours = ${usd:.6f}"
    return _cost(instance, usd_per_hour, seconds, usd, calculation)


def _cost(instance: str, usd_per_hour: float, seconds: float, usd: float, why: str) -> Result:
    """Return the original's keys of a cost; `why` says how the figure came to be."""
    return {
        "hourly_rate_usd": usd_per_hour,
        "runtime_seconds": seconds,
        "runtime_minutes": seconds / 60,
        "runtime_hours": seconds / 3600,
        "total_cost_usd": usd,
        "cost_breakdown": {
            "instance_type": instance,
            "rate_per_hour": f"${usd_per_hour:.4f}",
            "runtime": f"{seconds:.1f}s ({seconds / 60:.2f}min)",
            "calculation": why,
        },
    }


# -- several machines ---------------------------------------------------------------------------


def parallel_result(
    job: Job,
    report: RunReport,
    scenes_per_batch: int,
    folders: Mapping[int, str],
    config: instances.Config,
) -> Result:
    """Return the result of a run on several machines.

    Args:
        job: that was run.
        report: of the run.
        scenes_per_batch: that was asked for.
        folders: by batch number, where its videos are.
        config: the instance configuration that was asked for.
    """
    by_batch = scenes_by_batch(report)
    machines = [
        _instance_result(job, report, batch, by_batch, folders, config) for batch in report.batches
    ]
    done, serial = report.done, report.serial_seconds
    used = sum(any(one.worker for one in batch.launches) for batch in report.batches)
    result = _outcome(report)
    rate = done / result["total_scenes"]
    each = report.cost.usd / done if done else 0.0
    return result | {
        "success_rate": rate,
        "total_cost_usd": report.cost.usd,
        "cost_per_scene": each,
        "parallel_time": report.seconds,
        "total_time": serial,
        "total_processing_time": serial,
        "time_saved": max(0.0, serial - report.seconds),
        "instances_used": used,
        "scenes_per_batch": scenes_per_batch,
        "efficiency": {
            "speedup_factor": report.speedup,
            "processing_efficiency": report.speedup / used if used else 0.0,
            "cost_per_scene": each,
            "success_rate": rate,
        },
        "downloaded_files": [
            {"batch_id": one["batch_id"], "file_path": path, "temp_dir": one["download_dir"]}
            for one in machines
            for path in one["downloaded_files"]
        ],
        "output_directory": str(report.directory),
        "batch_results": sorted(
            (scene for one in machines for scene in one["batch_results"]),
            key=lambda scene: str(scene["scene_name"]),
        ),
        "instance_results": machines,
    }


def scenes_by_batch(report: RunReport) -> dict[int, list[SceneResult]]:
    """Return for each batch the scenes that were last rendered by a worker of it.

    Scenes that no worker has begun are the first batch's.
    """
    first = _number(report.batches[0]) if report.batches else 1
    found: dict[int, list[SceneResult]] = {_number(batch): [] for batch in report.batches}
    for scene in report.scenes:
        number = WorkerLabel.parse(scene.attempts[-1].worker).batch if scene.attempts else first
        found.setdefault(number, []).append(scene)
    return found


def _placed(scene: Result, folder: str) -> Result:
    """Return a scene's result with its video in the folder of its batch."""
    if not scene["success"]:
        return scene
    path = Path(folder, Path(scene["local_path"]).name)
    return scene | {"local_path": str(path), "download_url": path.as_uri()}


def _number(batch: BatchResult) -> int:
    return WorkerLabel.parse(batch.label).batch


def _instance_result(
    job: Job,
    report: RunReport,
    batch: BatchResult,
    by_batch: Mapping[int, list[SceneResult]],
    folders: Mapping[int, str],
    config: instances.Config,
) -> Result:
    number, launch = _number(batch), used_launch([batch])
    folder = folders.get(number, str(report.directory))
    scenes = [_placed(one, folder) for one in scene_results(job, by_batch[number])]
    done = [one for one in scenes if one["success"]]
    workers = {one.worker for one in batch.launches if one.worker}
    cost = sum((line.usd for line in report.cost.lines if line.machine in workers), 0.0)
    spans = batch.spans
    return {
        "batch_id": number,
        "success": len(done) == len(scenes) and batch.error is None,
        "error": batch.error,
        "total_scenes": len(scenes),
        "successful_scenes": len(done),
        "failed_scenes": len(scenes) - len(done),
        "instance_id": launch.worker if launch else None,
        "instance_type": instance_type(launch, config),
        "instance_expires_at": expiry([batch]),
        "cost_usd": cost,
        "final_cost_usd": cost,
        "total_time": spans[-1].end - spans[0].start if spans else 0.0,
        "batch_results": scenes,
        "downloaded_files": [one["local_path"] for one in done],
        "download_count": len(done),
        "download_dir": folder,
        "config_used": instances.used(config, instance_type(launch, config)),
    }
