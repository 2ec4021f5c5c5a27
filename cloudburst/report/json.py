"""RunReport → report.json."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.errors import InfrastructureError

if TYPE_CHECKING:
    from cloudburst.models import BatchResult, Preview, RunReport
    from cloudburst.recovery.audit import Audit

NAME = "report.json"
_PLACES = 6  # a second of a machine costs some ten-thousandths of a dollar


def as_dict(value: Any) -> Any:
    """Turn a value into what JSON can say; paths become text, numbers keep six places."""
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
        return round(value, _PLACES)
    return value


def preview_document(preview: Preview) -> dict[str, Any]:
    """Give what a dry run found, for machines."""
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
        "notes": list(preview.notes),
    }


def document(report: RunReport) -> dict[str, Any]:
    """Give a report as report.json holds it, with the figures that are derived."""
    return {
        "version": 1,
        **as_dict(report),
        "batches": [_batch(batch) for batch in report.batches],
        "cost": as_dict(report.cost)
        | {"lines": [{**as_dict(line), "usd": as_dict(line.usd)} for line in report.cost.lines]},
        "done": report.done,
        "total": len(report.scenes),
        "speedup": round(report.speedup, 2),
    }


def _batch(batch: BatchResult) -> dict[str, Any]:
    derived = {"destroyed": batch.destroyed, "scenes_done": batch.scenes_done}
    return {**as_dict(batch), **derived}


def audit_document(found: Audit) -> dict[str, Any]:
    """Give what an audit found, for machines."""
    return {
        "version": 1,
        "at": datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds"),
        "clean": found.exit_code == 0,
        "usd_per_hour": as_dict(found.usd_per_hour),
        "runs": [
            {
                "run_id": run.run_id,
                "known": as_dict(run.known),
                "owner": as_dict(run.owner),
                "outcome": run.outcome,
                "done": run.done,
                "scenes": run.scenes,
                "stacks": [
                    {
                        "name": stack.name,
                        "target": stack.target,
                        "left": stack in run.left,
                        "in_backend": stack.in_backend,
                        "kept": stack.kept,
                        "launch": as_dict(stack.launch),
                        "resources": list(stack.state.resources),
                        "pending_operations": list(stack.state.pending),
                        "locks": [{**as_dict(lock), "lives": lives} for lock, lives in stack.locks],
                        "remains": [
                            {**as_dict(one), "orphan": one in stack.orphans}
                            for one in stack.remains
                        ],
                    }
                    for stack in run.stacks
                ],
            }
            for run in found.runs
        ],
        "finished_runs": found.finished,
        "looked": list(found.looked),
        "unseen": list(found.unseen),
    }


def write(report: RunReport) -> Path:
    """Write report.json beside the videos, whole or not at all.

    Raises:
        InfrastructureError: the folder cannot be written to.
    """
    path = report.directory / NAME
    part = path.with_name(f"{NAME}.part")
    text = json.dumps(document(report), indent=2, ensure_ascii=False)
    try:
        part.write_text(f"{text}\n", "utf-8")
        part.replace(path)
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be written: {error.strerror}") from error
    return path
