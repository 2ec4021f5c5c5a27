"""The machines that a job may get, and what it would cost on each. Creates nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudburst import targets
from cloudburst.journal import samples
from cloudburst.report.json import as_dict
from cloudburst.runner.context import new_run_id
from cloudburst.runner.planner import plan
from cloudburst.targets.base import Offering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.models import Job, Offer


def offers(job: Job) -> tuple[Offer, ...]:
    """Return the rungs on which a job may get machines, in the order in which they are tried.

    Returns:
        None of them where nothing is rented.

    Raises:
        InfrastructureError: the provider could not be asked, or something is missing.
    """
    kind = targets.get(job.target)
    if kind.unbilled:
        return ()
    with kind.open(job.settings.get(job.target)) as target:
        planned = replace(plan(job), samples=samples.read())
        source = target.prepare(planned, new_run_id(datetime.now(UTC)))
        return tuple(source.offers()) if isinstance(source, Offering) else ()


def document(job: Job, found: Sequence[Offer]) -> dict[str, Any]:
    """Return offers for machines, as `price` prints them."""
    return {
        "version": 1,
        "job": job.name,
        "target": job.target,
        "workers": len(plan(job).batches),
        "offers": [
            {
                **as_dict(one.rung),
                "usd_per_hour": as_dict(one.price.usd_per_hour) if one.price else None,
                "source": one.price.source if one.price else None,
                "seconds": as_dict(one.seconds) if one.price else None,
                "usd": as_dict(one.usd) if one.price else None,
                "scenes_at_once": one.room if one.price else None,
                "speed": one.speed,
                "measured": one.measured,
                "why": one.why,
            }
            for one in found
        ],
    }
