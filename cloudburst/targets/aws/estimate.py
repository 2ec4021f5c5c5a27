"""What a run on rented machines will take and cost, before it begins. Pure.

Speeds are measured, not promised: docs/performance.md has the measurements and the command.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.models import Estimate
from cloudburst.targets.durations import longest_timeout, render_seconds

if TYPE_CHECKING:
    from cloudburst.models import Batch, Plan, Price, Rung
    from cloudburst.targets.aws.prices.rates import RateCard

# From launch to the first healthy answer: about 40 s for an image with Docker (skyplane's PR 152)
# and the pull of a 1 GB container; the original tool took 2 minutes without the first.
_BOOT = {"low": 60.0, "likely": 120.0}
# A machine is terminated as soon as its last video is here, and is billed until then
# (tests/aws/test_ends.py); at the end of its lease, until it has shut itself down.
_TERMINATED = 2.0
# EC2 takes this long until "terminated".
_END = 45.0
_LOW_RENDER = 0.5
_BYTES_PER_SECOND = 250_000  # of video, at the public image's settings
_LEASE_FACTOR = 3.0
_LEASE_MARGIN = 20 * 60.0
MIN_LEASE_MINUTES = 30
MAX_LEASE_MINUTES = 24 * 60
_GB = 1e9


def drive_seconds(batch: Batch, room: int) -> float:
    """Return the estimated seconds that a worker takes for a batch, `room` scenes at once.

    No schedule beats the mean load or the longest scene; longest first comes close to both. Moving
    scenes are rendered one after the other (docs/protocol.md).
    """
    each = [render_seconds(scene) for scene in batch.scenes]
    moving = sum(render_seconds(scene) for scene in batch.scenes if scene.options.effects)
    return max(sum(each) / room, moving, max(each, default=0.0))


def lease_minutes(plan: Plan, room: int) -> int:
    """Return the minutes of the dead-man switch.

    Three times the likely length and 20 minutes, at least 30, and not before an attempt at any
    scene is given up. A replacement worker begins with a lease of its own, and a worker takes
    scenes of other batches: the longest batch counts.
    """
    longest = max(drive_seconds(batch, room) for batch in plan.batches)
    seconds = _LEASE_FACTOR * (longest + _BOOT["likely"]) + _LEASE_MARGIN
    attempt = longest_timeout(plan.job.scenes, plan.job.limits)
    seconds = max(seconds, _LEASE_FACTOR * _BOOT["likely"] + attempt + _END)
    return min(MAX_LEASE_MINUTES, max(MIN_LEASE_MINUTES, math.ceil(seconds / 60)))


def estimate(
    plan: Plan, rung: Rung, price: Price, rates: RateCard, room: int, lease: int
) -> Estimate:
    """Return the estimate of a plan on machines of one kind.

    Args:
        plan: which scenes go to which batch; every batch is a machine.
        rung: the first of the ladder.
        price: its price.
        rates: what a machine costs.
        room: scenes at once on a machine.
        lease: minutes after which a machine ends itself.
    """
    drives = [drive_seconds(batch, room) for batch in plan.batches]
    egress = sum(scene.seconds for scene in plan.job.scenes) * _BYTES_PER_SECOND / _GB
    second = rates.per_hour / 3600

    def total(seconds: list[float]) -> float:
        billed = sum(max(rates.minimum_seconds, each) for each in seconds)
        return billed * second + egress * rates.egress_gb

    low = [_BOOT["low"] + drive * _LOW_RENDER for drive in drives]
    likely = [_BOOT["likely"] + drive + _TERMINATED for drive in drives]
    worst = [max(lease * 60 + _END, seconds) for seconds in likely]
    launches = plan.job.distribution.last_launch(len(plan.batches))
    too_short = max(likely) > lease * 60
    return Estimate(
        low=total(low),
        likely=total(likely),
        worst=total(worst),
        phases=({"launches": launches} if launches else {})
        | {
            "boot": _BOOT["likely"],
            "drive": max(drives),
            "destroy": _END,
        },
        lease_minutes=lease,
        first=rung,
        price=price,
        assumptions=_assumptions(rung, rates, egress, room, lease, too_short=too_short),
    )


def _assumptions(
    rung: Rung, rates: RateCard, egress: float, room: int, lease: int, *, too_short: bool
) -> tuple[str, ...]:
    """Return what an estimate takes for granted, a line each."""
    lines = (
        tr(
            "with a {disk} GB disk, a public IPv4 address, {egress:.0f} MB egress",
            disk=rates.disk_gb,
            egress=egress * 1000,
        ),
        tr(
            "{room} scenes at once on a {type}, of which one moves, at the public image's speed",
            room=room,
            type=rung.type,
        ),
        tr("the first rung of the ladder is available for every batch"),
        tr("worst: every machine runs until its dead-man switch, {minutes} minutes", minutes=lease),
    )
    short = tr("the lease is shorter than the likely length: raise aws.lease_minutes")
    return (*lines, short) if too_short else lines
