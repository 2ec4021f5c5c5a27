"""Audit → JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudburst.journal import registry
from cloudburst.report.json import as_dict

if TYPE_CHECKING:
    from cloudburst.recovery.findings import Audit, RunFound, StackFound


def audit_document(found: Audit) -> dict[str, Any]:
    """Return what an audit found, for machines."""
    return {
        "version": 1,
        "at": datetime.fromtimestamp(found.at, UTC).isoformat(timespec="seconds"),
        "clean": found.exit_code == 0,
        "usd_per_hour": as_dict(found.usd_per_hour),
        "runs": [_run(run) for run in found.runs],
        "finished_runs": found.finished,
        "looked": list(found.asked),
        "unseen": list(found.unseen),
    }


def _run(run: RunFound) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "known": as_dict(registry.entry(run.known)) if run.known else None,
        "owner": as_dict(run.owner),
        "outcome": run.outcome,
        "done": run.done,
        "scenes": run.scenes,
        "stacks": [_stack(stack, left=stack in run.orphaned) for stack in run.stacks],
    }


def _stack(stack: StackFound, *, left: bool) -> dict[str, Any]:
    return {
        "name": stack.name,
        "target": stack.target,
        "left": left,
        "in_backend": stack.in_backend,
        "kept": stack.kept,
        "launch": as_dict(stack.launch),
        "resources": list(stack.state.resources),
        "pending_operations": list(stack.state.pending),
        "locks": [{**as_dict(lock), "lives": lives} for lock, lives in stack.locks],
        "remains": [
            {**as_dict(resource), "orphan": resource in stack.orphans}
            for resource in stack.resources
        ],
    }
