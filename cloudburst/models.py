"""The values that travel through a run. All of them are frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Effect = Literal["zoom_in", "zoom_out", "pan_left", "pan_right", "random"]
Language = Literal["chinese", "english"]
TargetName = Literal["local"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    Args:
        file: the file as the user named it.
        line: 1-based line, 0 when the problem is the file itself.
        field: path of the field, such as ``scenes[3].audio``; empty for the whole file.
        message: what came and what was expected.
    """

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return (
            f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"
        )


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How one scene is rendered; every option of the video API.

    Args:
        language: which subtitle font and wrapping to prefer.
        effects: none for a still picture; of several, one is chosen.
        background_box: draw a box behind the subtitles.
        background_opacity: transparency of the box, 0 (solid) to 1 (clear). The name is the
            protocol's.
        font_size: pixels at the output's height; None leaves it to the renderer.
        outline_color: ASS colour, ``&HAABBGGRR``.
        is_portrait: 1080x1920 when true, 1920x1080 when false, by the picture when None.
        watermark: picture drawn in the top left corner.
        subtitle: SRT file.
    """

    language: Language = "chinese"
    effects: tuple[Effect, ...] = ()
    background_box: bool = True
    background_opacity: float = 0.2
    font_size: int | None = None
    outline_color: str = "&H00000000"
    is_portrait: bool | None = None
    watermark: Path | None = None
    subtitle: Path | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its narration, to become one video.

    Args:
        name: unique in its job and safe as a file name.
        image: picture file.
        audio: narration file.
        seconds: length of the narration; the video is as long.
        options: how it is rendered.
    """

    name: str
    image: Path
    audio: Path
    seconds: float
    options: VideoOptions = VideoOptions()


@dataclass(frozen=True, slots=True)
class Distribution:
    """How scenes are spread over workers.

    Args:
        scenes_per_batch: the usual number of scenes a worker.
        max_parallel_instances: the most workers at once.
        min_scenes_per_batch: a worker for fewer scenes than this is not worth its start.
    """

    scenes_per_batch: int = 10
    max_parallel_instances: int = 10
    min_scenes_per_batch: int = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop waiting.

    Args:
        scene_timeout: seconds for one try of one scene.
        health_timeout: seconds from a worker's creation to its first healthy answer.
        attempts: tries of one scene, on different workers where there are any.
    """

    scene_timeout: float = 600.0
    health_timeout: float = 180.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Job:
    """What the user asked for: a validated scenes.yaml.

    Args:
        name: names the run in the report and in the tags of its stacks.
        source: the file it was read from.
        target: where workers live.
        output: folder below which each run makes its own.
    """

    name: str
    source: Path
    scenes: tuple[Scene, ...]
    output: Path
    target: TargetName = "local"
    distribution: Distribution = Distribution()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Batch:
    """The scenes one worker starts with; one batch is one stack.

    Args:
        number: 1-based, part of the stack's name.
        scenes: longest narration first, the order in which they are taken.
    """

    number: int
    scenes: tuple[Scene, ...]

    @property
    def label(self) -> str:
        """Short name for people and file names: ``b01``."""
        return f"b{self.number:02d}"

    @property
    def seconds(self) -> float:
        """Narration in the batch, in seconds."""
        return sum(scene.seconds for scene in self.scenes)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which scenes go to which batch."""

    job: Job
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What one stack declares.

    Args:
        run_id: the run it belongs to.
        batch: label of its batch.
        job: name of the job.
        key: what a client must send as ``X-Authentication-Key``.
        room: scenes it renders at once.
        scene_timeout: seconds after which it gives a scene up.
        log: file for the worker's own log.
    """

    run_id: str
    batch: str
    job: str
    key: str = field(repr=False)
    room: int
    scene_timeout: float
    log: Path

    @property
    def stack(self) -> str:
        """Name of the batch's stack."""
        return f"{self.run_id}-{self.batch}"


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that exists.

    Args:
        stack: the stack that declares it.
        id: the provider's name for it (local: process id and start time).
        endpoint: base URL of its video API.
        key: authentication key.
        room: scenes it renders at once.
        log: its own log, where this machine can read it.
    """

    stack: str
    id: str
    endpoint: str
    key: str = field(repr=False)
    room: int
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class PlannedResource:
    """One line of a preview.

    Args:
        operation: what the engine would do: ``create``, ``update``, ``delete``, ``same`` …
        type: Pulumi type token.
        name: resource name.
    """

    operation: str
    type: str
    name: str


@dataclass(frozen=True, slots=True)
class StackPreview:
    """What `pulumi preview` says about one batch."""

    batch: Batch
    stack: str
    resources: tuple[PlannedResource, ...]


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
    """One try of one scene.

    Args:
        worker: label of the batch whose worker tried.
        span: request sent to video rendered, or to failure.
        download: video rendered to artifact in place; None when it did not come to that.
        error: why it failed; None when it did not.
    """

    worker: str
    span: Span
    download: Span | None = None
    error: str | None = None


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
        scenario: the video API's word for what it rendered.
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


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one stack.

    Args:
        spans: up, health, drive, destroy, in the order they happened.
        destroyed: the provider said that nothing of it is left.
        error: why the worker could not be used, None when it could.
    """

    label: str
    stack: str
    worker: str | None
    scenes_done: int
    spans: tuple[Span, ...]
    destroyed: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost.

    Args:
        usd: the bill, in USD.
        worker_seconds: from each worker's launch to its verified end, added up.
        basis: how the figure came to be.
    """

    usd: float
    worker_seconds: float
    basis: str


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
    error: str | None = None

    @property
    def done(self) -> int:
        """Number of scenes with a verified video."""
        return sum(scene.status is SceneStatus.DONE for scene in self.scenes)

    @property
    def speedup(self) -> float:
        """How many times faster than one after the other on one worker."""
        return self.serial_seconds / self.seconds if self.seconds else 0.0


class EventKind(StrEnum):
    """What an event says happened."""

    RUN_STARTED = "run_started"
    ENGINE = "engine"
    BATCH_STATE = "batch_state"
    SCENE_STARTED = "scene_started"
    SCENE_DONE = "scene_done"
    SCENE_RETRY = "scene_retry"
    SCENE_FAILED = "scene_failed"
    STOPPING = "stopping"
    RUN_FINISHED = "run_finished"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for whoever watches a run.

    Args:
        kind: what.
        seconds: since the run began.
        batch: label of the batch it happened to.
        scene: name of the scene it happened to.
        text: one line for a person.
        data: the same for a machine.
    """

    kind: EventKind
    seconds: float
    batch: str | None = None
    scene: str | None = None
    text: str = ""
    data: dict[str, object] = field(default_factory=dict)
