"""What all batches of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.dispatch import Dispatcher
    from cloudburst.engine import Engine
    from cloudburst.ladder import Ladder
    from cloudburst.ledger import Ledger
    from cloudburst.models import Limits
    from cloudburst.stop import Stop
    from cloudburst.targets.base import Target
    from cloudburst.timeline import Timeline


@dataclass(frozen=True)
class Site:
    """The run's engine, target, queue, books, clock and wish to stop."""

    engine: Engine
    target: Target
    ladder: Ladder
    dispatcher: Dispatcher
    ledger: Ledger
    timeline: Timeline
    stop: Stop
    limits: Limits
    folder: Path
