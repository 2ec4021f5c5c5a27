"""What became of scenes, batches and runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from cloudburst.models.events import WorkerState
from cloudburst.models.html import preview_html, report_html

if TYPE_CHECKING:
    from pathlib import Path

    from cloudburst.models.job import Plan
    from cloudburst.models.machines import Rung, StackPreview
    from cloudburst.models.money import Cost, Estimate, Price


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a run's time line, in seconds since the run began."""

    phase: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one scene.

    Args:
        worker: label of the worker that rendered: ``b01``, its replacement ``b01.2``.
        span: request sent to video rendered, or to failure.
        download: video rendered to artifact in place; None when it was not rendered.
        error: why it failed; None when it did not.
        bytes_sent: of the request, with the files; 0 where it was abandoned with its worker.
    """

    worker: str
    span: Span
    download: Span | None = None
    error: str | None = None
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class RenderSample:
    """How long a worker of an earlier run took for a scene.

    Args:
        run_id: the run.
        renderer: the container image, or the bundled video API and its version.
        type: instance type.
        scenario: the protocol's name for what was rendered.
        rate: seconds for a second of narration, from the request to the answer.
    """

    run_id: str
    renderer: str
    type: str
    scenario: str
    rate: float


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified video.

    Args:
        path: where it is.
        size: bytes.
        seconds: length.
        width: pixels.
        height: pixels.
        frames: video frames.
    """

    path: Path
    size: int
    seconds: float
    width: int
    height: int
    frames: int


