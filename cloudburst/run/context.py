"""What all batches of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.engine.engine import Engine
    from cloudburst.journal.store import Journal
    from cloudburst.models import Limits
    from cloudburst.run.events import Timeline
    from cloudburst.run.queue import SceneQueue
    from cloudburst.run.results import SceneResults
    from cloudburst.stop import Stop
    from cloudburst.targets.base import Target
    from cloudburst.targets.failover import Ladder


@dataclass(frozen=True)
class RunContext:
    """The run's engine, target, queue, books, clock and wish to stop.

    Args:
        renderer: what renders: the container image, or the bundled video API and its version.
        keep: workers outlive the run, for a person who downloads by hand.
    """

    engine: Engine
    target: Target
    ladder: Ladder
    queue: SceneQueue
    ledger: SceneResults
    timeline: Timeline
    stop: Stop
    limits: Limits
    folder: Path
    journal: Journal
    renderer: str
    keep: bool = False
