"""What all batches of a run share, and what those of one target share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloudburst.engine.engine import Engine
    from cloudburst.journal.store import Journal
    from cloudburst.models import Limits, RunRecord
    from cloudburst.runner.events import Timeline
    from cloudburst.runner.queue import SceneQueue
    from cloudburst.runner.results import SceneResults
    from cloudburst.stop import Stop
    from cloudburst.targets.base import Billing, Resources, Target, WorkerSource


@dataclass(frozen=True, slots=True)
class OpenTarget:
    """A target that is open for a run, and the engine that works on its stacks.

    Args:
        target: the target.
        engine: with the environment and the memory that the target asks for.
        renderer: what renders there: the container image, or the bundled video API's version.
        source: makes workers; None when the run needs none.
    """

    target: Target
    engine: Engine
    renderer: str = ""
    source: WorkerSource | None = None

    @property
    def name(self) -> str:
        """Name of the target."""
        return self.target.name

    @property
    def resources(self) -> Resources:
        """What the target shows and ends."""
        return self.target.resources

    @property
    def billing(self) -> Billing | None:
        """What the run's machines cost there, None where nothing is rented."""
        return self.target.billing

    @property
    def workers(self) -> WorkerSource:
        """What makes its workers.

        Raises:
            LookupError: the run needs none there.
        """
        if self.source is None:
            raise LookupError(f"no workers were planned on {self.name}")
        return self.source


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run's record, queue, results, clock and request to stop.

    Args:
        record: which run it is.
        limits: when to stop waiting.
        timeline: measures and reports.
        stop: the request to stop.
        journal: what is written ahead.
        queue: scenes that wait for a worker.
        results: what became of scenes.
        targets: by name, those that the run has or had workers on.
        keep: workers outlive the run, for a person who downloads by hand.
    """

    record: RunRecord
    limits: Limits
    timeline: Timeline
    stop: Stop
    journal: Journal
    queue: SceneQueue
    results: SceneResults
    targets: Mapping[str, OpenTarget] = field(default_factory=dict)
    keep: bool = False

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.record.run_id

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.record.path

    def stop_launching(self, reason: str) -> None:
        """Let no target create another worker."""
        for opened in self.targets.values():
            if opened.source is not None:
                opened.source.ladder.stop(reason)
