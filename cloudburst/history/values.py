"""What is known of a run that is going on, or is over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cloudburst.models import SceneStatus

if TYPE_CHECKING:
    from cloudburst.models import Owner, RunRecord, RunReport


class RunStatus(StrEnum):
    """How far a run is."""

    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"
    GONE = "gone"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of a run's bill, with what it is for and when.

    Args:
        run_id: the run.
        job: name of its job.
        target: on which the machine was, or from which videos were downloaded.
        type: instance type; empty for what no machine is billed for.
        market: on-demand or spot; empty likewise.
        machine: the provider's name for the machine; empty likewise.
        kind: see `CostLine.kind`.
        began: seconds since 1970.
        until: seconds since 1970; not before `began`.
        usd: USD, at the price of the launch.
    """

    run_id: str
    job: str
    target: str
    type: str
    market: str
    machine: str
    kind: str
    began: float
    until: float
    usd: float


@dataclass(frozen=True, slots=True)
class Use:
    """What workers were used for.

    Args:
        name: ``boot``, ``render``, ``idle`` or ``end``.
        seconds: of workers, added up.
        usd: what machines, disks and addresses cost in them, in USD.
    """

    name: str
    seconds: float
    usd: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """A scene that is being rendered.

    Args:
        scene: its name.
        worker: label of the worker.
        seconds: since its request was sent.
    """

    scene: str
    worker: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run of this machine, at a moment.

    Args:
        record: which run it is.
        status: how far it is.
        owner: the process that holds it now, None when nobody does.
        report: what it came to, or has come to so far; None when its journal says nothing.
        began: when its first session began, seconds since 1970.
        seconds: that its sessions took, up to the moment.
        usd_per_hour: what its machines cost now, in USD/h.
        workers: that have begun and are not noted as gone.
        charges: its bill, line by line; a machine that runs is billed up to the moment.
        uses: what its workers were used for.
        minimum_usd: USD for what machines are billed beyond what workers took; in no use's cost.
        other_usd: USD of no worker: egress, and machines that no launch names. With the uses' and
            `minimum_usd` it is the whole cost.
        rendering: what is being rendered at the moment.
        likely_usd: what it was estimated to cost in all, and no more than its own limit; 0 where
            nothing is rented, or it was not noted.
        why: why nothing, or not everything, is known of it; empty when everything is.
    """

    record: RunRecord
    status: RunStatus
    owner: Owner | None = None
    report: RunReport | None = None
    began: float = 0.0
    seconds: float = 0.0
    usd_per_hour: float = 0.0
    workers: int = 0
    charges: tuple[Charge, ...] = ()
    uses: tuple[Use, ...] = ()
    minimum_usd: float = 0.0
    other_usd: float = 0.0
    rendering: tuple[Rendering, ...] = ()
    why: str = ""
    likely_usd: float = 0.0

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.record.run_id

    @property
    def usd(self) -> float:
        """What it has cost, in USD."""
        return self.report.cost.usd if self.report else 0.0

    @property
    def at_most(self) -> bool:
        """Whether the end of a machine is known only as not later than a moment."""
        return self.report is not None and self.report.cost.at_most

    @property
    def done(self) -> int:
        """Scenes with a verified video."""
        return self.report.done if self.report else 0

    @property
    def scenes(self) -> int:
        """Scenes of the job."""
        return len(self.report.scenes) if self.report else 0

    @property
    def failed(self) -> int:
        """Scenes that were tried, and have no video."""
        scenes = self.report.scenes if self.report else ()
        return sum(scene.status is SceneStatus.FAILED for scene in scenes)

    @property
    def to_come_usd(self) -> float:
        """What it is likely to cost yet, in USD: nothing once it has ended."""
        if self.status is not RunStatus.RUNNING:
            return 0.0
        return max(0.0, self.likely_usd - self.usd)

    @property
    def open(self) -> bool:
        """Whether it is going on, or has died with workers that nobody has noted as gone."""
        return self.status is RunStatus.RUNNING or self.workers > 0
