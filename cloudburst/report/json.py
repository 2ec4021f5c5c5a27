"""RunReport → report.json."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst import files
from cloudburst.errors import InfrastructureError
from cloudburst.language import tr

if TYPE_CHECKING:
    from cloudburst.models import BatchResult, CostLine, Preview, RunReport

NAME = "report.json"
_DECIMALS = 6  # a second of a machine costs some ten-thousandths of a dollar


def as_dict(value: Any) -> Any:
    """Return a value as JSON can hold it; paths become text, numbers keep six places."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: as_dict(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {str(key): as_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return round(value, _DECIMALS)
    return value


def preview_document(preview: Preview) -> dict[str, Any]:
    """Return what a dry run found, for machines."""
    job = preview.plan.job
    stacks = {one.batch.number: one for one in preview.stacks}
    return {
        "job": job.name,
        "target": job.target,
        "batches": [
            {
                "batch": batch.label,
                "stack": stacks[batch.number].stack if batch.number in stacks else None,
                "seconds": round(batch.seconds, 3),
                "scenes": [scene.name for scene in batch.scenes],
                "resources": as_dict(
                    stacks[batch.number].resources if batch.number in stacks else []
                ),
            }
            for batch in preview.plan.batches
        ],
        "estimate": as_dict(preview.estimate),
        "max_cost_usd": job.limits.max_cost_usd,
        "last_launch": job.distribution.last_launch(len(preview.plan.batches)),
        "hooks": {name: what for name, what in as_dict(job.hooks).items() if isinstance(what, str)},
        "notes": list(preview.notes),
        "warnings": list(job.warnings),
    }


def document(report: RunReport) -> dict[str, Any]:
    """Return a report as report.json holds it, with the figures that are derived."""
    return {
        "version": 1,
        **as_dict(report),
        "scenes": [as_dict(scene) | {"bytes_sent": scene.bytes_sent} for scene in report.scenes],
        "batches": [_batch(batch) for batch in report.batches],
        "cost": as_dict(report.cost) | {"lines": [_line(line) for line in report.cost.lines]},
        "done": report.done,
        "total": len(report.scenes),
        "bytes_sent": report.bytes_sent,
        "bytes_received": report.bytes_received,
        "speedup": round(report.speedup, 2),
    }


def _line(line: CostLine) -> dict[str, Any]:
    values = {**as_dict(line), "usd": as_dict(line.usd)}
    del values["machine"]  # `what` names it
    return values


def _batch(batch: BatchResult) -> dict[str, Any]:
    derived = {"destroyed": batch.destroyed, "scenes_done": batch.scenes_done}
    return {**as_dict(batch), **derived}


def write(report: RunReport) -> Path:
    """Write report.json beside the videos, whole or not at all.

    Raises:
        InfrastructureError: the folder cannot be written to.
    """
    path = report.directory / NAME
    text = json.dumps(document(report), indent=2, ensure_ascii=False)
    try:
        files.write_whole(path, f"{text}\n", durable=False)
    except OSError as error:
        raise InfrastructureError(
            tr("{file} cannot be written: {reason}", file=path, reason=error.strerror)
        ) from error
    return path
