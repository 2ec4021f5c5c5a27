"""What all batches of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.dispatch import Dispatcher
    from cloudburst.engine import Engine
    from cloudburst.journal import Journal
    from cloudburst.ladder import Ladder
    from cloudburst.ledger import Ledger
    from cloudburst.models import Limits
    from cloudburst.stop import Stop
    from cloudburst.targets.base import Target
    from cloudburst.timeline import Timeline


@dataclass(frozen=True)
class Site:
    """The run's engine, target, queue, books, clock and wish to stop.

    Args:
        renderer: what renders: the container image, or the bundled video API and its version.
        keep: workers outlive the run, for a person who downloads by hand.
    """

    engine: Engine
    target: Target
    ladder: Ladder
    dispatcher: Dispatcher
    ledger: Ledger
    timeline: Timeline
    stop: Stop
    limits: Limits
    folder: Path
    journal: Journal
    renderer: str
    keep: bool = False
