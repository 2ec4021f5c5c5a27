"""Spans and rentals → figures. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.models import Cost, Phase
from cloudburst.models.money import MINIMUM_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudburst.models import BatchResult, Launch, Resource, SceneResult, Span

PHASES = (Phase.UP, Phase.HEALTH, Phase.DRIVE, Phase.DESTROY)


def covered(spans: Iterable[Span]) -> float:
    """Return the seconds in which at least one of some spans was going on."""
    total, until = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.start):
        if span.end > until:
            total += span.end - max(span.start, until)
            until = span.end
    return total


def phases(batches: Iterable[BatchResult]) -> dict[str, float]:
    """Return for each phase the seconds in which at least one batch was in it."""
    spans = [span for batch in batches for span in batch.spans]
    return {str(name): covered(span for span in spans if span.phase == name) for name in PHASES}


def worker_seconds(launches: Iterable[Launch]) -> float:
    """Return each worker's time from the beginning of `up` to its verified end, added up."""
    return sum(
        launch.spans[-1].end - launch.spans[0].start
        for launch in launches
        if launch.worker is not None and launch.spans
    )


def serial_seconds(batches: Iterable[BatchResult], scenes: Iterable[SceneResult]) -> float:
    """Estimate one worker doing everything alone, in seconds.

    The mean start and end of the workers there were, and every successful attempt one after the
    other. Where workers shared cores, each attempt took longer than it would have alone, so on the
    local target this is an upper bound.
    """
    used = [launch for batch in batches for launch in batch.launches if launch.worker is not None]
    frame = sum(
        span.seconds for launch in used for span in launch.spans if span.phase != Phase.DRIVE
    )
    attempts = (scene.attempts[-1] for scene in scenes if scene.artifact is not None)
    work = sum(
        attempt.span.seconds + (attempt.download.seconds if attempt.download else 0.0)
        for attempt in attempts
    )
    return frame / max(1, len(used)) + work


def so_far(resource: Resource, at: float) -> float | None:
    """Return what a resource has cost until a moment, in USD; None when that is unknown.

    Args:
        resource: what a provider shows.
        at: seconds since 1970.
    """
    if resource.usd_per_hour is None or resource.since is None:
        return None
    if not resource.usd_per_hour:
        return 0.0
    return resource.usd_per_hour * max(MINIMUM_SECONDS, at - resource.since) / 3600


def downloaded(scenes: Sequence[SceneResult], batches: Iterable[BatchResult], target: str) -> int:
    """Return the bytes of video that were downloaded from the workers of a target."""
    on = {launch.label: launch.target for batch in batches for launch in batch.launches}
    workers = {scene.name: scene.attempts[-1].worker for scene in scenes if scene.attempts}
    return sum(
        scene.artifact.size
        for scene in scenes
        if scene.artifact is not None and on.get(workers.get(scene.name, ""), target) == target
    )


def unbilled(batches: Iterable[BatchResult], target: str, reason: str) -> Cost:
    """Return the bill of a target that rents nothing.

    Args:
        batches: the run's.
        target: name of the target.
        reason: why it costs nothing.
    """
    launches = [one for batch in batches for one in batch.launches if one.target == target]
    return Cost(usd=0.0, worker_seconds=worker_seconds(launches), basis=reason)


def total(costs: Sequence[Cost]) -> Cost:
    """Return the bill of a run from those of its targets."""
    return Cost(
        usd=sum(cost.usd for cost in costs),
        worker_seconds=sum(cost.worker_seconds for cost in costs),
        basis="; ".join(dict.fromkeys(cost.basis for cost in costs)),
        lines=tuple(line for cost in costs for line in cost.lines),
        at_most=any(cost.at_most for cost in costs),
    )
