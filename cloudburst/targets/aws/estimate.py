"""What a run on rented machines will take and cost, and what will go wrong, beforehand. Pure.

Speeds are measured, not promised: docs/performance.md has the measurements and the command.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from cloudburst.language import ntr, tr
from cloudburst.models import Estimate
from cloudburst.targets.aws import architecture
from cloudburst.targets.durations import beyond_limit, longest_timeout, slower_than
from cloudburst.targets.rates import BUNDLED_RATES, PUBLIC_RATES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudburst.models import Batch, Plan, Price, Rung
    from cloudburst.targets.aws.prices.rates import RateCard
    from cloudburst.targets.aws.settings import AwsSettings
    from cloudburst.targets.rates import RenderRates


class Boot(NamedTuple):
    """Seconds from a machine's launch until its video API answers.

    Args:
        low: if all goes well.
        likely: usually.
    """

    low: float
    likely: float


# About 40 s for an image with Docker (skyplane's PR 152) and the pull of a 1 GB container; the
# original tool took 2 minutes without the first.
BOOT = Boot(60.0, 120.0)
# The same 40 s, the pull of 45 MB, and what docs/performance.md has measured: files, packages,
# imports.
BUNDLED_BOOT = Boot(50.0, 70.0)
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


def drive_seconds(batch: Batch, room: int, renders: RenderRates = PUBLIC_RATES) -> float:
    """Return the estimated seconds that a worker takes for a batch, `room` scenes at once.

    No schedule beats the mean load or the longest scene; longest first comes close to both. The
    public image renders moving scenes one after the other (docs/protocol.md).

    Args:
        batch: the worker's.
        room: scenes at once.
        renders: how fast.
    """
    each = [renders.of(scene) for scene in batch.scenes]
    moving = sum(renders.of(scene) for scene in batch.scenes if scene.options.effects)
    in_turn = moving if renders.in_turn else 0.0
    return max(sum(each) / room, in_turn, max(each, default=0.0))


def lease_minutes(plan: Plan, room: int, renders: RenderRates = PUBLIC_RATES) -> int:
    """Return the minutes of the dead-man switch.

    Three times the likely length and 20 minutes, at least 30, and not before an attempt at any
    scene is given up. A replacement worker begins with a lease of its own, and a worker takes
    scenes of other batches: the longest batch counts.
    """
    longest = max(drive_seconds(batch, room, renders) for batch in plan.batches)
    seconds = _LEASE_FACTOR * (longest + BOOT.likely) + _LEASE_MARGIN
    attempt = longest_timeout(plan.job.scenes, plan.job.limits)
    seconds = max(seconds, _LEASE_FACTOR * BOOT.likely + attempt + _END)
    return min(MAX_LEASE_MINUTES, max(MIN_LEASE_MINUTES, math.ceil(seconds / 60)))


def longest_attempt(lease: int) -> float:
    """Return the seconds that an attempt at a scene may take on a machine with a lease.

    Args:
        lease: minutes after which the machine ends itself. From the launch on: it boots first, and
            where that leaves less than half of so short a lease, half of it.
    """
    return max(lease * 60 - _LEASE_FACTOR * BOOT.likely - _END, lease * 30)


def estimate(
    plan: Plan,
    rung: Rung,
    price: Price,
    rates: RateCard,
    room: int,
    lease: int,
    idle: float,
    *,
    renders: RenderRates = PUBLIC_RATES,
    boot: Boot = BOOT,
) -> Estimate:
    """Return the estimate of a plan on machines of one kind.

    Args:
        plan: which scenes go to which batch; every batch is a machine.
        rung: the first of the ladder.
        price: its price.
        rates: what a machine costs.
        room: scenes at once on a machine.
        lease: minutes after which a machine ends itself, whatever happens.
        idle: seconds without a request after which it does so.
        renders: how fast it renders.
        boot: how long it takes to begin.
    """
    drives = [drive_seconds(batch, room, renders) for batch in plan.batches]
    egress = sum(scene.seconds for scene in plan.job.scenes) * _BYTES_PER_SECOND / _GB
    second = rates.per_hour / 3600

    def total(seconds: list[float]) -> float:
        billed = sum(max(rates.minimum_seconds, each) for each in seconds)
        return billed * second + egress * rates.egress_gb

    low = [boot.low + drive * _LOW_RENDER for drive in drives]
    likely = [boot.likely + drive + _TERMINATED for drive in drives]
    # Its runner dies as it has booted, at the very end of the time that it has for that.
    alone = min(plan.job.limits.health_timeout + idle, lease * 60) + _END
    worst = [max(alone, seconds) for seconds in likely]
    launches = plan.job.distribution.last_launch(len(plan.batches))
    too_short = max(likely) > lease * 60
    return Estimate(
        low=total(low),
        likely=total(likely),
        worst=total(worst),
        phases=({"launches": launches} if launches else {})
        | {
            "boot": boot.likely,
            "drive": max(drives),
            "destroy": _END,
        },
        lease_minutes=lease,
        first=rung,
        price=price,
        assumptions=(
            *_assumptions(rates, egress, alone, too_short=too_short),
            _speed(plan, rung, room, renders),
        ),
    )


def _speed(plan: Plan, rung: Rung, room: int, renders: RenderRates) -> str:
    """Return how fast a machine is taken to be, and where that is from."""
    values = {"type": rung.type, "origin": renders.origin(plan.job.scenes)}
    if renders.in_turn and room > 1:
        return tr(
            "{room} scenes at once on a {type}, of which one moves; speed: {origin}",
            room=room,
            **values,
        )
    return ntr(
        "{count} scene at once on a {type}; speed: {origin}",
        "{count} scenes at once on a {type}; speed: {origin}",
        room,
        **values,
    )


def gpu(rung: Rung, most: int) -> str:
    """Return what an estimate does not count on: that a machine's GPU encodes.

    Args:
        rung: whose machines have one.
        most: scenes at once if it does.
    """
    return tr(
        "if the GPU of a {type} encodes, it takes {most} scenes at once; that was never measured, "
        "and is not counted on",
        type=rung.type,
        most=most,
    )


def _assumptions(
    rates: RateCard, egress: float, alone: float, *, too_short: bool
) -> tuple[str, ...]:
    """Return what an estimate takes for granted, a line each."""
    lines = (
        tr(
            "with a {disk} GB disk, a public IPv4 address, {egress:.0f} MB egress",
            disk=rates.disk_gb,
            egress=egress * 1000,
        ),
        tr("the first rung of the ladder is available for every batch"),
        tr(
            "worst: this program dies, and every machine ends itself after {minutes:.0f} minutes",
            minutes=alone / 60,
        ),
    )
    short = tr("the lease is shorter than the likely length: raise aws.lease_minutes")
    return (*lines, short) if too_short else lines


# -- warnings -----------------------------------------------------------------------------------


def warnings(plan: Plan, settings: AwsSettings) -> tuple[str, ...]:
    """Return what people should know of a plan before machines are rented for it, a line each."""
    return (
        *beyond_limit(plan, benchmark(settings), settings.shown_image),
        *_beyond_lease(plan, settings),
        *_fonts(plan, settings.image),
    )


def benchmark(settings: AwsSettings) -> RenderRates:
    """Return how fast an image is where no run has measured it; of another one, the public one."""
    return BUNDLED_RATES if settings.bundled else PUBLIC_RATES


def boot_of(settings: AwsSettings) -> Boot:
    """Return how long machines take to begin; with another image, as with the public one."""
    return BUNDLED_BOOT if settings.bundled else BOOT


def boots_beyond_work(
    plan: Plan, room: int, renders: RenderRates, each: Boot = BOOT
) -> Iterator[str]:
    """Yield that several machines take longer to boot, added up, than to render.

    Args:
        plan: every batch is a machine.
        room: scenes at once on a machine.
        renders: how fast it renders.
        each: how long it takes to begin.
    """
    machines = len(plan.batches)
    boot = machines * each.likely
    work = sum(drive_seconds(batch, room, renders) for batch in plan.batches)
    if machines > 1 and boot > work:
        yield tr(
            "{machines} machines are likely to boot for {boot:.0f} s in all, and to render for "
            "{work:.0f} s: their boots cost more than the work. Fewer machines cost less: raise "
            "distribution.scenes_per_batch, or lower distribution.max_parallel_instances",
            machines=machines,
            boot=boot,
            work=work,
        )


def _beyond_lease(plan: Plan, settings: AwsSettings) -> Iterator[str]:
    """Yield that machines end before a scene is likely to be rendered, or is given up."""
    lease, limit = settings.lease_minutes, plan.job.limits.scene_timeout
    most, rates = longest_attempt(lease or MAX_LEASE_MINUTES), benchmark(settings)
    slow = slower_than(plan.job.scenes, most, rates)
    if slow:
        longest = max(slow, key=rates.of)
        yield ntr(
            "a machine ends itself after {lease} minutes, {most:.0f} s of which are for rendering; "
            "{count} scene is likely to take longer with {image}: {scene}, {seconds:.0f} s. "
            "{advice}",
            "a machine ends itself after {lease} minutes, {most:.0f} s of which are for rendering; "
            "{count} scenes are likely to take longer with {image}, {scene} {seconds:.0f} s. "
            "{advice}",
            len(slow),
            lease=lease or MAX_LEASE_MINUTES,
            most=most,
            image=settings.shown_image,
            scene=longest.name,
            seconds=rates.of(longest),
            advice=_advice(lease),
        )
    elif limit is not None and limit > most:
        yield tr(
            "limits.scene_timeout is {limit:.0f} s, but a machine ends itself after {lease} "
            "minutes: a scene is given up after {most:.0f} s. {advice}",
            limit=limit,
            lease=lease or MAX_LEASE_MINUTES,
            most=most,
            advice=_advice(lease),
        )


def _advice(lease: int | None) -> str:
    if lease is None or lease >= MAX_LEASE_MINUTES:
        return tr("That is the longest that there is")
    return tr("Raise aws.lease_minutes, or leave it out: it is then sized from the plan")


def _fonts(plan: Plan, image: str) -> Iterator[str]:
    """Yield that the public image draws subtitles in its own font, whatever is asked for."""
    asking = [
        scene
        for scene in plan.job.scenes
        if scene.options.font is not None and scene.options.subtitle is not None
    ]
    if not asking or not architecture.is_public(image):
        return
    yield ntr(
        "{image} draws subtitles in a font of its own: font of {count} scene, {scene}, has no "
        "effect. Set aws.image to bundled, or leave font out",
        "{image} draws subtitles in a font of its own: font of {count} scenes, such as {scene}, "
        "has no effect. Set aws.image to bundled, or leave font out",
        len(asking),
        image=image,
        scene=asking[0].name,
    )
