"""Which run it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloudburst.language import tr


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
