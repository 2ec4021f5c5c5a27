"""Which run it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudburst.models.money import Estimate


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's identity, as its journal and this machine's registry keep it.

    Args:
        run_id: such as ``20261124-101500-a1b2c3``.
        job: name of the job.
        source: absolute path of the job file.
        folder: absolute path of the run's folder: its videos and its journal.
        target: name of the target the job asked for.
        began: ISO 8601, UTC.
        regions: in which it may have created machines; none for a target without regions.
        max_cost_usd: most that it may cost, in USD; None for no limit.
        scenes: (name, narration in seconds) of every scene, in the order of the job; the registry
            does not keep them.
    """

    run_id: str
    job: str
    source: str
    folder: str
    target: str
    began: str
    regions: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    scenes: tuple[tuple[str, float], ...] = ()

    @property
    def path(self) -> Path:
        """The run's folder."""
        return Path(self.folder)


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch as it was planned.

    Args:
        label: of the batch.
        target: on which its worker was to be.
        scenes: number of scenes that its worker was to begin with.
        seconds: of their narration.
    """

    label: str
    target: str
    scenes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """What the first session of a run set out to do, to be seen beside what became of it.

    Args:
        batches: one for each worker.
        estimates: by target, what it was to take and cost; none for a target that rents nothing.
        renderers: by target, what renders there, see ``TargetType.renderer``.
        notes: what the targets left out of what was asked for, a line each.
        warnings: what was noticed in the job's files, a line each.
    """

    batches: tuple[PlannedBatch, ...]
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    renderers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a run, or held it last.

    Args:
        pid: process id.
        started: when that process began, seconds since 1970.
        host: on which machine.
    """

    pid: int
    started: float
    host: str

    def __str__(self) -> str:
        return tr("process {pid} on {host}", pid=self.pid, host=self.host)
