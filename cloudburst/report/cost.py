"""Spans → figures. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.targets.aws.pricing import MINIMUM_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudburst.models import BatchResult, Resource, SceneResult, Span

PHASES = ("up", "health", "drive", "destroy")


def covered(spans: Iterable[Span]) -> float:
    """Give the seconds in which at least one of some spans was going on."""
    total, until = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.start):
        if span.end > until:
            total += span.end - max(span.start, until)
            until = span.end
    return total


def phases(batches: Iterable[BatchResult]) -> dict[str, float]:
    """Give for each phase the seconds in which at least one batch was in it."""
    spans = [span for batch in batches for span in batch.spans]
    return {name: covered(span for span in spans if span.phase == name) for name in PHASES}


def worker_seconds(batches: Iterable[BatchResult]) -> float:
    """Give each worker's time from the beginning of `up` to its verified end, added up."""
    return sum(
        launch.spans[-1].end - launch.spans[0].start
        for batch in batches
        for launch in batch.launches
        if launch.worker is not None and launch.spans
    )


def serial_seconds(batches: Iterable[BatchResult], scenes: Iterable[SceneResult]) -> float:
    """Estimate one worker doing everything alone.

    The mean start and end of the workers there were, and every successful try one after the
    other. Where workers shared cores, each try took longer than it would have alone, so on the
    local target this is an upper bound.
    """
    used = [launch for batch in batches for launch in batch.launches if launch.worker is not None]
    frame = sum(span.seconds for launch in used for span in launch.spans if span.phase != "drive")
    tries = (scene.attempts[-1] for scene in scenes if scene.artifact is not None)
    work = sum(
        attempt.span.seconds + (attempt.download.seconds if attempt.download else 0.0)
        for attempt in tries
    )
    return frame / max(1, len(used)) + work


def so_far(one: Resource, at: float) -> float | None:
    """Say what something has cost until a moment, in USD; None when price or age is unknown.

    Args:
        one: what is left.
        at: seconds since 1970.
    """
    if one.usd_per_hour is None or one.since is None:
        return None
    if not one.usd_per_hour:
        return 0.0
    return one.usd_per_hour * max(MINIMUM_SECONDS, at - one.since) / 3600