class SceneStatus(StrEnum):
    """How a scene ended."""

    DONE = "done"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class SceneResult:
    """What became of one scene.

    Args:
        scenario: the video API's name for what it rendered.
        warnings: what the renderer could not do as asked, such as a font it has not.
        error: the last attempt's reason, None when done.
    """

    name: str
    status: SceneStatus
    narration: float
    attempts: tuple[Attempt, ...] = ()
    artifact: Artifact | None = None
    scenario: str | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def bytes_sent(self) -> int:
        """Bytes that were sent to render it, in all attempts."""
        return sum(attempt.bytes_sent for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A machine's lease was renewed: a request of the run has reached it.

    Args:
        at: when, in seconds since the run began.
        until: when the machine would then have ended itself without another request; likewise.
    """

    at: float
    until: float


@dataclass(frozen=True, slots=True)
class Launch:
    """One attempt to get a worker: a rung of the ladder, from ``up`` to its verified teardown.

    Args:
        label: label of the worker.
        worker: the provider's name for it, None when there never was one.
        rung: how and where.
        price: by the hour, None where nothing is rented.
        scenes_done: videos downloaded from it.
        spans: up, health, drive, destroy, in the order they happened.
        destroyed: the provider confirmed that nothing of it exists.
        expires: when it ends itself, whatever becomes of the run, seconds since 1970; None for
            one that lives no longer than its run.
        code: the provider's code for why it failed or ended early.
        error: why it could not be used, or ended early; None when it did its work.
        target: name of the target it was on.
        renderer: the container image, or the bundled video API and its version; empty if it was
            not noted.
        renewals: of its lease; of many in a row, a few. None where there is no lease.
        bytes_sent: of the video API's files; 0 where it needs none, or they were not all sent.
    """

    label: str
    worker: str | None
    rung: Rung
    price: Price | None
    scenes_done: int
    spans: tuple[Span, ...]
    destroyed: bool
    expires: float | None = None
    code: str | None = None
    error: str | None = None
    target: str = "local"
    renderer: str = ""
    renewals: tuple[Renewal, ...] = ()
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one batch.

    Args:
        launches: every worker that was tried or used for it, in order.
        error: why it ended without a worker that did its work; None otherwise.
    """

    label: str
    stack: str
    launches: tuple[Launch, ...]
    error: str | None = None

    @property
    def spans(self) -> tuple[Span, ...]:
        """The phases of its workers, in order."""
        return tuple(span for launch in self.launches for span in launch.spans)

    @property
    def destroyed(self) -> bool:
        """Whether the provider has confirmed that nothing of it exists."""
        return all(launch.destroyed for launch in self.launches)

    @property
    def scenes_done(self) -> int:
        """Videos downloaded from its workers."""
        return sum(launch.scenes_done for launch in self.launches)


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything worth knowing about a run, as written to report.json.

    Args:
        seconds: wall clock from start to the last verified destroy.
        phases: phase → seconds in which at least one batch was in it.
        serial_seconds: what one worker alone would have taken: its start, every scene's render
            and download one after the other, its end.
        left_running: what could not be verified as gone; empty is the promise kept.
        kept: workers that stay because ``auto_terminate`` is false, and until when.
    """

    run_id: str
    job: str
    target: str
    outcome: Outcome
    started_at: str
    seconds: float
    directory: Path
    scenes: tuple[SceneResult, ...]
    batches: tuple[BatchResult, ...]
    phases: dict[str, float]
    serial_seconds: float
    cost: Cost
    left_running: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    error: str | None = None

    @property
    def done(self) -> int:
        """Number of scenes with a verified video."""
        return sum(scene.status is SceneStatus.DONE for scene in self.scenes)

    @property
    def bytes_sent(self) -> int:
        """Bytes that were sent to workers, for all scenes and as the files of the video API."""
        launches = (launch for batch in self.batches for launch in batch.launches)
        files = sum(launch.bytes_sent for launch in launches)
        return files + sum(scene.bytes_sent for scene in self.scenes)

    @property
    def bytes_received(self) -> int:
        """Bytes of the videos."""
        return sum(scene.artifact.size for scene in self.scenes if scene.artifact is not None)

    @property
    def speedup(self) -> float:
        """How many times faster than one after the other on one worker."""
        return self.serial_seconds / self.seconds if self.seconds else 0.0

    def _repr_html_(self) -> str:
        return report_html(self)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a dry run found.

    Args:
        plan: which scenes go to which batch.
        stacks: what the engine says about each; none when it was not asked.
        estimate: what it would cost; None where nothing is rented or no price is known.
        notes: what could not be checked, and other things worth knowing.
    """

    plan: Plan
    stacks: tuple[StackPreview, ...] = ()
    estimate: Estimate | None = None
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return preview_html(self)


class Finding(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the doctor looked at.

    Args:
        name: what.
        finding: how it came out.
        text: what it is.
        fix: how to fix it; empty when nothing is wrong.
        code: the provider's error code; empty where it refused nothing.
    """

    name: str
    finding: Finding
    text: str
    fix: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class DownloadedVideo:
    """A video that was downloaded and verified.

    Args:
        artifact: the file.
        sha256: of its bytes, in hex.
        fingerprint: of what it was made from.
        scenario: the video API's name for what it rendered.
        warnings: what the renderer could not do as asked.
    """

    artifact: Artifact
    sha256: str
    fingerprint: str
    scenario: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnfinishedWorker:
    """A worker that the journal does not record as gone.

    Args:
        number: of its row.
        batch: label of its batch.
        label: the worker's own.
        stack: name of its stack.
        rung: how and where it was created.
        price: by the hour, None where nothing is rented.
        began: seconds since 1970.
        expires: when it ends itself, seconds since 1970; None when it does not outlive its run.
        worker: the provider's name for it, None when its ``up`` did not finish.
        endpoint: base URL of its video API.
        room: scenes it renders at once.
        state: how far it had come.
        spans: its phases so far.
        target: name of its target.
        renewals: of its lease, see ``Launch.renewals``.
    """

    number: int
    batch: str
    label: str
    stack: str
    rung: Rung
    price: Price | None
    began: float
    expires: float | None
    worker: str | None
    endpoint: str | None
    room: int
    state: str
    spans: tuple[Span, ...]
    target: str = "local"
    renewals: tuple[Renewal, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether it was kept on purpose, see ``Job.auto_terminate``."""
        return self.state == WorkerState.KEPT
