"""How long workers of earlier runs took for their scenes, from the journals of this machine."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cloudburst.errors import InfrastructureError
from cloudburst.journal import registry, store
from cloudburst.models import RenderSample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudburst.journal.state import RunState

# Machines, prices and this machine's connection change; older runs say less.
_RUNS = 30


def read() -> tuple[RenderSample, ...]:
    """Return what the newest runs on rented machines have measured. What is unreadable has none."""
    rented = [record for record in registry.runs() if record.regions][-_RUNS:]
    found: list[RenderSample] = []
    for record in rented:
        with suppress(InfrastructureError, OSError):
            state = store.read(record.path)
            found += samples(state) if state is not None else []
    return tuple(found)


def samples(state: RunState) -> Iterator[RenderSample]:
    """Return how long each video of a run took on the worker that rendered it. Pure."""
    if state.record is None:
        return
    # A rung that gave no worker has the label of the one that did, which is the last.
    launches = {one.label: one for batch in state.batches for one in batch.launches}
    for name, video in state.videos.items():
        attempts = state.attempts.get(name, ())
        launch = launches.get(attempts[-1].worker) if attempts else None
        if launch is None or not launch.renderer or video.artifact.seconds <= 0:
            continue
        yield RenderSample(
            run_id=state.record.run_id,
            renderer=launch.renderer,
            type=launch.rung.type,
            scenario=video.scenario,
            rate=attempts[-1].span.seconds / video.artifact.seconds,
        )
