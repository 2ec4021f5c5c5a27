"""Runs and what they cost → JSON. docs/commands.md has the shapes; keys only join."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudburst.history.spending import total
from cloudburst.report import json
from cloudburst.report.json import as_dict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.history.spending import By, Group
    from cloudburst.history.values import Charge, PastRun

VERSION = 1


def runs_document(runs: Sequence[PastRun], at: float) -> dict[str, Any]:
    """Return runs for machines, as `ps` and `history` print them.

    Args:
        runs: in the order in which they are printed.
        at: when they were read, seconds since 1970.
    """
    return {"version": VERSION, "at": _time(at), "runs": [_run(run) for run in runs]}


def run_document(run: PastRun, at: float) -> dict[str, Any]:
    """Return one run for machines, as `show` prints it: with its report."""
    return {
        "version": VERSION,
        "at": _time(at),
        **_run(run),
        "uses": as_dict(run.uses),
        "minimum_usd": as_dict(run.minimum_usd),
        "other_usd": as_dict(run.other_usd),
        "report": json.document(run.report) if run.report else None,
    }


def cost_document(
    groups: Sequence[Group],
    charges: Sequence[Charge],
    by: By,
    span: tuple[float, float],
    unknown: Sequence[str],
) -> dict[str, Any]:
    """Return what runs have cost for machines, as `cost` prints it.

    Args:
        groups: what is shown.
        charges: of which they are made.
        by: how they are grouped.
        span: since and until when, seconds since 1970.
        unknown: runs of which the cost is not known, with the reason.
    """
    since, until = span
    return {
        "version": VERSION,
        "since": _time(since),
        "until": _time(until),
        "by": by,
        "usd": as_dict(total(charges)),
        "groups": [
            {
                "key": group.key,
                "usd": as_dict(group.usd),
                "runs": sorted(group.runs),
                "machines": len(group.machines),
                "machine_hours": as_dict(group.hours),
            }
            for group in groups
        ],
        "unknown": list(unknown),
    }


def _run(run: PastRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "job": run.record.job,
        "target": run.record.target,
        "state": str(run.status),
        "scenes": run.scenes,
        "done": run.done,
        "failed": run.failed,
        "workers": run.workers,
        "usd": as_dict(run.usd),
        "at_most": run.at_most,
        "usd_per_hour": as_dict(run.usd_per_hour),
        "began": run.record.began,
        "seconds": as_dict(run.seconds),
        "owner": as_dict(run.owner),
        "folder": run.record.folder,
        "source": run.record.source,
        "why": run.why,
    }


def _time(at: float) -> str:
    """Return a moment in UTC, as ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
